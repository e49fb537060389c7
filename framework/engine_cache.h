// EngineCache: which engine was the fastest for a case on a device, kept in a small file, so that
// nobody measures twice. One JSON object a device, its cases by name.
#pragma once

#include <map>
#include <string>

namespace lseg {

class EngineCache {
 public:
  // $LSEG_ENGINE_CACHE, else lseg/engines.json in the user's cache folder ($XDG_CACHE_HOME or
  // ~/.cache); "" where there is none: choices then live as long as the object.
  static std::string DefaultPath();

  // Reads the file where there is one. An Error names one that cannot be read.
  explicit EngineCache(const std::string& path);

  // Of DefaultPath(), where engines are measured: else nothing is read. Where the file cannot be
  // read, and it is not $LSEG_ENGINE_CACHE, `problem` says so, and choices live as long as the
  // object.
  static EngineCache OfUser(bool measured, std::string* problem);

  // "" where the case was not measured yet.
  std::string Find(const std::string& device, const std::string& conv_case) const;
  void Add(const std::string& device, const std::string& conv_case, const std::string& engine);

  // Writes what was added, its folder made where it is not there. Says why where that cannot be
  // done, else "": nothing depends on the file.
  std::string Write();

 private:
  std::string path_;
  std::map<std::string, std::map<std::string, std::string>> engines_;  // by device, by case
  bool changed_ = false;
};

}  // namespace lseg
