// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Finds the linker and the runtime library and runs the one on the other.

#include "compiler/Artifact/SharedLibrary.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
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

/// A linker called directly needs the C library named; a compiler knows it.
bool isPlainLinker(StringRef program) {
  StringRef name = llvm::sys::path::filename(program);
  return name.starts_with("ld");
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

Error runLinker(StringRef program, llvm::ArrayRef<std::string> arguments,
                const ScratchFolder &scratch) {
  llvm::SmallVector<StringRef> argv = {program};
  argv.append(arguments.begin(), arguments.end());
  std::string log = scratch.file("log"), message;
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(log),
                                          StringRef(log)};
  int status = llvm::sys::ExecuteAndWait(program, argv, std::nullopt, redirects,
                                         /*SecondsToWait=*/120, 0, &message);
  if (!status)
    return Error::success();
  if (auto text = MemoryBuffer::getFile(log))
    message += (*text)->getBuffer().rtrim();
  return makeError("the linker '%s' failed (status %d): %s",
                   program.str().c_str(), status, message.c_str());
}

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

Expected<std::unique_ptr<MemoryBuffer>>
linkSharedLibrary(llvm::MemoryBufferRef object, StringRef kernelName,
                  RuntimeLinkage linkage, StringRef wantedLinker) {
  Expected<std::string> linker = findLinker(wantedLinker);
  if (!linker)
    return linker.takeError();
  Expected<std::string> runtime = findRuntimeLibrary(linkage);
  if (!runtime)
    return runtime.takeError();
  Expected<std::unique_ptr<ScratchFolder>> scratch = ScratchFolder::create();
  if (!scratch)
    return scratch.takeError();
  const ScratchFolder &folder = **scratch;
  if (Error error = folder.write("kernel.o", object.getBuffer()))
    return std::move(error);
  std::string name = kernelName.str();
  std::string exports =
      "{ global: " + name + "; " + name + "_workspace; " + name + "_kernel; ";
  if (linkage == RuntimeLinkage::Static)
    exports += "fovea_*; ";
  exports += "local: *; };\n";
  if (Error error = folder.write("exports", exports))
    return std::move(error);

  bool plain = isPlainLinker(*linker);
  llvm::SmallVector<std::string> arguments;
  auto pass = [&](std::initializer_list<StringRef> flags) {
    for (StringRef flag : flags) {
      if (!plain)
        arguments.push_back("-Xlinker");
      arguments.push_back(flag.str());
    }
  };
  std::string library = folder.file("kernel.so");
  arguments.append({"-shared", "-o", library, folder.file("kernel.o")});
  pass({"-soname", name + ".so"});
  pass({"--version-script", folder.file("exports")});
  pass({"-z", "relro"});
  pass({"-z", "noexecstack"});
  pass({"--no-undefined"});
  pass({"--build-id=none"});
  if (linkage == RuntimeLinkage::Static) {
    // Threads of the runtime may sleep in its code when a host calls dlclose.
    pass({"-z", "nodelete"});
    pass({"--whole-archive"});
    arguments.push_back(*runtime);
    pass({"--no-whole-archive"});
  } else {
    arguments.push_back(*runtime);
    pass({"-rpath", llvm::sys::path::parent_path(*runtime)});
  }
  if (plain) {
    if (Error error = addSystemLibraries(arguments))
      return std::move(error);
  } else {
    arguments.append({"-pthread", "-lm"});
  }
  if (Error error = runLinker(*linker, arguments, folder))
    return std::move(error);
  auto result = MemoryBuffer::getFile(library, /*IsText=*/false,
                                      /*RequiresNullTerminator=*/false,
                                      /*IsVolatile=*/true);
  if (!result)
    return makeError("the linker '%s' wrote nothing", linker->c_str());
  // A copy: the file goes with the folder.
  return MemoryBuffer::getMemBufferCopy((*result)->getBuffer(), name + ".so");
}

} // namespace fovea
