// What programs call that nvcc compiled with --default-stream per-thread: the same functions, with
// stream 0 meaning the calling thread's own stream.
#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/streams.h"

using softgpu::PerThreadDefault;

extern "C" {

cudaError_t cudaEventRecordWithFlags_ptsz(cudaEvent_t event, cudaStream_t stream,
                                          unsigned int flags) {
  const PerThreadDefault scope;
  return cudaEventRecordWithFlags(event, stream, flags);
}

cudaError_t cudaEventRecord_ptsz(cudaEvent_t event, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaEventRecord(event, stream);
}

cudaError_t cudaFreeAsync_ptsz(void* dev_ptr, cudaStream_t h_stream) {
  const PerThreadDefault scope;
  return cudaFreeAsync(dev_ptr, h_stream);
}

cudaError_t cudaGetDriverEntryPointByVersion_ptsz(const char* symbol, void** func_ptr,
                                                  unsigned int cuda_version,
                                                  unsigned long long flags,
                                                  cudaDriverEntryPointQueryResult* driver_status) {
  const PerThreadDefault scope;
  return cudaGetDriverEntryPointByVersion(symbol, func_ptr, cuda_version, flags, driver_status);
}

cudaError_t cudaGetDriverEntryPoint_ptsz(const char* symbol, void** func_ptr,
                                         unsigned long long flags,
                                         cudaDriverEntryPointQueryResult* driver_status) {
  const PerThreadDefault scope;
  return cudaGetDriverEntryPointByVersion(symbol, func_ptr, CUDART_VERSION, flags, driver_status);
}

cudaError_t cudaGraphInstantiateWithParams_ptsz(cudaGraphExec_t* p_graph_exec, cudaGraph_t graph,
                                                cudaGraphInstantiateParams* instantiate_params) {
  const PerThreadDefault scope;
  return cudaGraphInstantiateWithParams(p_graph_exec, graph, instantiate_params);
}

cudaError_t cudaGraphLaunch_ptsz(cudaGraphExec_t graph_exec, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaGraphLaunch(graph_exec, stream);
}

cudaError_t cudaGraphUpload_ptsz(cudaGraphExec_t graph_exec, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaGraphUpload(graph_exec, stream);
}

cudaError_t cudaLaunchCooperativeKernel_ptsz(const void* func, dim3 grid_dim, dim3 block_dim,
                                             void** args, size_t shared_mem, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaLaunchCooperativeKernel(func, grid_dim, block_dim, args, shared_mem, stream);
}

cudaError_t cudaLaunchHostFunc_ptsz(cudaStream_t stream, cudaHostFn_t fn, void* user_data) {
  const PerThreadDefault scope;
  return cudaLaunchHostFunc(stream, fn, user_data);
}

cudaError_t cudaLaunchKernelExC_ptsz(const cudaLaunchConfig_t* config, const void* func,
                                     void** args) {
  const PerThreadDefault scope;
  return cudaLaunchKernelExC(config, func, args);
}

cudaError_t cudaLaunchKernel_ptsz(const void* func, dim3 grid_dim, dim3 block_dim, void** args,
                                  size_t shared_mem, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaLaunchKernel(func, grid_dim, block_dim, args, shared_mem, stream);
}

cudaError_t cudaMallocAsync_ptsz(void** dev_ptr, size_t size, cudaStream_t h_stream) {
  const PerThreadDefault scope;
  return cudaMallocAsync(dev_ptr, size, h_stream);
}

cudaError_t cudaMallocFromPoolAsync_ptsz(void** ptr, size_t size, cudaMemPool_t mem_pool,
                                         cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMallocFromPoolAsync(ptr, size, mem_pool, stream);
}

cudaError_t cudaMemPrefetchAsync_ptsz(const void* dev_ptr, size_t count, cudaMemLocation location,
                                      unsigned int flags, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMemPrefetchAsync(dev_ptr, count, location, flags, stream);
}

cudaError_t cudaMemcpy2DAsync_ptsz(void* dst, size_t dpitch, const void* src, size_t spitch,
                                   size_t width, size_t height, cudaMemcpyKind kind,
                                   cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMemcpy2DAsync(dst, dpitch, src, spitch, width, height, kind, stream);
}

cudaError_t cudaMemcpy2D_ptds(void* dst, size_t dpitch, const void* src, size_t spitch,
                              size_t width, size_t height, cudaMemcpyKind kind) {
  const PerThreadDefault scope;
  return cudaMemcpy2D(dst, dpitch, src, spitch, width, height, kind);
}

cudaError_t cudaMemcpy3DAsync_ptsz(const cudaMemcpy3DParms* p, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMemcpy3DAsync(p, stream);
}

cudaError_t cudaMemcpy3D_ptds(const cudaMemcpy3DParms* p) {
  const PerThreadDefault scope;
  return cudaMemcpy3D(p);
}

cudaError_t cudaMemcpyAsync_ptsz(void* dst, const void* src, size_t count, cudaMemcpyKind kind,
                                 cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMemcpyAsync(dst, src, count, kind, stream);
}

cudaError_t cudaMemcpyFromSymbolAsync_ptsz(void* dst, const void* symbol, size_t count,
                                           size_t offset, cudaMemcpyKind kind,
                                           cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMemcpyFromSymbolAsync(dst, symbol, count, offset, kind, stream);
}

cudaError_t cudaMemcpyFromSymbol_ptds(void* dst, const void* symbol, size_t count, size_t offset,
                                      cudaMemcpyKind kind) {
  const PerThreadDefault scope;
  return cudaMemcpyFromSymbol(dst, symbol, count, offset, kind);
}

cudaError_t cudaMemcpyToSymbolAsync_ptsz(const void* symbol, const void* src, size_t count,
                                         size_t offset, cudaMemcpyKind kind, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMemcpyToSymbolAsync(symbol, src, count, offset, kind, stream);
}

cudaError_t cudaMemcpyToSymbol_ptds(const void* symbol, const void* src, size_t count,
                                    size_t offset, cudaMemcpyKind kind) {
  const PerThreadDefault scope;
  return cudaMemcpyToSymbol(symbol, src, count, offset, kind);
}

cudaError_t cudaMemcpy_ptds(void* dst, const void* src, size_t count, cudaMemcpyKind kind) {
  const PerThreadDefault scope;
  return cudaMemcpy(dst, src, count, kind);
}

cudaError_t cudaMemset2DAsync_ptsz(void* dev_ptr, size_t pitch, int value, size_t width,
                                   size_t height, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMemset2DAsync(dev_ptr, pitch, value, width, height, stream);
}

cudaError_t cudaMemset2D_ptds(void* dev_ptr, size_t pitch, int value, size_t width, size_t height) {
  const PerThreadDefault scope;
  return cudaMemset2D(dev_ptr, pitch, value, width, height);
}

cudaError_t cudaMemsetAsync_ptsz(void* dev_ptr, int value, size_t count, cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMemsetAsync(dev_ptr, value, count, stream);
}

cudaError_t cudaMemset_ptds(void* dev_ptr, int value, size_t count) {
  const PerThreadDefault scope;
  return cudaMemset(dev_ptr, value, count);
}

cudaError_t cudaStreamAddCallback_ptsz(cudaStream_t stream, cudaStreamCallback_t callback,
                                       void* user_data, unsigned int flags) {
  const PerThreadDefault scope;
  return cudaStreamAddCallback(stream, callback, user_data, flags);
}

cudaError_t cudaStreamAttachMemAsync_ptsz(cudaStream_t stream, void* dev_ptr, size_t length,
                                          unsigned int flags) {
  const PerThreadDefault scope;
  return cudaStreamAttachMemAsync(stream, dev_ptr, length, flags);
}

cudaError_t cudaStreamBeginCaptureToGraph_ptsz(cudaStream_t stream, cudaGraph_t graph,
                                               const cudaGraphNode_t* dependencies,
                                               const cudaGraphEdgeData* dependency_data,
                                               size_t num_dependencies,
                                               cudaStreamCaptureMode mode) {
  const PerThreadDefault scope;
  return cudaStreamBeginCaptureToGraph(stream, graph, dependencies, dependency_data,
                                       num_dependencies, mode);
}

cudaError_t cudaStreamBeginCapture_ptsz(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const PerThreadDefault scope;
  return cudaStreamBeginCapture(stream, mode);
}

cudaError_t cudaStreamEndCapture_ptsz(cudaStream_t stream, cudaGraph_t* p_graph) {
  const PerThreadDefault scope;
  return cudaStreamEndCapture(stream, p_graph);
}

cudaError_t cudaStreamGetCaptureInfo_ptsz(cudaStream_t stream,
                                          cudaStreamCaptureStatus* capture_status_out,
                                          unsigned long long* id_out, cudaGraph_t* graph_out,
                                          const cudaGraphNode_t** dependencies_out,
                                          const cudaGraphEdgeData** edge_data_out,
                                          size_t* num_dependencies_out) {
  const PerThreadDefault scope;
  return cudaStreamGetCaptureInfo(stream, capture_status_out, id_out, graph_out, dependencies_out,
                                  edge_data_out, num_dependencies_out);
}

cudaError_t cudaStreamGetDevice_ptsz(cudaStream_t h_stream, int* device) {
  const PerThreadDefault scope;
  return cudaStreamGetDevice(h_stream, device);
}

cudaError_t cudaStreamGetFlags_ptsz(cudaStream_t h_stream, unsigned int* flags) {
  const PerThreadDefault scope;
  return cudaStreamGetFlags(h_stream, flags);
}

cudaError_t cudaStreamGetId_ptsz(cudaStream_t h_stream, unsigned long long* stream_id) {
  const PerThreadDefault scope;
  return cudaStreamGetId(h_stream, stream_id);
}

cudaError_t cudaStreamGetPriority_ptsz(cudaStream_t h_stream, int* priority) {
  const PerThreadDefault scope;
  return cudaStreamGetPriority(h_stream, priority);
}

cudaError_t cudaStreamIsCapturing_ptsz(cudaStream_t stream,
                                       cudaStreamCaptureStatus* p_capture_status) {
  const PerThreadDefault scope;
  return cudaStreamIsCapturing(stream, p_capture_status);
}

cudaError_t cudaStreamQuery_ptsz(cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaStreamQuery(stream);
}

cudaError_t cudaStreamSynchronize_ptsz(cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaStreamSynchronize(stream);
}

cudaError_t cudaStreamUpdateCaptureDependencies_ptsz(cudaStream_t stream,
                                                     cudaGraphNode_t* dependencies,
                                                     const cudaGraphEdgeData* dependency_data,
                                                     size_t num_dependencies, unsigned int flags) {
  const PerThreadDefault scope;
  return cudaStreamUpdateCaptureDependencies(stream, dependencies, dependency_data,
                                             num_dependencies, flags);
}

cudaError_t cudaStreamWaitEvent_ptsz(cudaStream_t stream, cudaEvent_t event, unsigned int flags) {
  const PerThreadDefault scope;
  return cudaStreamWaitEvent(stream, event, flags);
}

cudaError_t cudaMemset3D_ptds(cudaPitchedPtr box, int value, cudaExtent extent) {
  const PerThreadDefault scope;
  return cudaMemset3D(box, value, extent);
}

cudaError_t cudaMemset3DAsync_ptsz(cudaPitchedPtr box, int value, cudaExtent extent,
                                   cudaStream_t stream) {
  const PerThreadDefault scope;
  return cudaMemset3DAsync(box, value, extent, stream);
}

cudaError_t cudaStreamSetAttribute_ptsz(cudaStream_t stream, cudaStreamAttrID attribute,
                                        const cudaStreamAttrValue* value) {
  const PerThreadDefault scope;
  return cudaStreamSetAttribute(stream, attribute, value);
}

}  // extern "C"
