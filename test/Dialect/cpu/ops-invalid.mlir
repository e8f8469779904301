// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// RUN: fovea-opt %s -split-input-file -verify-diagnostics

func.func @nested(%n: index) {
  cpu.parallel (%item, %worker) to %n each %n {
    // expected-error@+1 {{must not be nested}}
    cpu.parallel (%inner, %other) to %n each %n {
    }
  }
  return
}

// -----

func.func @arguments(%n: index) {
  // expected-error@+1 {{body takes the item and the worker, both index}}
  "cpu.parallel"(%n, %n) ({
  ^bb0(%item: index):
    "cpu.end"() : () -> ()
  }) : (index, index) -> ()
  return
}

// -----

func.func @argument_types(%n: index) {
  // expected-error@+1 {{body takes the item and the worker, both index}}
  "cpu.parallel"(%n, %n) ({
  ^bb0(%item: index, %worker: i64):
    "cpu.end"() : () -> ()
  }) : (index, index) -> ()
  return
}

// -----

func.func @end() {
  // expected-error@+1 {{expects parent op 'cpu.parallel'}}
  cpu.end
}

// -----

func.func @workspace() {
  // expected-error@+1 {{must be 1D memref of 8-bit signless integer values}}
  %0 = "cpu.workspace"() : () -> memref<?xf32>
  return
}

// -----

func.func @context() {
  // expected-error@+1 {{must be LLVM pointer type}}
  %0 = "cpu.context"() : () -> i64
  return
}

// -----

func.func @split(%rows: memref<4x8xf32>, %terms: memref<4x8x2xbf16>) {
  // expected-error@+1 {{needs static rows [R, D] and terms of them [R, T, D]}}
  cpu.split %rows into %terms : memref<4x8xf32> into memref<4x8x2xbf16>
  return
}

// -----

func.func @unzip_strided(%tile: memref<4x8xf32, strided<[16, 2]>>, %count: index) {
  // expected-error@+1 {{needs rows of static width with unit stride}}
  cpu.unzip %tile rows(%count) {lanes = 4 : i64} : memref<4x8xf32, strided<[16, 2]>>
  return
}

// -----

func.func @unzip_nothing(%tile: memref<4x8xf32>, %count: index) {
  // expected-error@+1 {{needs at least one lane}}
  cpu.unzip %tile rows(%count) {lanes = 0 : i64} : memref<4x8xf32>
  return
}

// -----

func.func @interleaved_loop(%n: index) {
  cpu.interleave {
    // expected-error@+1 {{is not straight-line code, which the parts of cpu.interleave are}}
    scf.for %i = %n to %n step %n {
    }
  }
  return
}
