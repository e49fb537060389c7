// Errors: their names and texts, and each thread's last one.
#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/runtime.h"

namespace {

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};

#define SOFTGPU_ERROR(name, text) \
  { name, #name, text }
constexpr ErrorText kErrors[] = {
    SOFTGPU_ERROR(cudaSuccess, "no error"),
    SOFTGPU_ERROR(cudaErrorInvalidValue, "invalid argument"),
    SOFTGPU_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    SOFTGPU_ERROR(cudaErrorInitializationError, "initialization error"),
    SOFTGPU_ERROR(cudaErrorCudartUnloading, "the program is ending"),
    SOFTGPU_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    SOFTGPU_ERROR(cudaErrorInvalidPitchValue, "invalid pitch argument"),
    SOFTGPU_ERROR(cudaErrorInvalidSymbol, "invalid device symbol"),
    SOFTGPU_ERROR(cudaErrorInvalidHostPointer, "invalid host pointer"),
    SOFTGPU_ERROR(cudaErrorInvalidDevicePointer, "invalid device pointer"),
    SOFTGPU_ERROR(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy"),
    SOFTGPU_ERROR(cudaErrorInsufficientDriver, "the driver is older than the runtime"),
    SOFTGPU_ERROR(cudaErrorMissingConfiguration, "a launch without its configuration"),
    SOFTGPU_ERROR(cudaErrorInvalidDeviceFunction, "invalid device function"),
    SOFTGPU_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    SOFTGPU_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    SOFTGPU_ERROR(cudaErrorInvalidKernelImage, "device kernel image is invalid"),
    SOFTGPU_ERROR(cudaErrorNoKernelImageForDevice, "no kernel image for this device"),
    SOFTGPU_ERROR(cudaErrorUnsupportedLimit, "limit is not supported"),
    SOFTGPU_ERROR(cudaErrorPeerAccessUnsupported, "peer access is not supported"),
    SOFTGPU_ERROR(cudaErrorInvalidPtx, "a PTX compilation failed"),
    SOFTGPU_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    SOFTGPU_ERROR(cudaErrorIllegalState, "an operation is not allowed in this state"),
    SOFTGPU_ERROR(cudaErrorSymbolNotFound, "named symbol not found"),
    SOFTGPU_ERROR(cudaErrorNotReady, "device not ready"),
    SOFTGPU_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    SOFTGPU_ERROR(cudaErrorLaunchOutOfResources, "too many resources requested for launch"),
    SOFTGPU_ERROR(cudaErrorLaunchTimeout, "the launch took too long"),
    SOFTGPU_ERROR(cudaErrorAssert, "device-side assert triggered"),
    SOFTGPU_ERROR(cudaErrorHostMemoryAlreadyRegistered, "host memory is registered already"),
    SOFTGPU_ERROR(cudaErrorHostMemoryNotRegistered, "host memory was not registered"),
    SOFTGPU_ERROR(cudaErrorHardwareStackError, "hardware stack error"),
    SOFTGPU_ERROR(cudaErrorIllegalInstruction, "an illegal instruction was encountered"),
    SOFTGPU_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    SOFTGPU_ERROR(cudaErrorInvalidAddressSpace, "an access outside its address space"),
    SOFTGPU_ERROR(cudaErrorInvalidPc, "invalid program counter"),
    SOFTGPU_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    SOFTGPU_ERROR(cudaErrorCooperativeLaunchTooLarge, "too many blocks in cooperative launch"),
    SOFTGPU_ERROR(cudaErrorNotPermitted, "operation not permitted"),
    SOFTGPU_ERROR(cudaErrorNotSupported, "operation not supported"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureUnsupported, "not allowed while a stream is captured"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureInvalidated, "an earlier error ended the capture"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureMerge, "two captures would become one"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureUnmatched, "the capture began on another stream"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureUnjoined, "the capture has work that was not joined"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureIsolation, "a capture depends on work outside of it"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureImplicit, "a capture depends on the legacy stream"),
    SOFTGPU_ERROR(cudaErrorCapturedEvent, "the event was last recorded in a capture"),
    SOFTGPU_ERROR(cudaErrorStreamCaptureWrongThread, "the capture began in another thread"),
    SOFTGPU_ERROR(cudaErrorGraphExecUpdateFailure, "the graph differs too much for the update"),
    SOFTGPU_ERROR(cudaErrorInvalidClusterSize, "invalid cluster size"),
    SOFTGPU_ERROR(cudaErrorUnknown, "unknown error"),
};
#undef SOFTGPU_ERROR

const ErrorText* FindError(cudaError_t error) {
  for (const ErrorText& known : kErrors) {
    if (known.error == error) return &known;
  }
  return nullptr;
}

cudaError_t StickyError() {
  softgpu::Runtime* runtime = softgpu::Runtime::IfMade();
  if (runtime == nullptr || softgpu::InHostFunction()) return cudaSuccess;
  const std::lock_guard<std::mutex> lock(runtime->mutex);
  return runtime->sticky;
}

}  // namespace

extern "C" {

cudaError_t cudaGetLastError() {
  const cudaError_t error = softgpu::LastError();
  softgpu::LastError() = cudaSuccess;
  const cudaError_t sticky = StickyError();
  return sticky != cudaSuccess ? sticky : error;
}

cudaError_t cudaPeekAtLastError() {
  const cudaError_t sticky = StickyError();
  return sticky != cudaSuccess ? sticky : softgpu::LastError();
}

const char* cudaGetErrorName(cudaError_t error) {
  const ErrorText* known = FindError(error);
  return known == nullptr ? "unrecognized error code" : known->name;
}

const char* cudaGetErrorString(cudaError_t error) {
  const ErrorText* known = FindError(error);
  return known == nullptr ? "unrecognized error code" : known->text;
}

}  // extern "C"
