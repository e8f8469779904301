// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// See Faults.h.

#include "test/numerics/Faults.h"

using namespace fovea;
using namespace fovea::numerics;

const std::map<std::string, MutantSpec> &fovea::numerics::getMutantSuite() {
  static const std::map<std::string, MutantSpec> suite = [] {
    std::map<std::string, MutantSpec> specs;
    auto add = [&](const char *name, const char *dtype, int64_t heads,
                   int64_t kvHeads, int64_t width, int64_t valueWidth,
                   Mask mask) -> KernelSpec & {
      KernelSpec spec;
      spec.dtype = dtype;
      spec.heads = heads;
      spec.kvHeads = kvHeads;
      spec.width = width;
      spec.valueWidth = valueWidth;
      spec.mask = std::move(mask);
      spec.lse = true;
      return specs[name].spec = spec;
    };
    add("plain", "f32", 2, 2, 8, 8, {""});
    // K and V of its heads are packed in rounds from 1024 keys on.
    add("wide", "f32", 3, 3, 64, 64, {""});
    add("causal", "f32", 4, 2, 12, 9, {"causal(bottom_right)"});
    KernelSpec &window =
        add("window", "bf16", 4, 4, 8, 16, {"window(5, 3, bottom_right)"});
    window.sinks = window.headsFirst = true;
    KernelSpec &heads =
        add("heads", "f16", 6, 2, 5, 16, {"h % 2 == 0 or j <= i"});
    heads.score = "20.0 * tanh((s - slope[h] * abs(i - j)) / 20.0)";
    heads.sinks = true;
    KernelSpec &cache =
        add("cache", "bf16", 4, 2, 8, 5, {"causal(bottom_right)"});
    cache.cache = cache.norm = true;
    cache.rope = Rope{"neox", 6, "kind = linear, factor = 4.0"};
    KernelSpec &lengths = add("lengths", "f64", 3, 1, 6, 4, {""});
    lengths.lengths = true;
    lengths.rope = Rope{"interleaved", 6,
                        "kind = yarn, factor = 8.0, original_length = 128, "
                        "beta_fast = 32.0, beta_slow = 1.0",
                        false, true};
    add("open", "f32", 2, 1, 4, 4,
        {"j // 4 <= i // 3 and not prefix(p) and i * j % 5 < 4",
         {{"p", 0, 20}}});
    add("matrix", "bf16", 2, 2, 8, 8, {""});
    KernelSpec &turned = add("turned", "bf16", 2, 1, 12, 8, {""});
    turned.norm = true;
    turned.rope = Rope{"interleaved", 8, ""};
    add("terms", "f16", 2, 2, 24, 8, {"causal(bottom_right)"});
    // Up to 4 tiles of queries visit chunks of 128 keys.
    add("chunks", "f32", 2, 1, 8, 8, {"causal(bottom_right)"});
    specs["chunks"].cacheBytes = 16 << 10;
    add("three", "f32", 2, 1, 24, 8, {"causal(bottom_right)"}).bf16x6 = true;
    for (const char *name : {"matrix", "turned", "terms", "three"})
      specs[name].isa = "amx";
    return specs;
  }();
  return suite;
}

static constexpr Phase Attn = Phase::Attn, Tiled = Phase::Tiled,
                       Vector = Phase::Vector;

// Left out because no result can show them: a classifier that gives up early
// (partial is always right), rows of a tile past the last query (computed,
// never stored), the divisor and the quotient of an empty row (chosen away),
// the maximum of finite scores (any is right until exp overflows), prefetches,
// the order of work items. The last term of exp is within the bound of f32: the
// unit tests of exp hold it.
static const Fault faults[] = {
    // The meaning: masks, scores, positions.
    {"causal: a query does not see itself", "causal", Attn, "",
     "arith.cmpi[sle](#3, _)", "attr predicate=2 : i64"},
    {"causal: top-left for bottom-right", "causal", Attn, "",
     "arith.subi(arith.addi(#2, #8), #7)", "keep 0.0"},
    {"causal: one key too many", "causal", Attn, "", "arith.cmpi[sle](#3, _)",
     "add 1 1"},
    {"window: one key more to the left", "window", Attn, "", "arith.subi(_, 5)",
     "set 1 6"},
    {"window: one key fewer to the right", "window", Attn, "",
     "arith.addi(_, 3)", "set 1 2"},
    {"window: top-left for bottom-right", "window", Attn, "",
     "arith.subi(arith.addi(#2, #8), #7)", "keep 0.0"},
    {"mask: and for or", "heads", Attn, "", "arith.ori(_, !arith.cmpi(#3, #2))",
     "result 0"},
    {"score: the softcap is lost", "heads", Attn, "",
     "arith.mulf(_, math.tanh)", "set 0 1000"},
    {"score: the bias is lost", "heads", Attn, "", "arith.subf(#0, _)",
     "keep 0"},
    {"score: the slope of head 0 for all", "heads", Attn, "",
     "attn.element(_, #2)", "set 1 0"},
    {"scale: none", "plain", Tiled, "", "attn.partial", "attr scale=1.0 : f64"},
    {"rope: halves for neighbours", "lengths", Attn, "", "attn.rope",
     "attr style=#attn.rope_style<neox>"},
    {"rope: unscaled", "cache", Attn, "", "attn.rope", "attr scaling="},
    {"rope: turned the wrong way", "lengths", Vector, "rope",
     "arith.mulf(math.sin, _)", "set 1 -1"},
    {"rope: the turned half added where it is subtracted", "cache", Vector,
     "rope", "math.fma(_, _, !arith.negf(arith.mulf))", "keep 0"},
    {"rope: the query's position is that of its row", "cache", Tiled, "",
     "arith.addi(arith.index_cast(arith.minsi), arith.extsi)", "keep 0"},
    {"rope: the position is one too far", "cache", Tiled, "",
     "arith.addi(arith.index_cast(arith.minsi), arith.extsi)", "add 1 1", 0},
    {"rope: the rows of a group are taken for queries", "cache", Tiled, "",
     "arith.index_cast(arith.minsi(!arith.divui(_, 2), _))", "keep 0"},
    {"norm: no epsilon", "cache", Attn, "", "attn.rms_norm",
     "attr eps=0.0 : f64"},
    {"norm: the weight of K without its offset of 1", "cache", Attn, "",
     "attn.rms_norm[unit_offset]", "attr unit_offset="},
    {"norm: the mean of one element fewer", "cache", Vector, "rms_norm",
     "arith.divf(_, 8)", "set 1 7"},
    {"norm: the weight is lost", "cache", Vector, "rms_norm",
     "arith.mulf(arith.mulf, _)", "keep 0"},

    // The cache.
    {"append: one slot late", "cache", Tiled, "",
     "attn.scatter_rows(_, _, _, arith.addi(arith.index_cast(memref.load), _))",
     "add 3 1"},
    {"append: K at the start of the cache", "cache", Tiled, "",
     "attn.scatter_rows(_, _, _, !arith.addi(arith.index_cast(memref.load), "
     "_))",
     "keep 1", 0},
    {"append: V of head 0 for all heads", "cache", Tiled, "",
     "attn.gather_rows[group = 1]", "set 2 0", 1},
    {"append: the last row of a tile is lost", "cache", Tiled, "",
     "attn.scatter_rows(_, _, _, arith.addi(arith.index_cast(memref.load), _))",
     "add 4 -1"},

    // The division of work.
    {"keys: a length past the tensor is believed", "lengths", Tiled, "",
     "arith.minsi(arith.index_cast(memref.load), _)", "keep 0"},
    {"keys: a negative length is believed", "lengths", Tiled, "",
     "arith.maxsi(arith.minsi(arith.index_cast(memref.load), _), 0)", "keep 0"},
    {"keys: the length of batch row 0 for all", "lengths", Tiled, "",
     "arith.index_cast(!memref.load(_, arith.divui))", "set 1 0"},
    {"decode: the tail of the keys is no tile", "plain", Tiled, "",
     "arith.divui(!arith.addi(_, 63), 64)", "keep 0"},
    {"decode: a last part of keys is lost", "plain", Tiled, "",
     "arith.divui(!arith.addi(_, 1023), 1024)", "keep 0"},
    {"decode: parts reach to the end", "plain", Tiled, "",
     "arith.minsi(!arith.addi(arith.muli(_, 1024), 1024), _)", "set 1 1000000"},
    {"decode: the last key of a part is lost", "plain", Tiled, "",
     "arith.minsi(arith.addi(arith.muli(_, 1024), 1024), _)", "add 0 -1"},
    {"decode: the last item is not run", "plain", Tiled, "", "cpu.parallel",
     "add 0 -1", 0},
    {"decode: parts are not merged for the last head", "plain", Tiled, "",
     "cpu.parallel", "add 0 -1", 1},
    {"decode: the second part is not merged", "plain", Tiled, "",
     "scf.for(1, _, 1)", "add 0 1"},
    {"decode: one state for all parts", "plain", Tiled, "",
     "arith.addi(arith.muli(_, arith.maxsi), arith.remui)", "keep 0"},
    {"decode: several parts are not told from one", "plain", Tiled, "",
     "arith.cmpi[eq](arith.maxsi, 1)", "result 1"},
    {"decode: a stride between elements is taken for 1", "plain", Tiled, "",
     "arith.cmpi[eq](memref.extract_strided_metadata, 1)", "result 1"},
    {"decode: keys in place from the first on", "plain", Tiled, "",
     "arith.addi(_, !arith.muli(arith.muli(#0, 64), "
     "memref.extract_strided_metadata))",
     "result 0"},
    {"decode: the first kv head for all", "plain", Tiled, "",
     "arith.muli(#0, memref.extract_strided_metadata)", "set 0 0"},
    {"many rows: K of kv head 0 for all", "causal", Tiled, "",
     "attn.gather_rows[group = 1](_, arith.divui, arith.remui)", "set 2 0", 0},
    {"many rows: the last key of a tile is not packed", "causal", Tiled, "",
     "attn.gather_rows[group = 1](_, arith.divui, arith.remui)", "add 4 -1", 0},
    {"many rows: V is packed one key late", "plain", Tiled, "",
     "attn.gather_rows(_, arith.divui, arith.remui, arith.muli(arith.remui, "
     "64))",
     "add 3 1", 1},
    {"many rows: the last query tile is lost", "plain", Tiled, "",
     "arith.divui(!arith.addi(_, 23), 24)", "keep 0"},
    {"many rows: results begin one row late", "plain", Tiled, "",
     "attn.scatter_rows(_, _, _, arith.muli(_, 24))", "add 3 1", 0},
    {"many rows: a round too few", "wide", Tiled, "",
     "scf.for(0, arith.select, arith.maxsi)", "add 1 -1"},
    {"many rows: the last key that is attended is lost", "causal", Tiled, "",
     "arith.minsi(arith.minsi, arith.index_cast)", "add 1 -1"},
    {"chunks: the last key of a chunk is lost", "chunks", Tiled, "",
     "arith.minsi(!arith.addi(_, 128), _)", "add 1 -1"},
    {"chunks: the second chunk begins one KV tile late", "chunks", Tiled, "",
     "scf.for(0, _, 128)", "set 2 192"},
    {"chunks: one state for all tiles", "chunks", Tiled, "",
     "arith.addi(arith.muli(_, arith.select), arith.subi)", "keep 0"},
    {"chunks: the last tile of an item is lost", "chunks", Tiled, "",
     "arith.minsi(arith.addi(_, arith.select), arith.divui)", "add 0 -1"},
    {"groups: results of a group side by side", "causal", Tiled, "",
     "attn.scatter_rows[group = 2]", "attr group=1 : i64", 0},
    {"groups: sinks of the first group for all", "heads", Tiled, "",
     "memref.load(_, !arith.addi(arith.muli(_, 3), arith.remui))", "keep 1"},
    {"state: acc is not cleared", "plain", Tiled, "",
     "linalg.fill(0, memref.subview[8, 8])", "erase"},
    {"state: the maximum is not cleared", "plain", Tiled, "",
     "linalg.fill(-inf, _)", "erase"},
    {"state: the sum is not cleared", "plain", Tiled, "",
     "linalg.fill(0, memref.subview[to memref<24xf32])", "erase"},
    {"scratch: for one worker too few", "plain", Tiled, "",
     "memref.alloc(cpu.workers)", "add 0 -1", 0},

    // The classes of tiles.
    {"classes: partial taken for full", "causal", Tiled, "",
     "arith.select(_, 2, 1)", "result 1"},
    {"classes: full taken for empty", "causal", Tiled, "",
     "arith.select(_, 2, 1)", "set 2 0"},
    {"classes: the mask of partial tiles is lost", "causal", Tiled, "",
     "attn.partial", "clear 1"},
    {"classes: the last tile of the range is lost", "causal", Tiled, "",
     "arith.minsi(_, !arith.index_cast(arith.addi(_, 1)))", "add 0 -1"},
    {"classes: the first tile of the range is lost", "window", Tiled, "",
     "arith.maxsi(_, arith.index_cast)", "add 1 1"},
    {"classes: the last queries of a tile are not asked about", "window", Tiled,
     "", "arith.subi(arith.minsi, 1)", "set 1 5"},
    {"classes: a run never ends", "causal", Tiled, "",
     "arith.cmpi[eq](arith.select, _)", "result 1"},
    {"classes: the classifier says full for partial", "open", Tiled,
     "tile_class", "arith.select(_, 2, _)", "set 1 1"},

    // The micro-kernels.
    {"partial: the score's keys are one too far", "causal", Tiled, "",
     "attn.partial", "add 6 1"},
    {"partial: the rows of queries are one too far", "window", Tiled, "",
     "attn.partial", "add 5 1"},
    {"partial: acc keeps its scale as the maximum rises (decode)", "plain",
     Vector, "partial", "math.fma(vector.load(#-3), vector.broadcast, _)",
     "set 1 1"},
    {"partial: acc keeps its scale as the maximum rises (many rows)", "plain",
     Vector, "partial", "math.fma(vector.load(#-3), arith.mulf, _)", "set 1 1"},
    {"partial: the sum keeps its scale", "plain", Vector, "partial",
     "math.fma(vector.load(#-1), _, _)", "set 1 1"},
    {"partial: the sum of a decode keeps its scale", "plain", Vector, "partial",
     "math.fma(memref.load(#-1), _, _)", "set 1 1"},
    {"partial: the maximum forgets earlier keys", "causal", Vector, "partial",
     "vector.store(!arith.select(arith.cmpf[ogt], _, _), #-2)", "keep 1"},
    {"partial: the maximum is not stored", "plain", Vector, "partial",
     "vector.store(_, #-2)", "erase"},
    {"partial: -inf minus -inf", "causal", Vector, "partial",
     "arith.select(arith.cmpf[oeq](_, -inf), 0, _)", "keep 2"},
    {"partial: 2 for e", "plain", Vector, "partial",
     "math.fma(_, 1.44269504, _)", "set 1 1"},
    {"partial: no lower end of exp", "plain", Vector, "partial",
     "arith.select(arith.cmpf[ogt](-88.0296936, _), _, _)", "keep 2"},
    {"partial: exp lacks a term", "plain", Vector, "partial",
     "math.fma(_, _, 0.00133999309)", "set 2 0"},
    {"partial: the safe path is lost", "causal", Vector, "partial",
     "scf.if(!vector.reduction(arith.cmpf[uno]))", "result 0"},
    {"partial: the safe path asks one chain", "heads", Vector, "partial",
     "arith.cmpf[uno](!arith.addf)", "keep 0"},
    {"partial: the safe path reads masked keys", "causal", Vector, "partial",
     "arith.select(_, vector.broadcast(memref.load(memref.subview)), 0)",
     "keep 1"},
    {"partial: masked keys weigh", "causal", Vector, "partial",
     "arith.select(_, _, -inf)", "keep 1"},
    {"partial: scores behind the last key weigh", "plain", Vector, "partial",
     "arith.select(arith.cmpi[slt](_, vector.broadcast), _, -inf)", "keep 1"},
    {"partial: the keys that fill no group are lost", "plain", Vector,
     "partial", "scf.for(arith.select, _, 1)", "copy 0 1"},
    {"partial: the elements that fill no vector are lost", "causal", Vector,
     "partial", "math.fma(memref.load(#0), memref.load(#1), _)", "set 0 0"},
    {"partial: the last column is lost", "causal", Vector, "partial",
     "memref.store(math.fma(memref.load(#-3), _, _), #-3)", "erase"},
    {"partial: half of the lanes are not added", "plain", Vector, "partial",
     "vector.extract(!arith.addf(_, vector.shuffle))", "keep 0"},
    {"partial: weights of the last keys are not added up", "plain", Vector,
     "partial", "arith.minsi(arith.addi(_, 8), _)", "add 1 -1"},
    {"partial: the first head of a group for all of it", "heads", Vector,
     "partial", "arith.addi(arith.muli(_, 3), arith.subi)", "keep 0"},

    // Matrix units.
    {"matrix: K is not cleared behind its last element", "matrix", Tiled, "",
     "linalg.fill[64x1x24xbf16]", "erase"},
    {"matrix: Q is not cleared behind its last element", "matrix", Tiled, "",
     "linalg.fill[32x1x24xbf16]", "erase"},
    {"matrix: a weight stands on the other's place in its pair", "matrix",
     Vector, "partial", "arith.ori(!arith.shrui(arith.addi, 16), _)",
     "set 1 0"},
    {"matrix: the pairs of Q begin one element late", "matrix", Vector,
     "partial", "amx.tile_load(#0)", "add 4 1"},
    {"matrix: scores behind the last key weigh", "matrix", Vector, "partial",
     "scf.for(arith.minsi, 64, 1)", "copy 0 1"},
    {"matrix: the last unit of keys is not multiplied", "matrix", Vector,
     "partial", "scf.for(0, arith.addi(arith.divui, 2), 1)", "add 1 -1"},
    {"matrix: acc keeps its scale as the reference rises", "matrix", Vector,
     "partial",
     "scf.if(!vector.reduction(arith.ori(arith.cmpf[olt](_, 1), _)))",
     "result 0"},
    {"matrix: the state stays relative to the reference", "matrix", Vector,
     "partial", "arith.select(arith.cmpf[olt], llvm.call_intrinsic, 1)",
     "result 1"},
    {"matrix: K turns in its first pair alone", "turned", Tiled, "",
     "attn.rope[64x12xbf16]", "attr rotary_dim=2 : i64"},
    {"matrix: Q turns in halves", "turned", Tiled, "", "attn.rope[32x12xbf16]",
     "attr style=#attn.rope_style<neox>"},
    {"matrix: the norm of Q is lost", "turned", Tiled, "",
     "attn.rms_norm[32x12xf32]", "erase"},
    {"matrix: elements that do not rotate are not packed", "turned", Vector,
     "rope", "vector.store[vector<4xbf16>]", "erase"},
    {"matrix: the second terms of K are lost", "terms", Vector, "partial",
     "amx.tile_load(#1, _, 1)", "set 2 0"},
    {"matrix: the second terms of Q are lost", "terms", Vector, "partial",
     "amx.tile_load(#0, 1)", "set 1 0"},
    {"matrix: the second terms of V are lost", "terms", Vector, "partial",
     "amx.tile_load(#2, _, 1)", "set 2 0"},
    {"matrix: a second term is not what the first leaves", "terms", Vector,
     "partial", "arith.subf(_, arith.bitcast(arith.andi))", "set 1 0"},
    {"matrix: an infinite key has NaN beside it", "terms", Vector, "split",
     "arith.select(arith.cmpf[oeq], _, 0)", "keep 1"},
    {"matrix: infinite keys meet zeros", "terms", Tiled, "",
     "cpu.split[64x24xf32]", "attr infinity="},
    {"matrix: the third terms of K are not multiplied", "three", Vector,
     "partial", "amx.tile_mulf(amx.tile_load(#1, _, 2))", "keep 2"},
    {"matrix: the third terms of Q are not multiplied", "three", Vector,
     "partial", "amx.tile_mulf(_, amx.tile_load(#0, 2))", "keep 2"},
    {"matrix: the second terms of K and Q are not multiplied", "three", Vector,
     "partial", "amx.tile_mulf(amx.tile_load(#1, _, 1), amx.tile_load(#0, 1))",
     "keep 2"},
    {"matrix: the third terms of V are not multiplied", "three", Vector,
     "partial", "amx.tile_mulf(amx.tile_load(#2, _, 2))", "keep 2"},
    {"matrix: the third terms of weights are not multiplied", "three", Vector,
     "partial", "amx.tile_mulf(_, amx.tile_load(memref.alloca, _, 2))",
     "keep 2"},
    {"matrix: a unit's product is not added", "three", Vector, "partial",
     "arith.addf(vector.load(#10), vector.load)", "keep 0"},

    // Merging and finishing.
    {"merge: the first part keeps its scale", "causal", Vector, "merge",
     "math.fma(_, _, arith.mulf)", "set 1 1"},
    {"merge: the other part keeps its scale", "causal", Vector, "merge",
     "math.fma(_, _, !arith.mulf)", "keep 0"},
    {"merge: the maximum is the first part's", "window", Vector, "merge",
     "arith.select(arith.cmpf[ogt](vector.load(#1), _), _, _)", "keep 2"},
    {"merge: the sum is not joined", "causal", Vector, "merge",
     "math.fma(vector.load(#5), _, _)", "set 2 0"},
    {"merge: of empty parts", "window", Vector, "merge",
     "arith.select(arith.cmpf[oeq](_, -inf), 0, _)", "keep 2"},
    {"finalize: LSE without the maximum", "plain", Vector, "finalize",
     "arith.addf(vector.load(#1), _)", "keep 1"},
    {"finalize: LSE in base 2", "plain", Vector, "finalize",
     "arith.constant[0.693145]", "result 1"},
    {"finalize: LSE of a row without keys", "causal", Vector, "finalize",
     "arith.select(_, -inf, _)", "keep 2"},
    {"finalize: sinks are not in the sum", "window", Vector, "finalize",
     "math.fma(vector.load(#2), _, _)", "set 2 0"},
    {"finalize: sinks leave acc its scale", "window", Vector, "finalize",
     "arith.mulf(vector.load(#0), _)", "keep 0"},
    {"finalize: the maximum forgets the sinks", "window", Vector, "finalize",
     "arith.select(arith.cmpf[ogt](vector.load(#3), _), _, _)", "keep 2"},

    // Memory and types.
    {"rows: bf16 is cut, not rounded", "window", Vector, "scatter",
     "arith.shrui(!arith.addi(_, arith.addi), 16)", "keep 0"},
    {"rows: the last row of a tile is lost", "plain", Vector, "scatter",
     "scf.for(0, arith.maxsi, _)", "add 1 -1"},
    {"rows: a row too many", "plain", Vector, "scatter",
     "scf.for(0, arith.maxsi, _)", "add 1 1"},
    {"rows: a stride between elements is taken for 1", "plain", Vector,
     "gather", "arith.cmpi[eq](memref.extract_strided_metadata, 1)",
     "result 1"},
    {"transpose: of the rows of a tile is lost", "plain", Vector, "transpose",
     "vector.store", "erase", 0},
};

llvm::ArrayRef<Fault> fovea::numerics::getFaults() { return faults; }
