#include "framework/engine_cache.h"

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "framework/file.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

constexpr char kVariable[] = "LSEG_ENGINE_CACHE";

}  // namespace

std::string EngineCache::DefaultPath() {
  if (const char* path = std::getenv(kVariable)) return path;
  if (const char* folder = std::getenv("XDG_CACHE_HOME")) {
    return std::string(folder) + "/lseg/engines.json";
  }
  if (const char* home = std::getenv("HOME")) {
    return std::string(home) + "/.cache/lseg/engines.json";
  }
  return "";
}

EngineCache::EngineCache(const std::string& path) : path_(path) {
  std::error_code ignored;
  if (path.empty() ||
      std::filesystem::status(path, ignored).type() == std::filesystem::file_type::not_found) {
    return;
  }
  const std::string text = ReadFile(path);
  try {
    engines_ = nlohmann::json::parse(text).get<decltype(engines_)>();
  } catch (const nlohmann::json::exception& error) {
    LSEG_FAIL(path << ": is no cache of engines (delete it, or name another by LSEG_ENGINE_CACHE): "
                   << error.what());
  }
}

EngineCache EngineCache::OfUser(bool measured, std::string* problem) {
  if (!measured) return EngineCache("");
  try {
    return EngineCache(DefaultPath());
  } catch (const Error& error) {
    if (std::getenv(kVariable)) throw;
    *problem = std::string("engines are measured anew and not kept: ") + error.what();
    return EngineCache("");
  }
}

std::string EngineCache::Find(const std::string& device, const std::string& conv_case) const {
  const auto cases = engines_.find(device);
  if (cases == engines_.end()) return "";
  const auto engine = cases->second.find(conv_case);
  return engine == cases->second.end() ? "" : engine->second;
}

void EngineCache::Add(const std::string& device, const std::string& conv_case,
                      const std::string& engine) {
  engines_[device][conv_case] = engine;
  changed_ = true;
}

std::string EngineCache::Write() {
  if (!changed_ || path_.empty()) return "";
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  try {
    WriteFile(path_, nlohmann::json(engines_).dump(1));
  } catch (const Error& failed) {
    return std::string("engines that were measured are not kept: ") + failed.what();
  }
  changed_ = false;
  return "";
}

}  // namespace lseg
