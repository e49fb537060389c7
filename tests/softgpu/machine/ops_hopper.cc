// Instructions that sm_90a has for asynchronous work.
#include "tests/softgpu/machine/decode.h"

namespace softgpu {
namespace {

// A hint of how many registers a thread wants: nothing to do.
void SetMaxRegisters(Warp&, const Inst&) {}

void BuildSetMaxRegisters(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (words.TakeOneOf({"inc", "dec"}) < 0 || !words.Take("sync") || !words.Take("aligned") ||
      !words.Take("u32")) {
    words.Refuse("must be setmaxnreg.inc or .dec.sync.aligned.u32");
  }
  words.Finish();
  decoder.Operands(1);
  const int64_t count = decoder.Integer(instruction.operands[0]);
  if (count < 24 || count > 256 || count % 8) words.Refuse("the count is 24 to 256 in steps of 8");
  inst.exec = SetMaxRegisters;
}

}  // namespace

void AddHopperOps(BuilderTable& table) { table["setmaxnreg"] = BuildSetMaxRegisters; }

}  // namespace softgpu
