// Graphs: nodes of work and what they come after. An executable graph is a copy, so that a graph
// may change or go while its executables live; a node of the copy remembers which one it was.
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <vector>

#include "tests/softgpu/runtime/runtime.h"
#include "tests/softgpu/runtime/work.h"

struct CUgraphNode_st {
  cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
  cudaGraph_t graph = nullptr;
  std::vector<cudaGraphNode_t> after;
  softgpu::Work work;
  softgpu::CallSite site;
  cudaMemcpyKind kind = cudaMemcpyDefault;  // of a copy
  cudaEvent_t event = nullptr;              // of a record or wait
  std::unique_ptr<CUgraph_st> child;
  bool enabled = true;
  cudaGraphNode_t origin = nullptr;  // of a copied node: the one it was copied from
  std::vector<void*> arguments;      // what cudaGraphKernelNodeGetParams points to
};

struct CUgraph_st {
  std::vector<std::unique_ptr<CUgraphNode_st>> nodes;  // as they were added
};

struct CUgraphExec_st {
  std::unique_ptr<CUgraph_st> graph;
  unsigned long long flags = 0;
  softgpu::OpPtr last;  // launches of one executable come one after the other
};

namespace softgpu {

cudaGraphNode_t AddNode(CUgraph_st& graph, cudaGraphNodeType type, Work work,
                        const std::vector<cudaGraphNode_t>& after, const CallSite& site);
std::unique_ptr<CUgraph_st> CloneGraph(const CUgraph_st& graph);
// The copied node that came from this one; nullptr: none.
cudaGraphNode_t FindCopy(const CUgraph_st& graph, cudaGraphNode_t original);
// Each after those it comes after; empty (of a graph with nodes): they form a cycle.
std::vector<cudaGraphNode_t> InOrder(const CUgraph_st& graph);
cudaGraphNodeType TypeOf(const Work& work);

// Queues all nodes behind the stream's work.
void LaunchGraph(Runtime& runtime, CUgraphExec_st& exec, cudaStream_t stream, const CallSite& site);

}  // namespace softgpu
