// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The partial form as MLIR text, for the kernel tests and benchmarks.

#ifndef FOVEA_TEST_UNIT_CPU_KERNELTEXT_H
#define FOVEA_TEST_UNIT_CPU_KERNELTEXT_H

#include <string>

namespace fovea::test {

/// The shape of one micro-kernel and what it computes.
struct KernelShape {
  int depth = 64, columns = 64; // D and E
  int lanes = 24, vector = 8,
      unroll = 4;    // L, elements of a vector, keys at once
  int queryTile = 0; // lanes of a full tile; 0: lanes
  int block = 64;    // kv_tile
  double scale = 0.125;
  int group = 1, kvHeads = 1;
  std::string type = "f32", outputType = "f32";
  bool depthLanes = false;     // q [L][D] and acc [L][E], not transposed
  std::string storedType = ""; // of K and V; empty: type
  bool unzipped = false;       // q and acc, for K and V of bf16
  std::string score, mask; // bodies of the regions; arguments as in regionHead
  std::string captures;    // "name = %c0 : type", of one memref
  std::string captureType;
  bool columnMajorOutput = false;
};

/// Functions `partial`, `merge` and `finalize`.
inline std::string kernelText(const KernelShape &shape) {
  auto number = [](int value) { return std::to_string(value); };
  const std::string &t = shape.type;
  std::string lanes = "x" + t + ">";
  auto rowsBy = [&](int width) {
    std::string rows = number(shape.lanes), columns = number(width);
    return "memref<" + (shape.depthLanes ? rows : columns) + "x" +
           (shape.depthLanes ? columns : rows) + lanes;
  };
  std::string q = rowsBy(shape.depth), acc = rowsBy(shape.columns);
  std::string stored = shape.storedType.empty() ? t : shape.storedType;
  std::string row = "memref<" + number(shape.lanes) + lanes;
  auto strided = [&](int width) {
    return "memref<?x" + number(width) + "x" + stored + ", strided<[?, 1]>>";
  };
  std::string k = strided(shape.depth), v = strided(shape.columns);
  std::string o =
      "memref<" + number(shape.lanes) + "x" + number(shape.columns) + "x" +
      shape.outputType +
      (shape.columnMajorOutput ? ", strided<[1, ?]>>" : ", strided<[?, 1]>>");
  std::string arguments =
      "%b: i64, %h: i64, %i: i64, %j: i64, %B: i64, %H: i64, "
      "%G: i64, %M: i64, %N: i64, %D: i64";
  if (!shape.captures.empty())
    arguments += ", %c: " + shape.captureType;
  std::string regions;
  if (!shape.score.empty())
    regions += " score {\n^bb0(%s: " + t + ", " + arguments + "):\n" +
               shape.score + "}";
  if (!shape.mask.empty())
    regions += " mask {\n^bb0(" + arguments + "):\n" + shape.mask + "}";
  std::string extra, captures;
  if (!shape.captures.empty()) {
    extra = ", %c0: " + shape.captureType;
    captures = " captures(" + shape.captures + ")";
  }
  char scale[64];
  std::snprintf(scale, sizeof scale, "%.17e", shape.scale);
  std::string state = acc + ", " + row + ", " + row;
  // Those of a decode are told what comes next.
  std::string next;
  if (shape.depthLanes)
    next = " next_key(%k : " + k + ") next_value(%v : " + v + ")";
  std::string qOrder = shape.depthLanes ? "(m, d)" : "(d, m)",
              accOrder = shape.depthLanes ? "(m, e)" : "(e, m)";
  return "#q = affine_map<(m, n, d, e) -> " + qOrder +
         ">\n"
         "#k = affine_map<(m, n, d, e) -> (n, d)>\n"
         "#v = affine_map<(m, n, d, e) -> (n, e)>\n"
         "#acc = affine_map<(m, n, d, e) -> " +
         accOrder +
         ">\n"
         "#state = affine_map<(m, e) -> " +
         accOrder +
         ">\n"
         "func.func @partial(%q: " +
         q + ", %k: " + k + ", %v: " + v + ", %acc: " + acc + ", %max: " + row +
         ", %sum: " + row +
         ", %at0: index, %at1: index, %at2: index, %at3: index, %extent0: "
         "index, "
         "%extent1: index, %extent2: index" +
         extra +
         ") attributes {llvm.emit_c_interface} {\n"
         "  attn.partial ins(%q, %k, %v : " +
         q + ", " + k + ", " + v + ")" + next +
         " at(%at0, %at1, %at2, %at3) extents(%extent0, %extent1, %extent2)" +
         captures + " outs(%acc, %max, %sum : " + state + ")" + regions +
         " {scale = " + scale + " : f64, group = " + number(shape.group) +
         " : i64, kv_heads = " + number(shape.kvHeads) +
         " : i64, indexing_maps = [#q, #k, #v, #acc], " +
         (shape.unzipped ? "unzipped = " + number(shape.vector) + ", " : "") +
         "config = "
         "#attn.config<query_tile = " +
         number(shape.queryTile ? shape.queryTile
                                : (shape.lanes + shape.vector - 1) /
                                      shape.vector * shape.vector) +
         ", narrow_query_tile = 1"
         ", kv_tile = " +
         number(shape.block) + ", vector = " + number(shape.vector) +
         ", unroll = " + number(shape.unroll) +
         ", kv_split = " + number(shape.block) +
         ">}\n  return\n}\n"
         "func.func @merge(%a: " +
         acc + ", %m: " + row + ", %s: " + row + ", %acc: " + acc +
         ", %max: " + row + ", %sum: " + row +
         ") attributes {llvm.emit_c_interface} {\n"
         "  attn.merge ins(%a, %m, %s : " +
         state + ") outs(%acc, %max, %sum : " + state +
         ") {acc_map = #state}\n  return\n}\n"
         "func.func @finalize(%acc: " +
         acc + ", %max: " + row + ", %sum: " + row + ", %o: " + o +
         ", %lse: " + row +
         ") attributes {llvm.emit_c_interface} {\n"
         "  attn.finalize ins(%acc, %max, %sum : " +
         state + ") outs(%o, %lse : " + o + ", " + row +
         ") {acc_map = #state}\n  return\n}\n"
         "func.func @finalize_sinks(%acc: " +
         acc + ", %max: " + row + ", %sum: " + row + ", %sinks: " + row +
         ", %o: " + o + ", %lse: " + row +
         ") attributes {llvm.emit_c_interface} {\n"
         "  attn.finalize ins(%acc, %max, %sum : " +
         state + ") sinks(%sinks : " + row + ") outs(%o, %lse : " + o + ", " +
         row + ") {acc_map = #state}\n  return\n}\n";
}

} // namespace fovea::test

#endif // FOVEA_TEST_UNIT_CPU_KERNELTEXT_H
