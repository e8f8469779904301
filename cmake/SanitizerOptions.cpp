// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What the sanitizers' own run-time libraries are told, in every program of a
// build with FOVEA_SANITIZER. Nothing here keeps quiet about Fovea's code: the
// options are about LLVM's libraries, which are not instrumented, and about
// what the tests do on purpose.

extern "C" {

// LLVM's arenas poison their free memory where a header of theirs is compiled
// into our code and do not unpoison it where the library hands it out. And
// memory that cannot be had is a status or a message, not a crash.
const char *__asan_default_options() {
  return "allow_user_poisoning=0:allocator_may_return_null=1";
}

// Threads start in children of a process that had some.
const char *__tsan_default_options() {
  return "allocator_may_return_null=1:die_after_fork=0";
}

} // extern "C"
