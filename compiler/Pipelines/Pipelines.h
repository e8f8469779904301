// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The way of a kernel through the compiler: targets, named phases, and the pass
// pipeline from each phase to the next.

#ifndef FOVEA_COMPILER_PIPELINES_PIPELINES_H
#define FOVEA_COMPILER_PIPELINES_PIPELINES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <optional>

namespace fovea {

struct SelectConfigOptions; // compiler/Transforms/Passes.h

/// An instruction set that kernels are compiled for.
struct Target {
  llvm::StringLiteral isa;    ///< its name on the command line: "x86-64-v3"
  llvm::StringLiteral suffix; ///< its name in symbols: "x86_64_v3"
  llvm::StringLiteral cpu;    ///< LLVM's processor name
  llvm::StringLiteral
      features;             ///< LLVM's feature string, beside the processor's
  int64_t vectorBits;       ///< bits of a vector register
  int64_t registers;        ///< vector registers
  int64_t matrixRows;       ///< query rows of a tile for matrix units; 0: none
  int64_t cacheBytes;       ///< second-level cache of a core that has all this
  uint64_t runtimeFeatures; ///< FOVEA_CPU_* bits that the machine must have
};

/// Every target, best first: the order of variants in an artifact.
llvm::ArrayRef<Target> getTargets();
/// The target named `isa`, or nothing.
const Target *lookupTarget(llvm::StringRef isa);

/// The forms of a kernel between which passes run. Each is a dialect mix that
/// can be printed, read back and compiled on.
enum class Phase {
  Attn,       ///< attn on tensors
  Bufferized, ///< attn on memrefs, configured
  Tiled,      ///< work items over tiles in the partial form
  Vector,     ///< vector, scf, memref and arith; no attn is left
  LLVM,       ///< the LLVM dialect and the C ABI
};
/// "attn", "bufferized", "tiled", "vector", "llvm".
llvm::StringRef getPhaseName(Phase phase);
std::optional<Phase> parsePhase(llvm::StringRef name);

/// What attn-select-config is told of a target.
SelectConfigOptions getConfigOptions(const Target &target);

/// Adds the passes that lead from `from` to `to` for `target`.
void buildPipeline(mlir::OpPassManager &manager, Phase from, Phase to,
                   const Target &target);

/// How many terms of bf16 stand for an element in the code for matrix units
/// that `module`, which is at the attn or the bufferized phase, has on
/// `target`, the fewest if attentions differ; 0 if there is none, and another
/// target has the same code.
int64_t getMatrixTerms(mlir::ModuleOp module, const Target &target);

/// Everything a kernel module may hold at any phase: dialects, the interfaces
/// and the translations that the pipelines rely on.
void registerKernelDialects(mlir::DialectRegistry &registry);

/// Makes the pipelines available to fovea-opt as --fovea-<from>-to-<to>.
void registerPipelines();

} // namespace fovea

#endif // FOVEA_COMPILER_PIPELINES_PIPELINES_H
