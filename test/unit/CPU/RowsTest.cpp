// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// attn.gather_rows, scatter_rows, append, rms_norm, cpu.split and transposes of
// tiles as the CPU passes lower them, run on this machine and compared with
// plain loops: every pair of types that occurs, odd widths, all kinds of
// strides, folded rows.

#include "test/unit/CPU/Strided.h"

using namespace fovea::test;

static std::string number(int64_t value) { return std::to_string(value); }

/// The order of a whole tensor's dimensions, and its map from (b, h, i, d).
struct Layout {
  const char *map;
  std::array<int, 4> order; // of b, h, i, d in memory index order
};
static const Layout layouts[] = {
    {"", {0, 2, 1, 3}},
    {", map = affine_map<(b, h, i, d) -> (b, h, i, d)>", {0, 1, 2, 3}},
    {", map = affine_map<(b, h, i, d) -> (d, i, h, b)>", {3, 2, 1, 0}},
};

/// Strides of a tensor of `sizes`, inner stride and padding of each dimension
/// given; -1 makes every stride but the last 0.
template <int rank>
static std::array<int64_t, rank> makeStrides(std::array<int64_t, rank> sizes,
                                             int64_t inner, int64_t padding) {
  std::array<int64_t, rank> strides;
  int64_t stride = inner;
  for (int d = rank - 1; d >= 0; --d) {
    strides[d] = padding < 0 && d < rank - 1 ? 0 : stride;
    stride = stride * sizes[d] + (inner == 0 ? 1 : padding);
  }
  return strides;
}

constexpr int64_t B = 2, H = 6, M = 7;

/// Whole tensor [B, M, H, D] in some layout, and tile [L, D].
template <typename Whole, typename Tile>
static void testRows(int64_t width, int64_t lanes, int64_t group,
                     const Layout &layout, int64_t vectorBits = 256) {
  SCOPED_TRACE(testing::Message()
               << typeName<Whole>() << " " << typeName<Tile>() << " width "
               << width << " group " << group << layout.map);
  std::array<int64_t, 4> byRole = {B, H, M, width};
  std::string shape;
  std::array<int64_t, 4> sizes;
  for (int d = 0; d < 4; ++d) {
    int role = layout.order[d];
    sizes[d] = byRole[role];
    shape += (d ? "x" : "") + (role == 0 || role == 2 ? "?" : number(sizes[d]));
  }
  std::string whole = stridedType(shape, typeName<Whole>());
  std::string tile =
      stridedType(number(lanes) + "x" + number(width), typeName<Tile>());
  std::string attributes = "{group = " + number(group) + layout.map + "}";
  std::string head = "(%w: " + whole + ", %t: " + tile +
                     ", %b: index, %g: index, %r: index, %n: index) "
                     "attributes {llvm.emit_c_interface} {\n";
  Jit jit("func.func @gather" + head +
              "attn.gather_rows %w at(%b, %g, %r) rows(%n) outs(%t : " + tile +
              ") " + attributes + " : " + whole +
              "\nreturn }\nfunc.func @scatter" + head +
              "attn.scatter_rows %t at(%b, %g, %r) rows(%n) outs(%w : " +
              whole + ") " + attributes + " : " + tile + "\nreturn }\n",
          "x86-64-v3", vectorBits);
  expectNoLibraryCalls(jit);
  auto indexOf = [&](int64_t b, int64_t g, int64_t r, int64_t d) {
    std::array<int64_t, 4> roles = {b, g * group + r % group, r / group, d};
    std::array<int64_t, 4> index;
    for (int x = 0; x < 4; ++x)
      index[x] = roles[layout.order[x]];
    return index;
  };
  struct Case {
    int64_t inner, padding, tileInner, g, row0, rows;
  };
  int64_t all = M * group;
  for (Case c : {Case{1, 0, 1, 0, 0, lanes}, Case{1, 5, 1, 1, 2, 3},
                 Case{2, 0, 1, 1, all - 2, 2}, Case{1, 0, 2, 0, 1, 4},
                 Case{1, -1, 1, 1, 0, 5}, Case{0, 0, 1, 1, 0, 5},
                 Case{1, 3, 1, 1, 1, 0}, Case{1, 3, 1, 1, 1, -2}}) {
    c.g %= H / group;
    int64_t b = 1, count = std::clamp<int64_t>(c.rows, 0, lanes);
    Strided<Whole, 4> w(sizes, makeStrides<4>(sizes, c.inner, c.padding));
    Strided<Tile, 2> t({lanes, width},
                       makeStrides<2>({lanes, width}, c.tileInner, 3));
    w.fill(Numbers());
    jit.call("gather", &w, &t, b, c.g, c.row0, c.rows);
    t.forEach([&](auto index) {
      double want =
          index[0] < count
              ? double(Tile(w[indexOf(b, c.g, c.row0 + index[0], index[1])]))
              : 0;
      expectSame(t[index], want, "gathered");
    });
    t.expectCanaries();

    if (c.inner == 0 || c.padding < 0)
      continue; // an output does not overlap itself (rule R4)
    t.fill(Numbers());
    Strided<Whole, 4> expected = w;
    for (int64_t l = 0; l < count; ++l)
      for (int64_t d = 0; d < width; ++d)
        expected[indexOf(b, c.g, c.row0 + l, d)] = Whole(double(t[{l, d}]));
    jit.call("scatter", &w, &t, b, c.g, c.row0, c.rows);
    w.forEach([&](auto index) {
      expectSame(w[index], expected[index], "scattered");
    });
    w.expectCanaries();
  }
}

TEST(Rows, Types) {
  testRows<float, float>(20, 8, 3, layouts[0]);
  testRows<BFloat, float>(20, 8, 3, layouts[0]);
  testRows<_Float16, float>(20, 8, 3, layouts[0]);
  testRows<double, double>(20, 8, 3, layouts[0]);
  testRows<double, float>(20, 8, 3, layouts[0]);
  testRows<BFloat, double>(20, 8, 3, layouts[0]);
  testRows<_Float16, double>(20, 8, 3, layouts[0]);
}

TEST(Rows, WidthsAndGroups) {
  for (int64_t width : {1, 2, 7, 8, 9, 33, 128}) {
    testRows<float, float>(width, 7, 2, layouts[0]);
    testRows<BFloat, float>(width, 5, 1, layouts[0]);
  }
  testRows<_Float16, float>(37, 16, 6, layouts[0], 512);
}

TEST(Rows, Layouts) {
  for (const Layout &layout : layouts) {
    testRows<float, float>(10, 7, 3, layout);
    testRows<BFloat, float>(24, 7, 1, layout);
  }
}

TEST(Rows, ScatterWithoutWidth) {
  std::string head = "(%w: memref<?x6x?xf32, strided<[?, ?, ?]>>, "
                     "%t: memref<8xf32>, %b: index, "
                     "%g: index, %r: index, %n: index) "
                     "attributes {llvm.emit_c_interface} {\n";
  Jit jit("func.func @lse" + head +
          "attn.scatter_rows %t at(%b, %g, %r) rows(%n) outs(%w : "
          "memref<?x6x?xf32, strided<[?, ?, ?]>>) {group = 3} : "
          "memref<8xf32>\nreturn }");
  for (int64_t inner : {1, 2}) {
    Strided<float, 3> w({B, H, M}, makeStrides<3>({B, H, M}, inner, 1));
    Strided<float, 1> t({8}, {1});
    w.fill([] { return -1; });
    t.fill(Numbers());
    // The functions' types have no offset.
    (&w)->aligned += (&w)->offset;
    (&t)->aligned += (&t)->offset;
    jit.call("lse", &w, &t, int64_t(1), int64_t(1), int64_t(5), int64_t(6));
    w.forEach([&](auto index) {
      auto [b, h, i] = index;
      int64_t l = i * 3 + h % 3 - 5;
      bool written = b == 1 && h >= 3 && l >= 0 && l < 6;
      expectSame(w[index], written ? double(t[{l}]) : -1.0, "lse");
    });
    w.expectCanaries();
  }
}

//===----------------------------------------------------------------------===//
// Sums of terms
//===----------------------------------------------------------------------===//

/// Three terms hold every number whose last bit is a normal number.
TEST(Split, ThreeTermsHoldAFloat) {
  constexpr int64_t rows = 300, width = 21, terms = 3;
  auto function = [](const std::string &name, const std::string &attributes) {
    return "func.func @" + name +
           "(%x: memref<300x21xf32>, %y: memref<300x3x21xbf16>) attributes "
           "{llvm.emit_c_interface} {\ncpu.split %x into %y" +
           attributes +
           " : memref<300x21xf32> into memref<300x3x21xbf16>\nreturn }\n";
  };
  Jit jit(function("split", "") + function("limited", " {infinity = 3.0}"));
  expectNoLibraryCalls(jit);
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float special[] = {
      0.0F,        -0.0F,          1.0F,      -0x1.fffffep127F, 0x1.fffffep127F,
      0x1.ffp127F, -0x1.fefffep5F, 0x1.ffp5F, 0x1.000002p-100F, infinity,
      -infinity,   std::nanf("")};
  std::mt19937 random(7);
  Strided<float, 2> x({rows, width}, {width, 1});
  Strided<BFloat, 3> y({rows, terms, width}, {terms * width, width, 1});
  size_t next = 0;
  x.fill([&]() -> double {
    if (next < std::size(special))
      return special[next++];
    // Any sign and bits, and an exponent that leaves the last bit normal.
    uint32_t bits = random();
    uint32_t exponent = 24 + bits % (255 - 24);
    return std::bit_cast<float>((bits & 0x807fffff) | exponent << 23);
  });
  for (double limit : {double(infinity), 3.0}) {
    // The functions' types have no offset.
    MemRef<float, 2> from = *&x;
    MemRef<BFloat, 3> to = *&y;
    from.aligned += from.offset;
    to.aligned += to.offset;
    jit.call(std::isinf(limit) ? "split" : "limited", &from, &to);
    x.forEach([&](auto at) {
      double value = x[at], sum = 0, before = 0;
      if (std::isinf(value))
        value = std::copysign(limit, value);
      for (int64_t term = 0; term < terms; ++term) {
        double got = y[{at[0], term, at[1]}];
        // Each is at most half a unit of what comes before it, or a whole one
        // where that is the largest there is.
        if (term > 0 && std::isfinite(value))
          EXPECT_LE(std::abs(got), std::abs(before) * 0x1p-7) << value;
        sum += got;
        before = got;
      }
      expectSame(sum, value, "the sum of the terms");
    });
    y.expectCanaries();
  }
}

//===----------------------------------------------------------------------===//
// Transposes
//===----------------------------------------------------------------------===//

template <typename T>
static void testTranspose(int64_t rows, int64_t columns,
                          int64_t vectorBits = 256) {
  SCOPED_TRACE(testing::Message() << typeName<T>() << " " << rows << "x"
                                  << columns << " bits " << vectorBits);
  std::string from =
      stridedType(number(rows) + "x" + number(columns), typeName<T>());
  std::string to =
      stridedType(number(columns) + "x" + number(rows), typeName<T>());
  Jit jit("func.func @transpose(%x: " + from + ", %y: " + to +
              ") attributes {llvm.emit_c_interface} {\nlinalg.transpose ins(%x "
              ": " +
              from + ") outs(%y : " + to + ") permutation = [1, 0]\nreturn }",
          "x86-64-v3", vectorBits);
  for (int64_t inner : {1, 2}) {
    Strided<T, 2> x({rows, columns}, {columns * inner + 3, inner});
    Strided<T, 2> y({columns, rows}, {rows + 5, 1});
    x.fill(Numbers());
    jit.call("transpose", &x, &y);
    y.forEach([&](auto index) {
      expectSame(y[index], x[{index[1], index[0]}], "transposed");
    });
    y.expectCanaries();
  }
}

TEST(Transpose, Shapes) {
  testTranspose<float>(8, 8);
  testTranspose<float>(48, 128);
  testTranspose<float>(1, 33);
  testTranspose<float>(13, 21);
  testTranspose<float>(16, 3);
  testTranspose<float>(16, 37, 512);
  testTranspose<double>(12, 17);
  testTranspose<BFloat>(19, 33);
  testTranspose<_Float16>(16, 16);
}

//===----------------------------------------------------------------------===//
// Append
//===----------------------------------------------------------------------===//

template <typename Input, typename Cache, typename Past>
static void testAppend(int64_t width) {
  SCOPED_TRACE(testing::Message() << typeName<Input>() << " to "
                                  << typeName<Cache>() << " width " << width);
  std::string in = stridedType("?x?x3x" + number(width), typeName<Input>());
  std::string cache = stridedType("?x?x3x" + number(width), typeName<Cache>());
  std::string past = "memref<?xi" + number(sizeof(Past) * 8) + ">";
  Jit jit("func.func @append(%x: " + in + ", %p: " + past + ", %c: " + cache +
          ") attributes {llvm.emit_c_interface} {\nattn.append ins(%x : " + in +
          ") past(%p : " + past + ") outs(%c : " + cache + ")\nreturn }");
  expectNoLibraryCalls(jit);
  constexpr int64_t rows = 4, capacity = 9;
  std::vector<Past> pasts = {0,
                             5,
                             7,
                             9,
                             100,
                             -2,
                             -4,
                             std::numeric_limits<Past>::max(),
                             std::numeric_limits<Past>::min()};
  int64_t batch = pasts.size();
  for (int64_t inner : {1, 3}) {
    std::array<int64_t, 4> sizes = {batch, rows, 3, width},
                           cacheSizes = {batch, capacity, 3, width};
    Strided<Input, 4> x(sizes, makeStrides<4>(sizes, inner, 2));
    Strided<Cache, 4> c(cacheSizes, makeStrides<4>(cacheSizes, 1, 1));
    x.fill(Numbers());
    c.fill(Numbers());
    Strided<Cache, 4> expected = c;
    x.forEach([&](auto index) {
      int64_t past = pasts[index[0]];
      int64_t target = past > capacity ? capacity : past + index[1];
      if (past >= -rows && target >= 0 && target < capacity)
        expected[{index[0], target, index[2], index[3]}] =
            Cache(double(x[index]));
    });
    auto pastRef = memref(pasts.data(), batch);
    jit.call("append", &x, &pastRef, &c);
    c.forEach(
        [&](auto index) { expectSame(c[index], expected[index], "appended"); });
    c.expectCanaries();
  }
}

TEST(Append, TypesAndWidths) {
  testAppend<float, float, int32_t>(16);
  testAppend<float, BFloat, int64_t>(5);
  testAppend<BFloat, BFloat, int32_t>(20);
  testAppend<_Float16, float, int32_t>(33);
  testAppend<BFloat, _Float16, int32_t>(9);
  testAppend<double, BFloat, int32_t>(7);
  testAppend<double, double, int64_t>(6);
  testAppend<float, float, int32_t>(1);
}

//===----------------------------------------------------------------------===//
// Root-mean-square norm
//===----------------------------------------------------------------------===//

template <typename T, typename Weight>
static void testNorm(int64_t width, bool unitOffset, bool inPlace,
                     int64_t vectorBits = 256) {
  SCOPED_TRACE(testing::Message() << typeName<T>() << " width " << width
                                  << " unit " << unitOffset);
  constexpr bool weighted = !std::is_void_v<Weight>;
  using W = std::conditional_t<weighted, Weight, float>;
  std::string type = stridedType("?x3x" + number(width), typeName<T>());
  std::string weight =
      "memref<" + number(width) + "x" + typeName<W>() + ", strided<[?]>>";
  const double eps = 1e-3;
  Jit jit(
      "func.func @norm(%x: " + type + ", %w: " + weight + ", %y: " + type +
          ") attributes {llvm.emit_c_interface} {\nattn.rms_norm ins(%x : " +
          type + ")" + (weighted ? " weight(%w : " + weight + ")" : "") +
          " outs(" + (inPlace ? "%x" : "%y") + " : " + type +
          ") {eps = 1.0e-3 : f64" + (unitOffset ? ", unit_offset" : "") +
          "}\nreturn }",
      "x86-64-v3", vectorBits);
  expectNoLibraryCalls(jit);
  double u = std::is_same_v<T, BFloat>     ? 0x1p-8
             : std::is_same_v<T, _Float16> ? 0x1p-11
             : std::is_same_v<T, float>    ? 0
                                           : 0;
  double compute = std::is_same_v<T, double> ? 0x1p-53 : 0x1p-24;
  std::mt19937 random(3);
  std::uniform_real_distribution<double> uniform(-2, 2);
  for (int64_t inner : {1, 2}) {
    std::array<int64_t, 3> sizes = {4, 3, width};
    Strided<T, 3> x(sizes, makeStrides<3>(sizes, inner, 2)),
        y(sizes, makeStrides<3>(sizes, 1, 1));
    std::vector<W> w(width * inner);
    x.fill([&] { return uniform(random); });
    for (W &value : w)
      value = W(uniform(random));
    for (int64_t d = 0; d < width; ++d) // a row of zeros stays zero
      x[{1, 1, d}] = T(0.0);
    Strided<T, 3> before = x;
    auto wRef = memref(w.data(), width);
    wRef.strides[0] = inner;
    jit.call("norm", &x, &wRef, &y);
    Strided<T, 3> &got = inPlace ? x : y;
    got.forEach([&](auto index) {
      double sum = 0;
      for (int64_t d = 0; d < width; ++d)
        sum += std::pow(double(before[{index[0], index[1], d}]), 2);
      double want = double(before[index]) / std::sqrt(sum / width + eps);
      if (weighted)
        want *= double(w[index[2] * inner]) + unitOffset;
      EXPECT_NEAR(double(got[index]), want,
                  std::abs(want) *
                          (u * 1.01 + (8 + std::log2(width)) * compute) +
                      (weighted && unitOffset ? 8 * compute : 0))
          << "width " << width;
    });
    got.expectCanaries();
  }
}

TEST(RmsNorm, TypesAndWidths) {
  for (int64_t width : {1, 3, 8, 40, 64, 100, 128})
    testNorm<float, float>(width, false, false);
  testNorm<float, float>(100, false, false, 512);
  testNorm<float, void>(24, false, true);
  testNorm<float, BFloat>(33, true, true);
  testNorm<BFloat, BFloat>(72, false, true);
  testNorm<BFloat, float>(64, true, false);
  testNorm<_Float16, _Float16>(17, false, false);
  testNorm<double, double>(50, true, true);
}
