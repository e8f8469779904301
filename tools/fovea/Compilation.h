// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// One kernel on its way through the compiler, as the driver's commands need it:
// from a spec or an .mlir file to IR at any phase, an object, or code loaded
// into this process. Diagnostics go to stderr; what comes back says whose fault
// a failure was.

#ifndef FOVEA_TOOLS_FOVEA_COMPILATION_H
#define FOVEA_TOOLS_FOVEA_COMPILATION_H

#include "compiler/Artifact/Description.h"
#include "compiler/Artifact/KernelInterface.h"
#include "compiler/Artifact/LoadedKernel.h"
#include "compiler/Pipelines/Pipelines.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include "llvm/Support/SourceMgr.h"

namespace fovea {

/// What the process ends with.
enum ExitCode : int {
  ExitSuccess = 0,
  ExitBadInput = 1, // the input's fault
  ExitUsage = 2,    // the command line's
  ExitBug = 3,      // ours; a reproducer is written
};

/// Prints "fovea: error: ..." to stderr and returns the code.
int fail(ExitCode code, const llvm::Twine &message);
int fail(ExitCode code, llvm::Error error);
/// The same for a fault of ours, with a reproducer of the input being compiled.
int failWithReproducer(llvm::Error error);

/// From now on a crash writes a reproducer and ends the process with ExitBug.
void installCrashHandler(int argc, char **argv);

/// For a child process whose parent reports how it ended: signals kill it, and
/// it writes no reproducers.
void leaveCrashesToParent();

/// What the reproducer of a crash says next to the command: what was being
/// done.
void noteForReproducer(llvm::StringRef note);

class Compilation {
public:
  Compilation();
  ~Compilation();

  /// Reads `path` ("-": stdin), a spec unless it is an .mlir file or `from`
  /// says otherwise, and verifies it. False after a diagnostic.
  bool open(llvm::StringRef path, Phase from = Phase::Attn);
  /// The same with the text at hand; the buffer's name stands for the path.
  bool open(std::unique_ptr<llvm::MemoryBuffer> buffer,
            Phase from = Phase::Attn);

  /// The module as it was read.
  mlir::ModuleOp source() { return *module; }
  const KernelInterface &kernel() const { return interface; }
  /// The kernel function; at the attn and bufferized phases only.
  mlir::func::FuncOp function();

  /// A copy of the source at another phase, for one target. Null after a
  /// diagnostic; `exitCode` is then what to end with.
  mlir::OwningOpRef<mlir::ModuleOp> lower(Phase to, const Target &target);

  /// The targets without those for matrix units, which this kernel would have
  /// the code of another target for, unless none is left.
  llvm::SmallVector<const Target *>
  withoutDuplicates(llvm::ArrayRef<const Target *> targets);

  /// The terms of elements in code for matrix units, if any target has such.
  int64_t getMatrixTerms(llvm::ArrayRef<const Target *> targets);
  /// The same of the code that was loaded last.
  int64_t getLoadedMatrixTerms() const { return loadedMatrixTerms; }

  /// Code for the targets, the best first, optimised.
  std::unique_ptr<llvm::Module> compile(llvm::ArrayRef<const Target *> targets);
  std::optional<Objects> compileObjects(llvm::ArrayRef<const Target *> targets);
  std::unique_ptr<LoadedKernel> load(llvm::ArrayRef<const Target *> targets);

  /// What the descriptions of the artifact tell.
  ArtifactNotes notes(llvm::ArrayRef<const Target *> targets);

  /// Whose fault the last failure was.
  int exitCode = ExitBadInput;

private:
  mlir::MLIRContext context;
  llvm::SourceMgr sources;
  std::unique_ptr<mlir::SourceMgrDiagnosticHandler> diagnostics;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  llvm::LLVMContext llvmContext;
  KernelInterface interface;
  Phase phase = Phase::Attn;
  int64_t loadedMatrixTerms = 0;
};

/// "cpu", "cpu:host", "cpu:x86-64-v3,avx512": the targets named, the best
/// first. With no text: all.
llvm::Expected<llvm::SmallVector<const Target *>>
parseTargets(llvm::ArrayRef<std::string> texts);

} // namespace fovea

#endif // FOVEA_TOOLS_FOVEA_COMPILATION_H
