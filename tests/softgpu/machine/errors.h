// The cudaError_t values that a launch ends with; the machine knows nothing else of CUDA's headers.
#pragma once

namespace softgpu {

enum LaunchError : int {
  kErrorInvalidValue = 1,
  kErrorInvalidConfiguration = 9,
  kErrorInvalidDeviceFunction = 98,
  kErrorInvalidPtx = 218,
  kErrorIllegalAddress = 700,
  kErrorLaunchOutOfResources = 701,
  kErrorLaunchTimeout = 702,
  kErrorAssert = 710,
  kErrorMisalignedAddress = 716,
  kErrorLaunchFailure = 719,
  kErrorCooperativeLaunchTooLarge = 720,
  kErrorNotSupported = 801,
};

}  // namespace softgpu
