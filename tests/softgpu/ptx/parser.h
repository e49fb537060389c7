// The parser behind Parse(), recursive descent. Its parts: parser.cc (module statements),
// parser_declarations.cc (variables, initial values, function headers), parser_body.cc (scopes,
// instructions, names), parser_operands.cc.
//
// Names within a body are bound in two steps. Registers, variables and parameters are declared
// before use and bound at once; a name that is none of them may be a label that comes later, so its
// instruction is looked at again when each enclosing scope closes.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/softgpu/ptx/lexer.h"
#include "tests/softgpu/ptx/module.h"

namespace softgpu::ptx {

class Parser {
 public:
  explicit Parser(std::string_view text);
  Module Run();

 private:
  struct Named {
    enum class Kind : uint8_t { kRegister, kVariable, kLabel, kTable, kFunction };
    Kind kind;
    int index;
  };
  using Names = std::unordered_map<std::string_view, Named>;
  struct RegisterRange {
    int bits;
    int64_t count;
  };
  // .branchtargets whose labels are not all known yet.
  struct PendingTable {
    std::string name;
    int line;
    std::vector<std::string_view> labels;
    std::vector<int> targets;  // -1: not known yet
  };
  struct Scope {
    Names names;
    std::unordered_map<std::string_view, RegisterRange> ranges;  // by the name before <N>
    std::vector<int> pending;  // instructions with names that are not bound yet
    std::vector<PendingTable> tables;
  };
  struct Body {
    Function function;
    std::vector<Scope> scopes;
    std::unordered_map<std::string_view, int> uses;  // variables and tables of a name
    std::vector<std::string> tables;                 // unique names
    SourceLine source;
    int64_t declared_registers = 0;
  };
  struct Type {
    int bits;  // 1: a predicate
    bool is_float;
  };
  struct Linkage {
    bool is_extern = false;
  };
  // One declarator of a variable: what precedes its name, and its dimensions.
  struct Declared {
    Variable variable;
    Type type{0, false};
    uint32_t vector = 1;
    std::vector<uint64_t> dimensions;  // outermost first; 0: []
  };
  struct MaskedByte {  // 0xFF00(symbol) in an array of bytes
    uint64_t offset;
    uint64_t mask;
    Relocation relocation;
    int line;
  };

  // parser.cc
  [[noreturn]] static void Fail(int line, const std::string& what);
  // Accounts for memory that the module takes; throws where the text asks for too much.
  void Charge(uint64_t bytes);
  std::string_view TakeIdentifier(std::string_view what);
  void ParseHeader();
  void ParseModuleStatement();
  void ParseFile();
  void ParseSection();
  void ParseAlias();
  void SkipLocAttributes();
  SourceLine ParseLoc();
  void AddModuleVariable(Variable variable, std::string_view name);
  void CheckRelocations() const;

  // parser_declarations.cc
  static bool FindSpace(std::string_view directive, Space* space);
  Type ParseType();
  Declared ParseDeclaredHead(Space space);  // all before the name
  void ParseDimensions(Declared& declared);
  void ParseAttribute();
  void ParseVariables(Space space, Linkage linkage, Body* body);
  void ParseInitial(Declared& declared);
  uint64_t ParseInitialBlock(Declared& declared, size_t level, uint64_t begin, uint64_t capacity,
                             std::vector<MaskedByte>& masked);
  void ParseInitialElement(Declared& declared, uint64_t offset, std::vector<MaskedByte>& masked);
  Relocation ParseSymbolAddress(uint64_t offset, int bytes);
  static void JoinMaskedBytes(Variable& variable, const std::vector<MaskedByte>& masked);
  void StoreInitial(Variable& variable, uint64_t offset, int bytes, uint64_t value);
  std::vector<Variable> ParseParameters(bool unnamed);
  void ParseFunction(bool is_entry);
  void ParseFunctionAttributes(Function& function);
  void ParseThreads(uint32_t (&threads)[3], std::string_view directive);
  int AddFunction(const Function& function, std::string_view name);
  void ParsePrototype();

  // parser_body.cc
  void ParseBody(Body& body);
  void ParseStatement(Body& body);
  void ParseBodyDirective(Body& body);
  void ParseRegisters(Body& body);
  void ParseLabel(Body& body);
  void ParseInstruction(Body& body);
  void ParseGuard(Body& body, Instruction& instruction);
  void AddBodyVariable(Body& body, Variable variable, std::string_view name);
  std::string UniqueName(Body& body, std::string_view name);
  void Declare(Scope& scope, std::string_view name, Named named, int line);
  void CloseScope(Body& body);
  void DeclareTable(Body& body, std::string_view name, int line);
  bool BindLabels(const Body& body, const Scope& scope, Operand& operand) const;
  void BindModuleNames(const Instruction& instruction, Operand& operand) const;
  void BindTable(Body& body, const Scope& scope, PendingTable& table, Scope* outer) const;
  // The innermost meaning of a name; registers of a range come into being here.
  const Named* Find(Body& body, std::string_view name);
  const Named* FindInRanges(Body& body, Scope& scope, std::string_view name);

  // parser_operands.cc
  void ParseOperands(Body& body, Instruction& instruction);
  Operand ParseOperand(Body& body, const Instruction& instruction);
  Operand ParseNamed(Body& body, const Instruction& instruction);
  Operand ParseConstant();
  Operand ParseList(Body& body, const Instruction& instruction, std::string_view close);
  Operand ParseAddress(Body& body, const Instruction& instruction);
  void ParseOffset(int64_t* offset);
  Operand BindName(Body& body, const Instruction& instruction, const Token& token);

  Lexer lexer_;
  uint64_t budget_;
  Module module_;
  Names names_;  // functions and variables of the module
};

inline constexpr uint64_t kLargestVariable = uint64_t{1} << 40;

// A symbol that is not bound yet has this index in its operand.
inline constexpr int kUnbound = -2;

}  // namespace softgpu::ptx
