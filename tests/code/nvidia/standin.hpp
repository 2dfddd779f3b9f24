// How kernels and engines get to the stand-in's streams.
#pragma once

#include <functional>

#include "cuda_runtime_api.h"

/// Has the stream do something: later, when somebody waits for it, as a GPU would. Then alone the GPU's memory can be touched.
void standin_enqueue(cudaStream_t stream, std::function<void()> work);
bool standin_captures(cudaStream_t stream);
