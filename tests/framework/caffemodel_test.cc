// .caffemodel files: bytes put together by hand from protobuf's wire format, files of Caffe's two
// forms made with protobuf itself, and hostile ones.
#include "framework/caffemodel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <functional>

#include "framework/proto/caffe.pb.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

using namespace std::string_literals;  // "..."s keeps zero bytes
using testing::ElementsAre;
using testing::HasSubstr;
using Shape = std::vector<int64_t>;
using Floats = std::vector<float>;

std::string ParseError(const std::string& bytes) {
  return ErrorOf([&] { ParseCaffeModel(bytes, "m.caffemodel"); });
}
CaffeModel Parse(const caffe::NetParameter& net) {
  return ParseCaffeModel(net.SerializeAsString(), "m.caffemodel");
}

void Fill(caffe::BlobProto* blob, const Shape& dims, const Floats& values) {
  for (const int64_t dim : dims) blob->mutable_shape()->add_dim(dim);
  for (const float value : values) blob->add_data(value);
}
void FillOld(caffe::BlobProto* blob, const std::array<int, 4>& dims, const Floats& values) {
  blob->set_num(dims[0]);
  blob->set_channels(dims[1]);
  blob->set_height(dims[2]);
  blob->set_width(dims[3]);
  for (const float value : values) blob->add_data(value);
}
caffe::LayerParameter* AddLayer(caffe::NetParameter* net, const std::string& name,
                                const std::string& type) {
  caffe::LayerParameter* layer = net->add_layer();
  layer->set_name(name);
  layer->set_type(type);
  return layer;
}

// Two layers of the newer form.
caffe::NetParameter NewNet() {
  caffe::NetParameter net;
  net.set_name("net");
  auto* conv = AddLayer(&net, "conv", "Convolution");
  Fill(conv->add_blobs(), {2, 1, 1, 2}, {1, -2, 3, -4});
  Fill(conv->add_blobs(), {2}, {0.5f, 0.25f});
  AddLayer(&net, "relu", "ReLU");
  Fill(AddLayer(&net, "up", "Deconvolution")->add_blobs(), {1, 1, 1, 1}, {7});
  return net;
}

// layer { name: "c" type: "Convolution" blobs { data: 1 data: -2 shape { dim: 1 dim: 2 } } } by
// Caffe's field numbers: layer 100, name 1, type 2, blobs 7, data 5 (packed), shape 7, dim 1
// (packed).
const std::string kByHand =
    "\xa2\x06\x22"
    "\x0a\x01"
    "c\x12\x0b"
    "Convolution\x3a\x10\x2a\x08\0\0\x80\x3f\0\0\0\xc0\x3a\x04\x0a\x02\x01\x02"s;

// layers { name: "c" type: CONVOLUTION blobs { num: 1 channels: 1 height: 1 width: 2 data: 1
// data: -2 } }: layers 2, name 4, type 5, blobs 6, num to width 1 to 4; each value by itself, as
// protobuf wrote them before [packed].
const std::string kOldByHand =
    "\x12\x19\x22\x01"
    "c\x28\x04\x32\x12\x08\x01\x10\x01\x18\x01\x20\x02\x2d\0\0\x80\x3f\x2d\0\0\0\xc0"s;

TEST(CaffeModel, BytesOfBothForms) {
  const CaffeModel model = ParseCaffeModel(kByHand, "m");
  ASSERT_EQ(model.weights.tensors().size(), 1u);
  EXPECT_EQ(model.weights.tensors()[0].key, "c.weight");
  EXPECT_EQ(model.weights.tensors()[0].shape, (Shape{1, 2}));
  EXPECT_EQ(model.weights.tensors()[0].data, (Floats{1, -2}));
  const CaffeModel old = ParseCaffeModel(kOldByHand, "m");
  ASSERT_EQ(old.weights.tensors().size(), 1u);
  EXPECT_EQ(old.weights.tensors()[0].key, "c.weight");
  EXPECT_EQ(old.weights.tensors()[0].shape, (Shape{1, 1, 1, 2}));
  EXPECT_EQ(old.weights.tensors()[0].data, (Floats{1, -2}));
}

TEST(CaffeModel, WritesTheBytesOfTheFormat) {
  WeightsFile weights;
  weights.Add({"c.weight", {1, 2}, {1, -2}});
  std::vector<std::string> left_out;
  EXPECT_EQ(SerializeCaffeModel(weights, {}, &left_out), kByHand);
  EXPECT_THAT(left_out, ElementsAre());
}

TEST(CaffeModel, OldBlobsAndTheirBiases) {
  caffe::NetParameter net;
  auto* layer = net.add_layers();
  layer->set_name("conv1_1");
  layer->set_type(caffe::V1LayerParameter::CONVOLUTION);
  FillOld(layer->add_blobs(), {3, 1, 1, 1}, {1, 2, 3});
  FillOld(layer->add_blobs(), {1, 1, 1, 3}, {4, 5, 6});
  auto* fc = net.add_layers();
  fc->set_name("fc6");
  fc->set_type(caffe::V1LayerParameter::INNER_PRODUCT);
  FillOld(fc->add_blobs(), {1, 1, 1, 2}, {1, 2});
  const CaffeModel model = Parse(net);
  EXPECT_EQ(model.weights.Find("conv1_1.weight")->shape, (Shape{3, 1, 1, 1}));
  EXPECT_EQ(model.weights.Find("conv1_1.bias")->shape, (Shape{3}));
  EXPECT_EQ(model.weights.Find("conv1_1.bias")->data, (Floats{4, 5, 6}));
  EXPECT_EQ(model.weights.tensors().size(), 2u);
  EXPECT_THAT(model.skipped, ElementsAre("fc6 (INNER_PRODUCT)"));
}

TEST(CaffeModel, NewBlobsAndForeignLayers) {
  caffe::NetParameter net = NewNet();
  Fill(AddLayer(&net, "fc\n6", "InnerProduct")->add_blobs(), {1}, {1});
  AddLayer(&net, "drop6", "Dropout");  // without blobs: nothing is lost
  const CaffeModel model = Parse(net);
  EXPECT_THAT(model.skipped, ElementsAre("fc?6 (InnerProduct)"));
  EXPECT_EQ(model.weights.tensors().size(), 3u);
  EXPECT_EQ(model.weights.Find("conv.weight")->data, (Floats{1, -2, 3, -4}));
  EXPECT_EQ(model.weights.Find("up.weight")->data, (Floats{7}));
}

TEST(CaffeModel, DoublesAndScalars) {
  caffe::NetParameter net;
  auto* layer = AddLayer(&net, "c", "Convolution");
  auto* blob = layer->add_blobs();
  blob->mutable_shape()->add_dim(2);
  blob->add_double_data(0.1);
  blob->add_double_data(-3);
  Fill(layer->add_blobs(), {}, {5});  // no dimension: one value
  const CaffeModel model = Parse(net);
  EXPECT_EQ(model.weights.Find("c.weight")->data, (Floats{0.1f, -3}));
  EXPECT_EQ(model.weights.Find("c.bias")->shape, (Shape{1}));
}

TEST(CaffeModel, RoundTripBitForBit) {
  WeightsFile weights;
  Floats odd = {-0.0f, std::ldexp(1.0f, -149), 3.4e38f, INFINITY, 0.1f, 0};
  const uint32_t nan_bits = 0x7fc12345;
  std::memcpy(&odd[5], &nan_bits, sizeof(nan_bits));
  weights.Add({"b.weight", {3, 2, 1, 1}, odd});
  weights.Add({"b.bias", {3}, {1, 2, 3}});
  weights.Add({"a.b-1.weight", {1, 1, 1, 1}, {9}});
  weights.Add({"b.weight/1", {1}, {9}});
  std::vector<std::string> left_out;
  const std::string bytes = SerializeCaffeModel(weights, {{"b", "Deconvolution"}}, &left_out);
  EXPECT_THAT(left_out, ElementsAre("b.weight/1"));
  const CaffeModel again = ParseCaffeModel(bytes, "m");
  ASSERT_EQ(again.weights.tensors().size(), 3u);
  for (const WeightTensor& tensor : again.weights.tensors()) {
    const WeightTensor* before = weights.Find(tensor.key);
    ASSERT_NE(before, nullptr) << tensor.key;
    EXPECT_EQ(tensor.shape, before->shape) << tensor.key;
    ASSERT_EQ(tensor.data.size(), before->data.size());
    EXPECT_EQ(std::memcmp(tensor.data.data(), before->data.data(), 4 * tensor.data.size()), 0);
  }
  caffe::NetParameter net;
  ASSERT_TRUE(net.ParseFromString(bytes));
  ASSERT_EQ(net.layer_size(), 2);
  EXPECT_EQ(net.layer(0).type(), "Convolution");
  EXPECT_EQ(net.layer(1).type(), "Deconvolution");
}

TEST(CaffeModel, WhatCannotBeWritten) {
  std::vector<std::string> left_out;
  WeightsFile lone, nameless;
  lone.Add({"c.bias", {1}, {1}});
  nameless.Add({".weight", {1}, {1}});
  EXPECT_EQ(ErrorOf([&] { SerializeCaffeModel(lone, {}, &left_out); }),
            "'c.bias' is a bias without its weight, which no .caffemodel can hold");
  EXPECT_EQ(ErrorOf([&] { SerializeCaffeModel(nameless, {}, &left_out); }),
            "'.weight' is of a layer without a name");
}

// Cut between two layers a file is whole again, one layer shorter; cut elsewhere it is refused.
TEST(CaffeModel, TruncatedAnywhere) {
  const std::string bytes = NewNet().SerializeAsString();
  std::vector<size_t> whole;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::string error = ParseError(bytes.substr(0, size));
    EXPECT_EQ(error.find('\n'), std::string::npos);
    if (error.empty()) {
      whole.push_back(size);
    } else {
      EXPECT_EQ(error.substr(0, 14), "m.caffemodel: ") << size;
    }
  }
  caffe::NetParameter net = NewNet();
  net.mutable_layer()->RemoveLast();
  const size_t two = net.SerializeAsString().size();
  net.mutable_layer()->RemoveLast();
  EXPECT_THAT(whole, ElementsAre(net.SerializeAsString().size(), two));
  EXPECT_EQ(ParseError(kByHand.substr(0, 20)),
            "m.caffemodel: not a whole .caffemodel: field 100 at byte 0 announces 34 bytes, 17 "
            "follow");
}

// Every byte of a small file replaced in turn: an Error of one line, or a file of other values.
TEST(CaffeModel, DamagedAnywhere) {
  const std::string bytes = NewNet().SerializeAsString();
  size_t refused = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const char value : {'\0', '\x7f', '\xff'}) {
      std::string damaged = bytes;
      damaged[at] = value;
      const std::string error = ParseError(damaged);
      EXPECT_EQ(error.find('\n'), std::string::npos);
      refused += !error.empty();
    }
  }
  EXPECT_GT(refused, bytes.size());
}

TEST(CaffeModel, OtherFiles) {
  EXPECT_EQ(ParseError(""), "m.caffemodel: not a .caffemodel: no layer in its 0 bytes");
  EXPECT_EQ(ParseError("layer { name: \"c\" }"),
            "m.caffemodel: not a .caffemodel: byte 0 starts no field of one");
  EXPECT_EQ(ParseError("\x0a\x03net"s), "m.caffemodel: not a .caffemodel: no layer in its 5 bytes");
  EXPECT_EQ(ParseError("\x08\xff\xff"s),
            "m.caffemodel: not a whole .caffemodel: a number of the field at byte 0 does not end");
  EXPECT_EQ(ParseError("\xa2\x06\x02\x0a\x05"s),
            "m.caffemodel: layer 1 at byte 0 is damaged: its bytes are no layer of Caffe's");
  // A length of 2^63 and more.
  EXPECT_THAT(ParseError("\xa2\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"s),
              HasSubstr("announces 18446744073709551615 bytes, 0 follow"));
  EXPECT_THAT(ParseError("\x12\x04\x0a\x02\x0a\x00"s), HasSubstr("Caffe's oldest form"));
  caffe::NetParameter empty;
  AddLayer(&empty, "fc", "InnerProduct");
  EXPECT_EQ(ErrorOf([&] { Parse(empty); }),
            "m.caffemodel: none of its 1 layers is a Convolution or Deconvolution with weights");
}

std::string Refusal(const std::function<void(caffe::NetParameter*)>& change) {
  caffe::NetParameter net = NewNet();
  change(&net);
  return ErrorOf([&] { Parse(net); });
}

TEST(CaffeModel, LayersThatDoNotFit) {
  EXPECT_EQ(Refusal([](auto* net) { net->mutable_layer(0)->mutable_blobs(0)->add_data(1); }),
            "m.caffemodel: layer 1 at byte 5: 'conv.weight' has 5 values, which do not fill its "
            "shape 2x1x1x2");
  const auto set_dim = [](caffe::NetParameter* net, int64_t value) {
    net->mutable_layer(0)->mutable_blobs(0)->mutable_shape()->set_dim(0, value);
  };
  EXPECT_THAT(Refusal([&](auto* net) { set_dim(net, -2); }), HasSubstr("its shape -2x1x1x2"));
  EXPECT_THAT(Refusal([&](auto* net) { set_dim(net, INT64_MAX); }), HasSubstr("4 values, which"));
  EXPECT_THAT(Refusal([](auto* net) {
                auto* shape = net->mutable_layer(0)->mutable_blobs(0)->mutable_shape();
                while (shape->dim_size() < 33) shape->add_dim(1);
              }),
              HasSubstr("'conv.weight' has 33 dimensions, above Caffe's limit of 32"));
  EXPECT_THAT(Refusal([](auto* net) { net->mutable_layer(0)->add_blobs(); }),
              HasSubstr("layer 1 at byte 5, conv (Convolution), has 3 blobs"));
  EXPECT_THAT(Refusal([](auto* net) { net->mutable_layer(0)->clear_name(); }),
              HasSubstr("layer 1 at byte 5 has weights, but no name"));
  testing::internal::CaptureStderr();  // protobuf would have its say
  EXPECT_EQ(ParseError("\xa2\x06\x12\x0a\x01\xff\x12\x0b"
                       "Convolution\x3a\x00"s),
            "m.caffemodel: layer 1 at byte 0 has a name that is not UTF-8");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_THAT(Refusal([](auto* net) { net->mutable_layer(2)->set_name("conv"); }),
              HasSubstr("'conv.weight' was in an earlier layer already"));
  EXPECT_THAT(Refusal([](auto* net) { net->add_layers(); }),
              HasSubstr("has both `layer` and `layers`"));
}

TEST(ReadWeights, TheNameTellsTheKind) {
  EXPECT_TRUE(IsCaffeModel("a/b.caffemodel"));
  EXPECT_FALSE(IsCaffeModel("a/b.safetensors"));
  EXPECT_FALSE(IsCaffeModel("caffemodel"));
  std::vector<std::string> skipped;
  EXPECT_EQ(ErrorOf([&] { ReadWeights("/nowhere/x.caffemodel", &skipped); }),
            "/nowhere/x.caffemodel: cannot be read: No such file or directory");
}

}  // namespace
}  // namespace lseg
