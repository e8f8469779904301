// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Names of statuses, the thread's error text, the version.

#include "Internal.h"

#include <stdarg.h>
#include <stdio.h>

// Long enough for every message; longer names of arguments are cut.
static _Thread_local char LastError[512];

const char *fovea_status_name(fovea_status status) {
  switch (status) {
  case FOVEA_OK:
    return "ok";
  case FOVEA_ERROR_INVALID_ARGUMENT:
    return "invalid_argument";
  case FOVEA_ERROR_DTYPE:
    return "dtype";
  case FOVEA_ERROR_RANK:
    return "rank";
  case FOVEA_ERROR_SHAPE:
    return "shape";
  case FOVEA_ERROR_STRIDE:
    return "stride";
  case FOVEA_ERROR_OVERLAP:
    return "overlap";
  case FOVEA_ERROR_ALIGNMENT:
    return "alignment";
  case FOVEA_ERROR_DEVICE:
    return "device";
  case FOVEA_ERROR_ABI_VERSION:
    return "abi_version";
  case FOVEA_ERROR_UNSUPPORTED_ISA:
    return "unsupported_isa";
  case FOVEA_ERROR_OUT_OF_MEMORY:
    return "out_of_memory";
  case FOVEA_ERROR_WORKSPACE_TOO_SMALL:
    return "workspace_too_small";
  case FOVEA_ERROR_CUDA:
    return "cuda";
  case FOVEA_ERROR_INTERNAL:
    return "internal";
  }
  return "unknown";
}

const char *fovea_last_error(void) { return LastError; }

const char *fovea_version(void) {
#define TEXT(X) #X
#define VERSION(A, B, C) TEXT(A) "." TEXT(B) "." TEXT(C)
  return VERSION(FOVEA_VERSION_MAJOR, FOVEA_VERSION_MINOR, FOVEA_VERSION_PATCH);
#undef VERSION
#undef TEXT
}

fovea_status foveaFail(fovea_status Status, const char *Format, ...) {
  va_list Args;
  va_start(Args, Format);
  vsnprintf(LastError, sizeof(LastError), Format, Args);
  va_end(Args);
  return Status;
}
