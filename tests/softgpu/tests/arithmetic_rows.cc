// See arithmetic_rows.h.
#include "tests/softgpu/tests/arithmetic_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace softgpu::testing {
namespace {

const std::map<std::string, int>& TypeSizes() {
  static const std::map<std::string, int> sizes = {
      {"u8", 8},     {"s8", 8},      {"b8", 8},     {"u16", 16},   {"s16", 16},    {"b16", 16},
      {"f16", 16},   {"bf16", 16},   {"u32", 32},   {"s32", 32},   {"b32", 32},    {"f32", 32},
      {"f16x2", 32}, {"bf16x2", 32}, {"u16x2", 32}, {"s16x2", 32}, {"tf32", 32},   {"u64", 64},
      {"s64", 64},   {"b64", 64},    {"f64", 64},   {"b128", 128}, {"e4m3x2", 16}, {"e5m2x2", 16},
      {"pred", 1},   {"carry", 1}};
  return sizes;
}

std::vector<std::string> Split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

std::vector<std::string> ExpandBraces(const std::string& text) {
  const size_t open = text.find('{');
  if (open == std::string::npos) return {text};
  const size_t close = text.find('}', open);
  std::vector<std::string> all;
  std::string choices = text.substr(open + 1, close - open - 1) + ",";
  for (size_t from = 0; from < choices.size();) {
    const size_t comma = choices.find(',', from);
    const std::string choice = choices.substr(from, comma - from);
    for (auto& rest : ExpandBraces(text.substr(0, open) + choice + text.substr(close + 1))) {
      all.push_back(std::move(rest));
    }
    from = comma + 1;
  }
  return all;
}

// "1", "w", "b32", "p", ... as a type.
std::string TypeOfToken(const Form& form, const std::string& token) {
  if (token == "p") return "pred";
  if (token == "ci" || token == "co") return "carry";
  if (token == "1" || token == "2") return form.types_.at(static_cast<size_t>(token[0] - '1'));
  if (token != "w") return token;
  const std::string& narrow = form.types_.at(0);
  return narrow.substr(0, 1) + std::to_string(2 * TypeBits(narrow));
}

// The token's operands: "b32+p" two, "{b16,b16}" two, "lut" none.
std::vector<std::string> TypesOfToken(const Form& form, const std::string& token) {
  std::vector<std::string> types;
  if (token == "lut") return types;
  std::string plain = token;
  for (char& c : plain) {
    if (c == '+') c = ',';
  }
  if (plain[0] == '{') plain = plain.substr(1, plain.size() - 2);
  for (const std::string& part : Split(plain, ',')) types.push_back(TypeOfToken(form, part));
  return types;
}

std::string Register(const std::string& type, size_t k) {
  if (type == "f32") return "%f" + std::to_string(k);
  if (type == "f64") return "%e" + std::to_string(k);
  switch (RegisterBits(type)) {
    case 1:
      return "%p" + std::to_string(k);
    case 16:
      return "%h" + std::to_string(k);
    case 32:
      return "%r" + std::to_string(k);
    case 64:
      return "%d" + std::to_string(k);
    default:
      return "%q" + std::to_string(k % 10);
  }
}
// Of 128-bit registers there are 8: sources from 0, results from 4 on.
std::string SourceRegister(const std::string& type, size_t k) { return Register(type, 10 + k); }
std::string ResultRegister(const std::string& type, size_t k) {
  return Register(type, (type == "b128" ? 24 : 20) + k);
}
int StoredBytes(const std::string& type) {
  return RegisterBits(type) == 1 ? 4 : RegisterBits(type) / 8;
}

// The instruction's operands in PTX.
std::string OperandText(const Form& form) {
  std::string text;
  size_t result = 0, source = 0;
  bool destination = true;
  for (const std::string& token : Split(form.operands, ' ')) {
    std::vector<std::string> registers;
    const auto types = TypesOfToken(form, token);
    for (const std::string& type : types) {
      registers.push_back(destination     ? ResultRegister(type, result++)
                          : token == "co" ? (++result, "")
                                          : SourceRegister(type, source++));
    }
    destination = false;
    if (token == "ci" || token == "co") continue;
    std::string joined = token == "lut" ? std::to_string(form.lut) : "";
    for (size_t k = 0; k < registers.size(); ++k) {
      joined += (k ? token[0] == '{' ? ", " : "|" : "") + registers[k];
    }
    if (token[0] == '{') joined = "{" + joined + "}";
    text += (text.empty() ? "" : ", ") + joined;
  }
  return text;
}

}  // namespace

int RegisterBits(const std::string& type) {
  return std::max(TypeBits(type), TypeBits(type) == 8 ? 16 : 1);
}
int TypeBits(const std::string& type) { return TypeSizes().at(type); }

bool Form::Has(const std::string& word) const {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::vector<Row> ReadRows() {
  std::ifstream file(SOFTGPU_ARITHMETIC_TABLE);
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("| `", 0) != 0) continue;
    const auto cells = Split(line, '|');
    const auto code = [](const std::string& cell) {
      const size_t from = cell.find('`') + 1;
      return cell.substr(from, cell.rfind('`') - from);
    };
    Row row;
    row.pattern = code(cells.at(1));
    row.operands = code(cells.at(2));
    row.sm = std::stoi(cells.at(3));
    row.bits = cells.at(4).find("bits") != std::string::npos;
    rows.push_back(row);
  }
  return rows;
}

std::vector<Form> Expand(const Row& row) {
  std::vector<Form> forms;
  for (const std::string& mnemonic : ExpandBraces(row.pattern)) {
    Form form;
    form.mnemonic = mnemonic;
    form.words = Split(mnemonic, '.');
    form.operands = row.operands;
    form.sm = row.sm;
    form.bits = row.bits;
    for (size_t k = 1; k < form.words.size(); ++k) {
      if (TypeSizes().count(form.words[k])) form.types_.push_back(form.words[k]);
    }
    bool destination = true;
    for (const std::string& token : Split(row.operands, ' ')) {
      for (const std::string& type : TypesOfToken(form, token)) {
        (destination || token == "co" ? form.results : form.sources).push_back(type);
      }
      destination = false;
    }
    forms.push_back(form);
  }
  return forms;
}

Case KernelOf(const Form& form, const Inputs& inputs) {
  Case test;
  test.arch = form.sm;
  test.threads = static_cast<uint32_t>(inputs.lanes());
  for (size_t k = 0; k < form.sources.size(); ++k) {
    const std::string& type = form.sources[k];
    const int bytes = StoredBytes(type);
    const int b = static_cast<int>(k);
    Buffer buffer = Buffer::Blank(inputs.lanes() * static_cast<size_t>(bytes));
    for (size_t l = 0; l < inputs.lanes(); ++l) {
      std::memcpy(&buffer.bytes[l * bytes], &inputs.values[k][l], static_cast<size_t>(bytes));
      for (int byte = 0; byte < bytes; ++byte) {
        const int bit = RegisterBits(type) == 1 ? 0 : byte;
        buffer.written[l * bytes + byte] = !((inputs.unwritten[k][l] >> bit) & 1);
      }
    }
    test.buffers.push_back(buffer);
    const std::string source = SourceRegister(type, k);
    if (RegisterBits(type) == 1) {
      const std::string word = "%r" + std::to_string(10 + k);
      test.body += LoadMine(b, "b32", word, 4);
      test.body += type == "carry" ? "mov.u32 %r90, -1;\nadd.cc.u32 %r91, " + word + ", %r90;\n"
                                   : "setp.ne.u32 " + source + ", " + word + ", 0;\n";
    } else {
      test.body += LoadMine(b, "b" + std::to_string(8 * bytes), source, bytes);
    }
  }
  test.body += form.mnemonic + " " + OperandText(form) + ";\n";
  for (size_t k = 0; k < form.results.size(); ++k) {
    const std::string& type = form.results[k];
    const int bytes = StoredBytes(type);
    const int b = static_cast<int>(form.sources.size() + k);
    test.buffers.push_back(Buffer::Blank(inputs.lanes() * static_cast<size_t>(bytes)));
    std::string result = ResultRegister(type, k);
    if (type == "carry") {
      result = "%r92";
      test.body += "mov.u32 %r93, 0;\naddc.u32 %r92, %r93, %r93;\n";
    } else if (type == "pred") {
      test.body += "selp.u32 %r94, 1, 0, " + result + ";\n";
      result = "%r94";
    }
    test.body += StoreMine(b, "b" + std::to_string(8 * bytes), result, bytes);
  }
  return test;
}

Outputs RunForm(const Form& form, const Inputs& inputs) {
  const Case test = KernelOf(form, inputs);
  Outputs outputs;
  Outcome outcome;
  try {
    outcome = RunPtx(test);
  } catch (const ptx::Error& error) {
    ADD_FAILURE() << form.mnemonic << ": " << error.what();
    return outputs;
  }
  EXPECT_EQ(outcome.result.error, 0) << form.mnemonic << outcome.Text();
  for (size_t k = 0; k < form.results.size(); ++k) {
    const Buffer& buffer = outcome.buffers[form.sources.size() + k];
    const int bytes = StoredBytes(form.results[k]);
    std::vector<Word> values;
    std::vector<uint32_t> unwritten;
    for (size_t l = 0; l < inputs.lanes(); ++l) {
      Word value = 0;
      uint32_t mask = 0;
      std::memcpy(&value, &buffer.bytes[l * bytes], static_cast<size_t>(bytes));
      for (int byte = 0; byte < bytes; ++byte) {
        mask |= static_cast<uint32_t>(!buffer.written[l * bytes + byte]) << byte;
      }
      values.push_back(value);
      unwritten.push_back(mask);
    }
    outputs.values.push_back(values);
    outputs.unwritten.push_back(unwritten);
  }
  return outputs;
}

std::vector<Expected> Oracle(const Form& form, const std::vector<Word>& in) {
  std::vector<Expected> out;
  const bool known = ConvertOracle(form, in, out) || CompareOracle(form, in, out) ||
                     LogicOracle(form, in, out) || FloatOracle(form, in, out) ||
                     IntegerOracle(form, in, out);
  if (!known || out.size() != form.results.size()) {
    ADD_FAILURE() << form.mnemonic << ": no oracle";
    out.assign(form.results.size(), {});
  }
  return out;
}

}  // namespace softgpu::testing
