# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# fovea_add_attention(TARGET SPEC FILE.yaml [NAME NAME] [TARGETS cpu:ISA...]
#                     [RUNTIME static|shared])
# Compiles the spec when it or the driver changes, and gives TARGET the object,
# the header NAME.h on its include path, and the runtime. NAME is the kernel's,
# by default as the spec says. TARGETS are those of `fovea compile --target`.
function(fovea_add_attention target)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "SPEC;NAME;RUNTIME" "TARGETS")
  if(ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "fovea_add_attention: unknown arguments: ${ARG_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT TARGET ${target})
    message(FATAL_ERROR "fovea_add_attention: '${target}' is no target")
  endif()
  if(NOT TARGET Fovea::fovea)
    message(FATAL_ERROR "fovea_add_attention needs the driver, which is not installed")
  endif()
  if(NOT ARG_SPEC)
    message(FATAL_ERROR "fovea_add_attention: SPEC is missing")
  endif()
  if(NOT ARG_RUNTIME)
    set(ARG_RUNTIME static)
  elseif(NOT ARG_RUNTIME MATCHES "^(static|shared)$")
    message(FATAL_ERROR "fovea_add_attention: RUNTIME is static or shared, not '${ARG_RUNTIME}'")
  endif()
  get_filename_component(spec "${ARG_SPEC}" ABSOLUTE)
  if(NOT EXISTS "${spec}")
    message(FATAL_ERROR "fovea_add_attention: there is no '${spec}'")
  endif()

  # The names of the files must be known before the driver has run.
  if(NOT ARG_NAME)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${spec}")
    file(READ "${spec}" text)
    if(NOT "\n${text}" MATCHES "[\n{,][ \t]*\"?name\"?[ \t]*:[ \t]*[\"']?([A-Za-z_][A-Za-z0-9_]*)")
      message(FATAL_ERROR "fovea_add_attention: '${spec}' has no name; give it with NAME")
    endif()
    set(ARG_NAME ${CMAKE_MATCH_1})
  endif()

  set(folder "${CMAKE_CURRENT_BINARY_DIR}/fovea/${target}")
  set(object "${folder}/${ARG_NAME}.o")
  set(flags)
  foreach(one ${ARG_TARGETS})
    list(APPEND flags --target ${one})
  endforeach()
  add_custom_command(
    OUTPUT ${object} ${folder}/${ARG_NAME}.h ${folder}/${ARG_NAME}.json
    COMMAND Fovea::fovea compile ${spec} -o ${folder} ${flags}
    DEPENDS ${spec} Fovea::fovea
    COMMENT "Compiling the attention kernel ${ARG_NAME}"
    VERBATIM)
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  target_sources(${target} PRIVATE ${object} ${folder}/${ARG_NAME}.h)
  target_include_directories(${target} PRIVATE ${folder})
  target_link_libraries(${target} PRIVATE Fovea::runtime_${ARG_RUNTIME} m)
endfunction()
