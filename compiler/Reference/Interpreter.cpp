// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The reference interpreter's walk over a function, and every operation but
// attention itself (Attention.cpp). Each operation is a function named after
// it, written as its description in AttnOps.td.

#include "compiler/Reference/Interpreter.h"
#include "compiler/Reference/Environment.h"
#include "compiler/Reference/ErrorBound.h"
#include "compiler/Reference/Scalars.h"
#include "dialects/attn/IR/Rope.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace fovea;
using namespace fovea::reference;

namespace {

constexpr double negativeInfinity = -std::numeric_limits<double>::infinity();

Scalar toScalar(const RuntimeValue &value) {
  if (auto *integer = std::get_if<int64_t>(&value))
    return ofInt(*integer);
  return ofFloat(std::get<double>(value));
}

RuntimeValue fromScalar(Scalar scalar, Type type) {
  if (isa<FloatType>(type))
    return scalar.real;
  return scalar.integer;
}

/// An element as a value of the program.
RuntimeValue elementOf(double value, Type type) {
  return isa<FloatType>(type) ? RuntimeValue(value)
                              : RuntimeValue(static_cast<int64_t>(value));
}

double asDouble(const RuntimeValue &value) {
  if (auto *integer = std::get_if<int64_t>(&value))
    return static_cast<double>(*integer);
  return std::get<double>(value);
}

/// Two partial states become one (R2); an empty one changes nothing (M2).
struct Merge {
  double keep, take, max;
  Merge(double max1, double max2) : max(std::max(max1, max2)) {
    double shift = max == negativeInfinity ? 0.0 : max;
    keep = std::exp(max1 - shift);
    take = std::exp(max2 - shift);
  }
};

class Interpreter {
public:
  Interpreter(const InterpretOptions &options, AttentionMode mode)
      : options(options), mode(mode) {}

  llvm::Expected<Interpretation> run(func::FuncOp function,
                                     ArrayRef<RuntimeValue> arguments);

  SmallVector<Tensor> attending; // by attention, in order

private:
  using Values = SmallVector<RuntimeValue>;

  /// Binds the arguments, interprets every operation, and returns what the
  /// terminator takes.
  llvm::Expected<Values> runBlock(Block &block, Values arguments);
  /// Sets every element of `result` to what the block yields for the arguments
  /// of its index.
  llvm::Error
  runForElements(Block &block, Tensor &result,
                 llvm::function_ref<Values(ArrayRef<int64_t>)> argumentsAt);
  /// A tensor of the type, its dynamic extents taken from `sizes`, in which
  /// floats are NaN: whoever reads an element that nobody wrote shows it.
  llvm::Expected<Tensor> unwritten(RankedTensorType type, ValueRange sizes);
  llvm::Error runOp(Operation *op);

  llvm::Error attention(attn::AttentionOp op);
  llvm::Error partial(attn::PartialOp op);
  llvm::Error rope(attn::RopeOp op);
  llvm::Error rmsNorm(attn::RmsNormOp op);
  llvm::Error append(attn::AppendOp op);
  llvm::Error merge(attn::MergeOp op);
  llvm::Error finalize(attn::FinalizeOp op);
  template <typename RowsOp> llvm::Error rows(RowsOp op, bool gather);
  llvm::Error empty(tensor::EmptyOp op);
  llvm::Error dim(tensor::DimOp op);
  llvm::Error extract(tensor::ExtractOp op);
  llvm::Error generate(tensor::GenerateOp op);
  llvm::Error generic(linalg::GenericOp op);
  llvm::Error constant(arith::ConstantOp op);
  llvm::Error scalar(Operation *op);

  const InterpretOptions &options;
  AttentionMode mode;
  Environment env;
  // By result of the operation.
  llvm::DenseMap<mlir::Value, Tensor> absoluteSums, scoreSums, operandErrors,
      appended;
  /// Of what dynamic RoPE has turned: each row's position, [B, M, ...].
  llvm::DenseMap<mlir::Value, Tensor> dynamicPositions;
  int64_t keys = 0; // the most that a row attends to
  llvm::DenseMap<mlir::Value, const Tensor *> written;
  llvm::DenseMap<mlir::Value, Tensor> overridden; // by what was written
  SmallVector<int64_t> genericIndex; // of the linalg.generic being run
};

/// A value has the rank and static extents of its type.
llvm::Error checkArgument(Type type, const RuntimeValue &value,
                          unsigned number) {
  auto complain = [&](const Twine &what) {
    return llvm::createStringError("argument " + Twine(number) + " " + what);
  };
  auto shaped = dyn_cast<RankedTensorType>(type);
  if (!shaped) {
    bool fits = isa<FloatType>(type) ? std::holds_alternative<double>(value)
                                     : std::holds_alternative<int64_t>(value);
    return fits ? llvm::Error::success() : complain("is no such scalar");
  }
  auto *tensor = std::get_if<Tensor>(&value);
  if (!tensor)
    return complain("must be a tensor");
  if (llvm::Error error = checkShape(tensor->shape))
    return error;
  if (tensor->rank() != shaped.getRank())
    return complain("must have rank " + Twine(shaped.getRank()));
  for (auto [extent, expected] :
       llvm::zip_equal(tensor->shape, shaped.getShape()))
    if (!ShapedType::isDynamic(expected) && extent != expected)
      return complain("has an extent of " + Twine(extent) + " where " +
                      Twine(expected) + " is fixed");
  int64_t count = 1;
  for (int64_t extent : tensor->shape)
    count *= extent;
  if (tensor->size() != count)
    return complain("holds other than shape says");
  if (tensor->elementType != shaped.getElementType())
    return complain("has another element type");
  return llvm::Error::success();
}

} // namespace

llvm::Expected<Interpretation>
Interpreter::run(func::FuncOp function, ArrayRef<RuntimeValue> arguments) {
  if (function.isExternal() || !function.getBody().hasOneBlock())
    return errorOf(function, "the reference runs functions of one block");
  if (arguments.size() != function.getNumArguments())
    return errorOf(function, "takes " + Twine(function.getNumArguments()) +
                                 " arguments, got " + Twine(arguments.size()));
  for (auto [number, type] : llvm::enumerate(function.getArgumentTypes()))
    if (llvm::Error error = checkArgument(type, arguments[number], number))
      return error;
  Block &body = function.getBody().front();
  OperandRange returned = body.getTerminator()->getOperands();
  for (auto [value, tensor] : llvm::zip(returned, options.written))
    if (tensor)
      written[value] = tensor;
  llvm::Expected<Values> results = runBlock(body, Values(arguments));
  if (!results)
    return results.takeError();
  Interpretation interpretation;
  interpretation.results = std::move(*results);
  for (auto [value, result] : llvm::zip_equal(returned, interpretation.results))
    if (auto it = overridden.find(value); it != overridden.end())
      result = it->second;
  if (!options.errorSums)
    return interpretation;
  auto collect = [&](const llvm::DenseMap<mlir::Value, Tensor> &tensors,
                     SmallVector<std::optional<Tensor>> &collected) {
    for (mlir::Value value : returned) {
      auto it = tensors.find(value);
      collected.push_back(it == tensors.end() ? std::nullopt
                                              : std::optional(it->second));
    }
  };
  interpretation.keys = keys;
  collect(absoluteSums, interpretation.absoluteSums);
  collect(scoreSums, interpretation.scoreSums);
  collect(operandErrors, interpretation.operandErrors);
  collect(appended, interpretation.appended);
  return interpretation;
}

llvm::Expected<Interpreter::Values> Interpreter::runBlock(Block &block,
                                                          Values arguments) {
  for (auto [name, value] : llvm::zip_equal(block.getArguments(), arguments))
    env.set(name, std::move(value));
  for (Operation &op : block.without_terminator())
    if (llvm::Error error = runOp(&op))
      return error;
  Values results;
  for (mlir::Value value : block.getTerminator()->getOperands())
    results.push_back(env.get(value));
  return results;
}

llvm::Error Interpreter::runForElements(
    Block &block, Tensor &result,
    llvm::function_ref<Values(ArrayRef<int64_t>)> argumentsAt) {
  llvm::Error error = llvm::Error::success();
  forEachIndex(result.shape, [&](ArrayRef<int64_t> index) {
    if (error)
      return;
    llvm::Expected<Values> yielded = runBlock(block, argumentsAt(index));
    if (!yielded)
      error = yielded.takeError();
    else
      result.at(index) = asDouble(yielded->front());
  });
  return error;
}

llvm::Error Interpreter::runOp(Operation *op) {
  return llvm::TypeSwitch<Operation *, llvm::Error>(op)
      .Case([&](attn::AttentionOp op) { return attention(op); })
      .Case([&](attn::PartialOp op) { return partial(op); })
      .Case([&](attn::RopeOp op) { return rope(op); })
      .Case([&](attn::RmsNormOp op) { return rmsNorm(op); })
      .Case([&](attn::AppendOp op) { return append(op); })
      .Case([&](attn::MergeOp op) { return merge(op); })
      .Case([&](attn::FinalizeOp op) { return finalize(op); })
      .Case([&](attn::GatherRowsOp op) { return rows(op, /*gather=*/true); })
      .Case([&](attn::ScatterRowsOp op) { return rows(op, /*gather=*/false); })
      .Case([&](tensor::EmptyOp op) { return empty(op); })
      .Case([&](tensor::DimOp op) { return dim(op); })
      .Case([&](tensor::ExtractOp op) { return extract(op); })
      .Case([&](tensor::GenerateOp op) { return generate(op); })
      .Case([&](linalg::GenericOp op) { return generic(op); })
      .Case([&](linalg::IndexOp op) {
        env.set(op.getResult(), genericIndex[op.getDim()]);
        return llvm::Error::success();
      })
      .Case([&](arith::ConstantOp op) { return constant(op); })
      .Default([&](Operation *op) { return scalar(op); });
}

//===----------------------------------------------------------------------===//
// The graph level
//===----------------------------------------------------------------------===//

llvm::Error Interpreter::attention(attn::AttentionOp op) {
  OperandErrors errors;
  if (op.getMatrixTerms() != 0)
    errors.rounding = ErrorBound::ofMatrixOperands(
        op.getMatrixTerms(),
        attn::isRowOpResult(op.getQuery()) + attn::isRowOpResult(op.getKey()));
  // The largest errors that RoPE with dynamic scaling leaves in q and k.
  for (mlir::Value operand : {op.getQuery(), op.getKey()})
    if (auto it = dynamicPositions.find(operand); it != dynamicPositions.end())
      for (double position : it->second.data)
        errors.turning =
            std::max(errors.turning,
                     ErrorBound::ofDynamicAngle(op.getComputeType(), position));
  llvm::Expected<AttentionResult> result =
      interpretAttention(op, env, mode, errors);
  if (!result)
    return result.takeError();
  if (result->attending)
    attending.push_back(std::move(*result->attending));
  env.set(op.getResult(0), std::move(result->o));
  if (result->lse)
    env.set(op.getResult(1), std::move(*result->lse));
  keys = std::max(keys, result->keys);
  if (result->absoluteSums) {
    absoluteSums[op.getResult(0)] = std::move(*result->absoluteSums);
    scoreSums[op.getResult(0)] = std::move(*result->scoreSums);
    operandErrors[op.getResult(0)] = std::move(*result->operandErrors);
  }
  if (result->lseScoreSums) {
    scoreSums[op.getResult(1)] = std::move(*result->lseScoreSums);
    operandErrors[op.getResult(1)] = std::move(*result->lseOperandErrors);
  }
  return llvm::Error::success();
}

/// Every row [..., D] is rotated by its position (P1).
llvm::Error Interpreter::rope(attn::RopeOp op) {
  const Tensor &input = env.tensor(op.getInput());
  Tensor output = env.tensor(op.getOutput());
  if (output.shape != input.shape)
    return errorOf(op, "input and output must have one shape");
  const Tensor *positions = env.tensorOrNull(op.getPositions());
  if (positions &&
      positions->shape != ArrayRef(input.shape).take_front(positions->rank()))
    return errorOf(op, "positions must have the shape of the leading "
                       "dimensions of the input (rule P1)");
  for (auto [name, operand] : {std::pair("offset", op.getOffset()),
                               std::pair("length", op.getLength())})
    if (operand)
      if (auto *perRow = std::get_if<Tensor>(&env.get(operand));
          perRow && perRow->shape[0] != input.shape[0])
        return errorOf(op, Twine(name) + " is one i64 or one integer per batch "
                                         "row (rule P1)");
  /// The integer of a batch row; 0 without an operand.
  auto ofBatchRow = [&](mlir::Value operand, int64_t batch) -> int64_t {
    if (!operand)
      return 0;
    auto *perRow = std::get_if<Tensor>(&env.get(operand));
    return perRow ? static_cast<int64_t>(perRow->data[batch])
                  : env.integer(operand);
  };

  int64_t rotary = op.getRotaryWidth(), pairs = rotary / 2;
  // One set of frequencies, or one per batch row.
  bool perRow = op.getLength() && isa<ShapedType>(op.getLength().getType());
  SmallVector<attn::RopeFrequencies> frequenciesOf;
  for (int64_t batch = 0; batch < (perRow ? input.shape[0] : 1); ++batch)
    frequenciesOf.push_back(attn::computeRopeFrequencies(
        rotary, op.getBase().convertToDouble(), op.getScalingAttr(),
        ofBatchRow(op.getLength(), batch)));

  int64_t width = input.shape.back();
  Tensor turned =
      Tensor::filled(ArrayRef(input.shape).drop_back(), input.elementType, 0);
  forEachIndex(turned.shape, [&](ArrayRef<int64_t> row) {
    double position =
        positions
            ? positions->at(row.take_front(positions->rank()))
            : static_cast<double>(row[1] + ofBatchRow(op.getOffset(), row[0]));
    turned.at(row) = position;
    const attn::RopeFrequencies &frequencies =
        frequenciesOf[perRow ? row[0] : 0];
    int64_t start = 0;
    for (auto [index, extent] : llvm::zip(row, input.shape))
      start = start * extent + index;
    const double *x = input.data.data() + start * width;
    double *y = output.data.data() + start * width;
    for (int64_t d = rotary; d < width; ++d)
      y[d] = x[d];
    for (int64_t pair = 0; pair < pairs; ++pair) {
      bool neox = op.getStyle() == attn::RopeStyle::Neox;
      int64_t first = neox ? pair : 2 * pair;
      int64_t second = neox ? pair + pairs : 2 * pair + 1;
      double angle = position * frequencies.inverse[pair];
      double cosine = std::cos(angle) * frequencies.magnitude;
      double sine = std::sin(angle) * frequencies.magnitude;
      y[first] = x[first] * cosine - x[second] * sine;
      y[second] = x[second] * cosine + x[first] * sine;
    }
  });
  if (op.getScalingAttr() &&
      op.getScalingAttr().getKind() == attn::RopeScalingKind::Dynamic)
    dynamicPositions[op->getResult(0)] = std::move(turned);
  env.set(op->getResult(0), std::move(output));
  return llvm::Error::success();
}

llvm::Error Interpreter::rmsNorm(attn::RmsNormOp op) {
  const Tensor &input = env.tensor(op.getInput());
  const Tensor *weight = env.tensorOrNull(op.getWeight());
  Tensor output = env.tensor(op.getOutput());
  if (output.shape != input.shape)
    return errorOf(op, "input and output must have one shape");
  int64_t width = input.shape.back();
  if (weight && weight->shape[0] != width)
    return errorOf(op, "weight must be one vector of the last dimension");
  for (int64_t start = 0; start < input.size(); start += width) {
    double squares = 0.0;
    for (int64_t d = 0; d < width; ++d)
      squares += input.data[start + d] * input.data[start + d];
    double norm = 1.0 / std::sqrt(squares / static_cast<double>(width) +
                                  op.getEps().convertToDouble());
    for (int64_t d = 0; d < width; ++d) {
      double gain = weight ? weight->data[d] : 1.0;
      if (weight && op.getUnitOffset())
        gain += 1.0;
      output.data[start + d] = input.data[start + d] * norm * gain;
    }
  }
  env.set(op->getResult(0), std::move(output));
  return llvm::Error::success();
}

/// Row i of batch b goes to past[b] + i of the cache, rounded to the cache's
/// type; rows outside it go nowhere (K3).
llvm::Error Interpreter::append(attn::AppendOp op) {
  const Tensor &input = env.tensor(op.getInput());
  const Tensor &past = env.tensor(op.getPast());
  Tensor cache = env.tensor(op.getCache());
  if (input.shape[0] != cache.shape[0] || past.shape[0] != cache.shape[0] ||
      ArrayRef(input.shape).drop_front(2) !=
          ArrayRef(cache.shape).drop_front(2))
    return errorOf(op, "input and cache may differ in dimension 1 only "
                       "(rule K3)");
  Tensor scales = Tensor::filled(cache.shape, input.elementType, -1.0);
  const Tensor *positions = nullptr;
  if (auto it = dynamicPositions.find(op.getInput());
      it != dynamicPositions.end())
    positions = &it->second;
  int64_t width = input.shape.back();
  forEachIndex(ArrayRef(input.shape).drop_back(), [&](ArrayRef<int64_t> row) {
    SmallVector<int64_t> from(row), to(row);
    from.push_back(0);
    to.push_back(0);
    to[1] += static_cast<int64_t>(past.data[row[0]]);
    if (to[1] < 0 || to[1] >= cache.shape[1] || width == 0)
      return;
    const double *x = &input.data[input.offset(from)];
    double *y = &cache.data[cache.offset(to)];
    double largest = 0.0;
    for (int64_t d = 0; d < width; ++d) {
      y[d] = roundTo(cache.elementType, x[d]);
      largest = std::max(largest, std::abs(x[d]));
    }
    if (positions)
      largest *=
          ErrorBound::ofDynamicAngle(cache.elementType, positions->at(row));
    std::fill_n(&scales.data[scales.offset(to)], width, largest);
  });
  appended[op->getResult(0)] = std::move(scales);
  if (const Tensor *given = written.lookup(op->getResult(0))) {
    if (given->shape != cache.shape)
      return errorOf(op, "what was written must have the cache's shape");
    overridden[op->getResult(0)] = std::move(cache);
    cache = *given;
  }
  env.set(op->getResult(0), std::move(cache));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// The partial form
//===----------------------------------------------------------------------===//

llvm::Error Interpreter::partial(attn::PartialOp op) {
  llvm::Expected<SmallVector<Tensor>> state = interpretPartial(op, env);
  if (!state)
    return state.takeError();
  for (auto [result, tensor] : llvm::zip_equal(op.getResults(), *state))
    env.set(result, std::move(tensor));
  return llvm::Error::success();
}

llvm::Error Interpreter::merge(attn::MergeOp op) {
  const Tensor &otherAcc = env.tensor(op.getOtherAcc()),
               &otherMax = env.tensor(op.getOtherMax()),
               &otherSum = env.tensor(op.getOtherSum());
  Tensor acc = env.tensor(op.getAcc()), max = env.tensor(op.getMax()),
         sum = env.tensor(op.getSum());
  bool transposed = !op.getAccLayout().isIdentity();
  int64_t rows = acc.shape[transposed ? 1 : 0];
  if (otherAcc.shape != acc.shape || otherMax.shape != max.shape ||
      otherSum.shape != sum.shape || max.shape[0] != rows ||
      sum.shape[0] != rows)
    return errorOf(op, "both states must have one shape (rule R2)");
  forEachIndex(acc.shape, [&](ArrayRef<int64_t> index) {
    int64_t row = index[transposed ? 1 : 0];
    Merge factor(max.data[row], otherMax.data[row]);
    acc.at(index) =
        acc.at(index) * factor.keep + otherAcc.at(index) * factor.take;
  });
  for (int64_t row = 0; row < rows; ++row) {
    Merge factor(max.data[row], otherMax.data[row]);
    sum.data[row] =
        sum.data[row] * factor.keep + otherSum.data[row] * factor.take;
    max.data[row] = factor.max;
  }
  env.set(op->getResult(0), std::move(acc));
  env.set(op->getResult(1), std::move(max));
  env.set(op->getResult(2), std::move(sum));
  return llvm::Error::success();
}

llvm::Error Interpreter::finalize(attn::FinalizeOp op) {
  const Tensor &acc = env.tensor(op.getAcc()), &max = env.tensor(op.getMax()),
               &sum = env.tensor(op.getSum());
  const Tensor *sinks = env.tensorOrNull(op.getSinks());
  Tensor o = env.tensor(op.getOutputs()[0]);
  bool transposed = !op.getAccLayout().isIdentity();
  int64_t rows = acc.shape[transposed ? 1 : 0];
  int64_t width = acc.shape[transposed ? 0 : 1];
  if (o.shape[0] != rows || o.shape[1] != width || max.shape[0] != rows ||
      sum.shape[0] != rows || (sinks && sinks->shape[0] != rows))
    return errorOf(op, "state and outputs do not fit together (rule R2)");
  std::optional<Tensor> lse;
  if (op.getOutputs().size() == 2) {
    lse = env.tensor(op.getOutputs()[1]);
    if (lse->shape[0] != rows)
      return errorOf(op, "lse must be [m] (rule R1)");
  }
  for (int64_t m = 0; m < rows; ++m) {
    // A sink is one more key, with nothing for a value (M7).
    Merge factor(max.data[m], sinks ? sinks->data[m] : negativeInfinity);
    double total = sum.data[m] * factor.keep + factor.take;
    for (int64_t e = 0; e < width; ++e) {
      double x = transposed ? acc.at({e, m}) : acc.at({m, e});
      o.at({m, e}) = total == 0.0 ? 0.0 : x * factor.keep / total;
    }
    if (lse)
      lse->data[m] =
          total == 0.0 ? negativeInfinity : factor.max + std::log(total);
  }
  env.set(op->getResult(0), std::move(o));
  if (lse)
    env.set(op->getResult(1), std::move(*lse));
  return llvm::Error::success();
}

/// gather_rows and scatter_rows: the same pairs of elements, in one direction
/// or the other.
template <typename RowsOp>
llvm::Error Interpreter::rows(RowsOp op, bool gather) {
  const Tensor &source = env.tensor(op.getSource());
  Tensor dest = env.tensor(op.getDest());
  const Tensor &whole = gather ? source : dest;
  const Tensor &tile = gather ? dest : source;
  AffineMap map = op.getTensorMap();
  int64_t b = env.integer(op.getB()), g = env.integer(op.getG());
  int64_t row0 = env.integer(op.getRow0()), count = env.integer(op.getRows());
  int64_t group = static_cast<int64_t>(op.getGroup());
  bool inRange = count <= tile.shape[0];
  if (gather)
    llvm::fill(dest.data, 0.0);
  forEachIndex(tile.shape, [&](ArrayRef<int64_t> index) {
    if (index[0] >= count)
      return;
    int64_t row = row0 + index[0];
    SmallVector<int64_t> at =
        map.compose({b, g * group + row % group, row / group,
                     index.size() == 2 ? index[1] : 0});
    for (auto [coordinate, extent] : llvm::zip_equal(at, whole.shape))
      inRange &= coordinate >= 0 && coordinate < extent;
    if (!inRange)
      return;
    if (gather)
      dest.at(index) = source.at(at);
    else
      dest.at(at) = source.at(index);
  });
  if (!inRange)
    return errorOf(op, "rows lie outside the tensor");
  env.set(op->getResult(0), std::move(dest));
  return llvm::Error::success();
}

//===----------------------------------------------------------------------===//
// Around it
//===----------------------------------------------------------------------===//

llvm::Expected<Tensor> Interpreter::unwritten(RankedTensorType type,
                                              ValueRange sizes) {
  SmallVector<int64_t> shape(type.getShape());
  for (int64_t &extent : shape)
    if (ShapedType::isDynamic(extent)) {
      extent = env.integer(sizes.front());
      sizes = sizes.drop_front();
    }
  if (llvm::Error error = checkShape(shape))
    return error;
  double content = isa<FloatType>(type.getElementType())
                       ? std::numeric_limits<double>::quiet_NaN()
                       : 0.0;
  return Tensor::filled(shape, type.getElementType(), content);
}

llvm::Error Interpreter::empty(tensor::EmptyOp op) {
  llvm::Expected<Tensor> tensor = unwritten(op.getType(), op.getDynamicSizes());
  if (!tensor)
    return tensor.takeError();
  env.set(op.getResult(), std::move(*tensor));
  return llvm::Error::success();
}

llvm::Error Interpreter::dim(tensor::DimOp op) {
  const Tensor &tensor = env.tensor(op.getSource());
  int64_t index = env.integer(op.getIndex());
  if (index < 0 || index >= tensor.rank())
    return errorOf(op, "there is no such dimension");
  env.set(op.getResult(), tensor.shape[index]);
  return llvm::Error::success();
}

llvm::Error Interpreter::extract(tensor::ExtractOp op) {
  const Tensor &tensor = env.tensor(op.getTensor());
  SmallVector<int64_t> at;
  for (auto [index, extent] : llvm::zip_equal(op.getIndices(), tensor.shape)) {
    at.push_back(env.integer(index));
    if (at.back() < 0 || at.back() >= extent)
      return errorOf(op, "the index lies outside the tensor");
  }
  env.set(op.getResult(), elementOf(tensor.at(at), op.getType()));
  return llvm::Error::success();
}

llvm::Error Interpreter::generate(tensor::GenerateOp op) {
  llvm::Expected<Tensor> tensor =
      unwritten(op.getType(), op.getDynamicExtents());
  if (!tensor)
    return tensor.takeError();
  if (llvm::Error error = runForElements(
          op.getBody().front(), *tensor, [](ArrayRef<int64_t> index) {
            return Values(index.begin(), index.end());
          }))
    return error;
  env.set(op.getResult(), std::move(*tensor));
  return llvm::Error::success();
}

/// Element-wise generics only: no reductions.
llvm::Error Interpreter::generic(linalg::GenericOp op) {
  if (op.getNumReductionLoops() != 0 || op.getNumDpsInits() != 1 ||
      op->getNumResults() != 1)
    return errorOf(op, "the reference runs element-wise generics with one "
                       "tensor result");
  Tensor result = env.tensor(op.getDpsInits()[0]);
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  if (!maps.back().isIdentity())
    return errorOf(op, "the result must be indexed by the loops in order");
  for (auto [operand, map] : llvm::zip_equal(op.getOperands(), maps)) {
    auto *tensor = std::get_if<Tensor>(&env.get(operand));
    if (!tensor || !map.isProjectedPermutation())
      return errorOf(op, "operands must be tensors, indexed by loops");
    for (auto [extent, loop] : llvm::zip_equal(tensor->shape, map.getResults()))
      if (extent != result.shape[cast<AffineDimExpr>(loop).getPosition()])
        return errorOf(op, "operands do not fit together");
  }
  auto argumentsAt = [&](ArrayRef<int64_t> index) {
    Values arguments;
    for (auto [operand, map] : llvm::zip_equal(op.getOperands(), maps)) {
      const Tensor &tensor = env.tensor(operand);
      arguments.push_back(elementOf(tensor.at(map.compose(index)),
                                    getElementTypeOrSelf(operand.getType())));
    }
    genericIndex.assign(index.begin(), index.end());
    return arguments;
  };
  if (llvm::Error error = runForElements(*op.getBody(), result, argumentsAt))
    return error;
  env.set(op->getResult(0), std::move(result));
  return llvm::Error::success();
}

llvm::Error Interpreter::constant(arith::ConstantOp op) {
  auto elements = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!elements)
    return scalar(op);
  Tensor tensor = Tensor::filled(elements.getType().getShape(),
                                 elements.getElementType(), 0.0);
  for (auto [index, attr] : llvm::enumerate(elements.getValues<Attribute>()))
    tensor.data[index] =
        isa<FloatAttr>(attr)
            ? cast<FloatAttr>(attr).getValueAsDouble()
            : static_cast<double>(
                  cast<IntegerAttr>(attr).getValue().getSExtValue());
  env.set(op.getResult(), std::move(tensor));
  return llvm::Error::success();
}

llvm::Error Interpreter::scalar(Operation *op) {
  llvm::Expected<ScalarFn> compute = getScalarFn(op);
  if (!compute)
    return compute.takeError();
  SmallVector<Scalar> operands;
  for (mlir::Value operand : op->getOperands())
    operands.push_back(toScalar(env.get(operand)));
  env.set(op->getResult(0),
          fromScalar((*compute)(operands), op->getResult(0).getType()));
  return llvm::Error::success();
}

llvm::Expected<Interpretation>
fovea::reference::interpret(func::FuncOp function,
                            ArrayRef<RuntimeValue> arguments,
                            const InterpretOptions &options) {
  return Interpreter(options, options.errorSums ? AttentionMode::ErrorSums
                                                : AttentionMode::Results)
      .run(function, arguments);
}

llvm::Expected<SmallVector<Tensor>>
fovea::reference::countAttending(func::FuncOp function,
                                 ArrayRef<RuntimeValue> arguments) {
  InterpretOptions options;
  Interpreter interpreter(options, AttentionMode::Attending);
  llvm::Expected<Interpretation> result = interpreter.run(function, arguments);
  if (!result)
    return result.takeError();
  return std::move(interpreter.attending);
}
