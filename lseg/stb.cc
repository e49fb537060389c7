// The implementation of stb_image and stb_image_write, compiled once. Only what is used is kept:
// the fewer decoders, the fewer ways for a hostile file.
#include <cstdlib>

// stb of 2022 reads a Huffman table that a damaged JPEG uses but does not define: of zeros it is
// harmless.
#define STBI_MALLOC(size) std::calloc(1, size)
#define STBI_REALLOC(memory, size) std::realloc(memory, size)
#define STBI_FREE(memory) std::free(memory)
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>
