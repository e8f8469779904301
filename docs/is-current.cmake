# Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

# cmake -DCURRENT=... -DPAGE=... -P is-current.cmake: fails unless the page in the
# sources is what the build generated.
execute_process(COMMAND diff -u ${PAGE} ${CURRENT} RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PAGE} is not what the tables say: build the target fovea-docs-update")
endif()
