// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The floating-point environment of kernels: round to nearest, denormals
// flushed, exceptions masked, so that results do not depend on the host's
// settings and denormals cost nothing. Every entry into generated code is
// bracketed by these two functions. On other processors they do nothing.

#ifndef FOVEA_FLOATENV_H
#define FOVEA_FLOATENV_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

// MXCSR: all six exceptions masked (0x1f80), FTZ (0x8000), DAZ (0x40).
#define FOVEA_MXCSR 0x9fc0u

static inline uint32_t foveaEnterFloatEnv(void) {
  uint32_t Saved = _mm_getcsr();
  _mm_setcsr(FOVEA_MXCSR);
  return Saved;
}

static inline void foveaLeaveFloatEnv(uint32_t Saved) { _mm_setcsr(Saved); }
#else
static inline uint32_t foveaEnterFloatEnv(void) { return 0; }
static inline void foveaLeaveFloatEnv(uint32_t Saved) { (void)Saved; }
#endif

#endif // FOVEA_FLOATENV_H
