// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// fovea compile: from a spec, or IR at any phase, to the files asked for. All
// of them appear, or none.

#include "tools/fovea/Commands.h"
#include "tools/fovea/Compilation.h"

#include "compiler/Artifact/Linker.h"
#include "compiler/Artifact/OutputSet.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using llvm::Error;
using llvm::Expected;
using llvm::MemoryBuffer;
using llvm::SmallVector;
using llvm::StringRef;

namespace fovea {
namespace {

enum class Product { Header, Json, Assembly, Object, Archive, SharedLibrary };

struct NamedProduct {
  StringRef name;
  Product product;
  StringRef suffix; // of the file
};
constexpr NamedProduct products[] = {
    {"header", Product::Header, ".h"}, {"json", Product::Json, ".json"},
    {"asm", Product::Assembly, ".s"},  {"obj", Product::Object, ".o"},
    {"a", Product::Archive, ".a"},     {"so", Product::SharedLibrary, ".so"},
};

/// What the command line asks to write.
struct Request {
  SmallVector<Phase> phases;
  llvm::SmallVector<const NamedProduct *> products;

  bool has(Product product) const {
    return llvm::any_of(
        products, [&](const NamedProduct *p) { return p->product == product; });
  }
  bool hasBinary() const {
    return has(Product::Object) || has(Product::Archive) ||
           has(Product::SharedLibrary);
  }
  void add(Product product) {
    if (!has(product))
      products.push_back(
          llvm::find_if(::fovea::products, [&](const NamedProduct &p) {
            return p.product == product;
          }));
  }
};

Error usage(const llvm::Twine &message) {
  return llvm::createStringError(std::errc::invalid_argument,
                                 message.str().c_str());
}

Expected<Request> parseRequest(const CommandLine &line, Phase from) {
  Request request;
  auto addPhase = [&](Phase phase) -> Error {
    if (phase < from)
      return usage("the phase '" + getPhaseName(phase) + "' comes before '" +
                   getPhaseName(from) + "'");
    if (!llvm::is_contained(request.phases, phase))
      request.phases.push_back(phase);
    return Error::success();
  };
  auto add = [&](StringRef name) -> Error {
    if (std::optional<Phase> phase = parsePhase(name))
      return addPhase(*phase);
    for (const NamedProduct &product : products)
      if (product.name == name) {
        request.add(product.product);
        return Error::success();
      }
    return usage("unknown kind of output '" + name +
                 "'; known: attn, bufferized, tiled, vector, llvm, asm, obj, "
                 "a, so, header, json");
  };
  for (const std::string &name : line.emit)
    if (Error error = add(name))
      return std::move(error);
  if (!line.to.empty()) {
    if (!line.emit.empty())
      return usage("--compile-to and --emit exclude each other");
    if (Error error = add(line.to))
      return std::move(error);
  }
  if (request.phases.empty() && request.products.empty())
    request.add(Product::Object);
  // Code is of no use without what tells how to call it.
  if (request.hasBinary()) {
    request.add(Product::Header);
    request.add(Product::Json);
  }
  return request;
}

/// Collects the contents of everything requested.
class Products {
public:
  Products(Compilation &compilation, llvm::ArrayRef<const Target *> targets,
           const CommandLine &line)
      : compilation(compilation), targets(targets), line(line) {}

  /// (suffix after the kernel's name, contents). False after a diagnostic.
  struct File {
    std::string suffix, contents;
    bool executable = false;
  };
  SmallVector<File> files;

  bool addPhase(Phase phase) {
    bool one = targets.size() == 1 || phase == Phase::Attn;
    for (const Target *target : targets) {
      mlir::OwningOpRef<mlir::ModuleOp> module =
          compilation.lower(phase, *target);
      if (!module)
        return false;
      std::string text;
      llvm::raw_string_ostream os(text);
      module->print(os);
      os << "\n";
      std::string suffix = one ? "" : "." + target->suffix.str();
      files.push_back(
          {suffix + "." + getPhaseName(phase).str() + ".mlir", text});
      if (phase == Phase::Attn)
        break;
    }
    return true;
  }

  bool add(const NamedProduct &named) {
    std::string contents;
    switch (named.product) {
    case Product::Header:
      contents = makeHeader(compilation.kernel(), compilation.notes(targets));
      break;
    case Product::Json:
      contents = makeJson(compilation.kernel(), compilation.notes(targets));
      break;
    case Product::Assembly:
      if (!needCode() || !take(emitAssembly(*code), contents, ExitBug))
        return false;
      break;
    case Product::Object:
      if (!needObject())
        return false;
      contents = object->getBuffer().str();
      break;
    case Product::Archive:
      if (!needObject() ||
          !take(makeArchive(*object, compilation.kernel().name + ".o"),
                contents, ExitBug))
        return false;
      break;
    case Product::SharedLibrary:
      if (!needObjects() ||
          !take(linkSharedLibrary(objects, compilation.kernel().name,
                                  line.runtime == "shared"
                                      ? RuntimeLinkage::Shared
                                      : RuntimeLinkage::Static,
                                  line.linker),
                contents, ExitBadInput))
        return false;
      break;
    }
    files.push_back({named.suffix.str(), std::move(contents),
                     named.product == Product::SharedLibrary});
    return true;
  }

private:
  Compilation &compilation;
  llvm::ArrayRef<const Target *> targets;
  const CommandLine &line;
  std::unique_ptr<llvm::Module> code;
  Objects objects;
  std::unique_ptr<MemoryBuffer> object;

  bool needCode() {
    if (!code)
      code = compilation.compile(targets);
    return code != nullptr;
  }

  bool needObjects() {
    if (!objects.empty())
      return true;
    if (!needCode())
      return false;
    // Several objects take a linker to become one.
    unsigned limit = maxObjects;
    if (line.linker.empty()) {
      if (Error error = findLinker("").takeError()) {
        llvm::consumeError(std::move(error));
        limit = 1;
        llvm::errs() << "fovea: note: no linker was found, so code is "
                        "generated on one thread\n";
      }
    }
    Expected<Objects> emitted = emitObjects(*code, limit);
    if (!emitted) {
      compilation.exitCode = failWithReproducer(emitted.takeError());
      return false;
    }
    objects = std::move(*emitted);
    return true;
  }

  bool needObject() {
    return object ||
           (needObjects() &&
            take(linkObject(objects, compilation.kernel().name, line.linker),
                 object, ExitBadInput));
  }

  /// `culprit` says whose fault an error is: the linker and the runtime library
  /// are the user's installation.
  bool take(Expected<std::unique_ptr<MemoryBuffer>> made,
            std::unique_ptr<MemoryBuffer> &buffer, ExitCode culprit) {
    if (made) {
      buffer = std::move(*made);
      return true;
    }
    compilation.exitCode = culprit == ExitBug
                               ? failWithReproducer(made.takeError())
                               : fail(culprit, made.takeError());
    return false;
  }

  bool take(Expected<std::unique_ptr<MemoryBuffer>> made, std::string &contents,
            ExitCode culprit) {
    std::unique_ptr<MemoryBuffer> buffer;
    if (!take(std::move(made), buffer, culprit))
      return false;
    contents = buffer->getBuffer().str();
    return true;
  }
};

int writeToStdout(const Products &made) {
  for (const Products::File &file : made.files)
    llvm::outs() << file.contents;
  llvm::outs().flush();
  if (llvm::outs().has_error()) {
    std::error_code code = llvm::outs().error();
    llvm::outs().clear_error();
    return fail(ExitBadInput, "cannot write to stdout: " + code.message());
  }
  return ExitSuccess;
}

} // namespace

int runCompile(const CommandLine &line) {
  Phase from = Phase::Attn;
  if (!line.from.empty() && line.from != "spec") {
    std::optional<Phase> parsed = parsePhase(line.from);
    if (!parsed)
      return fail(ExitUsage, "--compile-from: unknown phase '" + line.from +
                                 "'; known: spec, attn, bufferized, tiled, "
                                 "vector, llvm");
    from = *parsed;
  }
  if (line.runtime != "static" && line.runtime != "shared")
    return fail(ExitUsage, "--runtime: '" + line.runtime +
                               "' is neither static nor shared");
  Expected<Request> request = parseRequest(line, from);
  if (!request)
    return fail(ExitUsage, request.takeError());
  Expected<SmallVector<const Target *>> targets = parseTargets(line.targets);
  if (!targets)
    return fail(ExitUsage, targets.takeError());
  if (from > Phase::Attn && targets->size() > 1)
    return fail(ExitUsage, "IR of the phase '" + line.from +
                               "' is for one target: name it with --target");
  bool toStdout =
      line.output == "-" || (line.output.empty() && request->products.empty());
  if (toStdout && (request->hasBinary() ||
                   request->phases.size() + request->products.size() != 1))
    return fail(ExitUsage, "one text output at a time can go to stdout");

  Compilation compilation;
  if (!compilation.open(line.input, from))
    return compilation.exitCode;
  *targets = compilation.withoutDuplicates(*targets);
  Products made(compilation, *targets, line);
  for (Phase phase : request->phases)
    if (!made.addPhase(phase))
      return compilation.exitCode;
  for (const NamedProduct *product : request->products)
    if (!made.add(*product))
      return compilation.exitCode;
  if (toStdout)
    return writeToStdout(made);

  OutputSet outputs;
  // A name with the suffix of the one file asked for is that file's.
  StringRef suffix = llvm::sys::path::extension(line.output);
  if (!request->hasBinary() && made.files.size() == 1 && !suffix.empty() &&
      !llvm::sys::fs::is_directory(line.output)) {
    outputs.add(line.output, std::move(made.files[0].contents));
  } else {
    for (Products::File &file : made.files) {
      llvm::SmallString<128> path(line.output);
      llvm::sys::path::append(path, compilation.kernel().name + file.suffix);
      outputs.add(path, std::move(file.contents), file.executable);
    }
  }
  if (Error error = outputs.commit())
    return fail(ExitBadInput, std::move(error));
  return ExitSuccess;
}

} // namespace fovea
