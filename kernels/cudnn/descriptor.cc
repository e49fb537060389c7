#include "kernels/cudnn/descriptor.h"

namespace lseg::cudnn {

std::string Words(cudnnStatus_t status) {
  char more[512] = "";
  cudnnGetLastErrorString(more, sizeof(more));
  return std::string(cudnnGetErrorString(status)) + (more[0] != 0 ? ": " : "") + more;
}

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  LSEG_CUDNN_CHECK(cudnnBackendCreateDescriptor(type, &descriptor_));
}

Descriptor::~Descriptor() {
  if (descriptor_ != nullptr) cudnnBackendDestroyDescriptor(descriptor_);
}

void Descriptor::Set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     int64_t count, const void* values) {
  const cudnnStatus_t status = cudnnBackendSetAttribute(descriptor_, name, type, count, values);
  LSEG_CHECK(status == CUDNN_STATUS_SUCCESS, "cuDNN: attribute " << name << ": " << Words(status));
}

}  // namespace lseg::cudnn
