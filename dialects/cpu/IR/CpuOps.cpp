// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The cpu dialect: registration, and the syntax of cpu.parallel.

#include "dialects/cpu/IR/CpuOps.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace fovea::cpu;

#include "dialects/cpu/IR/CpuDialect.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/cpu/IR/CpuOps.cpp.inc"

void CpuDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/cpu/IR/CpuOps.cpp.inc"
      >();
}

LogicalResult InterleaveOp::verify() {
  for (Region &part : getParts())
    for (Operation &op : part.front())
      if (op.getNumRegions() != 0 || op.getNumSuccessors() != 0)
        return op.emitOpError("is not straight-line code, which the parts of "
                              "cpu.interleave are");
  return success();
}

LogicalResult SplitOp::verify() {
  ArrayRef<int64_t> source = getSource().getType().getShape(),
                    dest = getDest().getType().getShape();
  if (ShapedType::isDynamicShape(source) || ShapedType::isDynamicShape(dest) ||
      source[0] != dest[0] || source[1] != dest[2] || dest[1] == 0)
    return emitOpError("needs static rows [R, D] and terms of them [R, T, D]");
  return success();
}

LogicalResult UnzipOp::verify() {
  if (getTile().getType().isDynamicDim(1) ||
      !getTile().getType().isLastDimUnitStride())
    return emitOpError("needs rows of static width with unit stride");
  if (int64_t(getLanes()) < 1)
    return emitOpError("needs at least one lane");
  return success();
}

void ParallelOp::build(OpBuilder &builder, OperationState &state, Value count,
                       Value itemNanoseconds) {
  OpBuilder::InsertionGuard guard(builder);
  state.addOperands({count, itemNanoseconds});
  Region *body = state.addRegion();
  Type index = builder.getIndexType();
  builder.createBlock(body, {}, {index, index},
                      {state.location, state.location});
  ensureTerminator(*body, builder, state.location);
}

ParseResult ParallelOp::parse(OpAsmParser &parser, OperationState &result) {
  SmallVector<OpAsmParser::Argument> args(2);
  OpAsmParser::UnresolvedOperand count, itemNanoseconds;
  Type index = parser.getBuilder().getIndexType();
  if (parser.parseLParen() || parser.parseArgument(args[0]) ||
      parser.parseComma() || parser.parseArgument(args[1]) ||
      parser.parseRParen() || parser.parseKeyword("to") ||
      parser.parseOperand(count) || parser.parseKeyword("each") ||
      parser.parseOperand(itemNanoseconds) ||
      parser.resolveOperands({count, itemNanoseconds}, index, result.operands))
    return failure();
  for (OpAsmParser::Argument &arg : args)
    arg.type = index;
  Region *body = result.addRegion();
  if (parser.parseRegion(*body, args) ||
      parser.parseOptionalAttrDict(result.attributes))
    return failure();
  ensureTerminator(*body, parser.getBuilder(), result.location);
  return success();
}

void ParallelOp::print(OpAsmPrinter &printer) {
  printer << " (" << getItem() << ", " << getWorker() << ") to " << getCount()
          << " each " << getItemNanoseconds() << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false,
                      /*printBlockTerminators=*/false);
  printer.printOptionalAttrDict((*this)->getAttrs());
}

LogicalResult ParallelOp::verify() {
  Block &block = getBody().front();
  if (block.getNumArguments() != 2 ||
      !llvm::all_of(block.getArgumentTypes(),
                    [](Type t) { return t.isIndex(); }))
    return emitOpError("body takes the item and the worker, both index");
  if ((*this)->getParentOfType<ParallelOp>())
    return emitOpError("must not be nested");
  return success();
}
