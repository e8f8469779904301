// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Writing aside, flushing and renaming.

#include "compiler/Artifact/OutputSet.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/raw_ostream.h"

#include <fcntl.h>
#include <unistd.h>

using llvm::createStringError;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

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

/// A file beside the place where it will be. LLVM's TempFile would take a '%'
/// anywhere in the path for a digit to draw.
class AsideFile {
public:
  static Expected<AsideFile> create(StringRef target, StringRef contents,
                                    bool executable) {
    AsideFile file;
    int fd = -1;
    do {
      // Other processes' files are stepped over; any name will do.
      file.path =
          (target + "." +
           llvm::utohexstr(llvm::sys::Process::GetRandomNumber()) + ".tmp")
              .str();
      fd = ::open(file.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                  executable ? 0777 : 0666);
    } while (fd < 0 && (errno == EEXIST || errno == EINTR));
    if (fd < 0)
      return failure("cannot write", target, lastError());
    llvm::sys::RemoveFileOnSignal(file.path);
    llvm::raw_fd_ostream os(fd, /*shouldClose=*/false);
    os << contents;
    os.flush();
    std::error_code code = os.error();
    os.clear_error();
    if (!code && ::fsync(fd))
      code = lastError();
    if (::close(fd) && !code)
      code = lastError();
    if (!code)
      return file;
    file.discard();
    return failure("cannot write", target, code);
  }

  Error keep(StringRef target) {
    if (std::error_code code = llvm::sys::fs::rename(path, target)) {
      discard();
      return failure("cannot write", target, code);
    }
    llvm::sys::DontRemoveFileOnSignal(path);
    return Error::success();
  }

  void discard() {
    (void)llvm::sys::fs::remove(path);
    llvm::sys::DontRemoveFileOnSignal(path);
  }

private:
  std::string path;
};

} // namespace

void OutputSet::add(StringRef path, std::string contents, bool executable) {
  files.push_back({path.str(), std::move(contents), executable});
}

Error OutputSet::commit() {
  std::vector<AsideFile> written;
  auto discardFrom = [&](size_t first) {
    for (size_t i = first; i != written.size(); ++i)
      written[i].discard();
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
    Expected<AsideFile> aside =
        AsideFile::create(file.path, file.contents, file.executable);
    if (!aside) {
      discardFrom(0);
      return aside.takeError();
    }
    written.push_back(std::move(*aside));
  }
  for (size_t i = 0; i != written.size(); ++i)
    if (Error error = written[i].keep(files[i].path)) {
      discardFrom(i + 1);
      return error;
    }
  for (const File &file : files)
    flushFolder(folderOf(file.path));
  return Error::success();
}

} // namespace fovea
