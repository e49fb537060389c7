// A solver's definition, with the nets that stand in it or beside it.
#include "framework/solver_definition.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lseg;
  fuzz::Accepts([&] {
    const std::string text(fuzz::Bytes(data, size));
    // A folder that is not there: nets are looked for and not found.
    const SolverDefinition solver =
        SolverDefinition::FromText(text, "/nonexistent/solver.prototxt");
    for (const std::string& note : solver.notes()) fuzz::RequireOneLine(note);
    const caffe::SolverParameter& values = solver.solver();
    fuzz::Require(values.base_lr() >= 0 && values.momentum() < 1 && values.iter_size() >= 1,
                  "a solver's numbers are in their ranges");
    fuzz::Accepts([&] {
      if (const auto net = solver.TrainNet()) net->Filtered(solver.TrainState());
    });
    fuzz::Accepts([&] {
      if (const auto net = solver.TestNet()) net->Filtered(solver.TestState());
    });
  });
  return 0;
}
