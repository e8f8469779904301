// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Specs from text, with what was reported.

#ifndef FOVEA_TEST_UNIT_FRONTEND_SPECFIXTURE_H
#define FOVEA_TEST_UNIT_FRONTEND_SPECFIXTURE_H

#include "compiler/Frontend/Spec.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

namespace fovea::frontend {

struct Parsed {
  std::optional<Spec> spec;
  /// One "line:column: kind: message" per report.
  std::string log;
};

/// The keys that every spec needs, for tests of the others.
inline const std::string basics =
    "name: f\ndtype: f32\nheads: 4\nhead_dim: 8\n";

inline Parsed parse(llvm::StringRef text, llvm::StringRef fileName = "s.yaml") {
  Parsed result;
  llvm::SourceMgr sourceMgr;
  sourceMgr.AddNewSourceBuffer(
      llvm::MemoryBuffer::getMemBufferCopy(text, fileName), llvm::SMLoc());
  sourceMgr.setDiagHandler(
      [](const llvm::SMDiagnostic &diagnostic, void *log) {
        const char *kind =
            diagnostic.getKind() == llvm::SourceMgr::DK_Error     ? "error"
            : diagnostic.getKind() == llvm::SourceMgr::DK_Warning ? "warning"
                                                                  : "note";
        llvm::raw_string_ostream(*static_cast<std::string *>(log))
            << diagnostic.getLineNo() << ":" << diagnostic.getColumnNo() + 1
            << ": " << kind << ": " << diagnostic.getMessage() << "\n";
      },
      &result.log);
  result.spec = parseSpec(sourceMgr);
  return result;
}

} // namespace fovea::frontend

#endif // FOVEA_TEST_UNIT_FRONTEND_SPECFIXTURE_H
