// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What a work item takes on one thread, in nanoseconds: an estimate, out of
// which the runtime chooses how many threads to ask (ThreadPool.c). Good to a
// factor of two or three on processors of today, which is enough for that: it
// is not to wake threads for microseconds, and not to leave milliseconds to
// one. Masks are left out, so that it errs towards more threads.

#ifndef FOVEA_COMPILER_CPU_WORKTIME_H
#define FOVEA_COMPILER_CPU_WORKTIME_H

#include <cstdint>

namespace fovea::cpu {

/// Multiply-adds in a nanosecond, in vectors of `lanes`: half of what two units
/// do at 3 GHz.
constexpr int64_t multiplyAddsPerNanosecond(int64_t lanes) { return 3 * lanes; }

/// Elements in a nanosecond that are read, converted and written elsewhere, or
/// that are read from memory and used once.
constexpr int64_t elementsPerNanosecond = 3;

} // namespace fovea::cpu

#endif // FOVEA_COMPILER_CPU_WORKTIME_H
