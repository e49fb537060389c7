// A PTX module as parsed: names resolved (registers, labels), instructions still in PTX's own
// words. What an instruction means is decided later, when a kernel is decoded for its first launch,
// so that a file may hold kernels that this machine can't run. Source: PTX ISA manual, chapters 4
// to 11.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace softgpu::ptx {

// Text that is no PTX, or an instruction that is not covered. what() opens with "line N: ".
class Error : public std::runtime_error {
 public:
  Error(int line, const std::string& what)
      : std::runtime_error("line " + std::to_string(line) + ": " + what), line_(line) {}
  int line() const { return line_; }

 private:
  int line_;
};

enum class Space : uint8_t { kGeneric, kGlobal, kShared, kLocal, kConst, kParam };

// From .loc: a place in the CUDA source; file 0 is none.
struct SourceLine {
  int file = 0;
  int line = 0;
};

struct Register {
  std::string name;  // with its %; registers of inner scopes may share a name
  int bits;          // 1 (.pred), 8, 16, 32, 64, 128
};

struct Operand {
  enum class Kind : uint8_t {
    kRegister,  // index: in Function::registers; name: a part of it (vadd's %r1.b0: "b0")
    kSpecial,   // name: "%tid.x", "%laneid", ...; also WARP_SZ
    kSymbol,    // name of a variable, parameter, function, or table (.branchtargets, a prototype);
                // offset: name+offset
    kLabel,     // index: of an instruction in Function::instructions (may be one past the end)
    kInteger,   // bits: two's complement
    kFloat,     // bits: 0f..., an f32's
    kDouble,    // bits: 0d..., or a decimal literal, an f64's
    kVector,    // elements: {a, b, ...}, and (a, b, ...) of a call
    kPair,      // elements: p|q
    kAddress,   // elements[0]: base (register, symbol or integer), plus offset; further elements:
                // [m, {x, y}]
    kSink,      // _
  };
  Kind kind = Kind::kSink;
  bool negated = false;  // !p
  int index = -1;
  int64_t offset = 0;
  uint64_t bits = 0;
  std::string name;
  std::vector<Operand> elements;
};

struct Instruction {
  int line = 0;  // of the PTX text, from 1
  SourceLine source;
  int guard = -1;  // register of @p, or -1
  bool guard_negated = false;
  std::vector<std::string> words;  // "ld", "global", "v4", "f32"; "shared::cta" is one word
  std::vector<Operand> operands;
};

// A place in a variable's initial value that holds an address.
struct Relocation {
  uint64_t offset;
  int bytes;
  std::string symbol;
  int64_t addend;
  bool generic;  // generic(name)
};

struct Variable {
  Space space = Space::kGeneric;
  std::string name;
  int line = 0;
  uint32_t align = 1;
  uint64_t bytes = 0;  // 0: extern with []
  bool is_extern = false;
  std::vector<uint8_t> initial;  // empty: zero (.global, .const), unwritten (.shared, .local)
  std::vector<Relocation> relocations;
};

struct Function {
  std::string name;
  int line = 0;
  bool is_entry = false;
  bool is_declared_only = false;
  std::vector<Variable> results, params;
  // Variables of the body (.local, .shared, .param). Names of inner scopes are made unique, and
  // the operands that use them say the unique name.
  std::vector<Variable> variables;
  std::vector<Register> registers;  // those that some instruction names, and single ones
  std::vector<Instruction> instructions;
  std::map<std::string, std::vector<int>> branch_targets;  // .branchtargets: instruction indices
  uint32_t max_threads[3] = {0, 0, 0};                     // .maxntid, 0: not said
  uint32_t required_threads[3] = {0, 0, 0};                // .reqntid
};

struct Module {
  int version_major = 0, version_minor = 0;
  std::string text;                  // that it was parsed from: for ptxas
  std::string target;                // "sm_80"
  std::map<int, std::string> files;  // of .file
  std::vector<Variable> variables;   // .global, .const, .shared at module scope
  std::vector<Function> functions;

  const Function* FindFunction(std::string_view name) const;
  const Variable* FindVariable(std::string_view name) const;
};

// Throws Error. Any bytes are fit input; limits: 256 MiB of text, 4 million registers a function,
// scopes 64 deep, and memory of 64 MiB and 24 times the text. Zeros at the end are no part of it.
Module Parse(std::string_view text);

}  // namespace softgpu::ptx
