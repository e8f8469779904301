# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# Configures Fovea against an MLIR that calls itself version 21, and against one
# without shared libraries; both must fail and say what to install.
# cmake -DSOURCE=... -DWORK=... -DC=... -DCXX=... -P llvm-version.cmake

function(expect_refusal name config message)
  set(fake ${WORK}/${name})
  file(REMOVE_RECURSE ${fake})
  file(WRITE ${fake}/mlir/MLIRConfig.cmake "${config}")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -G Ninja -S ${SOURCE} -B ${fake}/build
      -DCMAKE_C_COMPILER=${C} -DCMAKE_CXX_COMPILER=${CXX} -DMLIR_DIR=${fake}/mlir
    RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  # CMake wraps messages.
  string(REGEX REPLACE "[ \n]+" " " output "${output}")
  if(status EQUAL 0 OR NOT output MATCHES "${message}" OR NOT output MATCHES "libmlir-22-dev")
    message(FATAL_ERROR "${name}: expected '${message}' and the packages to install, got: ${output}")
  endif()
endfunction()

expect_refusal(other-version
  "set(LLVM_VERSION_MAJOR 21)\nset(LLVM_PACKAGE_VERSION 21.1.0)\nset(LLVM_DIR /fake)\n"
  "Found LLVM 21.1.0")
expect_refusal(static-only
  "set(LLVM_VERSION_MAJOR 22)\nset(LLVM_PACKAGE_VERSION 22.1.8)\nset(LLVM_DIR /fake)\n"
  "no shared libraries")
