// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Which instruction sets this machine runs: CPUID for the processor, XCR0 for
// the registers that the operating system saves, and its permission for those
// that it saves on demand.

#include "Internal.h"

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__)
#include <cpuid.h>

enum { XcrAvx = 0x6, XcrAvx512 = 0xe6, XcrAmx = 0x60000 };

static uint64_t readXcr0(void) {
  uint32_t Low, High;
  __asm__ volatile("xgetbv" : "=a"(Low), "=d"(High) : "c"(0));
  return (uint64_t)High << 32 | Low;
}

static uint64_t detect(void) {
  uint32_t Eax, Ebx, Ecx, Edx;
  if (!__get_cpuid(1, &Eax, &Ebx, &Ecx, &Edx) || !(Ecx & bit_OSXSAVE) ||
      !(Ecx & bit_AVX))
    return 0;
  uint64_t Xcr0 = readXcr0();
  if ((Xcr0 & XcrAvx) != XcrAvx)
    return 0;

  uint64_t Features = 0;
  if (Ecx & bit_FMA)
    Features |= FOVEA_CPU_FMA;
  if (Ecx & bit_F16C)
    Features |= FOVEA_CPU_F16C;
  if (!__get_cpuid_count(7, 0, &Eax, &Ebx, &Ecx, &Edx))
    return Features;
  uint32_t MaxSubleaf = Eax;
  if (Ebx & (1u << 5))
    Features |= FOVEA_CPU_AVX2;
  bool Avx512 = (Xcr0 & XcrAvx512) == XcrAvx512 && (Ebx & (1u << 16));
  if (Avx512) {
    Features |= FOVEA_CPU_AVX512F;
    if (Ebx & (1u << 30))
      Features |= FOVEA_CPU_AVX512BW;
    if (Ebx & (1u << 17))
      Features |= FOVEA_CPU_AVX512DQ;
    if (Ebx & (1u << 31))
      Features |= FOVEA_CPU_AVX512VL;
  }
  if ((Xcr0 & XcrAmx) == XcrAmx) {
    if (Edx & (1u << 24))
      Features |= FOVEA_CPU_AMX_TILE;
    if (Edx & (1u << 22))
      Features |= FOVEA_CPU_AMX_BF16;
  }
  if (Avx512 && MaxSubleaf >= 1 &&
      __get_cpuid_count(7, 1, &Eax, &Ebx, &Ecx, &Edx) && (Eax & (1u << 5)))
    Features |= FOVEA_CPU_AVX512BF16;
  return Features;
}
#else
static uint64_t detect(void) { return 0; }
#endif

uint64_t fovea_cpu_features(void) {
  // CPUID leaves a virtual machine and takes microseconds; the answer never
  // changes, so threads that race to store it store the same.
  static _Atomic uint64_t Cached;
  const uint64_t Known = UINT64_C(1) << 63;
  uint64_t Features = atomic_load_explicit(&Cached, memory_order_relaxed);
  if (!(Features & Known)) {
    Features = detect() | Known;
    atomic_store_explicit(&Cached, Features, memory_order_relaxed);
  }
  return Features & ~Known;
}

bool foveaAskOnce(_Atomic int *Answer, bool (*Ask)(void)) {
  enum { Unasked, Granted, Refused };
  int Known = atomic_load_explicit(Answer, memory_order_relaxed);
  if (Known == Unasked) {
    // Threads that race ask the same and get the same.
    Known = Ask() ? Granted : Refused;
    atomic_store_explicit(Answer, Known, memory_order_relaxed);
  }
  return Known == Granted;
}

static bool askForTiles(void) {
#if defined(__x86_64__) && defined(__linux__)
  enum { ArchReqXcompPerm = 0x1023, XfeatureTileData = 18 };
  return syscall(SYS_arch_prctl, ArchReqXcompPerm, XfeatureTileData) == 0;
#else
  return false;
#endif
}

bool foveaMayUseTiles(void) {
  static _Atomic int Answer;
  return foveaAskOnce(&Answer, askForTiles);
}
