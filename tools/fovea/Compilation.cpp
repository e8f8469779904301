// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Reading, lowering and compiling one kernel for the driver's commands.

#include "tools/fovea/Compilation.h"

#include "compiler/Frontend/Spec.h"
#include "compiler/Reference/ErrorBound.h"
#include "dialects/attn/IR/ExprRegion.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/WithColor.h"

#include <unistd.h>

using namespace mlir;
using llvm::Error;
using llvm::Expected;
using llvm::MemoryBuffer;
using llvm::Twine;

namespace fovea {
namespace {

/// Larger inputs are no kernels.
constexpr uint64_t maxInputBytes = uint64_t(64) << 20;
/// MLIR's parser recurses; a spec's IR nests less than 20 deep.
constexpr unsigned maxNesting = 200;

/// What a reproducer holds, kept where a signal handler finds it.
std::string *reproducerCommand;
std::string *reproducerInput;
std::string *reproducerNote;

/// Writes the reproducer and returns its path, or "" if that cannot be.
std::string writeReproducer() {
  if (!reproducerCommand || !reproducerInput)
    return "";
  int fd;
  llvm::SmallString<128> path;
  if (llvm::sys::fs::createTemporaryFile("fovea-reproducer", "txt", fd, path))
    return "";
  llvm::raw_fd_ostream os(fd, /*shouldClose=*/true);
  os << "# " << compilerVersion() << "\n# " << *reproducerCommand << "\n# "
     << *reproducerNote << "\n# the input:\n"
     << *reproducerInput;
  return path.str().str();
}

void reportBug() {
  llvm::errs() << "fovea: this is a bug of fovea, not of the input.\n";
  std::string path = writeReproducer();
  if (!path.empty())
    llvm::errs() << "fovea: a reproducer was written to " << path
                 << "; please report it.\n";
}

void onCrash(void *) {
  reportBug();
  _exit(ExitBug);
}

/// The position of the first bracket that nests too deeply, if any. Knows
/// strings and comments; '<' counts as a bracket until the bracket around it
/// closes, since it may be a comparison.
std::optional<size_t> findDeepNesting(StringRef text) {
  llvm::SmallVector<char> open;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    switch (c) {
    case '"':
      for (++i; i < text.size() && text[i] != '"' && text[i] != '\n'; ++i)
        if (text[i] == '\\')
          ++i;
      break;
    case '/':
      if (i + 1 < text.size() && text[i + 1] == '/')
        i = std::min(text.find('\n', i), text.size());
      break;
    case '(':
    case '[':
    case '{':
    case '<':
      open.push_back(c);
      if (open.size() > maxNesting)
        return i;
      break;
    case '>':
      if (!open.empty() && open.back() == '<' && i &&
          !StringRef("-=").contains(text[i - 1]))
        open.pop_back();
      break;
    case ')':
    case ']':
    case '}':
      while (!open.empty() && open.back() == '<')
        open.pop_back();
      if (!open.empty())
        open.pop_back();
      break;
    default:
      break;
    }
  }
  return std::nullopt;
}

} // namespace

int fail(ExitCode code, const Twine &message) {
  llvm::errs() << "fovea: ";
  llvm::WithColor::error() << message << "\n";
  return code;
}

int fail(ExitCode code, Error error) {
  return fail(code, llvm::toString(std::move(error)));
}

int failWithReproducer(Error error) {
  fail(ExitBug, std::move(error));
  reportBug();
  return ExitBug;
}

void installCrashHandler(int argc, char **argv) {
  static std::string command, input, note;
  for (int i = 0; i != argc; ++i)
    command += (i ? " " : "") + std::string(argv[i]);
  reproducerCommand = &command;
  reproducerInput = &input;
  reproducerNote = &note;
  llvm::sys::AddSignalHandler(onCrash, nullptr);
}

void leaveCrashesToParent() {
  reproducerCommand = nullptr;
  llvm::sys::unregisterHandlers();
}

void noteForReproducer(StringRef note) {
  if (reproducerNote)
    *reproducerNote = note.str();
}

Compilation::Compilation() {
  DialectRegistry registry;
  registerKernelDialects(registry);
  frontend::registerDialects(registry);
  context.appendDialectRegistry(registry);
#ifdef FOVEA_THREAD_SANITIZER
  context.disableMultithreading();
#endif
}

Compilation::~Compilation() = default;

bool Compilation::open(StringRef path, Phase from) {
  exitCode = ExitBadInput;
  uint64_t size = 0;
  if (path != "-" && llvm::sys::fs::is_directory(path)) {
    fail(ExitBadInput, "cannot read '" + path + "': it is a folder");
    return false;
  }
  if (path != "-" && !llvm::sys::fs::file_size(path, size) &&
      size > maxInputBytes) {
    fail(ExitBadInput, "'" + path + "' has " + Twine(size) +
                           " bytes; at most " + Twine(maxInputBytes) +
                           " are accepted");
    return false;
  }
  auto buffer = MemoryBuffer::getFileOrSTDIN(path);
  if (!buffer) {
    fail(ExitBadInput,
         "cannot read '" + path + "': " + buffer.getError().message());
    return false;
  }
  if ((*buffer)->getBufferSize() > maxInputBytes) {
    fail(ExitBadInput,
         "the input has more than " + Twine(maxInputBytes) + " bytes");
    return false;
  }
  return open(std::move(*buffer), from);
}

bool Compilation::open(std::unique_ptr<MemoryBuffer> buffer, Phase from) {
  phase = from;
  StringRef text = buffer->getBuffer(), path = buffer->getBufferIdentifier();
  if (reproducerInput)
    *reproducerInput = text.str();

  bool isSpec = from == Phase::Attn && !path.ends_with(".mlir");
  std::optional<size_t> deep = isSpec ? std::nullopt : findDeepNesting(text);
  sources.AddNewSourceBuffer(std::move(buffer), llvm::SMLoc());
  diagnostics = std::make_unique<SourceMgrDiagnosticHandler>(sources, &context,
                                                             llvm::errs());
  if (isSpec) {
    std::optional<frontend::Spec> spec = frontend::parseSpec(sources);
    if (!spec)
      return false;
    module = frontend::buildModule(context, *spec);
  } else if (deep) {
    sources.PrintMessage(
        llvm::errs(), llvm::SMLoc::getFromPointer(text.data() + *deep),
        llvm::SourceMgr::DK_Error,
        "brackets nest more than " + Twine(maxNesting) + " deep");
  } else {
    module = parseSourceFile<ModuleOp>(sources, &context);
  }
  if (!module)
    return false;
  Expected<KernelInterface> read = readKernelInterface(*module);
  if (!read) {
    fail(ExitBadInput, "'" + path + "': " + llvm::toString(read.takeError()));
    return false;
  }
  interface = std::move(*read);
  return true;
}

func::FuncOp Compilation::function() {
  return module->lookupSymbol<func::FuncOp>(interface.name);
}

OwningOpRef<ModuleOp> Compilation::lower(Phase to, const Target &target) {
  OwningOpRef<ModuleOp> copy = module->clone();
  if (to > phase)
    attachKernelInterface(*copy, interface);
  for (Phase at = phase; at < to;) {
    Phase next = Phase(unsigned(at) + 1);
    PassManager manager(&context);
    // Once per phase: after every pass it is a tenth of the compile time.
    manager.enableVerifier(false);
    buildPipeline(manager, at, next, target);
    if (failed(manager.run(*copy)) || failed(mlir::verify(*copy))) {
      // Up to tiling, a pass may refuse what was asked for; after it, every
      // program must go through.
      exitCode =
          next <= Phase::Tiled
              ? int(ExitBadInput)
              : failWithReproducer(llvm::createStringError(
                    "lowering to the phase '%s' for %s failed",
                    getPhaseName(next).str().c_str(), target.isa.data()));
      return nullptr;
    }
    at = next;
  }
  return copy;
}

int64_t Compilation::getMatrixTerms(ArrayRef<const Target *> targets) {
  int64_t terms = 0;
  if (phase <= Phase::Bufferized)
    for (const Target *target : targets)
      terms = std::max(terms, fovea::getMatrixTerms(*module, *target));
  return terms;
}

SmallVector<const Target *>
Compilation::withoutDuplicates(ArrayRef<const Target *> targets) {
  SmallVector<const Target *> result;
  for (const Target *target : targets)
    if (target->matrixRows == 0 || phase > Phase::Bufferized ||
        getMatrixTerms(target) != 0)
      result.push_back(target);
  return result.empty() ? llvm::to_vector(targets) : result;
}

std::unique_ptr<llvm::Module>
Compilation::compile(ArrayRef<const Target *> targets) {
  SmallVector<OwningOpRef<ModuleOp>> lowered;
  SmallVector<IsaModule> isas;
  for (const Target *target : targets) {
    lowered.push_back(lower(Phase::LLVM, *target));
    if (!lowered.back())
      return nullptr;
    isas.push_back({target, *lowered.back()});
  }
  Expected<std::unique_ptr<llvm::Module>> result =
      buildKernelModule(isas, interface, llvmContext);
  if (!result) {
    exitCode = failWithReproducer(result.takeError());
    return nullptr;
  }
  return std::move(*result);
}

std::optional<Objects>
Compilation::compileObjects(ArrayRef<const Target *> targets) {
  std::unique_ptr<llvm::Module> code = compile(targets);
  if (!code)
    return std::nullopt;
  Expected<Objects> objects = emitObjects(*code);
  if (!objects) {
    exitCode = failWithReproducer(objects.takeError());
    return std::nullopt;
  }
  return std::move(*objects);
}

std::unique_ptr<LoadedKernel>
Compilation::load(ArrayRef<const Target *> targets) {
  std::optional<Objects> objects = compileObjects(targets);
  if (!objects)
    return nullptr;
  Expected<std::unique_ptr<LoadedKernel>> loaded =
      LoadedKernel::load(std::move(*objects), interface.name);
  if (!loaded) {
    exitCode = failWithReproducer(loaded.takeError());
    return nullptr;
  }
  loadedMatrixTerms = getMatrixTerms(targets);
  return std::move(*loaded);
}

ArtifactNotes Compilation::notes(ArrayRef<const Target *> targets) {
  ArtifactNotes result;
  result.targets.assign(targets.begin(), targets.end());
  for (const auto &arg : interface.args)
    if (arg.role == ArgRole::Output && arg.name == "o")
      result.bound = reference::ErrorBound(parseType(arg.dtype.name, &context),
                                           0, getMatrixTerms(targets))
                         .describe();
  // Configurations are chosen on the way out of the attn phase.
  if (phase != Phase::Attn)
    return result;
  for (const Target *target : targets) {
    OwningOpRef<ModuleOp> configured = lower(Phase::Bufferized, *target);
    if (!configured)
      continue;
    configured->walk([&](attn::AttentionOp op) {
      llvm::raw_string_ostream(result.config)
          << (result.config.empty() ? "" : "; ") << target->isa << ": "
          << op.getConfigAttr();
      expr::Context expressions;
      if (std::optional<expr::Expr> mask = attn::getMaskExpr(expressions, op))
        result.mask = expr::print(expressions, *mask, {.sugar = true});
    });
  }
  return result;
}

Expected<SmallVector<const Target *>>
parseTargets(ArrayRef<std::string> texts) {
  llvm::SmallPtrSet<const Target *, 4> wanted;
  auto unknown = [](StringRef isa) {
    std::string known;
    for (const Target &target : getTargets())
      known += ", " + target.isa.str();
    return llvm::createStringError(
        std::errc::invalid_argument,
        "unknown target '%s'; known: cpu, cpu:host%s (as in cpu:x86-64-v3)",
        isa.str().c_str(), known.c_str());
  };
  for (StringRef text : texts) {
    auto [device, isas] = text.split(':');
    // A list may have been split at its commas: "avx512" continues "cpu:...".
    if (device != "cpu") {
      isas = text;
    } else if (isas.empty()) {
      for (const Target &target : getTargets())
        wanted.insert(&target);
      continue;
    }
    for (StringRef isa : llvm::split(isas, ',')) {
      const Target *target = isa == "host" ? hostTarget() : lookupTarget(isa);
      if (!target && isa == "host")
        return llvm::createStringError(
            std::errc::not_supported,
            "this machine runs none of the supported instruction sets");
      if (!target)
        return unknown(isa);
      wanted.insert(target);
    }
  }
  SmallVector<const Target *> result;
  for (const Target &target : getTargets())
    if (wanted.empty() || wanted.contains(&target))
      result.push_back(&target);
  return result;
}

} // namespace fovea
