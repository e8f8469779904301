// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn.attention and attn.partial by their definitions (rules S1-S3, M1, M2,
// M7, R1). Only attended pairs are computed, and only their keys and values are
// read, so that what a masked key holds cannot matter (M1).

#include "compiler/Reference/Environment.h"
#include "compiler/Reference/Scalars.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace fovea;
using namespace fovea::reference;

namespace {

constexpr double negativeInfinity = -std::numeric_limits<double>::infinity();

/// Strides of an operand by loop dimension: the element at a point of the
/// iteration space is at the sum of coordinate times stride.
SmallVector<int64_t> loopStrides(AffineMap map, const Tensor &tensor) {
  SmallVector<int64_t> strides = tensor.strides(), result;
  for (unsigned dim = 0; dim < map.getNumDims(); ++dim) {
    SmallVector<int64_t> unit(map.getNumDims(), 0);
    unit[dim] = 1;
    int64_t step = 0;
    for (auto [index, stride] : llvm::zip_equal(map.compose(unit), strides))
      step += index * stride;
    result.push_back(step);
  }
  return result;
}

/// The extent of the operand's dimension that `dim` runs along.
int64_t extentAlong(AffineMap map, const Tensor &tensor, unsigned dim) {
  for (auto [expr, extent] : llvm::zip_equal(map.getResults(), tensor.shape))
    if (expr.isFunctionOfDim(dim))
      return extent;
  llvm_unreachable("the verifier saw that the map uses this dimension");
}

/// What the mask and score regions say of a pair, and the extents they see.
class PairRules {
public:
  static llvm::Expected<PairRules> create(Region &score, Region &mask,
                                          OperandRange captures,
                                          const Environment &env) {
    PairRules rules;
    SmallVector<const Tensor *> tensors(attn::NumIndexArgs, nullptr);
    for (mlir::Value capture : captures) {
      Scalar scalar = ofInt(0);
      const RuntimeValue &value = env.get(capture);
      if (auto *integer = std::get_if<int64_t>(&value))
        scalar = ofInt(*integer);
      else if (auto *real = std::get_if<double>(&value))
        scalar = ofFloat(*real);
      rules.captured.push_back(scalar);
      tensors.push_back(std::get_if<Tensor>(&value));
    }
    rules.arguments.assign(1 + attn::NumIndexArgs, ofInt(0));
    llvm::append_range(rules.arguments, rules.captured);
    if (!mask.empty()) {
      llvm::Expected<ScalarProgram> program =
          ScalarProgram::create(mask, tensors);
      if (!program)
        return program.takeError();
      rules.mask = std::move(*program);
    }
    tensors.insert(tensors.begin(), nullptr);
    if (!score.empty()) {
      llvm::Expected<ScalarProgram> program =
          ScalarProgram::create(score, tensors);
      if (!program)
        return program.takeError();
      rules.score = std::move(*program);
    }
    return rules;
  }

  void set(attn::RegionArg argument, int64_t value) {
    arguments[1 + argument] = ofInt(value);
  }
  /// Whether the query attends the key (M1), and how a score changes (S2, S3),
  /// at the point that was set.
  bool attends() {
    return !mask || mask->run(ArrayRef(arguments).drop_front()).integer;
  }
  bool hasScore() const { return score.has_value(); }
  double rescore(double s) {
    if (!score)
      return s;
    arguments[0] = ofFloat(s);
    return score->run(arguments).real;
  }

private:
  std::optional<ScalarProgram> score, mask;
  SmallVector<Scalar> arguments; // s, then as in RegionArg, then captures
  SmallVector<Scalar> captured;
};

/// What sums are kept in: kernels for f64 are held to bounds that a plain sum
/// of f64 over thousands of keys would not keep itself.
using Sum = long double;

double dot(const double *x, int64_t xStride, const double *y, int64_t yStride,
           int64_t count) {
  Sum result = 0.0;
  for (int64_t d = 0; d < count; ++d)
    result += Sum(x[d * xStride]) * y[d * yStride];
  return static_cast<double>(result);
}

double square(double x) { return x * x; }

/// The magnitude of the roundings in a score before the maximum is subtracted:
/// r_j of ErrorBound.h but for that.
double roundingsOfScore(const double *q, int64_t qStride, const double *k,
                        int64_t kStride, int64_t count, double scale,
                        double turning, PairRules &rules) {
  double sum = 0.0, chain = 0.0, qSquares = 0.0, kSquares = 0.0;
  for (int64_t d = 0; d < count; ++d) {
    double x = q[d * qStride], y = k[d * kStride];
    sum += x * y;
    chain += square(sum);
    qSquares += square(x);
    kSquares += square(y);
  }
  double s = scale * sum;
  double r = std::sqrt(square(scale) *
                           (chain + square(turning) * qSquares * kSquares) +
                       square(s));
  if (!rules.hasScore())
    return r;
  // An infinite key is exact, and so is what a softcap makes of it.
  if (std::isinf(s))
    return std::abs(rules.rescore(s));
  // The score expression's slope, over a step that is long for f64 and short
  // for the expression.
  double step = 0x1p-20 * std::max(r, 0x1p-100);
  double slope =
      std::abs(rules.rescore(s + step) - rules.rescore(s - step)) / (2 * step);
  return slope * r + std::abs(s) + 2 * std::abs(rules.rescore(s));
}

/// How far a score moves when the elements of q and k are rounded: e_j of
/// ErrorBound.h.
double errorOfOperands(const double *q, int64_t qStride, const double *k,
                       int64_t kStride, int64_t count, double scale,
                       double rounding, PairRules &rules) {
  if (rounding == 0)
    return 0;
  double sum = 0.0, squares = 0.0, magnitudes = 0.0;
  for (int64_t d = 0; d < count; ++d) {
    double x = q[d * qStride], y = k[d * kStride];
    sum += x * y;
    squares += square(x * y);
    magnitudes += std::abs(x) + std::abs(y);
  }
  double s = scale * sum, e = std::abs(scale) * (rounding * std::sqrt(squares) +
                                                 0x1p-125 * magnitudes);
  // What is infinite stays so.
  if (!std::isfinite(e))
    return 0;
  double exact = rules.rescore(s);
  return std::max(std::abs(rules.rescore(s + e) - exact),
                  std::abs(rules.rescore(s - e) - exact));
}

enum Loop : unsigned { LoopB, LoopG, LoopR, LoopM, LoopN, LoopD, LoopE };

} // namespace

llvm::Error fovea::reference::errorOf(Operation *op, const Twine &message) {
  return llvm::createStringError(op->getName().getStringRef() + ": " + message);
}

llvm::Expected<AttentionResult>
fovea::reference::interpretAttention(attn::AttentionOp op,
                                     const Environment &env, AttentionMode mode,
                                     OperandErrors errors) {
  const Tensor &q = env.tensor(op.getQuery()), &k = env.tensor(op.getKey()),
               &v = env.tensor(op.getValue());
  const Tensor *lengths = env.tensorOrNull(op.getLengths());
  const Tensor *sinks = env.tensorOrNull(op.getSinks());
  AttentionResult result;
  result.o = Tensor::filled(env.tensor(op.getOutput()).shape, q.elementType, 0);
  result.o.elementType = env.tensor(op.getOutput()).elementType;
  if (op.hasLse())
    result.lse = Tensor::filled(env.tensor(op.getLse()).shape,
                                env.tensor(op.getLse()).elementType, 0.0);
  bool errorSums = mode == AttentionMode::ErrorSums;
  Type f64 = Float64Type::get(op.getContext());
  if (errorSums) {
    result.absoluteSums = Tensor::filled(result.o.shape, f64, 0.0);
    result.scoreSums = result.operandErrors = result.absoluteSums;
    if (result.lse)
      result.lseScoreSums = result.lseOperandErrors =
          Tensor::filled(result.lse->shape, f64, 0.0);
  }

  SmallVector<AffineMap> maps = op.getMaps();
  int64_t batches = extentAlong(maps[0], q, LoopB);
  int64_t rows = extentAlong(maps[0], q, LoopM);
  int64_t keys = extentAlong(maps[1], k, LoopN);
  int64_t kvHeads = op.getKvHeads(), group = op.getGroupSize();
  int64_t heads = kvHeads * group;
  int64_t width = op.getQkWidth(), valueWidth = op.getValueWidth();
  if (extentAlong(maps[1], k, LoopB) != batches ||
      extentAlong(maps[2], v, LoopB) != batches ||
      extentAlong(maps[3], result.o, LoopB) != batches ||
      (result.lse && extentAlong(maps[4], *result.lse, LoopB) != batches) ||
      (lengths && lengths->shape[0] != batches))
    return errorOf(op, "operands differ in batch (rule S1)");
  if (extentAlong(maps[2], v, LoopN) != keys)
    return errorOf(op, "k and v differ in key length (rule S1)");
  if (extentAlong(maps[3], result.o, LoopM) != rows ||
      (result.lse && extentAlong(maps[4], *result.lse, LoopM) != rows))
    return errorOf(op, "q and the outputs differ in rows (rule R2)");
  if (sinks && sinks->shape[0] != heads)
    return errorOf(op, "sinks holds one logit per query head (rule M7)");

  SmallVector<int64_t> qs = loopStrides(maps[0], q),
                       ks = loopStrides(maps[1], k),
                       vs = loopStrides(maps[2], v),
                       os = loopStrides(maps[3], result.o), ls;
  if (result.lse)
    ls = loopStrides(maps[4], *result.lse);

  // Where this tile lies in the whole problem; the regions speak of the latter.
  SmallVector<int64_t> origin(4, 0),
      extents = {batches, heads, kvHeads, rows, keys};
  for (auto [index, value] : llvm::enumerate(op.getOrigin()))
    origin[index] = env.integer(value);
  for (auto [index, value] : llvm::enumerate(op.getExtents()))
    extents[index] = env.integer(value);

  llvm::Expected<PairRules> rules =
      PairRules::create(op.getScore(), op.getMask(), op.getCaptures(), env);
  if (!rules)
    return rules.takeError();
  static constexpr attn::RegionArg extentArguments[] = {
      attn::ArgBatches, attn::ArgHeads, attn::ArgKvHeads, attn::ArgM,
      attn::ArgN};
  for (auto [argument, extent] : llvm::zip_equal(extentArguments, extents))
    rules->set(argument, extent);
  rules->set(attn::ArgD, width);

  if (mode == AttentionMode::Attending)
    result.attending = Tensor::filled({batches, kvHeads, keys}, f64, 0.0);

  double scale = op.getScaleOrDefault();
  std::vector<int64_t> attended;
  std::vector<double> scores, roundings;
  std::vector<double> moves;     // of scores, by errorOfOperands
  std::vector<Sum> weights, row; // row: of o
  for (int64_t b = 0; b < batches; ++b) {
    // The keys of this batch row, counted in the whole problem (K1).
    int64_t rowKeys = extents[4];
    if (lengths) {
      rowKeys = std::clamp<int64_t>(static_cast<int64_t>(lengths->data[b]), 0,
                                    extents[4]);
      rules->set(attn::ArgN, rowKeys);
    }
    rules->set(attn::ArgB, origin[0] + b);
    for (int64_t h = 0; h < heads; ++h) {
      int64_t g = h / group, r = h % group;
      rules->set(attn::ArgH, origin[1] + h);
      for (int64_t i = 0; i < rows; ++i) {
        rules->set(attn::ArgI, origin[2] + i);
        const double *query = q.data.data() + b * qs[LoopB] + g * qs[LoopG] +
                              r * qs[LoopR] + i * qs[LoopM];
        attended.clear();
        scores.clear();
        roundings.clear();
        moves.clear();
        double max = sinks ? sinks->data[h] : negativeInfinity;
        for (int64_t j = 0; j < keys && origin[3] + j < rowKeys; ++j) {
          rules->set(attn::ArgJ, origin[3] + j);
          if (!rules->attends())
            continue;
          if (result.attending) {
            ++result.attending->at({b, g, j});
            continue;
          }
          const double *key =
              k.data.data() + b * ks[LoopB] + g * ks[LoopG] + j * ks[LoopN];
          double s = rules->rescore(
              scale * dot(query, qs[LoopD], key, ks[LoopD], width));
          attended.push_back(j);
          scores.push_back(s);
          if (errorSums) {
            roundings.push_back(roundingsOfScore(query, qs[LoopD], key,
                                                 ks[LoopD], width, scale,
                                                 errors.turning, *rules));
            moves.push_back(errorOfOperands(query, qs[LoopD], key, ks[LoopD],
                                            width, scale, errors.rounding,
                                            *rules));
          }
          max = std::max(max, s);
        }

        // Softmax (M2): an empty row, or one of -inf alone, subtracts nothing.
        double shift = max == negativeInfinity ? 0.0 : max;
        for (auto [s, rounding] : llvm::zip(scores, roundings))
          rounding = std::hypot(rounding, s - shift);
        Sum sum = sinks ? std::exp(Sum(sinks->data[h]) - shift) : 0.0;
        weights.clear();
        for (double s : scores) {
          weights.push_back(std::exp(Sum(s) - shift));
          sum += weights.back();
        }
        int64_t lse = 0;
        if (result.lse) {
          lse = b * ls[LoopB] + g * ls[LoopG] + r * ls[LoopR] + i * ls[LoopM];
          result.lse->data[lse] = static_cast<double>(shift + std::log(sum));
        }
        if (sum == 0.0)
          continue; // O = 0
        int64_t out =
            b * os[LoopB] + g * os[LoopG] + r * os[LoopR] + i * os[LoopM];
        row.assign(valueWidth, 0.0);
        for (auto [j, weight] : llvm::zip_equal(attended, weights)) {
          const double *value =
              v.data.data() + b * vs[LoopB] + g * vs[LoopG] + j * vs[LoopN];
          Sum p = weight / sum;
          for (int64_t e = 0; e < valueWidth; ++e) {
            double x = value[e * vs[LoopE]];
            row[e] += p * x;
            if (errorSums)
              result.absoluteSums->data[out + e * os[LoopE]] +=
                  static_cast<double>(p * std::abs(x));
          }
        }
        for (int64_t e = 0; e < valueWidth; ++e)
          result.o.data[out + e * os[LoopE]] = static_cast<double>(row[e]);
        if (!errorSums)
          continue;
        result.keys =
            std::max(result.keys, static_cast<int64_t>(attended.size()));
        for (auto [j, weight, rounding] :
             llvm::zip_equal(attended, weights, roundings)) {
          if (weight == 0.0)
            continue; // that of a score of -inf is no number
          double error = static_cast<double>(weight / sum) * rounding;
          const double *value =
              v.data.data() + b * vs[LoopB] + g * vs[LoopG] + j * vs[LoopN];
          for (int64_t e = 0; e < valueWidth; ++e) {
            int64_t at = out + e * os[LoopE];
            result.scoreSums->data[at] +=
                error * std::abs(value[e * vs[LoopE]] - result.o.data[at]);
          }
          if (result.lse)
            result.lseScoreSums->data[lse] += error;
        }
        if (errors.rounding == 0)
          continue;
        // The weights' sum is between that of p_j e^-e_j and of p_j e^e_j.
        double more = 0.0, less = 0.0;
        for (auto [weight, move] : llvm::zip_equal(weights, moves)) {
          if (weight == 0.0)
            continue;
          more += static_cast<double>(weight / sum) * std::expm1(move);
          less += static_cast<double>(weight / sum) * std::expm1(-move);
        }
        if (result.lse)
          result.lseOperandErrors->data[lse] = std::log1p(more);
        for (auto [j, weight, move] :
             llvm::zip_equal(attended, weights, moves)) {
          if (weight == 0.0)
            continue;
          double error = static_cast<double>(weight / sum) * std::expm1(move) /
                         (1.0 + less);
          const double *value =
              v.data.data() + b * vs[LoopB] + g * vs[LoopG] + j * vs[LoopN];
          for (int64_t e = 0; e < valueWidth; ++e) {
            int64_t at = out + e * os[LoopE];
            result.operandErrors->data[at] +=
                error * std::abs(value[e * vs[LoopE]] - result.o.data[at]);
          }
        }
      }
    }
  }
  return result;
}

llvm::Expected<SmallVector<Tensor>>
fovea::reference::interpretPartial(attn::PartialOp op, const Environment &env) {
  const Tensor &q = env.tensor(op.getQuery()), &k = env.tensor(op.getKey()),
               &v = env.tensor(op.getValue());
  if (op.getUnzipped())
    return errorOf(op, "the reference reads no unzipped rows");
  Tensor acc = env.tensor(op.getAcc()), max = env.tensor(op.getMax()),
         sum = env.tensor(op.getSum());
  enum { M, N, D, E };
  SmallVector<AffineMap> maps = op.getMaps();
  for (AffineMap map : maps)
    if (llvm::any_of(map.getResults(), llvm::IsaPred<AffineConstantExpr>))
      return errorOf(op, "the reference reads no sums of terms");
  int64_t rows = extentAlong(maps[0], q, M), keys = extentAlong(maps[1], k, N);
  int64_t width = extentAlong(maps[0], q, D);
  int64_t valueWidth = extentAlong(maps[2], v, E);
  if (extentAlong(maps[1], k, D) != width ||
      extentAlong(maps[2], v, N) != keys ||
      extentAlong(maps[3], acc, M) != rows ||
      extentAlong(maps[3], acc, E) != valueWidth || max.shape[0] != rows ||
      sum.shape[0] != rows)
    return errorOf(op, "the tiles do not fit together");
  SmallVector<int64_t> qs = loopStrides(maps[0], q),
                       ks = loopStrides(maps[1], k),
                       vs = loopStrides(maps[2], v),
                       as = loopStrides(maps[3], acc);

  llvm::Expected<PairRules> rules =
      PairRules::create(op.getScore(), op.getMask(), op.getCaptures(), env);
  if (!rules)
    return rules.takeError();
  int64_t group = static_cast<int64_t>(op.getGroup());
  int64_t kvHeads = static_cast<int64_t>(op.getKvHeads());
  int64_t b = env.integer(op.getB()), g = env.integer(op.getG());
  int64_t queries = env.integer(op.getExtents()[1]);
  rules->set(attn::ArgB, b);
  rules->set(attn::ArgBatches, env.integer(op.getExtents()[0]));
  rules->set(attn::ArgHeads, kvHeads * group);
  rules->set(attn::ArgKvHeads, kvHeads);
  rules->set(attn::ArgM, queries);
  rules->set(attn::ArgN, env.integer(op.getExtents()[2]));
  rules->set(attn::ArgD, width);

  double scale = op.getScale().convertToDouble();
  for (int64_t l = 0; l < rows; ++l) {
    int64_t r = env.integer(op.getRow0()) + l;
    if (r >= queries * group)
      break; // rows beyond the problem hold anything
    rules->set(attn::ArgH, g * group + r % group);
    rules->set(attn::ArgI, r / group);
    for (int64_t n = 0; n < keys; ++n) {
      rules->set(attn::ArgJ, env.integer(op.getJ0()) + n);
      if (!rules->attends())
        continue;
      double s =
          rules->rescore(scale * dot(q.data.data() + l * qs[M], qs[D],
                                     k.data.data() + n * ks[N], ks[D], width));
      // One key at a time: rescale the state to the new maximum, then add.
      double newMax = std::max(max.data[l], s);
      double shift = newMax == negativeInfinity ? 0.0 : newMax;
      double keep = std::exp(max.data[l] - shift), weight = std::exp(s - shift);
      max.data[l] = newMax;
      sum.data[l] = sum.data[l] * keep + weight;
      for (int64_t e = 0; e < valueWidth; ++e) {
        double &x = acc.data[l * as[M] + e * as[E]];
        x = x * keep + weight * v.data[n * vs[N] + e * vs[E]];
      }
    }
  }
  return SmallVector<Tensor>{std::move(acc), std::move(max), std::move(sum)};
}
