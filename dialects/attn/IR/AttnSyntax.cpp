// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Parsing and printing of captures, score and mask (see AttnSyntax.h).

#include "dialects/attn/IR/AttnSyntax.h"
#include "dialects/attn/IR/AttnOps.h"
#include "dialects/attn/IR/ExprRegion.h"

using namespace mlir;
using namespace fovea::attn;
namespace expr = fovea::expr;

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
  printer << " captures(";
  SmallVector<Capture> named = getCaptures(captures.getTypes(), names);
  llvm::interleaveComma(llvm::zip_equal(named, captures), printer,
                        [&](auto pair) {
                          auto &[capture, value] = pair;
                          printer.printKeywordOrString(capture.name);
                          printer << " = " << value << " : " << capture.type;
                        });
  printer << ")";
}

/// A string in the expression language, or a region.
static ParseResult parseExpression(OpAsmParser &parser, Region &region,
                                   FloatType scoreType,
                                   ArrayRef<Capture> captures) {
  if (failed(parser.parseOptionalLParen()))
    return parser.parseRegion(region);
  SMLoc loc = parser.getCurrentLocation();
  std::string text;
  if (parser.parseString(&text) || parser.parseRParen())
    return failure();
  expr::Context context;
  expr::Diagnostic diagnostic;
  expr::Scope scope = getScope(captures, scoreType);
  expr::Expr parsed = scoreType ? parseScore(context, scope, text, diagnostic)
                                : parseMask(context, scope, text, diagnostic);
  if (!parsed) {
    // Point into the string unless escapes make its offsets differ.
    const char *start = loc.getPointer() + 1;
    if (StringRef(start, text.size()) == text)
      loc = SMLoc::getFromPointer(start + diagnostic.offset);
    InFlightDiagnostic error = parser.emitError(loc) << diagnostic.message;
    if (!diagnostic.hint.empty())
      error << "; " << diagnostic.hint;
    return error;
  }
  Location regionLoc = parser.getEncodedSourceLoc(loc);
  OpBuilder builder(parser.getContext());
  if (scoreType)
    buildScoreRegion(builder, regionLoc, region, parsed, captures, scoreType);
  else
    buildMaskRegion(builder, regionLoc, region, parsed, captures);
  return success();
}

ParseResult fovea::attn::parseScoreAndMask(OpAsmParser &parser, Region &score,
                                           Region &mask, Type queryType,
                                           ArrayRef<Type> captureTypes,
                                           ArrayAttr names) {
  auto query = dyn_cast<ShapedType>(queryType);
  if (!query)
    return parser.emitError(parser.getNameLoc(), "q must be a shaped type");
  SmallVector<Capture> captures = getCaptures(captureTypes, names);
  if (succeeded(parser.parseOptionalKeyword("score")) &&
      parseExpression(parser, score, getComputeType(query.getElementType()),
                      captures))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("mask")) &&
      parseExpression(parser, mask, FloatType(), captures))
    return failure();
  return success();
}

static void printExpression(OpAsmPrinter &printer, Region &region,
                            FloatType scoreType, ArrayRef<Capture> captures) {
  if (std::optional<std::string> text =
          regionToText(region, scoreType, captures)) {
    printer << '(';
    printer.printString(*text);
    printer << ')';
    return;
  }
  printer << ' ';
  printer.printRegion(region);
}

void fovea::attn::printScoreAndMask(OpAsmPrinter &printer, Operation *,
                                    Region &score, Region &mask, Type queryType,
                                    TypeRange captureTypes, ArrayAttr names) {
  SmallVector<Capture> captures = getCaptures(captureTypes, names);
  if (!score.empty()) {
    printer << " score";
    printExpression(
        printer, score,
        getComputeType(cast<ShapedType>(queryType).getElementType()), captures);
  }
  if (!mask.empty()) {
    printer << " mask";
    printExpression(printer, mask, FloatType(), captures);
  }
}
