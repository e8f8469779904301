// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// What each arith and math operation means; see Scalars.h.

#include "compiler/Reference/Scalars.h"
#include "dialects/attn/IR/AttnOps.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace fovea::reference;

using Operands = ArrayRef<Scalar>;

/// Bits of an integer type; index is 64.
static unsigned widthOf(Type type) {
  return isa<IndexType>(type) ? 64 : type.getIntOrFloatBitWidth();
}

/// The number that the low `width` bits say: two's complement, but 0 or 1 for a
/// truth value.
static int64_t wrap(uint64_t bits, unsigned width) {
  if (width == 1)
    return static_cast<int64_t>(bits & 1);
  return llvm::SignExtend64(bits, width);
}

static uint64_t unsignedOf(Scalar value, unsigned width) {
  return static_cast<uint64_t>(value.integer) &
         llvm::maskTrailingOnes<uint64_t>(width);
}

static int64_t floorDivide(int64_t x, int64_t y) {
  if (y == 0)
    return 0;
  if (y == -1) // also the least integer, which wraps
    return static_cast<int64_t>(-static_cast<uint64_t>(x));
  int64_t quotient = x / y;
  return quotient - ((x % y != 0 && (x % y < 0) != (y < 0)) ? 1 : 0);
}

static int64_t truncDivide(int64_t x, int64_t y) {
  if (y == 0 || y == -1)
    return floorDivide(x, y);
  return x / y;
}

static int64_t remainder(int64_t x, int64_t y) {
  return y == 0 || y == -1 ? 0 : x % y;
}

static int64_t ceilDivide(int64_t x, int64_t y) {
  int64_t quotient = truncDivide(x, y);
  bool exact = remainder(x, y) == 0;
  return quotient + (!exact && y != 0 && (x < 0) == (y < 0) ? 1 : 0);
}

static ScalarFn decodeCompare(arith::CmpIOp op) {
  unsigned width = widthOf(op.getLhs().getType());
  return [predicate = op.getPredicate(), width](Operands x) {
    // A truth value is 0 or 1 here, but -1 for signed comparisons.
    int64_t a = llvm::SignExtend64(unsignedOf(x[0], width), width);
    int64_t b = llvm::SignExtend64(unsignedOf(x[1], width), width);
    uint64_t ua = unsignedOf(x[0], width), ub = unsignedOf(x[1], width);
    switch (predicate) {
    case arith::CmpIPredicate::eq:
      return ofInt(a == b);
    case arith::CmpIPredicate::ne:
      return ofInt(a != b);
    case arith::CmpIPredicate::slt:
      return ofInt(a < b);
    case arith::CmpIPredicate::sle:
      return ofInt(a <= b);
    case arith::CmpIPredicate::sgt:
      return ofInt(a > b);
    case arith::CmpIPredicate::sge:
      return ofInt(a >= b);
    case arith::CmpIPredicate::ult:
      return ofInt(ua < ub);
    case arith::CmpIPredicate::ule:
      return ofInt(ua <= ub);
    case arith::CmpIPredicate::ugt:
      return ofInt(ua > ub);
    case arith::CmpIPredicate::uge:
      return ofInt(ua >= ub);
    }
    llvm_unreachable("unknown predicate");
  };
}

static ScalarFn decodeCompare(arith::CmpFOp op) {
  return [predicate = op.getPredicate()](Operands x) {
    double a = x[0].real, b = x[1].real;
    bool unordered = std::isnan(a) || std::isnan(b);
    using P = arith::CmpFPredicate;
    switch (predicate) {
    case P::AlwaysFalse:
      return ofInt(false);
    case P::OEQ:
      return ofInt(a == b);
    case P::OGT:
      return ofInt(a > b);
    case P::OGE:
      return ofInt(a >= b);
    case P::OLT:
      return ofInt(a < b);
    case P::OLE:
      return ofInt(a <= b);
    case P::ONE:
      return ofInt(!unordered && a != b);
    case P::ORD:
      return ofInt(!unordered);
    case P::UEQ:
      return ofInt(unordered || a == b);
    case P::UGT:
      return ofInt(unordered || a > b);
    case P::UGE:
      return ofInt(unordered || a >= b);
    case P::ULT:
      return ofInt(unordered || a < b);
    case P::ULE:
      return ofInt(unordered || a <= b);
    case P::UNE:
      return ofInt(unordered || a != b);
    case P::UNO:
      return ofInt(unordered);
    case P::AlwaysTrue:
      return ofInt(true);
    }
    llvm_unreachable("unknown predicate");
  };
}

/// minimumf and maximumf: NaN if either operand is.
static double nanOr(double a, double b, double chosen) {
  return std::isnan(a) || std::isnan(b)
             ? std::numeric_limits<double>::quiet_NaN()
             : chosen;
}

/// Integer operations of a width: given and giving 64-bit patterns, the result
/// is wrapped to the width afterwards.
static const llvm::StringMap<std::function<uint64_t(Operands, unsigned)>> &
integerOps() {
  static const llvm::StringMap<std::function<uint64_t(Operands, unsigned)>>
      ops = {
#define FOVEA_INTEGER(NAME, EXPR)                                              \
  {                                                                            \
    NAME, [](Operands x, unsigned width) -> uint64_t {                         \
      int64_t a = x[0].integer, b = x.size() > 1 ? x[1].integer : 0;           \
      uint64_t ua = unsignedOf(x[0], width);                                   \
      uint64_t ub = x.size() > 1 ? unsignedOf(x[1], width) : 0;                \
      (void)a, (void)b, (void)ua, (void)ub;                                    \
      return static_cast<uint64_t>(EXPR);                                      \
    }                                                                          \
  }
          FOVEA_INTEGER("arith.addi", ua + ub),
          FOVEA_INTEGER("arith.subi", ua - ub),
          FOVEA_INTEGER("arith.muli", ua * ub),
          FOVEA_INTEGER("arith.andi", ua & ub),
          FOVEA_INTEGER("arith.ori", ua | ub),
          FOVEA_INTEGER("arith.xori", ua ^ ub),
          FOVEA_INTEGER("arith.shli", ub < width ? ua << ub : 0),
          FOVEA_INTEGER("arith.shrui", ub < width ? ua >> ub : 0),
          FOVEA_INTEGER("arith.shrsi", a >> std::min<uint64_t>(ub, width - 1)),
          FOVEA_INTEGER("arith.floordivsi", floorDivide(a, b)),
          FOVEA_INTEGER("arith.ceildivsi", ceilDivide(a, b)),
          FOVEA_INTEGER("arith.divsi", truncDivide(a, b)),
          FOVEA_INTEGER("arith.remsi", remainder(a, b)),
          FOVEA_INTEGER("arith.divui", ub ? ua / ub : 0),
          FOVEA_INTEGER("arith.remui", ub ? ua % ub : 0),
          FOVEA_INTEGER("arith.minsi", std::min(a, b)),
          FOVEA_INTEGER("arith.maxsi", std::max(a, b)),
          FOVEA_INTEGER("arith.minui", std::min(ua, ub)),
          FOVEA_INTEGER("arith.maxui", std::max(ua, ub)),
          FOVEA_INTEGER("math.absi", a < 0 ? -ua : ua),
#undef FOVEA_INTEGER
      };
  return ops;
}

/// Float operations, all in f64.
static const llvm::StringMap<std::function<double(Operands)>> &floatOps() {
  static const llvm::StringMap<std::function<double(Operands)>> ops = {
#define FOVEA_FLOAT(NAME, EXPR)                                                \
  {                                                                            \
    NAME, [](Operands x) -> double {                                           \
      double a = x[0].real, b = x.size() > 1 ? x[1].real : 0.0;                \
      (void)a, (void)b;                                                        \
      return EXPR;                                                             \
    }                                                                          \
  }
      FOVEA_FLOAT("arith.addf", a + b),
      FOVEA_FLOAT("arith.subf", a - b),
      FOVEA_FLOAT("arith.mulf", a * b),
      FOVEA_FLOAT("arith.divf", a / b),
      FOVEA_FLOAT("arith.negf", -a),
      FOVEA_FLOAT("arith.remf", std::fmod(a, b)),
      FOVEA_FLOAT("arith.minimumf", nanOr(a, b, std::min(a, b))),
      FOVEA_FLOAT("arith.maximumf", nanOr(a, b, std::max(a, b))),
      FOVEA_FLOAT("arith.minnumf", std::fmin(a, b)),
      FOVEA_FLOAT("arith.maxnumf", std::fmax(a, b)),
      FOVEA_FLOAT("arith.extf", a),
      FOVEA_FLOAT("arith.truncf", a),
      FOVEA_FLOAT("math.absf", std::fabs(a)),
      FOVEA_FLOAT("math.exp", std::exp(a)),
      FOVEA_FLOAT("math.exp2", std::exp2(a)),
      FOVEA_FLOAT("math.log", std::log(a)),
      FOVEA_FLOAT("math.log2", std::log2(a)),
      FOVEA_FLOAT("math.tanh", std::tanh(a)),
      FOVEA_FLOAT("math.sqrt", std::sqrt(a)),
      FOVEA_FLOAT("math.rsqrt", 1.0 / std::sqrt(a)),
      FOVEA_FLOAT("math.sin", std::sin(a)),
      FOVEA_FLOAT("math.cos", std::cos(a)),
      FOVEA_FLOAT("math.floor", std::floor(a)),
      FOVEA_FLOAT("math.ceil", std::ceil(a)),
      FOVEA_FLOAT("math.powf", std::pow(a, b)),
      FOVEA_FLOAT("math.erf", std::erf(a)),
      FOVEA_FLOAT("math.fma", a * b + x[2].real),
#undef FOVEA_FLOAT
  };
  return ops;
}

llvm::Expected<ScalarFn> fovea::reference::getScalarFn(Operation *op) {
  auto unknown = [&] {
    return llvm::createStringError("the reference does not interpret '%s'",
                                   op->getName().getStringRef().str().c_str());
  };
  if (op->getNumResults() != 1 ||
      !op->getResult(0).getType().isIntOrIndexOrFloat())
    return unknown();
  unsigned width = widthOf(op->getResult(0).getType());
  StringRef name = op->getName().getStringRef();
  if (auto it = integerOps().find(name); it != integerOps().end())
    return ScalarFn([compute = it->second, width](Operands x) {
      return ofInt(wrap(compute(x, width), width));
    });
  if (auto it = floatOps().find(name); it != floatOps().end())
    return ScalarFn(
        [compute = it->second](Operands x) { return ofFloat(compute(x)); });
  return llvm::TypeSwitch<Operation *, llvm::Expected<ScalarFn>>(op)
      .Case<arith::CmpIOp, arith::CmpFOp>(
          [](auto compare) { return decodeCompare(compare); })
      .Case([&](arith::ConstantOp constant) -> llvm::Expected<ScalarFn> {
        Scalar value;
        if (auto attr = dyn_cast<IntegerAttr>(constant.getValue()))
          value = ofInt(wrap(attr.getValue().getZExtValue(), width));
        else if (auto attr = dyn_cast<FloatAttr>(constant.getValue()))
          value = ofFloat(attr.getValueAsDouble());
        else
          return unknown();
        return ScalarFn([value](Operands) { return value; });
      })
      .Case([](arith::SelectOp) {
        return ScalarFn([](Operands x) { return x[0].integer ? x[1] : x[2]; });
      })
      .Case<arith::ExtSIOp, arith::TruncIOp, arith::IndexCastOp>(
          [&](auto cast) {
            unsigned from = widthOf(cast.getIn().getType());
            return ScalarFn([from, width](Operands x) {
              uint64_t bits = llvm::SignExtend64(unsignedOf(x[0], from), from);
              return ofInt(wrap(bits, width));
            });
          })
      .Case<arith::ExtUIOp, arith::IndexCastUIOp>([&](auto cast) {
        unsigned from = widthOf(cast.getIn().getType());
        return ScalarFn([from, width](Operands x) {
          return ofInt(wrap(unsignedOf(x[0], from), width));
        });
      })
      .Case([](arith::SIToFPOp cast) {
        unsigned from = widthOf(cast.getIn().getType());
        return ScalarFn([from](Operands x) {
          return ofFloat(static_cast<double>(static_cast<int64_t>(
              llvm::SignExtend64(unsignedOf(x[0], from), from))));
        });
      })
      .Case([](arith::UIToFPOp cast) {
        unsigned from = widthOf(cast.getIn().getType());
        return ScalarFn([from](Operands x) {
          return ofFloat(static_cast<double>(unsignedOf(x[0], from)));
        });
      })
      .Default(
          [&](Operation *) -> llvm::Expected<ScalarFn> { return unknown(); });
}

/// The element of a captured tensor. An index outside is the author's mistake;
/// it is clamped, as in compiled code, so that a test like
/// `j < n and id[j] == 0`, both sides of which are evaluated, has its meaning.
static ScalarFn decodeElement(const Tensor *tensor, bool isFloat) {
  return [tensor, isFloat](Operands indices) {
    if (tensor->data.empty())
      return isFloat ? ofFloat(0.0) : ofInt(0);
    int64_t offset = 0;
    for (auto [index, extent] : llvm::zip_equal(indices, tensor->shape))
      offset =
          offset * extent + std::clamp<int64_t>(index.integer, 0, extent - 1);
    double value = tensor->data[offset];
    return isFloat ? ofFloat(value) : ofInt(static_cast<int64_t>(value));
  };
}

llvm::Expected<ScalarProgram>
ScalarProgram::create(Region &region, ArrayRef<const Tensor *> captures) {
  ScalarProgram program;
  Block &block = region.front();
  llvm::DenseMap<mlir::Value, unsigned> slotOf;
  auto newSlot = [&](mlir::Value value) {
    unsigned slot = program.slots.size();
    program.slots.push_back(ofInt(0));
    slotOf[value] = slot;
    return slot;
  };
  for (BlockArgument argument : block.getArguments())
    newSlot(argument);
  program.numArguments = block.getNumArguments();

  for (Operation &op : block.without_terminator()) {
    Step step;
    ValueRange operands = op.getOperands();
    if (auto element = dyn_cast<attn::ElementOp>(op)) {
      auto source = dyn_cast<BlockArgument>(element.getSource());
      if (!source || !captures[source.getArgNumber()])
        return llvm::createStringError(
            "attn.element must read a captured tensor");
      step.compute = decodeElement(captures[source.getArgNumber()],
                                   isa<FloatType>(element.getType()));
      operands = element.getIndices();
    } else {
      llvm::Expected<ScalarFn> compute = getScalarFn(&op);
      if (!compute)
        return compute.takeError();
      step.compute = std::move(*compute);
    }
    for (mlir::Value operand : operands)
      step.operands.push_back(slotOf.at(operand));
    step.result = newSlot(op.getResult(0));
    program.steps.push_back(std::move(step));
  }
  program.yielded = slotOf.at(block.getTerminator()->getOperand(0));
  return program;
}

Scalar ScalarProgram::run(ArrayRef<Scalar> arguments) {
  assert(arguments.size() == numArguments && "one value per region argument");
  llvm::copy(arguments, slots.begin());
  SmallVector<Scalar, 4> operands;
  for (Step &step : steps) {
    operands.clear();
    for (unsigned slot : step.operands)
      operands.push_back(slots[slot]);
    slots[step.result] = step.compute(operands);
  }
  return slots[yielded];
}
