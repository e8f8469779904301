// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception
//
// The generated tile classifier, compiled and run, against brute force over
// drawn masks, sizes and tiles: no attended pair outside [lo, hi), in an empty
// tile or behind the key end, full tiles full, and exact where no cap is
// reached.

#include "compiler/Transforms/MaskCodegen.h"

#include "compiler/Analysis/TileRanges.h"
#include "dialects/attn/IR/ExprRegion.h"
#include "test/unit/Analysis/MaskDrawer.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "llvm/Support/TargetSelect.h"

#include <gtest/gtest.h>

#include <cstdio>

using namespace mlir;
using namespace fovea;
using expr::Expr;
using expr::Var;

namespace {
/// memref<?xT> as the generated code takes it.
template <typename T> struct Vector {
  T *allocated, *aligned;
  int64_t offset, size, stride;
  explicit Vector(std::vector<T> &data)
      : allocated(data.data()), aligned(data.data()), offset(0),
        size(data.size()), stride(1) {}
};

class MaskCodegenTest : public ::testing::Test {
protected:
  MaskCodegenTest() {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    DialectRegistry registry;
    registry
        .insert<arith::ArithDialect, func::FuncDialect, math::MathDialect,
                memref::MemRefDialect, scf::SCFDialect, attn::AttnDialect>();
    arith::registerConvertArithToLLVMInterface(registry);
    cf::registerConvertControlFlowToLLVMInterface(registry);
    registerConvertFuncToLLVMInterface(registry);
    registerConvertMathToLLVMInterface(registry);
    registerConvertMemRefToLLVMInterface(registry);
    registerBuiltinDialectTranslation(registry);
    registerLLVMDialectTranslation(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }

  Expr parse(const std::string &text) {
    expr::Scope scope;
    scope.addParam("p");
    scope.addTensor("len", expr::Type::Int, 1);
    scope.addTensor("doc", expr::Type::Int, 1);
    expr::Diagnostic diagnostic;
    Expr mask = expr::parseMask(exprs, scope, text, diagnostic);
    EXPECT_TRUE(bool(mask)) << diagnostic.render(text);
    return mask ? mask : exprs.getBool(false);
  }

  /// func @classify<k>(b, iLo, iHi, hLo, hHi, M, N, p, len, doc, out): out[0]
  /// and out[1] are lo and hi, out[2] the key end, out[3 + t] the class of tile
  /// t.
  void addFunction(ModuleOp module, unsigned number, Expr mask,
                   int64_t kvTile) {
    OpBuilder b(&context);
    Location loc = b.getUnknownLoc();
    b.setInsertionPointToEnd(module.getBody());
    Type index = b.getIndexType();
    auto ints = MemRefType::get({ShapedType::kDynamic}, b.getI32Type());
    auto longs = MemRefType::get({ShapedType::kDynamic}, b.getI64Type());
    SmallVector<Type> types(7, index);
    llvm::append_range(types,
                       ArrayRef<Type>{b.getI64Type(), ints, ints, longs});
    auto function =
        func::FuncOp::create(b, loc, "classify" + std::to_string(number),
                             b.getFunctionType(types, {}));
    function->setAttr("llvm.emit_c_interface", b.getUnitAttr());
    Block *entry = function.addEntryBlock();
    b.setInsertionPointToStart(entry);
    auto arg = [&](unsigned k) { return entry->getArgument(k); };
    auto cst = [&](int64_t value) -> Value {
      return arith::ConstantIndexOp::create(b, loc, value);
    };
    MaskBox box{arg(0), arg(1), arg(2), arg(3), arg(4), cst(2),
                arg(5), arg(6), cst(8), cst(2), cst(64)};
    // Through a region, as passes call it.
    SmallVector<attn::Capture> captures{
        {"p", b.getI64Type()}, {"len", ints}, {"doc", ints}};
    Region region;
    {
      OpBuilder::InsertionGuard guard(b);
      attn::buildMaskRegion(b, loc, region, mask, captures);
    }
    SmallVector<Value> captured{arg(7), arg(8), arg(9)};
    ArrayAttr names = b.getStrArrayAttr({"p", "len", "doc"});
    TileClassifier classifier =
        emitTileClassifier(b, loc, region, captured, names, box, kvTile);
    Value keyEnd = emitKeyEnd(b, loc, region, captured, names, box);
    Value out = arg(10);
    auto store = [&](OpBuilder &at, Value value, Value position) {
      if (value.getType().isIndex())
        value = arith::IndexCastOp::create(at, loc, at.getI64Type(), value);
      memref::StoreOp::create(at, loc, value, out, position);
    };
    store(b, classifier.lo, cst(0));
    store(b, classifier.hi, cst(1));
    store(b, keyEnd, cst(2));
    Value count = arith::CeilDivSIOp::create(b, loc, arg(6), cst(kvTile));
    scf::ForOp::create(
        b, loc, cst(0), count, cst(1), ValueRange(),
        [&](OpBuilder &body, Location, Value t, ValueRange) {
          Value position = arith::AddIOp::create(
              body, loc, t, arith::ConstantIndexOp::create(body, loc, 3));
          store(body, classifier.classOf(body, loc, t), position);
          scf::YieldOp::create(body, loc);
        });
    func::ReturnOp::create(b, loc);
  }

  std::unique_ptr<ExecutionEngine> compile(ModuleOp module) {
    EXPECT_TRUE(succeeded(verify(module)));
    PassManager pm(&context);
    pm.addPass(memref::createExpandStridedMetadataPass());
    pm.addPass(createSCFToControlFlowPass());
    pm.addPass(arith::createArithExpandOpsPass());
    pm.addPass(createConvertToLLVMPass());
    pm.addPass(createReconcileUnrealizedCastsPass());
    EXPECT_TRUE(succeeded(pm.run(module)));
    auto engine = ExecutionEngine::create(module);
    EXPECT_TRUE(bool(engine)) << llvm::toString(engine.takeError());
    return engine ? std::move(*engine) : nullptr;
  }

  struct Case {
    std::string text;
    Expr mask;
    int64_t kvTile;
  };

  struct Query {
    int64_t b = 0, iLo, iHi, hLo = 0, hHi = 0, m, n, p;
  };
  std::vector<int64_t> run(ExecutionEngine &engine, unsigned number,
                           const Query &q, int64_t count) {
    std::vector<int64_t> out(3 + count, -7);
    Vector<int32_t> lenView(len), docView(doc);
    Vector<int64_t> outView(out);
    auto *lenAt = &lenView, *docAt = &docView;
    auto *outAt = &outView;
    int64_t values[] = {q.b, q.iLo, q.iHi, q.hLo, q.hHi, q.m, q.n, q.p};
    SmallVector<void *> args;
    for (int64_t &value : values)
      args.push_back(&value);
    args.push_back(&lenAt);
    args.push_back(&docAt);
    args.push_back(&outAt);
    llvm::Error error = engine.invokePacked(
        "_mlir_ciface_classify" + std::to_string(number), args);
    EXPECT_FALSE(bool(error)) << llvm::toString(std::move(error));
    return out;
  }

  /// One class per tile.
  static std::vector<int64_t> spread(ArrayRef<analysis::Segment> segments) {
    std::vector<int64_t> classes;
    for (const analysis::Segment &segment : segments)
      classes.insert(classes.end(), segment.end - segment.begin,
                     static_cast<int64_t>(segment.tileClass));
    return classes;
  }

  void check(ExecutionEngine &engine, unsigned number, const Case &c,
             const Query &q, bool hasData) {
    int64_t count = (q.n + c.kvTile - 1) / c.kvTile;
    std::vector<int64_t> out = run(engine, number, q, count);
    llvm::StringMap<int64_t> params{{"p", q.p}};
    auto load = [&](Expr e, ArrayRef<int64_t> at) {
      auto &data = e.getName() == "len" ? len : doc;
      return std::optional(expr::Value::ofInt(
          data[std::clamp<int64_t>(at[0], 0, data.size() - 1)]));
    };
    expr::Environment environment;
    environment.params = &params;
    environment.load = load;
    environment[Var::b] = q.b;
    environment[Var::B] = 2;
    environment[Var::H] = 8;
    environment[Var::G] = 2;
    environment[Var::D] = 64;
    environment[Var::M] = q.m;
    environment[Var::N] = q.n;
    // The analysis that the generated code repeats.
    auto loadOfPoint =
        [&](Expr e,
            ArrayRef<analysis::Range> at) -> std::optional<analysis::Range> {
      if (e.uses(Var::i) || e.uses(Var::j))
        return std::nullopt;
      return analysis::Range::point(load(e, {at[0].lo})->integer);
    };
    analysis::TileRanges ranges =
        analysis::computeTileRanges(exprs, c.mask, c.kvTile);
    analysis::QueryTile tile{q.iLo, q.iHi, q.hLo, q.hHi};
    std::vector<int64_t> closed =
        spread(analysis::getSegments(ranges, tile, environment));
    std::vector<int64_t> expected = spread(analysis::classifyTiles(
        c.mask, ranges, tile, environment, loadOfPoint));
    ASSERT_EQ(static_cast<int64_t>(expected.size()), count);
    auto hasFew = [](const analysis::TileRanges &of) {
      return of.positive.size() + of.negative.size() <= 8;
    };
    int64_t lastKey = -1;
    for (int64_t t = 0; t < count; ++t) {
      bool attended = false, masked = false;
      for (int64_t h = q.hLo; h <= q.hHi; ++h)
        for (int64_t i = q.iLo; i <= q.iHi; ++i)
          for (int64_t j = t * c.kvTile; j < (t + 1) * c.kvTile; ++j) {
            environment[Var::h] = h;
            environment[Var::i] = i;
            environment[Var::j] = j;
            bool in = i < q.m && j < q.n &&
                      expr::evaluate(c.mask, environment)->integer;
            (in ? attended : masked) = true;
            if (in)
              lastKey = std::max(lastKey, j);
          }
      int64_t truth = !attended ? 0 : masked ? 2 : 1;
      int64_t got = out[3 + t];
      auto describe = [&] {
        return c.text + " tile " + std::to_string(t) + " of " +
               std::to_string(c.kvTile) + " M " + std::to_string(q.m) + " N " +
               std::to_string(q.n) + " p " + std::to_string(q.p) + " rows " +
               std::to_string(q.iLo) + ".." + std::to_string(q.iHi);
      };
      ASSERT_TRUE(got >= 0 && got <= 2) << describe();
      // Outside [lo, hi) nothing is attended, and classOf says so.
      bool inside = out[0] <= t && t < out[1];
      ASSERT_TRUE(inside || truth == 0) << describe();
      ASSERT_TRUE(inside || got == 0) << describe();
      ASSERT_TRUE(got == truth || got == 2) << describe() << " got " << got;
      ASSERT_EQ(got, expected[t]) << describe();
      ++tiles;
      if (got != truth)
        ++open;
      else if (!hasData)
        ++exact;
    }
    ASSERT_GE(out[0], 0);
    ASSERT_LE(out[1], count);
    // The key end, which only the closed form tells.
    analysis::TileRanges keyRanges =
        analysis::computeTileRanges(exprs, c.mask, 1);
    int64_t closedEnd = 0;
    for (const analysis::Segment &segment :
         analysis::getSegments(keyRanges, tile, environment))
      if (segment.tileClass != analysis::TileClass::Empty)
        closedEnd = segment.end;
    ASSERT_LT(lastKey, out[2]) << c.text;
    ASSERT_LE(out[2], q.n) << c.text;
    ASSERT_TRUE(!hasFew(keyRanges) || out[2] <= closedEnd) << c.text;
    // [lo, hi) is no wider than the ranges of the closed form, where generated
    // code has them all.
    ASSERT_TRUE(!hasFew(ranges) || out[0] >= out[1] ||
                (closed[out[0]] != 0 && closed[out[1] - 1] != 0))
        << c.text;
  }

  MLIRContext context;
  expr::Context exprs;
  test::MaskDrawer drawer{5};
  std::vector<int32_t> len{40, 77}, doc;
  int64_t tiles = 0, open = 0, exact = 0;
};
} // namespace

TEST_F(MaskCodegenTest, AgreesWithBruteForce) {
  std::vector<Case> cases;
  auto add = [&](const std::string &text) {
    static const int64_t sizes[] = {4, 16, 24, 64};
    cases.push_back({text, parse(text), sizes[drawer.draw(0, 3)]});
  };
  for (const char *text : {"true",
                           "false",
                           "causal(top_left)",
                           "causal(bottom_right)",
                           "window(16, 0, bottom_right)",
                           "window(p, 3, top_left)",
                           "j < len[b]",
                           "global(4) or window(16, 16, top_left)",
                           "chunk(p)",
                           "strided(p)",
                           "(i + j) % p > 2",
                           "i // p >= j // -p",
                           "j % -7 < -2",
                           "p * i <= 3 * j",
                           "where(i < p, i, j) % 5 == 2",
                           "j < len[p]",
                           "j <= (M - N) % 9",
                           "j <= min(M, p) + i % 3",
                           "i + j >= max(p, 9)",
                           "j < abs(M - N)",
                           "(M - N) % 2 >= 1 and i * j % 5 < 2",
                           "j * G <= i * H",
                           "b + 1 < B and j < i",
                           "where((i + j) % 7 < p % 9, j < 9, i * j % 5 < 4)",
                           "where(i * j < p * 9, i, 2 * j) % 50 < 44",
                           "-i * j > -100",
                           "abs(i - j) % 50 < 47",
                           "(i * 7 + j * 13) % 997 == 5",
                           "abs(i * 3 - j * 5) % 70 == 3",
                           "j < 5 or i + 9 < j < i + p",
                           "i * 4294967296 * 4294967296 * 3 < j"})
    add(text);
  size_t numNamed = cases.size();
  for (int k = 0; k < 140; ++k)
    add(drawer.drawMask(1 + k % 4));
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  for (auto [number, c] : llvm::enumerate(cases))
    addFunction(*module, number, c.mask, c.kvTile);
  std::unique_ptr<ExecutionEngine> engine = compile(*module);
  ASSERT_TRUE(engine);
  for (auto [number, c] : llvm::enumerate(cases)) {
    if (c.text.find("4294967296") != std::string::npos)
      continue; // 0 or overflow: for SurvivesExtremes
    for (int draw = 0; draw < 10; ++draw) {
      Query q;
      q.b = drawer.draw(0, 1);
      q.m = drawer.draw(1, 120);
      q.n = drawer.draw(0, 130);
      q.p = drawer.draw(number < numNamed ? -9 : -20, 60);
      q.iLo = drawer.draw(0, q.m - 1);
      q.iHi = q.iLo + drawer.draw(0, 40);
      if (drawer.draw(0, 3))
        q.iHi = std::min(q.iHi, q.m - 1);
      if (c.mask.uses(Var::h)) {
        q.hLo = drawer.draw(0, 4);
        q.hHi = q.hLo + drawer.draw(0, 3);
      }
      check(*engine, number, c, q, false);
      if (HasFatalFailure())
        return;
    }
  }
  std::printf("generated code: %zu masks, %lld tiles, 0 wrong; %lld partial "
              "that could be decided\n",
              cases.size(), (long long)tiles, (long long)open);
  EXPECT_LT(open * 50, tiles);
}

// Data that depends on i or j is unknown: the closed form of the rest still
// holds, and no tile is lost.
TEST_F(MaskCodegenTest, DataIsUnknown) {
  for (int k = 0; k < 130; ++k)
    doc.push_back(k / 30);
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  Case c{"causal(top_left) and doc[i] == doc[j]", {}, 16};
  c.mask = parse(c.text);
  addFunction(*module, 0, c.mask, c.kvTile);
  // Small enough for the classifier to come down to single pairs.
  Case small{c.text, c.mask, 4};
  addFunction(*module, 1, small.mask, small.kvTile);
  std::unique_ptr<ExecutionEngine> engine = compile(*module);
  ASSERT_TRUE(engine);
  for (int64_t iLo = 0; iLo < 120; iLo += 8) {
    Query q{0, iLo, iLo + 7, 0, 0, 130, 130, 0};
    check(*engine, 0, c, q, true);
    std::vector<int64_t> out = run(*engine, 0, q, 9);
    EXPECT_EQ(out[0], 0);
    EXPECT_EQ(out[1], (iLo + 7) / 16 + 1);
    EXPECT_EQ(out[2], iLo + 8);
    check(*engine, 1, small, {0, iLo, iLo, 0, 0, 130, 130, 0}, true);
  }
}

// Numbers past 2^31 make every tile partial, traps and wrong classes never.
TEST_F(MaskCodegenTest, SurvivesExtremes) {
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  const char *texts[] = {"causal(offset(p))",
                         "window(p, p, top_left)",
                         "strided(p)",
                         "i // p == j // p",
                         "i * 4294967296 * 4294967296 * 3 < j",
                         "abs(i - p) <= j"};
  for (auto [number, text] : llvm::enumerate(texts))
    addFunction(*module, number, parse(text), 16);
  std::unique_ptr<ExecutionEngine> engine = compile(*module);
  ASSERT_TRUE(engine);
  for (unsigned number = 0; number < std::size(texts); ++number)
    for (int64_t p : {INT64_MIN, INT64_MIN + 1, INT64_MAX, int64_t(1) << 32,
                      -(int64_t(1) << 40)}) {
      std::vector<int64_t> out =
          run(*engine, number, {0, 8, 15, 0, 0, 64, 64, p}, 4);
      EXPECT_EQ(out, (std::vector<int64_t>{0, 4, 64, 2, 2, 2, 2}))
          << texts[number] << " " << p;
    }
  // Divisors that trap in hardware: -1 is i == j, 0 is always true.
  EXPECT_EQ(run(*engine, 3, {0, 8, 15, 0, 0, 64, 64, -1}, 4),
            (std::vector<int64_t>{0, 4, 64, 2, 0, 0, 0}));
  EXPECT_EQ(run(*engine, 3, {0, 8, 15, 0, 0, 64, 64, 0}, 4),
            (std::vector<int64_t>{0, 4, 64, 1, 1, 1, 1}));
}
