// .caffemodel files: Caffe's NetParameter as a binary protobuf, into a WeightsFile and out of one.
//
// Of such a file's layers only what they have learned is taken: the first blob of a Convolution or
// Deconvolution is "<layer>.weight", the second "<layer>.bias". Both of Caffe's forms are read:
// `layer`, whose blobs have a shape, and `layers` (before 2015), whose blobs have num, channels,
// height and width. The format has no place for metadata.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "framework/weights.h"

namespace lseg {

struct CaffeModel {
  WeightsFile weights;
  // "fc6 (InnerProduct)": layers whose blobs were not taken, since this framework has no such type
  // with weights; in the file's order.
  std::vector<std::string> skipped;
};

// A bias whose leading dimensions are 1, such as 1x1x1xN of the old form, becomes one of N. The
// bytes are not trusted: lengths are checked against the file's size, values against their shape,
// before memory is taken. That a file was cut exactly between two layers cannot be seen. Throws
// Error "name: rule, values" in one line; a file without any weights that are taken is one, too.
CaffeModel ParseCaffeModel(std::string_view bytes, const std::string& name);

// In the newer form: a layer for each "<layer>.weight", in the order of their names, with the type
// that `types` has for the name, else Convolution (Caffe loads by the name and ignores the type).
// Tensors of other keys (a solver's memory) are left out and named in `left_out`. The same tensors
// give the same bytes. Throws Error for a bias without its weight, and above 2 GiB, the most that
// Caffe reads.
std::string SerializeCaffeModel(const WeightsFile& weights,
                                const std::map<std::string, std::string>& types,
                                std::vector<std::string>* left_out);

// What --weights means in the programs: the kind is told by the name, which ends in .caffemodel, or
// else is that of a safetensors file. `skipped`: as in CaffeModel.
bool IsCaffeModel(const std::string& path);
// Of bytes in memory; `name` stands for the path.
WeightsFile ParseWeights(std::string_view bytes, const std::string& name,
                         std::vector<std::string>* skipped);
WeightsFile ReadWeights(const std::string& path, std::vector<std::string>* skipped);

}  // namespace lseg
