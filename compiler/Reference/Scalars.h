// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Scalar arithmetic of the reference interpreter: the arith and math operations
// of function bodies and of mask and score regions. Integers are exact in their
// width (wrapping, as arith says); floats are f64 whatever their type, so that
// nothing is rounded on the way (rules S3, R2).

#ifndef FOVEA_COMPILER_REFERENCE_SCALARS_H
#define FOVEA_COMPILER_REFERENCE_SCALARS_H

#include "compiler/Reference/Tensor.h"
#include "mlir/IR/Region.h"
#include <functional>

namespace fovea::reference {

/// An integer (index and truth values, 0 or 1, included) or a float; which of
/// the two, the value's type in the program tells.
union Scalar {
  int64_t integer;
  double real;
};
inline Scalar ofInt(int64_t value) { return {.integer = value}; }
inline Scalar ofFloat(double value) {
  Scalar scalar;
  scalar.real = value;
  return scalar;
}

/// The operation on its operands. Division by zero gives 0; in a program it is
/// undefined behaviour, and regions made from expressions guard against it.
using ScalarFn = std::function<Scalar(llvm::ArrayRef<Scalar>)>;

/// What an arith or math operation with one scalar result computes; an error
/// for operations that the reference does not know.
llvm::Expected<ScalarFn> getScalarFn(mlir::Operation *op);

/// A region of scalar operations, decoded once and run for many points.
class ScalarProgram {
public:
  /// `captures` are the tensors among the region's arguments, by argument
  /// number (null for a scalar argument); they must outlive the program.
  static llvm::Expected<ScalarProgram>
  create(mlir::Region &region, llvm::ArrayRef<const Tensor *> captures);

  /// The value yielded, given the scalar arguments (anything in the places of
  /// tensors). Not reentrant.
  Scalar run(llvm::ArrayRef<Scalar> arguments);

private:
  struct Step {
    ScalarFn compute;
    llvm::SmallVector<unsigned> operands; // slots
    unsigned result;                      // slot
  };
  std::vector<Step> steps;
  std::vector<Scalar> slots;
  unsigned numArguments = 0;
  unsigned yielded = 0;
};

} // namespace fovea::reference

#endif // FOVEA_COMPILER_REFERENCE_SCALARS_H
