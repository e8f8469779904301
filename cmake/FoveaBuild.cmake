# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# How Fovea's own libraries and programs are declared. LLVM and MLIR are linked
# as the two shared libraries of the packages and in no other way: a static
# archive beside them would bring a second copy of every type id, which links
# and then misbehaves without a word (test/integration checks the result).

# For a library that is loaded into programs without the sanitizer.
function(fovea_without_sanitizer target)
  if(FOVEA_SANITIZER)
    target_compile_options(${target} PRIVATE -fno-sanitize=all)
    target_link_options(${target} PRIVATE -fno-sanitize=all)
  endif()
endfunction()

# One precompiled header for everything that sees MLIR.
function(fovea_add_precompiled_header)
  add_library(fovea_pch OBJECT ${PROJECT_SOURCE_DIR}/cmake/Precompiled.cpp)
  target_link_libraries(fovea_pch PUBLIC fovea_mlir)
  target_precompile_headers(fovea_pch PRIVATE
    ${PROJECT_SOURCE_DIR}/cmake/Precompiled.h)
endfunction()

# fovea_add_library(NAME SOURCES... [NO_MLIR] LINK libs... DEPENDS targets...)
# NO_MLIR: needs LLVM's Support only and no precompiled header.
function(fovea_add_library name)
  cmake_parse_arguments(ARG "NO_MLIR" "" "LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  if(ARG_NO_MLIR)
    target_link_libraries(${name} PUBLIC fovea_llvm ${ARG_LINK})
  else()
    target_link_libraries(${name} PUBLIC fovea_mlir ${ARG_LINK})
    target_precompile_headers(${name} REUSE_FROM fovea_pch)
  endif()
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# fovea_add_program(NAME SOURCES... [NO_MLIR] LINK libs...): an executable. The
# rest is as for fovea_add_library.
function(fovea_add_program name)
  cmake_parse_arguments(ARG "NO_MLIR" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
  if(NOT ARG_NO_MLIR)
    target_link_libraries(${name} PRIVATE fovea_mlir)
    target_precompile_headers(${name} REUSE_FROM fovea_pch)
    # The precompiled header is position-independent, not position-independent
    # for executables; programs must agree with it.
    target_compile_options(${name} PRIVATE -fPIC)
  endif()
  if(FOVEA_SANITIZER)
    target_link_libraries(${name} PRIVATE fovea_sanitizer_options)
  endif()
endfunction()

# fovea_add_tool(NAME SOURCES... LINK libs...)
function(fovea_add_tool name)
  fovea_add_program(${name} ${ARGN})
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
endfunction()

# fovea_tablegen(TARGET FILE.td OUTPUT flags... [OUTPUT flags...])
# Runs mlir-tblgen once per (output, flags) pair: fovea_tablegen(T F.td
# "F.h.inc;-gen-op-decls" ...).
function(fovea_tablegen target td)
  set(LLVM_TARGET_DEFINITIONS ${td})
  foreach(pair ${ARGN})
    string(REPLACE "|" ";" parts ${pair})
    list(POP_FRONT parts output)
    mlir_tablegen(${output} ${parts})
  endforeach()
  add_public_tablegen_target(${target})
  add_dependencies(fovea_generated_headers ${target})
endfunction()

# fovea_add_unit_test(NAME SOURCES... LINK libs... [NO_MLIR]): a GoogleTest
# program that ctest runs.
function(fovea_add_unit_test name)
  fovea_add_program(${name} EXCLUDE_FROM_ALL ${ARGN} GTest::gtest_main)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test/unit)
  add_test(NAME unit/${name} COMMAND ${name})
  add_dependencies(fovea-tests ${name})
endfunction()
