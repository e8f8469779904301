// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The two custom pieces of the attn dialect's assembly: captures and the score
// and mask regions, which are printed in the expression language of the spec
// wherever they can be written in it, and as plain regions otherwise.

#ifndef FOVEA_DIALECTS_ATTN_IR_ATTNSYNTAX_H
#define FOVEA_DIALECTS_ATTN_IR_ATTNSYNTAX_H

#include "mlir/IR/OpImplementation.h"

namespace fovea::attn {

/// captures(name = %value : type, ...)
mlir::ParseResult parseCaptures(
    mlir::OpAsmParser &parser,
    llvm::SmallVectorImpl<mlir::OpAsmParser::UnresolvedOperand> &captures,
    llvm::SmallVectorImpl<mlir::Type> &types, mlir::ArrayAttr &names);
void printCaptures(mlir::OpAsmPrinter &printer, mlir::Operation *op,
                   mlir::OperandRange captures, mlir::TypeRange types,
                   mlir::ArrayAttr names);

/// score("expression") mask("expression"), or score {region} mask {region}
mlir::ParseResult parseScoreAndMask(mlir::OpAsmParser &parser,
                                    mlir::Region &score, mlir::Region &mask,
                                    mlir::Type queryType,
                                    llvm::ArrayRef<mlir::Type> captureTypes,
                                    mlir::ArrayAttr names);
void printScoreAndMask(mlir::OpAsmPrinter &printer, mlir::Operation *op,
                       mlir::Region &score, mlir::Region &mask,
                       mlir::Type queryType, mlir::TypeRange captureTypes,
                       mlir::ArrayAttr names);

} // namespace fovea::attn

#endif // FOVEA_DIALECTS_ATTN_IR_ATTNSYNTAX_H
