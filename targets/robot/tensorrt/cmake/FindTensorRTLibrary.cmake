# TensorRT's (or TensorRT-RTX's) headers and library, which need not come from one place.
#
#   TENSORRT_ROOT             a folder with include/ and lib/: NVIDIA's archive, unpacked
#   TENSORRT_INCLUDE_DIR      the folder with NvInfer.h
#   TENSORRT_LIBRARY          the library; by TENSORRT_NAMES
#   TENSORRT_PARSER_LIBRARY   the parser of ONNX; by TENSORRT_PARSER_NAMES. Only make-engine needs it.
#
# Defines the target TensorRTLibrary, with CUDA's runtime, and TensorRTParser if there is one with its header.
find_package(CUDAToolkit REQUIRED)
find_path(TENSORRT_INCLUDE_DIR NvInfer.h HINTS "${TENSORRT_ROOT}" ENV TENSORRT_ROOT
  PATH_SUFFIXES include include/${CMAKE_LIBRARY_ARCHITECTURE} targets/${CMAKE_LIBRARY_ARCHITECTURE}/include)
find_library(TENSORRT_LIBRARY NAMES ${TENSORRT_NAMES} HINTS "${TENSORRT_ROOT}" ENV TENSORRT_ROOT PATH_SUFFIXES lib lib64)
find_library(TENSORRT_PARSER_LIBRARY NAMES ${TENSORRT_PARSER_NAMES} HINTS "${TENSORRT_ROOT}" ENV TENSORRT_ROOT
  PATH_SUFFIXES lib lib64)
mark_as_advanced(TENSORRT_INCLUDE_DIR TENSORRT_LIBRARY TENSORRT_PARSER_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRTLibrary REQUIRED_VARS TENSORRT_LIBRARY TENSORRT_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "give -DTENSORRT_ROOT, or -DTENSORRT_INCLUDE_DIR and -DTENSORRT_LIBRARY, see README.md")

if(TensorRTLibrary_FOUND AND NOT TARGET TensorRTLibrary)
  add_library(TensorRTLibrary SHARED IMPORTED)
  set_target_properties(TensorRTLibrary PROPERTIES
    IMPORTED_LOCATION "${TENSORRT_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${TENSORRT_INCLUDE_DIR}")
  set_target_properties(TensorRTLibrary PROPERTIES INTERFACE_LINK_LIBRARIES CUDA::cudart)
  if(TENSORRT_PARSER_LIBRARY AND EXISTS "${TENSORRT_INCLUDE_DIR}/NvOnnxParser.h")
    add_library(TensorRTParser SHARED IMPORTED)
    set_target_properties(TensorRTParser PROPERTIES IMPORTED_LOCATION "${TENSORRT_PARSER_LIBRARY}"
      INTERFACE_LINK_LIBRARIES TensorRTLibrary)
  endif()
endif()
