// The answer to a call that is not covered.
#pragma once

namespace softgpu {

// Says so once; returns cudaErrorNotSupported, which is then the thread's last error, too.
int NotCovered(const char* call);

}  // namespace softgpu
