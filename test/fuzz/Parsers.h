// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Fovea's parsers as a fuzzer calls them: any bytes in, whether they were
// accepted out. What must hold of every input is checked on the way, and the
// process aborts where it does not.

#ifndef FOVEA_TEST_FUZZ_PARSERS_H
#define FOVEA_TEST_FUZZ_PARSERS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"

namespace fovea::fuzz {

/// Says on stderr what does not hold, and aborts.
[[noreturn]] void reportDefect(const llvm::Twine &what);

/// A refusal must say why. Tensors that are accepted are read to the end; an
/// expression must print as text that parses back to itself and have a value,
/// or a reason for none, anywhere.
bool acceptsSpec(llvm::StringRef text);
bool acceptsExpression(llvm::StringRef text);
bool acceptsNpy(llvm::StringRef bytes);
bool acceptsNpz(llvm::StringRef bytes);
bool acceptsSafetensors(llvm::StringRef bytes);

} // namespace fovea::fuzz

#endif // FOVEA_TEST_FUZZ_PARSERS_H
