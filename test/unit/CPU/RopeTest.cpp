// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn.rope as the CPU passes lower it, run on this machine and compared with
// rule P1 written out in f64: both styles, every scaling, positions up to a
// million, tiles and whole tensors, in place and not, every float type.

#include "test/unit/CPU/Strided.h"

#include "dialects/attn/IR/Rope.h"

#include "mlir/AsmParser/AsmParser.h"

using namespace fovea::test;

namespace {

struct Rope {
  int64_t width = 16, rotary = 16;
  bool neox = true, inPlace = false;
  double base = 10000;
  std::string scaling = "";  // the attribute's body
  int64_t length = -1;       // of keys, if the scaling depends on it
  bool lengthPerRow = false; // batch row 1 has twice that
  int64_t inner = 1;         // strides of the last dimension
  int64_t vectorBits = 256;
  std::vector<int64_t> positions = {
      0, 0, 7, 7, 7, 0, 1, 131072, 131072, 999983, 1000000, -3, 4096, 4096, 0};
};

/// The op on %x, %y (and %p, %o, %n, %l as `operands` and the length say).
std::string ropeText(const Rope &rope, const std::string &type,
                     const std::string &operands) {
  return "attn.rope ins(%x : " + type + ") " + operands +
         (rope.length < 0     ? ""
          : rope.lengthPerRow ? " length(%l : memref<?xi32>)"
                              : " length(%n : i64)") +
         " outs(" + (rope.inPlace ? "%x" : "%y") + " : " + type +
         ") {style = #attn.rope_style<" + (rope.neox ? "neox" : "interleaved") +
         ">, base = " + std::to_string(rope.base) +
         " : f64, rotary_dim = " + std::to_string(rope.rotary) + " : i64" +
         (rope.scaling.empty()
              ? ""
              : ", scaling = #attn.rope_scaling<" + rope.scaling + ">") +
         "}\nreturn }\n";
}

fovea::attn::RopeFrequencies frequenciesOf(const Rope &rope) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<fovea::attn::AttnDialect>();
  fovea::attn::RopeScalingAttr scaling;
  if (!rope.scaling.empty())
    scaling = mlir::cast<fovea::attn::RopeScalingAttr>(mlir::parseAttribute(
        "#attn.rope_scaling<" + rope.scaling + ">", &context));
  return fovea::attn::computeRopeFrequencies(rope.rotary, rope.base, scaling,
                                             rope.length);
}

/// Compares one row with rule P1; returns the largest error in radians.
template <typename T>
void checkRow(const Rope &rope, const fovea::attn::RopeFrequencies &f,
              int64_t position, std::function<double(int64_t)> x,
              std::function<double(int64_t)> y) {
  double rounding = std::is_same_v<T, BFloat>     ? 0x1.01p-8
                    : std::is_same_v<T, _Float16> ? 0x1.01p-11
                                                  : 0;
  // Errors of an f32 rotation are those of rounded cosines, sines and products;
  // those of an f64 one bound the angle: 1e-9 at position 1e6.
  double compute = std::is_same_v<T, double> ? 1e-9 : 3 * 0x1p-24;
  int64_t half = rope.rotary / 2;
  for (int64_t k = 0; k < half; ++k) {
    long double angle = (long double)position * f.inverse[k];
    double cosine = double(std::cos(angle)) * f.magnitude,
           sine = double(std::sin(angle)) * f.magnitude;
    int64_t first = rope.neox ? k : 2 * k,
            second = rope.neox ? k + half : first + 1;
    double a = x(first), b = x(second);
    double wantFirst = a * cosine - b * sine,
           wantSecond = b * cosine + a * sine;
    double bound = (std::abs(a) + std::abs(b)) * f.magnitude * compute;
    EXPECT_NEAR(y(first), wantFirst, bound + rounding * std::abs(wantFirst))
        << "position " << position << " frequency " << k;
    EXPECT_NEAR(y(second), wantSecond, bound + rounding * std::abs(wantSecond))
        << "position " << position << " frequency " << k;
  }
  for (int64_t d = rope.rotary; d < rope.width; ++d)
    EXPECT_EQ(y(d), x(d)) << "element " << d << " is not rotated";
}

double uniform() {
  static std::mt19937 random(5);
  return std::uniform_real_distribution<double>(-1, 1)(random);
}

/// The tile form: x [L, D], positions [L].
template <typename T> void testTile(const Rope &rope) {
  const std::vector<int64_t> &positions = rope.positions;
  int64_t lanes = positions.size();
  SCOPED_TRACE(testing::Message()
               << typeName<T>() << " width " << rope.width << " rotary "
               << rope.rotary << (rope.neox ? " neox " : " interleaved ")
               << rope.scaling << " length " << rope.length);
  std::string type = stridedType(
      std::to_string(lanes) + "x" + std::to_string(rope.width), typeName<T>());
  std::string vector = "memref<" + std::to_string(lanes) + "xi64>";
  Jit jit("func.func @rope(%x: " + type + ", %y: " + type + ", %p: " + vector +
              ", %n: i64) attributes {llvm.emit_c_interface} {\n" +
              ropeText(rope, type, "positions(%p : " + vector + ")"),
          "x86-64-v3", rope.vectorBits);
  expectNoLibraryCalls(jit);
  Strided<T, 2> x({lanes, rope.width},
                  {rope.width * rope.inner + 3, rope.inner}),
      y({lanes, rope.width}, {rope.width + 2, 1});
  x.fill(uniform);
  Strided<T, 2> before = x;
  std::vector<int64_t> p = positions;
  auto pRef = memref(p.data(), lanes);
  jit.call("rope", &x, &y, &pRef, rope.length);
  Strided<T, 2> &result = rope.inPlace ? x : y;
  auto frequencies = frequenciesOf(rope);
  for (int64_t l = 0; l < lanes; ++l)
    checkRow<T>(
        rope, frequencies, positions[l],
        [&](int64_t d) { return double(before[{l, d}]); },
        [&](int64_t d) { return double(result[{l, d}]); });
  result.expectCanaries();
}

/// The whole form: x [B, M, H, D]; where a row's position comes from.
enum class From { Index, Offset, BatchOffset, Positions };

template <typename T> void testWhole(const Rope &rope, From from) {
  SCOPED_TRACE(testing::Message() << typeName<T>() << " form " << int(from));
  constexpr int64_t batch = 2, rows = 3, heads = 4;
  std::string type =
      stridedType("?x?x4x" + std::to_string(rope.width), typeName<T>());
  const char *operands[] = {"", "offset(%o : i64)",
                            "offset(%b : memref<?xi32>)",
                            "positions(%p : memref<?x?xi32>)"};
  Jit jit("func.func @rope(%x: " + type + ", %y: " + type +
          ", %o: i64, %b: memref<?xi32>, %p: memref<?x?xi32>, %n: i64, "
          "%l: memref<?xi32>) "
          "attributes {llvm.emit_c_interface} {\n" +
          ropeText(rope, type, operands[int(from)]));
  std::array<int64_t, 4> sizes = {batch, rows, heads, rope.width};
  int64_t row = rope.width * rope.inner + 1;
  std::array<int64_t, 4> strides = {row * heads * rows + 2, row * heads, row,
                                    rope.inner};
  Strided<T, 4> x(sizes, strides), y(sizes, strides);
  x.fill(uniform);
  Strided<T, 4> before = x;
  int64_t offset = 12345;
  std::vector<int32_t> offsets = {77, 100000},
                       positions = {5, 5, 900, 0, -1, 6},
                       lengths = {int32_t(rope.length),
                                  int32_t(2 * rope.length)};
  auto offsetRef = memref(offsets.data(), batch);
  auto positionRef = memref(positions.data(), batch, rows, rows);
  auto lengthRef = memref(lengths.data(), batch);
  jit.call("rope", &x, &y, offset, &offsetRef, &positionRef, rope.length,
           &lengthRef);
  Strided<T, 4> &result = rope.inPlace ? x : y;
  for (int64_t b = 0; b < batch; ++b) {
    Rope row = rope;
    if (rope.lengthPerRow)
      row.length = lengths[b];
    auto frequencies = frequenciesOf(row);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t h = 0; h < heads; ++h) {
        int64_t position = from == From::Index    ? i
                           : from == From::Offset ? offset + i
                           : from == From::BatchOffset
                               ? offsets[b] + i
                               : positions[b * rows + i];
        checkRow<T>(
            rope, frequencies, position,
            [&](int64_t d) { return double(before[{b, i, h, d}]); },
            [&](int64_t d) { return double(result[{b, i, h, d}]); });
      }
  }
  result.expectCanaries();
}

} // namespace

TEST(Rope, TypesAndStyles) {
  for (bool neox : {true, false}) {
    testTile<float>({.neox = neox});
    testTile<double>({.neox = neox});
    testTile<BFloat>({.neox = neox, .inPlace = true});
    testTile<_Float16>({.neox = neox, .inPlace = true});
    testTile<float>(
        {.width = 64, .rotary = 64, .neox = neox, .vectorBits = 512});
  }
}

TEST(Rope, WidthsAndStrides) {
  for (bool neox : {true, false}) {
    testTile<double>({.width = 128, .rotary = 128, .neox = neox});
    testTile<double>({.width = 45, .rotary = 26, .neox = neox});
    testTile<float>({.width = 3, .rotary = 2, .neox = neox});
    testTile<float>({.width = 37, .rotary = 20, .neox = neox, .inPlace = true});
    testTile<float>({.width = 20, .rotary = 12, .neox = neox, .inner = 2});
  }
}

// Cosines go from one position to the next, also over many rows, with repeated
// positions and up to where the angle is taken again.
TEST(Rope, RunsOfPositions) {
  std::vector<int64_t> run;
  for (int64_t from : {-300, 130900, 5})
    for (int64_t p = 0; p < 600; ++p)
      run.insert(run.end(), p % 7 == 0 ? 2 : 1, from + p);
  std::vector<std::string> scalings = {
      "", "kind = dynamic, factor = 4.0, original_length = 128",
      "kind = longrope, factor = 4.0, original_length = 128, "
      "short_factor = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5], "
      "long_factor = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]"};
  for (const std::string &scaling : scalings) {
    Rope rope = {.scaling = scaling, .positions = run};
    if (!scaling.empty())
      rope.length = 1000;
    testTile<float>(rope);
    rope.vectorBits = 512;
    testTile<_Float16>(rope);
    testTile<double>(rope);
  }
}

TEST(Rope, WholeTensors) {
  for (From from :
       {From::Index, From::Offset, From::BatchOffset, From::Positions}) {
    testWhole<float>({.width = 24, .rotary = 18}, from);
    testWhole<BFloat>({.neox = false, .inPlace = true}, from);
  }
  testWhole<double>({.width = 10, .rotary = 8, .inner = 2}, From::Offset);
}

TEST(Rope, Scalings) {
  std::vector<Rope> ropes = {
      {.scaling = "kind = linear, factor = 4.0"},
      {.scaling =
           "kind = yarn, factor = 8.0, original_length = 4096, beta_fast "
           "= 32.0, beta_slow = 1.0"},
      {.scaling =
           "kind = yarn, factor = 8.0, original_length = 4096, beta_fast "
           "= 32.0, beta_slow = 1.0, attention_factor = 0.5"},
      {.base = 500000,
       .scaling = "kind = llama3, factor = 8.0, original_length = 8192, "
                  "low_freq_factor = 1.0, high_freq_factor = 4.0"}};
  for (int64_t length : {0, 100, 128, 129, 100000}) {
    ropes.push_back(
        {.scaling = "kind = dynamic, factor = 4.0, original_length = 128",
         .length = length});
    ropes.push_back(
        {.scaling = "kind = longrope, factor = 4.0, original_length = 128, "
                    "short_factor = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5], "
                    "long_factor = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]",
         .length = length});
  }
  for (Rope &rope : ropes) {
    testTile<double>(rope);
    rope.neox = false;
    testTile<float>(rope);
  }
  testWhole<float>(ropes.back(), From::Offset);
  testWhole<double>(ropes[ropes.size() - 2], From::Offset);
}

TEST(Rope, LengthPerBatchRow) {
  for (const char *scaling :
       {"kind = dynamic, factor = 4.0, original_length = 128",
        "kind = longrope, factor = 4.0, original_length = 128, "
        "short_factor = [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5], "
        "long_factor = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]"})
    for (int64_t length : {64, 65, 200})
      for (From from : {From::BatchOffset, From::Positions})
        testWhole<double>(
            {.scaling = scaling, .length = length, .lengthPerRow = true}, from);
}

TEST(Rope, OneFrequencyWithDynamicScaling) {
  testTile<double>(
      {.width = 2,
       .rotary = 2,
       .scaling = "kind = dynamic, factor = 4.0, original_length = 128",
       .length = 1000});
}
