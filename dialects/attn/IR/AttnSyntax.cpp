// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Parsing and printing of captures, score and mask (see AttnSyntax.h).

#include "dialects/attn/IR/AttnSyntax.h"
#include "dialects/attn/IR/AttnOps.h"

using namespace mlir;
using namespace fovea::attn;

ParseResult fovea::attn::parseCaptures(
    OpAsmParser &parser,
    SmallVectorImpl<OpAsmParser::UnresolvedOperand> &captures,
    SmallVectorImpl<Type> &types, ArrayAttr &names) {
  if (failed(parser.parseOptionalKeyword("captures")))
    return success();
  SmallVector<Attribute> list;
  auto one = [&]() -> ParseResult {
    std::string name;
    if (parser.parseKeywordOrString(&name) || parser.parseEqual() ||
        parser.parseOperand(captures.emplace_back()) ||
        parser.parseColonType(types.emplace_back()))
      return failure();
    list.push_back(parser.getBuilder().getStringAttr(name));
    return success();
  };
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, one))
    return failure();
  names = parser.getBuilder().getArrayAttr(list);
  return success();
}

void fovea::attn::printCaptures(OpAsmPrinter &printer, Operation *,
                                OperandRange captures, TypeRange,
                                ArrayAttr names) {
  if (captures.empty())
    return;
  printer << "captures(";
  llvm::interleaveComma(
      llvm::seq<size_t>(0, captures.size()), printer, [&](size_t i) {
        std::string name =
            names ? cast<StringAttr>(names[i]).str() : "c" + std::to_string(i);
        printer.printKeywordOrString(name);
        printer << " = " << captures[i] << " : " << captures[i].getType();
      });
  printer << ") ";
}

ParseResult fovea::attn::parseScoreAndMask(OpAsmParser &parser, Region &score,
                                           Region &mask, Type, ArrayRef<Type>,
                                           ArrayAttr) {
  if (succeeded(parser.parseOptionalKeyword("score")) &&
      parser.parseRegion(score))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("mask")) &&
      parser.parseRegion(mask))
    return failure();
  return success();
}

void fovea::attn::printScoreAndMask(OpAsmPrinter &printer, Operation *,
                                    Region &score, Region &mask, Type,
                                    TypeRange, ArrayAttr) {
  if (!score.empty()) {
    printer << "score ";
    printer.printRegion(score);
    printer << ' ';
  }
  if (!mask.empty()) {
    printer << "mask ";
    printer.printRegion(mask);
  }
}
