// Whole files, in and out. Writing never leaves half a file under the final name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lseg {

// The content of a file. Throws Error with the path and the system's reason.
std::string ReadFile(const std::string& path);

// Writes beside the final name (NewFile, framework/new_file.h), forces the bytes to the disk, then
// renames: a reader, and a run after a power cut, find the old file or the new one. Throws Error
// with the path and the system's reason (no space, no such folder); the old file is then untouched
// and the partial one gone. A link is followed; what is no file, as /dev/stdout and pipes are, is
// written to as it stands.
void WriteFile(const std::string& path, std::string_view bytes);
// Likewise, of several parts: large values need not be copied behind their header.
void WriteParts(const std::string& path, const std::vector<std::string_view>& parts);

// Text out of a file, fit to stand in a message of one line: control characters become '?', what is
// beyond 200 bytes is cut.
std::string Printable(const std::string& text);

// Where a relative path inside a definition points: into the folder of the definition's file where
// such a file or folder is there, else (as in Caffe) it is left relative to the working directory.
std::string ResolvePath(const std::string& path, const std::string& definition_file);

}  // namespace lseg
