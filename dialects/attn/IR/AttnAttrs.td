// Part of the Fovea project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#ifndef FOVEA_DIALECTS_ATTN_IR_ATTNATTRS_TD
#define FOVEA_DIALECTS_ATTN_IR_ATTNATTRS_TD

include "dialects/attn/IR/AttnDialect.td"

def Attn_Precision : I32EnumAttr<"Precision", "how products of f32 may be made (rule S8)", [
    I32EnumAttrCase<"Full", 0, "full">,
    I32EnumAttrCase<"BF16x6", 1, "bf16x6">]> {
  let cppNamespace = "::fovea::attn";
  let genSpecializedAttr = 0;
}
def Attn_PrecisionAttr : EnumAttr<Attn_Dialect, Attn_Precision, "precision"> {
  let assemblyFormat = "`<` $value `>`";
}

def Attn_RopeStyle : I32EnumAttr<"RopeStyle", "which elements rotate together (rule P1)", [
    I32EnumAttrCase<"Neox", 0, "neox">,
    I32EnumAttrCase<"Interleaved", 1, "interleaved">]> {
  let cppNamespace = "::fovea::attn";
  let genSpecializedAttr = 0;
}
def Attn_RopeStyleAttr : EnumAttr<Attn_Dialect, Attn_RopeStyle, "rope_style"> {
  let assemblyFormat = "`<` $value `>`";
}

def Attn_RopeScalingKind : I32EnumAttr<"RopeScalingKind", "how RoPE is stretched beyond its training length (rule P1)", [
    I32EnumAttrCase<"Linear", 0, "linear">,
    I32EnumAttrCase<"Dynamic", 1, "dynamic">,
    I32EnumAttrCase<"Yarn", 2, "yarn">,
    I32EnumAttrCase<"Llama3", 3, "llama3">,
    I32EnumAttrCase<"LongRope", 4, "longrope">]> {
  let cppNamespace = "::fovea::attn";
}

/// An f64 parameter that survives print and parse bit for bit.
def Attn_F64Parameter : AttrOrTypeParameter<"::llvm::APFloat", "an f64 number"> {
  let parser = [{ [&]() -> ::mlir::FailureOr<::llvm::APFloat> {
    double value;
    if (failed($_parser.parseFloat(value)))
      return ::mlir::failure();
    return ::llvm::APFloat(value);
  }() }];
  let printer = "$_printer.printFloat($_self)";
  let comparator = "$_lhs.bitwiseIsEqual($_rhs)";
  let defaultValue = "::llvm::APFloat(0.0)";
}

def Attn_RopeScalingAttr : AttrDef<Attn_Dialect, "RopeScaling"> {
  let mnemonic = "rope_scaling";
  let summary = "scaling of the RoPE frequencies (rule P1)";
  let description = [{
    The published ways to stretch rotary positions, each with its own parameters;
    a parameter that the kind does not use must be left as it is by default: zero,
    empty or true.

    | kind | parameters | source |
    |---|---|---|
    | linear | factor | position interpolation, arXiv 2306.15595 |
    | dynamic | factor, original_length | dynamic NTK: the base grows with the key length beyond original_length |
    | yarn | factor, original_length, beta_fast, beta_slow, truncate (the indices between which frequencies are blended are rounded to integers; true), attention_factor (0: 0.1 ln(factor) + 1) | arXiv 2309.00071 |
    | llama3 | factor, original_length, low_freq_factor, high_freq_factor | Llama 3.1 |
    | longrope | original_length, short_factor and long_factor (one per frequency), attention_factor (0: from factor) | arXiv 2402.13753 |
  }];
  let parameters = (ins
    EnumParameter<Attn_RopeScalingKind>:$kind,
    Attn_F64Parameter:$factor,
    DefaultValuedParameter<"int64_t", "0">:$original_length,
    Attn_F64Parameter:$beta_fast,
    Attn_F64Parameter:$beta_slow,
    DefaultValuedParameter<"bool", "true">:$truncate,
    Attn_F64Parameter:$low_freq_factor,
    Attn_F64Parameter:$high_freq_factor,
    Attn_F64Parameter:$attention_factor,
    OptionalParameter<"::mlir::DenseF64ArrayAttr">:$short_factor,
    OptionalParameter<"::mlir::DenseF64ArrayAttr">:$long_factor);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Attn_ConfigAttr : AttrDef<Attn_Dialect, "Config"> {
  let mnemonic = "config";
  let summary = "the codegen choices for one attention";
  let description = [{
    Set by `attn-select-config`, overridable from the command line, read by the
    tiling and by the micro-kernels. It never changes what is computed, only how.

    - `query_tile`: folded query rows (lanes) of a full tile, a multiple of `vector`
    - `narrow_query_tile`: folded query rows up to which K and V are read in vectors
      along the depth (decode)
    - `kv_tile`: keys of one tile of the KV loop
    - `vector`: elements of a hardware vector in the compute type
    - `unroll`: keys (or output columns) held in registers by a micro-kernel
    - `kv_split`: keys after which a decode is split into parts; a function of the
      key length alone, so that neither batch nor threads change bits (rule D1)
    - `matrix_rows`: folded query rows of a tile for matrix units, 0 for none; such
      tiles serve whatever has more rows than a full tile
    - `kv_chunk`: keys whose packed K and V stay in the second-level cache while
      `chunk_tiles` query tiles visit them one after the other; 0 if each tile
      visits all keys at once
    - `kv_walk`: keys along which a decode goes from head to head before it takes
      those behind them, where the heads of a token lie side by side; 0 for a whole
      tile
  }];
  let parameters = (ins
    "int64_t":$query_tile, "int64_t":$narrow_query_tile, "int64_t":$kv_tile,
    "int64_t":$vector, "int64_t":$unroll, "int64_t":$kv_split,
    DefaultValuedParameter<"int64_t", "0">:$matrix_rows,
    DefaultValuedParameter<"int64_t", "0">:$kv_chunk,
    DefaultValuedParameter<"int64_t", "1">:$chunk_tiles,
    DefaultValuedParameter<"int64_t", "0">:$kv_walk);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Keys beyond which K and V do not stay in the second-level cache.
    int64_t getLongKeys() const { return getKvChunk() * 3 / 2; }
  }];
}

#endif
