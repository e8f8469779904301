// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// See Mutation.h. Patterns and changes are read as they are used: a table of
// faults is checked by running it.

#include "test/numerics/Mutation.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "llvm/ADT/StringExtras.h"

#include <cmath>

using namespace mlir;
using namespace fovea;
using namespace fovea::numerics;

static std::optional<double> readNumber(StringRef text) {
  if (text == "-inf")
    return -std::numeric_limits<double>::infinity();
  double value;
  return text.getAsDouble(value) ? std::nullopt : std::optional(value);
}

/// The number that a constant is in every lane.
static std::optional<double> getNumber(Value value) {
  Attribute attribute;
  if (!matchPattern(value, m_Constant(&attribute)))
    return std::nullopt;
  if (auto splat = dyn_cast<SplatElementsAttr>(attribute))
    attribute = splat.getSplatValue<Attribute>();
  if (auto real = dyn_cast<FloatAttr>(attribute))
    return real.getValueAsDouble();
  if (auto integer = dyn_cast<IntegerAttr>(attribute))
    return integer.getValue().getSExtValue();
  return std::nullopt;
}

namespace {
/// One attempt at a pattern.
class Matcher {
public:
  explicit Matcher(StringRef pattern) : rest(pattern) {}

  /// The operation to change, or null.
  Operation *match(Operation *root) {
    return matches(root, Value()) ? (marked ? marked : root) : nullptr;
  }

private:
  bool accept(StringRef token) {
    rest = rest.ltrim();
    return rest.consume_front(token);
  }
  StringRef takeWord() {
    rest = rest.ltrim();
    StringRef word = rest.take_while([](char c) {
      return llvm::isAlnum(c) || StringRef("_.-+#").contains(c);
    });
    rest = rest.drop_front(word.size());
    return word;
  }

  /// An operation, or a value that may have none.
  bool matches(Operation *op, Value value) {
    bool isTarget = accept("!");
    StringRef word = takeWord();
    if (word == "_")
      return true;
    if (word.consume_front("#")) {
      auto argument = dyn_cast_if_present<BlockArgument>(value);
      int64_t number = 0;
      if (!argument || word.getAsInteger(10, number))
        return false;
      if (number < 0)
        number += argument.getOwner()->getNumArguments();
      return argument.getArgNumber() == number;
    }
    if (std::optional<double> wanted = readNumber(word)) {
      std::optional<double> number = value ? getNumber(value) : std::nullopt;
      return number && (*number == *wanted || std::abs(*number - *wanted) <=
                                                  1e-6 * std::abs(*wanted));
    }
    if (!op || op->getName().getStringRef() != word)
      return false;
    if (isTarget)
      marked = op;
    if (accept("[")) {
      auto [text, behind] = rest.split(']');
      rest = behind;
      if (!StringRef(print(op)).contains(text))
        return false;
    }
    if (!accept("("))
      return true;
    for (unsigned k = 0;; ++k) {
      if (k >= op->getNumOperands())
        return false;
      Value operand = op->getOperand(k);
      if (!matches(operand.getDefiningOp(), operand))
        return false;
      if (!accept(","))
        return accept(")");
    }
  }

  static std::string print(Operation *op) {
    std::string text;
    llvm::raw_string_ostream os(text);
    op->print(os, OpPrintingFlags().useLocalScope().skipRegions());
    return text;
  }

  StringRef rest;
  Operation *marked = nullptr;
};

class Mutate : public PassWrapper<Mutate, OperationPass<ModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(Mutate)
  explicit Mutate(const Fault &fault) : fault(fault) {}

  StringRef getArgument() const override { return "fovea-test-mutate"; }
  StringRef getDescription() const override {
    return "puts a fault into a kernel";
  }

  void runOnOperation() override {
    SmallVector<Operation *> found;
    for (auto function : getOperation().getOps<FunctionOpInterface>())
      if (function.getName().contains(fault.function))
        function.walk<WalkOrder::PreOrder>([&](Operation *op) {
          if (Operation *target = Matcher(fault.pattern).match(op))
            found.push_back(target);
        });
    if (fault.which >= 0 && size_t(fault.which) < found.size())
      found = {found[fault.which]};
    else if (fault.which >= 0)
      found.clear();
    if (found.empty()) {
      getOperation().emitError("nothing matches ") << fault.pattern;
      return signalPassFailure();
    }
    llvm::SetVector<Operation *> targets(found.begin(), found.end());
    for (Operation *op : targets)
      if (failed(change(op))) {
        op->emitError("cannot be changed by ") << fault.change;
        return signalPassFailure();
      }
  }

private:
  LogicalResult change(Operation *op) {
    SmallVector<StringRef> words;
    StringRef(fault.change).split(words, ' ', /*MaxSplit=*/2);
    StringRef verb = words[0];
    if (verb == "erase") {
      op->erase();
      return success();
    }
    if (verb == "attr") {
      auto [name, text] = StringRef(fault.change).drop_front(5).split('=');
      if (text.empty())
        return success(bool(op->removeAttr(name)));
      Attribute old = op->getAttr(name),
                value = parseAttribute(text, &getContext());
      op->setAttr(name, value);
      return success(value && value != old);
    }
    unsigned k;
    if (words.size() < 2)
      return failure();
    OpBuilder b(op);
    if (verb == "result")
      return replace(op,
                     makeConstant(b, op, op->getResult(0).getType(), words[1]));
    if (verb == "keep")
      return replace(op, getOperand(op, words[1]));
    if (words[1].getAsInteger(10, k))
      return failure();
    if (verb == "clear") {
      op->getRegion(k).dropAllReferences();
      op->getRegion(k).getBlocks().clear();
      return success();
    }
    if (k >= op->getNumOperands())
      return failure();
    Value operand = op->getOperand(k);
    if (words.size() < 3)
      return failure();
    Value value;
    if (unsigned j; verb == "copy" && !words[2].getAsInteger(10, j))
      value = op->getOperand(j);
    else
      value = makeConstant(b, op, operand.getType(), words[2]);
    if (!value)
      return failure();
    if (verb == "add")
      value = arith::AddIOp::create(b, op->getLoc(), operand, value);
    op->setOperand(k, value);
    return success(value != operand);
  }

  /// The operand that a path such as "0" or "0.1" leads to.
  static Value getOperand(Operation *op, StringRef path) {
    Value value;
    for (StringRef step : llvm::split(path, '.')) {
      unsigned k;
      if (value)
        op = value.getDefiningOp();
      if (!op || step.getAsInteger(10, k) || k >= op->getNumOperands())
        return Value();
      value = op->getOperand(k);
    }
    return value;
  }

  static LogicalResult replace(Operation *op, Value value) {
    if (!value || value.getType() != op->getResult(0).getType())
      return failure();
    op->getResult(0).replaceAllUsesWith(value);
    // An accumulator tile has one use.
    if (isOpTriviallyDead(op))
      op->erase();
    return success();
  }

  static Value makeConstant(OpBuilder &b, Operation *op, Type type,
                            StringRef text) {
    std::optional<double> number = readNumber(text);
    if (!number)
      return Value();
    Type element = getElementTypeOrSelf(type);
    TypedAttr value = isa<FloatType>(element)
                          ? TypedAttr(b.getFloatAttr(element, *number))
                          : b.getIntegerAttr(element, int64_t(*number));
    if (auto shaped = dyn_cast<ShapedType>(type))
      value = DenseElementsAttr::get(shaped, value);
    return arith::ConstantOp::create(b, op->getLoc(), value);
  }

  Fault fault;
};
} // namespace

std::unique_ptr<Pass> fovea::numerics::createMutatePass(const Fault &fault) {
  return std::make_unique<Mutate>(fault);
}
