// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

// Text that would overflow the parser's stack is refused first.
// RUN: %python -c "print('(' * 300)" > %t.mlir
// RUN: not fovea compile %t.mlir -o %t 2>&1 | FileCheck %s
// RUN: %python -c "print('module attributes {a = ' + 'tuple<' * 20000)" > %t2.mlir
// RUN: not fovea compile %t2.mlir -o %t 2>&1 | FileCheck %s
// Brackets in strings and comments do not count, nor do comparisons.
// RUN: %python -c "print('// ' + '(' * 300 + '\n' + 'module { func.func private @f() attributes {a = \"' + '[' * 300 + '\"} }')" > %t3.mlir
// RUN: not fovea compile %t3.mlir -o %t 2>&1 | FileCheck %s --check-prefix=KERNEL

// CHECK: error: brackets nest more than 200 deep
// KERNEL: error: {{.*}}the module has no kernel
