# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# What find_package(Fovea) finds in an install tree. The targets are installed
# where they are declared.

include(CMakePackageConfigHelpers)
set(FOVEA_CONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Fovea)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/FoveaConfig.cmake.in
  ${PROJECT_BINARY_DIR}/cmake/FoveaConfig.cmake
  INSTALL_DESTINATION ${FOVEA_CONFIG_DIR})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/cmake/FoveaConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/cmake/FoveaConfig.cmake
  ${PROJECT_BINARY_DIR}/cmake/FoveaConfigVersion.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FoveaAddAttention.cmake
  DESTINATION ${FOVEA_CONFIG_DIR} COMPONENT runtime)
install(EXPORT FoveaTargets NAMESPACE Fovea:: DESTINATION ${FOVEA_CONFIG_DIR}
  COMPONENT runtime)
install(EXPORT FoveaToolTargets NAMESPACE Fovea:: DESTINATION ${FOVEA_CONFIG_DIR}
  COMPONENT tools)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE
  DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/fovea COMPONENT runtime)
