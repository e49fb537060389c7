// A filtered definition is a definition again: layers are copied, each with its own table of lines.
#include "framework/definition.h"

#include <algorithm>
#include <set>

#include "framework/file.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

std::string DescribeLayer(const caffe::LayerParameter& layer) {
  const std::string type = Printable(layer.type());
  if (!layer.name().empty()) {
    return "layer '" + Printable(layer.name()) + "'" + (type.empty() ? "" : " (" + type + ")");
  }
  std::string known = type;
  const bool by_top = layer.top_size() > 0;
  if (by_top || layer.bottom_size() > 0) {
    if (!known.empty()) known += ", ";
    known += by_top ? "top '" + Printable(layer.top(0)) + "'"
                    : "bottom '" + Printable(layer.bottom(0)) + "'";
  }
  return known.empty() ? "layer" : "layer (" + known + ")";
}

bool Meets(const caffe::NetState& state, const caffe::NetStateRule& rule) {
  if (rule.has_phase() && rule.phase() != state.phase()) return false;
  if (rule.has_min_level() && state.level() < rule.min_level()) return false;
  if (rule.has_max_level() && state.level() > rule.max_level()) return false;
  const std::set<std::string> stages(state.stage().begin(), state.stage().end());
  return std::all_of(rule.stage().begin(), rule.stage().end(),
                     [&](const std::string& stage) { return stages.count(stage) > 0; }) &&
         std::none_of(rule.not_stage().begin(), rule.not_stage().end(),
                      [&](const std::string& stage) { return stages.count(stage) > 0; });
}

bool Belongs(const caffe::NetState& state, const caffe::LayerParameter& layer) {
  const auto met = [&](const caffe::NetStateRule& rule) { return Meets(state, rule); };
  if (layer.include_size() > 0) {
    return std::any_of(layer.include().begin(), layer.include().end(), met);
  }
  return std::none_of(layer.exclude().begin(), layer.exclude().end(), met);
}

constexpr char kOldLayers[] =
    "'layers { }' is Caffe's language before 2015: write 'layer { }', type as a string "
    "(\"Convolution\") and param { lr_mult: decay_mult: } for blobs_lr and weight_decay";

// A text error as one line; inside an unfinished layer it names the layer as far as it was read.
[[noreturn]] void FailOnText(const caffe::NetParameter& read, const ParsedText& parsed,
                             const std::string& name) {
  if (read.layers_size() > 0) {
    const int first = parsed.lines.Line("layers");
    LSEG_FAIL(TextPosition(name, first > 0 ? first : parsed.error->line) << ": " << kOldLayers);
  }
  const int last = read.layer_size() - 1;
  const bool inside = last >= 0 && !parsed.lines.Complete("layer", last);
  LSEG_FAIL(TextPosition(name, parsed.error->line)
            << ": " << (inside ? DescribeLayer(read.layer(last)) + ": " : "")
            << parsed.error->message);
}

}  // namespace

NetDefinition NetDefinition::FromFile(const std::string& path) {
  return FromText(ReadFile(path), path);
}

NetDefinition NetDefinition::FromText(const std::string& text, const std::string& name) {
  caffe::NetParameter net;
  const ParsedText parsed = ParseProtoText(text, &net);
  if (parsed.error) FailOnText(net, parsed, name);
  NetDefinition definition = FromMessage(net, parsed.lines, name);
  definition.text_ = std::make_shared<const std::string>(text);
  return definition;
}

NetDefinition NetDefinition::FromMessage(const caffe::NetParameter& net, const FieldLines& lines,
                                         const std::string& name) {
  NetDefinition definition;
  definition.name_ = name;
  definition.text_ = std::make_shared<const std::string>(net.Utf8DebugString());
  LSEG_CHECK(net.layers_size() == 0, definition.At(lines.Line("layers")) << ": " << kOldLayers);
  definition.net_ = net;
  definition.net_.clear_layer();
  definition.TakeInputs(net, lines);
  definition.TakeLayers(net, lines);
  LSEG_CHECK(definition.layer_count() > 0, name << ": the net has no layers");
  definition.state_line_ = lines.Line("state");
  if (net.debug_info()) {
    definition.notes_.push_back(definition.At(lines.Line("debug_info")) +
                                ": debug_info is ignored: a value that is not finite is always "
                                "reported with its layer");
  }
  return definition;
}

void NetDefinition::TakeInputs(const caffe::NetParameter& net, const FieldLines& lines) {
  const int inputs = net.input_size(), shapes = net.input_shape_size();
  const int dims = net.input_dim_size();
  if (inputs == 0) {
    LSEG_CHECK(shapes == 0 && dims == 0, At(lines.Line(shapes > 0 ? "input_shape" : "input_dim"))
                                             << ": a shape of inputs, but no input");
    return;
  }
  const std::string at = At(lines.Line("input"));
  LSEG_CHECK(shapes == 0 || dims == 0,
             at << ": inputs have both input_shape and input_dim: give one of them");
  LSEG_CHECK(shapes == inputs || dims == 4 * inputs,
             at << ": " << inputs << " input(s) need as many input_shape, or 4 input_dim each "
                << "(N C H W), but there are " << shapes << " and " << dims);
  caffe::LayerParameter* layer = net_.add_layer();
  layer->set_name("input");
  layer->set_type("Input");
  for (int i = 0; i < inputs; ++i) {
    layer->add_top(net.input(i));
    caffe::BlobShape* shape = layer->mutable_input_param()->add_shape();
    if (shapes > 0) *shape = net.input_shape(i);
    for (int d = 0; shapes == 0 && d < 4; ++d) shape->add_dim(net.input_dim(4 * i + d));
  }
  layers_.push_back({lines.Line("input"), FieldLines()});
  net_.clear_input();
  net_.clear_input_shape();
  net_.clear_input_dim();
}

void NetDefinition::TakeLayers(const caffe::NetParameter& net, const FieldLines& lines) {
  for (int i = 0; i < net.layer_size(); ++i) {
    const int index = layer_count();
    *net_.add_layer() = net.layer(i);
    layers_.push_back({lines.Line("layer", i), lines.Nested("layer", i)});
    LSEG_CHECK(net.layer(i).include_size() == 0 || net.layer(i).exclude_size() == 0,
               Where(index, "exclude") << ": include and exclude do not go together: give one");
  }
}

NetDefinition NetDefinition::Filtered(caffe::Phase phase, int level,
                                      const std::vector<std::string>& stages) const {
  caffe::NetState state;
  state.set_phase(phase);
  state.set_level(level);
  for (const std::string& stage : stages) state.add_stage(stage);
  return Filtered(state);
}

NetDefinition NetDefinition::Filtered(const caffe::NetState& wanted) const {
  caffe::NetState state = wanted;
  const caffe::NetState& own = net_.state();
  LSEG_CHECK(!own.has_phase() || own.phase() == wanted.phase(),
             At(state_line_) << ": the net is for phase " << caffe::Phase_Name(own.phase())
                             << " and cannot be used for phase "
                             << caffe::Phase_Name(wanted.phase()));
  if (state.level() == 0) state.set_level(own.level());
  for (const std::string& stage : own.stage()) state.add_stage(stage);

  NetDefinition filtered = *this;
  filtered.net_.clear_layer();
  filtered.layers_.clear();
  for (int i = 0; i < layer_count(); ++i) {
    if (!Belongs(state, layer(i))) continue;
    LSEG_CHECK(!layer(i).has_phase() || layer(i).phase() == state.phase(),
               Where(i, "phase") << ": phase " << caffe::Phase_Name(layer(i).phase())
                                 << " in a net for phase " << caffe::Phase_Name(state.phase())
                                 << ": to leave the layer out, write include { phase: "
                                 << caffe::Phase_Name(layer(i).phase()) << " }");
    caffe::LayerParameter* kept = filtered.net_.add_layer();
    *kept = layer(i);
    kept->set_phase(state.phase());
    filtered.layers_.push_back(layers_[i]);
  }
  return filtered;
}

int NetDefinition::LineOf(int layer, const std::string& field, int index) const {
  const int line = layers_[layer].fields.Line(field, index);
  return line > 0 ? line : layers_[layer].line;
}

std::string NetDefinition::At(int line) const { return TextPosition(name_, line); }

std::string NetDefinition::Where(int layer) const {
  return At(LineOf(layer)) + ": " + Describe(layer);
}

std::string NetDefinition::Where(int layer, const std::string& field, int index) const {
  return At(LineOf(layer, field, index)) + ": " + Describe(layer);
}

std::string NetDefinition::Describe(int layer) const { return DescribeLayer(net_.layer(layer)); }

}  // namespace lseg
