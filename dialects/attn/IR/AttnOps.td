// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FOVEA_DIALECTS_ATTN_IR_ATTNOPS_TD
#define FOVEA_DIALECTS_ATTN_IR_ATTNOPS_TD

include "dialects/attn/IR/AttnAttrs.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/TilingInterface.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/OpAsmInterface.td"

def Attn_Float : AnyTypeOf<[F16, BF16, F32, F64], "f16, bf16, f32 or f64">;
def Attn_Int : AnyTypeOf<[I32, I64], "i32 or i64">;
def Attn_Element : AnyTypeOf<[I1, I8, I16, I32, I64, F16, BF16, F32, F64]>;
def Attn_Shaped : AnyTypeOf<[
    AnyRankedTensor, AnyNon0RankedMemRef, MemRefRankOf<[AnyType], [0]>],
    "tensor or memref">;
def Attn_FloatShaped : AnyTypeOf<[
    RankedTensorOf<[Attn_Float]>, MemRefOf<[Attn_Float]>],
    "tensor or memref of f16, bf16, f32 or f64">;
def Attn_IntShaped : AnyTypeOf<[
    RankedTensorOf<[Attn_Int]>, MemRefOf<[Attn_Int]>],
    "tensor or memref of i32 or i64">;
def Attn_Capture : AnyTypeOf<[
    I64, F32, F64, RankedTensorOf<[Attn_Element]>, MemRefOf<[Attn_Element]>],
    "i64, f32, f64, or tensor or memref of integers, booleans or floats">;

class Attn_Op<string mnemonic, list<Trait> traits = []>
    : Op<Attn_Dialect, mnemonic, traits>;

// Destination-passing operations on tensors or memrefs: `outs` are read,
// updated and, on tensors, returned.
class Attn_DestinationOp<string mnemonic, list<Trait> traits = []>
    : Attn_Op<mnemonic, !listconcat([
        DestinationStyleOpInterface,
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>], traits)> {
  let hasVerifier = 1;
  let hasFolder = 1;
}

// Tiling of the operations whose rows, all dimensions but the last, are
// independent of each other.
def Attn_RowTiling : DeclareOpInterfaceMethods<TilingInterface, [
    "getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
    "getResultTilePosition", "generateResultTileValue"]>;

//===----------------------------------------------------------------------===//
// The graph level
//===----------------------------------------------------------------------===//

def Attn_AttentionOp : Attn_DestinationOp<"attention", [
    AttrSizedOperandSegments, IsolatedFromAbove,
    DeclareOpInterfaceMethods<TilingInterface, [
        "getLoopIteratorTypes", "getIterationDomain", "getTiledImplementation",
        "getResultTilePosition"]>]> {
  let summary = "attention over whole tensors";
  let description = [{
    For batch b, query head h = g * R + r (kv head g, R query heads per kv head),
    query row i and key j:

    ```
    s     = scale * sum_d q[b, i, h, d] * k[b, j, g, d]       (S1)
    s     = score(s, b, h, i, j, ...)                         (S2, S3)
    s     = mask(b, h, i, j, ...) ? s : -inf                  (M1)
    p     = exp(s - max) / sum_j exp(s - max)                 (M2, M7 with sinks)
    o     = sum_j p[j] * v[b, j, g, e]                        (R2)
    lse   = log sum_j exp(s)                                  (R1)
    ```

    Default layout: q [B, M, H, D], k [B, N, G, D], v [B, N, G, E], o [B, M, H, E],
    lse [B, H, M] (f32, or f64 for f64 data). Other layouts are given by
    `indexing_maps`, one per q, k, v and output, over (b, g, r, m, n, d, e); the
    query-head expression is `g * R + r`, so kv head and group are separate
    dimensions and nothing is copied for grouped-query attention.

    `lengths` (i32 or i64, [B]) gives the number of keys of each batch row; it
    takes the place of N in bounds and regions (K1). `sinks` ([H]) holds one logit
    per head that joins the denominator (M7). `precision` says what the products
    of q and k, and of p and v, may be made of where the operands are f32 (S8).
    `captures` are the scalars and
    tensors that the regions read. `origin` (b, h, i, j) and `extents` (B, H, G, M,
    N) place a tile in a larger problem: its regions see the indices of the tile
    plus `origin`, and `extents` instead of the operands' own.
  }];
  let arguments = (ins
    Attn_FloatShaped:$query, Attn_FloatShaped:$key, Attn_FloatShaped:$value,
    Optional<Attn_IntShaped>:$lengths, Optional<Attn_FloatShaped>:$sinks,
    Variadic<Index>:$origin, Variadic<Index>:$extents,
    Variadic<Attn_Capture>:$captures,
    Variadic<Attn_FloatShaped>:$outputs,
    OptionalAttr<F64Attr>:$scale,
    DefaultValuedAttr<Attn_PrecisionAttr, "Precision::Full">:$precision,
    OptionalAttr<AffineMapArrayAttr>:$indexing_maps,
    OptionalAttr<StrArrayAttr>:$capture_names,
    OptionalAttr<Attn_ConfigAttr>:$config);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region MaxSizedRegion<1>:$score, MaxSizedRegion<1>:$mask);
  let hasCanonicalizer = 1;
  let assemblyFormat = [{
    `ins` `(` $query `,` $key `,` $value `:` type($query) `,` type($key) `,` type($value) `)`
    (`lengths` `(` $lengths^ `:` type($lengths) `)`)?
    (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    (`origin` `(` $origin^ `)`)? (`extents` `(` $extents^ `)`)?
    `` custom<Captures>($captures, type($captures), $capture_names)
    `outs` `(` $outputs `:` type($outputs) `)`
    `` custom<ScoreAndMask>($score, $mask, ref(type($query)), ref(type($captures)), ref($capture_names))
    attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputsMutable(); }
    /// Maps of q, k, v, o and (if present) lse; the default layout's if none are given.
    ::llvm::SmallVector<::mlir::AffineMap> getMaps();
    /// Static head counts and widths, from the operand types.
    int64_t getQueryHeads();
    int64_t getKvHeads();
    int64_t getGroupSize() { return getQueryHeads() / getKvHeads(); }
    int64_t getQkWidth();
    int64_t getValueWidth();
    double getScaleOrDefault();
    /// How many terms of bf16 stand for an element of q, k and v on matrix units:
    /// one for bf16, exactly two for f16, three for f32 where `precision` allows
    /// it; 0 for what they do not serve.
    int64_t getMatrixTerms();
    bool hasLse() { return getOutputs().size() == 2; }
    ::mlir::Value getLse() { return hasLse() ? getOutputs()[1] : ::mlir::Value(); }
    ::mlir::Value getOutput() { return getOutputs()[0]; }
    /// f32, or f64 for f64 data: the type of scores and state (S1).
    ::mlir::FloatType getComputeType();
  }];
}

def Attn_RopeOp : Attn_DestinationOp<"rope", [AttrSizedOperandSegments, Attn_RowTiling]> {
  let summary = "rotary position embedding";
  let description = [{
    Rotates pairs of elements of the last dimension by position * frequency (P1).
    The position of a row is `positions`, whose shape is a prefix of the input's
    leading dimensions, or `offset` ([B], first dimension; or one scalar i64) plus
    the row's index in dimension 1. Frequencies are base^(-2k/rotary_dim), changed
    by `scaling`; angles are computed in f64 and rotated in f32 (f64 for f64 data).
    `length` ([B], or one scalar i64) is the key length that dynamic NTK and
    longrope look at: every row of a batch is rotated with its frequencies.
    Input and output may be one tensor.
  }];
  let arguments = (ins
    Attn_FloatShaped:$input, Optional<Attn_IntShaped>:$positions,
    Optional<AnyTypeOf<[I64, Attn_IntShaped]>>:$offset,
    Optional<AnyTypeOf<[I64, Attn_IntShaped]>>:$length, Attn_FloatShaped:$output,
    Attn_RopeStyleAttr:$style, F64Attr:$base, OptionalAttr<I64Attr>:$rotary_dim,
    OptionalAttr<Attn_RopeScalingAttr>:$scaling);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)`
    (`positions` `(` $positions^ `:` type($positions) `)`)?
    (`offset` `(` $offset^ `:` type($offset) `)`)?
    (`length` `(` $length^ `:` type($length) `)`)?
    `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); }
    int64_t getRotaryWidth();
  }];
}

def Attn_RmsNormOp : Attn_DestinationOp<"rms_norm", [Attn_RowTiling]> {
  let summary = "root-mean-square norm of the last dimension";
  let description = [{
    y = x / sqrt(mean(x^2) + eps) * (weight + unit_offset), in f32 (f64 for f64
    data). Used on queries and keys (qk-norm) before RoPE. `weight` is [D].
    Input and output may be one tensor.
    `unit_offset` adds one to the weight, as Gemma stores it.
  }];
  let arguments = (ins
    Attn_FloatShaped:$input, Optional<Attn_FloatShaped>:$weight,
    Attn_FloatShaped:$output, F64Attr:$eps, UnitAttr:$unit_offset);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` (`weight` `(` $weight^ `:` type($weight) `)`)?
    `outs` `(` $output `:` type($output) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputMutable(); }
  }];
}

def Attn_AppendOp : Attn_DestinationOp<"append"> {
  let summary = "write new rows behind those a cache already holds";
  let description = [{
    cache[b, past[b] + i, ...] = input[b, i, ...] for i in [0, M) (K3). Rows that
    would lie outside [0, C) are not written; callers check capacity first.
  }];
  let arguments = (ins
    Attn_FloatShaped:$input, Attn_IntShaped:$past, Attn_FloatShaped:$cache);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $input `:` type($input) `)` `past` `(` $past `:` type($past) `)`
    `outs` `(` $cache `:` type($cache) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getCacheMutable(); }
  }];
}

//===----------------------------------------------------------------------===//
// The partial form
//===----------------------------------------------------------------------===//

def Attn_PartialOp : Attn_DestinationOp<"partial", [
    AttrSizedOperandSegments, IsolatedFromAbove]> {
  let summary = "take a run of keys into the state of an online softmax";
  let description = [{
    The state of a query tile is (acc, max, sum): acc = sum_j exp(s_j - max) v_j,
    max = max_j s_j, sum = sum_j exp(s_j - max), in f32 (f64 for f64 data); before
    the first key it is (0, -inf, 0). Dimensions are (m, n, d, e): m query rows of
    the tile, n keys; `indexing_maps` give the layout of q, k, v and acc, by
    default q (m, d), k (n, d), v (n, e), acc (m, e). A dimension may be split, as
    in q (d floordiv 2, m, d mod 2), which holds neighbours in pairs, or v
    (n floordiv 64, e, n mod 64), which is transposed in blocks of 64 keys. What such
    a layout holds beyond the dimension's extent must be zero. Where a result of a
    map is 0, that dimension of q, k or v holds the terms of each element, which is
    their sum: k (n, 0, d) of bf16 with two terms holds what needs 16 bits.

    Rows are those of kv head `g` folded over its group: tile row l is row
    r = row0 + l of M * group, that is query i = r floordiv group of head
    h = g * group + r mod group; rows at or beyond M * group hold anything and
    their results are ignored. Of the rows of q, if k is of bf16, and of those of
    acc, if v is, `unzipped` w says that in each whole run of 2 w elements the even
    ones lie before the odd ones. Keys are j0 + [0, n). `at` gives (b, g, row0, j0),
    `extents` (B, M, N). A partial without a mask region is one whose tile the
    mask fills: no mask is evaluated. `next_key` and `next_value` are rows that are
    likely to be read soon, row for row in the order in which they should be fetched:
    hints for prefetches, whose elements have no part in the result and need not
    exist.
  }];
  let arguments = (ins
    Attn_FloatShaped:$query, Attn_FloatShaped:$key, Attn_FloatShaped:$value,
    Optional<Attn_FloatShaped>:$next_key, Optional<Attn_FloatShaped>:$next_value,
    Variadic<Index>:$at, Variadic<Index>:$extents,
    Variadic<Attn_Capture>:$captures,
    Attn_FloatShaped:$acc, Attn_FloatShaped:$max, Attn_FloatShaped:$sum,
    F64Attr:$scale, I64Attr:$group, I64Attr:$kv_heads,
    OptionalAttr<AffineMapArrayAttr>:$indexing_maps,
    OptionalAttr<StrArrayAttr>:$capture_names,
    OptionalAttr<I64Attr>:$unzipped,
    OptionalAttr<Attn_ConfigAttr>:$config);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region MaxSizedRegion<1>:$score, MaxSizedRegion<1>:$mask);
  let hasCanonicalizer = 1;
  let assemblyFormat = [{
    `ins` `(` $query `,` $key `,` $value `:` type($query) `,` type($key) `,` type($value) `)`
    (`next_key` `(` $next_key^ `:` type($next_key) `)`)?
    (`next_value` `(` $next_value^ `:` type($next_value) `)`)?
    `at` `(` $at `)` `extents` `(` $extents `)`
    `` custom<Captures>($captures, type($captures), $capture_names)
    `outs` `(` $acc `,` $max `,` $sum `:` type($acc) `,` type($max) `,` type($sum) `)`
    `` custom<ScoreAndMask>($score, $mask, ref(type($query)), ref(type($captures)), ref($capture_names))
    attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
    ::llvm::SmallVector<::mlir::AffineMap> getMaps();
    ::mlir::Value getB() { return getAt()[0]; }
    ::mlir::Value getG() { return getAt()[1]; }
    ::mlir::Value getRow0() { return getAt()[2]; }
    ::mlir::Value getJ0() { return getAt()[3]; }
    /// Rows of the tile; a compile-time constant on every target.
    int64_t getTileRows();
    /// Whether the rows of q, and the columns of acc, are unzipped.
    bool hasUnzippedQuery();
    bool hasUnzippedAcc();
  }];
}

def Attn_MergeOp : Attn_DestinationOp<"merge"> {
  let summary = "join two partial states";
  let description = [{
    (acc, max, sum) becomes the state of both key sets (R2): with m = max(max1, max2),
    acc = acc1 exp(max1 - m) + acc2 exp(max2 - m), and sum likewise; an empty state
    (max = -inf) changes nothing (M2). `acc_map` is the layout of acc over (m, e).
  }];
  let arguments = (ins
    Attn_FloatShaped:$other_acc, Attn_FloatShaped:$other_max, Attn_FloatShaped:$other_sum,
    Attn_FloatShaped:$acc, Attn_FloatShaped:$max, Attn_FloatShaped:$sum,
    OptionalAttr<AffineMapAttr>:$acc_map);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let hasCanonicalizer = 1;
  let assemblyFormat = [{
    `ins` `(` $other_acc `,` $other_max `,` $other_sum `:` type($other_acc) `,` type($other_max) `,` type($other_sum) `)`
    `outs` `(` $acc `,` $max `,` $sum `:` type($acc) `,` type($max) `,` type($sum) `)`
    attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable();
    ::mlir::AffineMap getAccLayout();
  }];
}

def Attn_FinalizeOp : Attn_DestinationOp<"finalize", [AttrSizedOperandSegments]> {
  let summary = "turn a finished state into O and LSE";
  let description = [{
    o[m, e] = sum == 0 ? 0 : acc[m, e] / sum[m] (M2), lse[m] = max + log(sum), and
    -inf for an empty row (R1). `sinks`, one logit per tile row, join the
    denominator first (M7). `acc_map` is the layout of acc over (m, e); o is [m, e].
  }];
  let arguments = (ins
    Attn_FloatShaped:$acc, Attn_FloatShaped:$max, Attn_FloatShaped:$sum,
    Optional<Attn_FloatShaped>:$sinks,
    Variadic<Attn_FloatShaped>:$outputs, OptionalAttr<AffineMapAttr>:$acc_map);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `ins` `(` $acc `,` $max `,` $sum `:` type($acc) `,` type($max) `,` type($sum) `)`
    (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    `outs` `(` $outputs `:` type($outputs) `)` attr-dict (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getOutputsMutable(); }
    ::mlir::AffineMap getAccLayout();
  }];
}

class Attn_RowsOp<string mnemonic> : Attn_DestinationOp<mnemonic> {
  let arguments = (ins
    Attn_FloatShaped:$source, Index:$b, Index:$g, Index:$row0, Index:$rows,
    Attn_FloatShaped:$dest, I64Attr:$group, OptionalAttr<AffineMapAttr>:$map);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $source `at` `(` $b `,` $g `,` $row0 `)` `rows` `(` $rows `)` `outs` `(` $dest `:` type($dest) `)`
    attr-dict `:` type($source) (`->` type($results)^)?
  }];
  let extraClassDeclaration = [{
    ::mlir::MutableOperandRange getDpsInitsMutable() { return getDestMutable(); }
    /// (b, h, i, d) to the dimensions of the whole tensor.
    ::mlir::AffineMap getTensorMap();
  }];
}

def Attn_GatherRowsOp : Attn_RowsOp<"gather_rows"> {
  let summary = "copy folded rows of one kv head into a tile";
  let description = [{
    dest[l, d] = source[b, h, i, d] for l in [0, rows): folded row r = row0 + l is
    index i = r floordiv group of head h = g * group + r mod group; rows from
    `rows` on are filled with zero. Elements are converted to dest's type. `map`
    takes (b, h, i, d) to the source's dimensions, by default [b, i, h, d]. Keys
    and values are rows with group 1.
  }];
}

def Attn_ScatterRowsOp : Attn_RowsOp<"scatter_rows"> {
  let summary = "copy a tile into folded rows of one kv head";
  let description = [{
    dest[b, h, i, d] = source[l, d] for l in [0, rows), with the same folding of
    rows as `attn.gather_rows` and the one rounding to dest's type (R2). A source
    without the last dimension ([l]) writes dest[b, h, i], as for LSE.
  }];
}

//===----------------------------------------------------------------------===//
// Inside regions
//===----------------------------------------------------------------------===//

def Attn_ElementOp : Attn_Op<"element", [
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "read one element of a captured tensor";
  let description = [{
    The element of a captured tensor or memref at i64 indices, inside a mask or
    score region (M5). Integers are extended to i64, floats to the region's type.
    An index outside the tensor is undefined behaviour of the spec's author; the
    generated code clamps it, so that no memory outside is ever read.
  }];
  let arguments = (ins Attn_Shaped:$source, Variadic<I64>:$indices);
  let results = (outs AnyTypeOf<[I1, I64, F32, F64]>:$result);
  let assemblyFormat = "$source `[` $indices `]` attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def Attn_YieldOp : Attn_Op<"yield", [Pure, Terminator, ParentOneOf<["AttentionOp", "PartialOp"]>]> {
  let summary = "the value of a mask or score region";
  let arguments = (ins AnyTypeOf<[I1, F32, F64]>:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

#endif
