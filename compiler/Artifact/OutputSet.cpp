// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Writing aside, flushing and renaming.

#include "compiler/Artifact/OutputSet.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <fcntl.h>
#include <unistd.h>

using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;
using llvm::sys::fs::TempFile;

namespace fovea {
namespace {

Error failure(StringRef what, StringRef path, std::error_code code) {
  return createStringError(code, "%s '%s': %s", what.str().c_str(),
                           path.str().c_str(), code.message().c_str());
}

std::error_code lastError() {
  return std::error_code(errno, std::generic_category());
}

std::string folderOf(StringRef path) {
  StringRef folder = llvm::sys::path::parent_path(path);
  return folder.empty() ? "." : folder.str();
}

/// Makes the folder's entries durable. A file system that cannot do so is no
/// reason to fail.
void flushFolder(const std::string &folder) {
  int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return;
  ::fsync(fd);
  ::close(fd);
}

Error writeAside(TempFile &file, StringRef path, StringRef contents) {
  llvm::raw_fd_ostream os(file.FD, /*shouldClose=*/false);
  os << contents;
  os.flush();
  if (std::error_code code = os.error()) {
    os.clear_error();
    return failure("cannot write", path, code);
  }
  if (::fsync(file.FD))
    return failure("cannot write", path, lastError());
  return Error::success();
}

Expected<TempFile> createAside(StringRef path, StringRef contents,
                               bool executable) {
  unsigned mode = llvm::sys::fs::all_read | llvm::sys::fs::all_write;
  if (executable)
    mode |= llvm::sys::fs::all_exe;
  Expected<TempFile> file = TempFile::create(path + ".%%%%%%%%.tmp", mode);
  if (!file)
    return createStringError(std::errc::io_error, "cannot write '%s': %s",
                             path.str().c_str(),
                             llvm::toString(file.takeError()).c_str());
  if (Error error = writeAside(*file, path, contents)) {
    llvm::consumeError(file->discard());
    return std::move(error);
  }
  return file;
}

} // namespace

void OutputSet::add(StringRef path, std::string contents, bool executable) {
  files.push_back({path.str(), std::move(contents), executable});
}

Error OutputSet::commit() {
  std::vector<TempFile> written;
  auto discardFrom = [&](size_t first) {
    for (size_t i = first; i != written.size(); ++i)
      llvm::consumeError(written[i].discard());
  };
  for (const File &file : files) {
    std::string folder = folderOf(file.path);
    if (std::error_code code = llvm::sys::fs::create_directories(folder)) {
      discardFrom(0);
      return failure("cannot make the folder", folder, code);
    }
    // Found out now rather than by a rename that comes after others.
    if (llvm::sys::fs::is_directory(file.path)) {
      discardFrom(0);
      return failure("cannot write", file.path,
                     std::make_error_code(std::errc::is_a_directory));
    }
    Expected<TempFile> aside =
        createAside(file.path, file.contents, file.executable);
    if (!aside) {
      discardFrom(0);
      return aside.takeError();
    }
    written.push_back(std::move(*aside));
  }
  for (size_t i = 0; i != written.size(); ++i)
    if (Error error = written[i].keep(files[i].path)) {
      discardFrom(i + 1);
      return createStringError(std::errc::io_error, "cannot write '%s': %s",
                               files[i].path.c_str(),
                               llvm::toString(std::move(error)).c_str());
    }
  for (const File &file : files)
    flushFolder(folderOf(file.path));
  return Error::success();
}

} // namespace fovea
