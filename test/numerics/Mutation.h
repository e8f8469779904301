// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Faults for the tests: small wrong changes of a kernel's IR at a named phase,
// written as a pattern of operations and what becomes of them. No program that
// users get links this.
//
//   pattern := '_' | number | '-inf' | ['!'] ('#' k | op ['[' text ']'] ['('
//   pattern, ... ')'])
//
// matches a value, or at its root an operation: '_' anything, a number the
// constant (in all lanes of a vector), '#k' argument k of a block (from the end
// if negative), 'op(...)' an operation whose first operands match; the line
// that prints it holds the text. What '!' stands before is changed, else the
// root.
//
// A change is one of
//
//   keep K         the result is operand K; K.J is operand J of what makes it
//   result N       the result is the constant
//   set K N        operand K is the constant
//   copy K J       operand K is operand J
//   add K N        operand K is larger by the constant
//   attr NAME=TEXT the attribute; without text there is none
//   erase          the operation is gone
//   clear K        region K is empty

#ifndef FOVEA_TEST_NUMERICS_MUTATION_H
#define FOVEA_TEST_NUMERICS_MUTATION_H

#include "compiler/Pipelines/Pipelines.h"

namespace fovea::numerics {

struct Fault {
  const char *name;     ///< what is wrong, in the terms of docs/semantics.md
  const char *spec;     ///< the kernel of the suite that has it
  Phase phase;          ///< where it is put in
  const char *function; ///< part of the names of the functions to look in
  const char *pattern;
  const char *change;
  int which = -1; ///< of the matches, in the order of the text; -1: all
};

/// Puts the fault into a module at its phase; fails where nothing matches.
std::unique_ptr<mlir::Pass> createMutatePass(const Fault &fault);

} // namespace fovea::numerics

#endif // FOVEA_TEST_NUMERICS_MUTATION_H
