// Every row of the arithmetic's coverage table, with every combination of modifiers, against the
// oracles: values and what counts as never written; and that the table says all there is.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/softgpu/machine/alu.h"
#include "tests/softgpu/tests/arithmetic_rows.h"
#include "tests/softgpu/tests/exact.h"

namespace softgpu::testing {
namespace {

std::string Hex(Word v) {
  char text[48];
  std::snprintf(text, sizeof(text), "%llx.%016llx", static_cast<unsigned long long>(v >> 64),
                static_cast<unsigned long long>(v));
  return text;
}
std::string InputText(const Form& form, const Inputs& inputs, size_t lane) {
  std::string text = form.mnemonic + " lane " + std::to_string(lane) + " of";
  for (const auto& values : inputs.values) text += " " + Hex(values[lane]);
  if (form.operands.find("lut") != std::string::npos) text += " lut " + std::to_string(form.lut);
  return text;
}

// Floats as integers that ascend with them.
int64_t Place(const Format& f, uint64_t bits) {
  const auto size = static_cast<int64_t>(bits & (f.sign() - 1));
  return bits & f.sign() ? -size : size;
}
bool Close(const Format& f, const Expected& expected, uint64_t got) {
  const uint64_t want = static_cast<uint64_t>(expected.bits);
  const double w = ValueOf(f, want), g = ValueOf(f, got);
  if (std::isnan(w) || std::isnan(g)) return want == got;
  return std::abs(Place(f, want) - Place(f, got)) <= expected.ulps;
}
bool Agrees(const std::string& type, const Expected& expected, Word got) {
  const uint64_t bits = static_cast<uint64_t>(got);
  const uint64_t want = static_cast<uint64_t>(expected.bits);
  const Format f = FormatNamed(type);
  if (expected.any_nan) return std::isnan(ValueOf(f, bits));
  if (expected.relative > 0) {
    const double w = ValueOf(f, want), g = ValueOf(f, bits);
    if (!std::isfinite(w) || w == 0) return want == bits;
    return (bits & 0xffffffffu) == 0 && std::fabs(g - w) <= expected.relative * std::fabs(w);
  }
  if (expected.ulps == 0) return expected.bits == got;
  if (type != "f16x2" && type != "bf16x2") return Close(f, expected, bits);
  for (int half = 0; half < 2; ++half) {
    Expected part = expected;
    part.bits = want >> (16 * half) & 0xffff;
    if (!Close(f, part, bits >> (16 * half) & 0xffff)) return false;
  }
  return true;
}

std::vector<Word> LaneOf(const Inputs& inputs, size_t lane) {
  std::vector<Word> in;
  for (const auto& values : inputs.values) in.push_back(values[lane]);
  return in;
}

void CheckValues(const Form& form, uint64_t seed, size_t lanes) {
  const Inputs inputs = MakeInputs(form, seed, lanes);
  const Outputs outputs = RunForm(form, inputs);
  if (outputs.values.empty()) return;
  for (size_t lane = 0; lane < inputs.lanes(); ++lane) {
    const auto expected = Oracle(form, LaneOf(inputs, lane));
    for (size_t k = 0; k < form.results.size(); ++k) {
      ASSERT_TRUE(Agrees(form.results[k], expected[k], outputs.values[k][lane]))
          << InputText(form, inputs, lane) << ": result " << k << " is "
          << Hex(outputs.values[k][lane]) << ", not " << Hex(expected[k].bits);
      ASSERT_EQ(outputs.unwritten[k][lane], 0u) << InputText(form, inputs, lane);
    }
  }
}

std::vector<Row> Rows() { return ReadRows(); }
std::string RowName(const ::testing::TestParamInfo<Row>& info) {
  std::string name;
  for (const char c : info.param.pattern + "_" + info.param.operands) {
    if (std::isalnum(static_cast<unsigned char>(c))) name += c;
    if ((c == ',' || c == ' ') && !name.empty() && name.back() != '_') name += '_';
  }
  return std::to_string(info.index) + "_" + name.substr(0, 60);
}

class ArithmeticRow : public ::testing::TestWithParam<Row> {};

TEST_P(ArithmeticRow, GivesWhatTheOracleSays) {
  uint64_t seed = 1;
  const std::vector<Form> forms = Expand(GetParam());
  // Rows of many kin (set has thousands) share the work.
  const size_t lanes = forms.size() > 60 ? 192 : 1024;
  for (Form form : forms) {
    const bool lut = form.operands.find("lut") != std::string::npos;
    for (uint32_t table = 0; table < (lut ? 256u : 1u); table += 5) {  // 0, 5, ..., 255
      form.lut = table;
      CheckValues(form, ++seed, lanes);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, ArithmeticRow, ::testing::ValuesIn(Rows()), RowName);

}  // namespace
}  // namespace softgpu::testing
