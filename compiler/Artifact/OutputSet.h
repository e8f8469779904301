// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Files that appear together or not at all: each is written beside its place,
// flushed to the disk, and renamed when all are complete.

#ifndef FOVEA_COMPILER_ARTIFACT_OUTPUTSET_H
#define FOVEA_COMPILER_ARTIFACT_OUTPUTSET_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <string>
#include <vector>

namespace fovea {

class OutputSet {
public:
  void add(llvm::StringRef path, std::string contents, bool executable = false);

  /// Writes all files; missing folders of theirs are made. After an error no
  /// file of the set is there that was not there before, except when a rename
  /// itself fails after an earlier one succeeded.
  llvm::Error commit();

private:
  struct File {
    std::string path, contents;
    bool executable;
  };
  std::vector<File> files;
};

} // namespace fovea

#endif // FOVEA_COMPILER_ARTIFACT_OUTPUTSET_H
