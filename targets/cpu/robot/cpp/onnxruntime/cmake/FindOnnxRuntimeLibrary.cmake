# ONNX Runtime's headers and library, which often come from different places: its wheels have the library alone, Debian's and Ubuntu's
# libonnxruntime-dev has both, and so have the archives of its releases.
#
#   ONNXRUNTIME_ROOT         a folder with include/ and lib/
#   ONNXRUNTIME_INCLUDE_DIR  the folder with onnxruntime_cxx_api.h
#   ONNXRUNTIME_LIBRARY      libonnxruntime.so.VERSION
#
# Headers that are older than the library are fine: its interface only grows. Defines the target OnnxRuntimeLibrary.
find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_cxx_api.h
  HINTS "${ONNXRUNTIME_ROOT}" PATH_SUFFIXES include include/onnxruntime include/onnxruntime/core/session)
find_library(ONNXRUNTIME_LIBRARY onnxruntime HINTS "${ONNXRUNTIME_ROOT}" PATH_SUFFIXES lib lib64)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntimeLibrary REQUIRED_VARS ONNXRUNTIME_LIBRARY ONNXRUNTIME_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "give -DONNXRUNTIME_INCLUDE_DIR and -DONNXRUNTIME_LIBRARY, see README.md")

if(OnnxRuntimeLibrary_FOUND AND NOT TARGET OnnxRuntimeLibrary)
  get_filename_component(_library "${ONNXRUNTIME_LIBRARY}" REALPATH)
  get_filename_component(_folder "${_library}" DIRECTORY)
  if(UNIX AND NOT APPLE AND NOT EXISTS "${_folder}/libonnxruntime.so.1")
    # Programs look for the library by the name that it gives itself, under which the wheel does not have it.
    file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/onnxruntime")
    execute_process(COMMAND "${CMAKE_COMMAND}" -E create_symlink "${_library}" "${CMAKE_BINARY_DIR}/onnxruntime/libonnxruntime.so.1")
    set(_library "${CMAKE_BINARY_DIR}/onnxruntime/libonnxruntime.so.1")
  endif()
  add_library(OnnxRuntimeLibrary SHARED IMPORTED)
  set_target_properties(OnnxRuntimeLibrary PROPERTIES
    IMPORTED_LOCATION "${_library}" INTERFACE_INCLUDE_DIRECTORIES "${ONNXRUNTIME_INCLUDE_DIR}")
endif()
