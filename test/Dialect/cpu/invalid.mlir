// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -split-input-file -verify-diagnostics

// What cpu.parallel refuses.

func.func @arguments(%n: index) {
  // expected-error@+1 {{body takes the item and the worker, both index}}
  "cpu.parallel"(%n) ({
  ^bb0(%item: index):
    "cpu.end"() : () -> ()
  }) : (index) -> ()
  return
}

// -----

func.func @nested(%n: index) {
  cpu.parallel (%item, %worker) to %n {
    // expected-error@+1 {{must not be nested}}
    cpu.parallel (%inner, %same) to %n {
    }
  }
  return
}
