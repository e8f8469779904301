// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Finds the linker and the runtime library and runs the one on the other.

#include "compiler/Artifact/Linker.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ObjCopy/ConfigManager.h"
#include "llvm/ObjCopy/ObjCopy.h"
#include "llvm/Object/Binary.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <optional>

using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::MemoryBuffer;
using llvm::SmallString;
using llvm::StringRef;

namespace fovea {
namespace {

template <typename... Ts> Error makeError(const char *format, Ts... values) {
  return createStringError(std::errc::no_such_file_or_directory, format,
                           values...);
}

/// A folder of our own under the system's temporary folder.
class ScratchFolder {
public:
  static Expected<std::unique_ptr<ScratchFolder>> create() {
    SmallString<128> path;
    if (std::error_code code =
            llvm::sys::fs::createUniqueDirectory("fovea-link", path))
      return createStringError(code, "cannot make a temporary folder: %s",
                               code.message().c_str());
    return std::unique_ptr<ScratchFolder>(new ScratchFolder(path));
  }
  // What cannot be removed is left to the system.
  ~ScratchFolder() { (void)llvm::sys::fs::remove_directories(path); }

  std::string file(StringRef name) const { return (path + "/" + name).str(); }

  Error write(StringRef name, StringRef contents) const {
    std::error_code code;
    llvm::raw_fd_ostream os(file(name), code);
    if (!code) {
      os << contents;
      os.close();
      code = os.error();
      os.clear_error();
    }
    if (code)
      return createStringError(code, "cannot write '%s': %s",
                               file(name).c_str(), code.message().c_str());
    return Error::success();
  }

private:
  explicit ScratchFolder(StringRef path) : path(path) {}
  SmallString<128> path;
};

/// Adds what a plain linker must be told: the C library's own files.
Error addSystemLibraries(llvm::SmallVectorImpl<std::string> &arguments) {
  for (const char *name : {"libm.so.6", "libc.so.6"}) {
    std::string found;
    for (StringRef folder :
         {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64",
          "/usr/lib64", "/usr/lib"}) {
      std::string candidate = (folder + "/" + name).str();
      if (llvm::sys::fs::exists(candidate)) {
        found = candidate;
        break;
      }
    }
    if (found.empty())
      return makeError("no %s for the linker; a C compiler as the linker would "
                       "know its place (--linker=cc)",
                       name);
    arguments.push_back(found);
  }
  return Error::success();
}

/// One run of the linker on objects, in a folder of its own.
struct LinkJob {
  std::string linker;
  std::unique_ptr<ScratchFolder> scratch;
  llvm::SmallVector<std::string> arguments;

  static Expected<LinkJob> create(StringRef wantedLinker,
                                  const Objects &objects) {
    Expected<std::string> linker = findLinker(wantedLinker);
    if (!linker)
      return linker.takeError();
    Expected<std::unique_ptr<ScratchFolder>> scratch = ScratchFolder::create();
    if (!scratch)
      return scratch.takeError();
    LinkJob job{std::move(*linker), std::move(*scratch), {}};
    for (auto [index, object] : llvm::enumerate(objects)) {
      std::string name = "kernel" + std::to_string(index) + ".o";
      if (Error error = job.scratch->write(name, object->getBuffer()))
        return std::move(error);
      job.add({job.scratch->file(name)});
    }
    return std::move(job);
  }

  /// A linker itself takes its flags and needs the C library named; a compiler
  /// passes them on and knows the library.
  bool isPlain() const {
    return llvm::sys::path::filename(linker).starts_with("ld");
  }

  void add(std::initializer_list<StringRef> flags) {
    for (StringRef flag : flags)
      arguments.push_back(flag.str());
  }

  /// Adds flags of the linker.
  void pass(std::initializer_list<StringRef> flags) {
    for (StringRef flag : flags) {
      if (!isPlain())
        arguments.push_back("-Xlinker");
      arguments.push_back(flag.str());
    }
  }

  /// What the linker writes.
  Expected<std::unique_ptr<MemoryBuffer>> run(StringRef name) {
    std::string output = scratch->file(name), log = scratch->file("log");
    add({"-o", output});
    llvm::SmallVector<StringRef> argv = {linker};
    argv.append(arguments.begin(), arguments.end());
    std::optional<StringRef> redirects[] = {StringRef(""), StringRef(log),
                                            StringRef(log)};
    std::string message;
    if (int status =
            llvm::sys::ExecuteAndWait(linker, argv, std::nullopt, redirects,
                                      /*SecondsToWait=*/120, 0, &message)) {
      if (auto text = MemoryBuffer::getFile(log))
        message += (*text)->getBuffer().rtrim();
      return makeError("the linker '%s' failed (status %d): %s", linker.c_str(),
                       status, message.c_str());
    }
    auto result = MemoryBuffer::getFile(output, /*IsText=*/false,
                                        /*RequiresNullTerminator=*/false,
                                        /*IsVolatile=*/true);
    if (!result)
      return makeError("the linker '%s' wrote nothing", linker.c_str());
    // A copy: the file goes with the folder.
    return MemoryBuffer::getMemBufferCopy((*result)->getBuffer(), name);
  }
};

} // namespace

Expected<std::string> findLinker(StringRef wanted) {
  if (!wanted.empty()) {
    if (auto found = llvm::sys::findProgramByName(wanted))
      return *found;
    return makeError("there is no linker '%s'", wanted.str().c_str());
  }
  for (StringRef name :
       {"cc", "clang", "gcc", "clang-22", "ld.lld", "ld.lld-22", "ld"})
    if (auto found = llvm::sys::findProgramByName(name))
      return *found;
  return makeError(
      "no linker was found (cc, clang, gcc, ld.lld or ld): install "
      "one, name one with --linker, or emit obj or a");
}

Expected<std::string> findRuntimeLibrary(RuntimeLinkage linkage) {
  StringRef name = linkage == RuntimeLinkage::Static ? "libfovea_runtime.a"
                                                     : "libfovea_runtime.so";
  // Any address inside the program would do.
  std::string driver = llvm::sys::fs::getMainExecutable(
      nullptr, reinterpret_cast<void *>(&findLinker));
  std::string tried;
  for (StringRef folder : {FOVEA_LIBRARY_FOLDER, "lib"}) {
    SmallString<128> path(llvm::sys::path::parent_path(driver));
    llvm::sys::path::append(path, "..", folder, name);
    llvm::sys::path::remove_dots(path, /*remove_dot_dot=*/true);
    if (llvm::sys::fs::exists(path))
      return path.str().str();
    if (!StringRef(tried).contains(path))
      tried += (tried.empty() ? "" : ", ") + path.str().str();
  }
  return makeError(
      "the runtime library was not found (looked for %s); emit obj "
      "or a and link it yourself",
      tried.c_str());
}

Expected<std::unique_ptr<MemoryBuffer>> linkObject(const Objects &objects,
                                                   StringRef kernelName,
                                                   StringRef wantedLinker) {
  if (objects.size() == 1)
    return MemoryBuffer::getMemBufferCopy(objects.front()->getBuffer(),
                                          (kernelName + ".o").str());
  Expected<LinkJob> job = LinkJob::create(wantedLinker, objects);
  if (!job)
    return job.takeError();
  job->add({"-r"});
  if (!job->isPlain())
    job->add({"-nostdlib"});
  Expected<std::unique_ptr<MemoryBuffer>> linked =
      job->run((kernelName + ".o").str());
  if (!linked)
    return linked.takeError();

  llvm::objcopy::ConfigManager config;
  config.ELF.LocalizeHidden = true;
  Expected<std::unique_ptr<llvm::object::Binary>> binary =
      llvm::object::createBinary(**linked);
  if (!binary)
    return binary.takeError();
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  if (Error error =
          llvm::objcopy::executeObjcopyOnBinary(config, **binary, stream))
    return std::move(error);
  return std::make_unique<llvm::SmallVectorMemoryBuffer>(
      std::move(bytes), (*linked)->getBufferIdentifier(),
      /*RequiresNullTerminator=*/false);
}

Expected<std::unique_ptr<MemoryBuffer>>
linkSharedLibrary(const Objects &objects, StringRef kernelName,
                  RuntimeLinkage linkage, StringRef wantedLinker) {
  Expected<LinkJob> job = LinkJob::create(wantedLinker, objects);
  if (!job)
    return job.takeError();
  Expected<std::string> runtime = findRuntimeLibrary(linkage);
  if (!runtime)
    return runtime.takeError();
  std::string name = kernelName.str();
  std::string exports =
      "{ global: " + name + "; " + name + "_workspace; " + name + "_kernel; ";
  if (linkage == RuntimeLinkage::Static)
    exports += "fovea_*; ";
  exports += "local: *; };\n";
  if (Error error = job->scratch->write("exports", exports))
    return std::move(error);

  job->add({"-shared"});
  job->pass({"-soname", name + ".so"});
  job->pass({"--version-script", job->scratch->file("exports")});
  job->pass({"-z", "relro"});
  job->pass({"-z", "noexecstack"});
  job->pass({"--no-undefined"});
  job->pass({"--build-id=none"});
  if (linkage == RuntimeLinkage::Static) {
    // Threads of the runtime may sleep in its code when a host calls dlclose.
    job->pass({"-z", "nodelete"});
    job->pass({"--whole-archive"});
    job->add({*runtime});
    job->pass({"--no-whole-archive"});
  } else {
    job->add({*runtime});
    job->pass({"-rpath", llvm::sys::path::parent_path(*runtime)});
  }
  if (job->isPlain()) {
    if (Error error = addSystemLibraries(job->arguments))
      return std::move(error);
  } else {
    job->add({"-pthread", "-lm"});
  }
  return job->run(name + ".so");
}

} // namespace fovea
