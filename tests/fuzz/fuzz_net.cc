// A net's definition, through the filter of phases, and all that is said of its layers.
#include "framework/definition.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lseg;
  fuzz::Accepts([&] {
    const std::string text(fuzz::Bytes(data, size));
    const NetDefinition net = NetDefinition::FromText(text, "net.prototxt");
    for (const std::string& note : net.notes()) fuzz::RequireOneLine(note);
    fuzz::Require(net.text() == text, "a net keeps its text");
    for (const caffe::Phase phase : {caffe::TRAIN, caffe::TEST}) {
      fuzz::Accepts([&] {
        const NetDefinition filtered = net.Filtered(phase);
        fuzz::Require(filtered.layer_count() <= net.layer_count(), "a filter adds no layer");
        for (int i = 0; i < filtered.layer_count(); ++i) {
          fuzz::RequireOneLine(filtered.Where(i));
          fuzz::RequireOneLine(filtered.Where(i, "bottom", 1));
          fuzz::RequireOneLine(filtered.Where(i, "convolution_param.weight_filler.type"));
        }
      });
    }
  });
  return 0;
}
