// A stand-in for NVIDIA's header, with the part of TensorRT's API that projects use, for tests where there is no TensorRT. What is
// declared here is implemented in standin.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cuda_runtime_api.h"

#define NV_TENSORRT_MAJOR 10

namespace nvinfer1 {

enum class DataType : int { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3, kBOOL = 4, kUINT8 = 5 };
enum class TensorIOMode : int { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };

struct Dims {
  std::int32_t nbDims;
  std::int64_t d[8];
};

class ILogger {
 public:
  enum class Severity : int { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
  virtual void log(Severity severity, const char* message) noexcept = 0;
  virtual ~ILogger() = default;
};

/// What an "engine" is here: a text that names its tensors, and files with what was recorded of some frames.
struct Described {
  struct Tensor {
    std::string name;
    TensorIOMode mode;
    DataType type;
    Dims shape;
    std::size_t bytes;
    std::string recorded;
  };
  std::vector<Tensor> tensors;
  std::string frames;
  bool fails = false;
  const Tensor* find(const std::string& name) const;
};

class IExecutionContext {
 public:
  explicit IExecutionContext(const Described& described) : described_(described) {}
  virtual ~IExecutionContext() = default;
  bool setTensorAddress(const char* name, void* data) noexcept;
  bool enqueueV3(cudaStream_t stream) noexcept;

 private:
  Described described_;
  std::map<std::string, void*> addresses_;
  bool ran_ = false;
};

class ICudaEngine {
 public:
  explicit ICudaEngine(const Described& described) : described_(described) {}
  virtual ~ICudaEngine() = default;
  IExecutionContext* createExecutionContext() noexcept { return new IExecutionContext(described_); }
  std::int32_t getNbIOTensors() const noexcept { return static_cast<std::int32_t>(described_.tensors.size()); }
  TensorIOMode getTensorIOMode(const char* name) const noexcept;
  DataType getTensorDataType(const char* name) const noexcept;
  Dims getTensorShape(const char* name) const noexcept;

 private:
  Described described_;
};

class IRuntime {
 public:
  explicit IRuntime(ILogger& logger) : logger_(logger) {}
  virtual ~IRuntime() = default;
  ICudaEngine* deserializeCudaEngine(const void* plan, std::size_t bytes) noexcept;

 private:
  ILogger& logger_;
};

IRuntime* createInferRuntime(ILogger& logger) noexcept;

}  // namespace nvinfer1

extern "C" int getInferLibVersion() noexcept;
