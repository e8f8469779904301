// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// The parsers on bytes that may be anything.

#include "test/fuzz/Parsers.h"

#include "compiler/Frontend/Spec.h"
#include "compiler/TensorIO/TensorIO.h"
#include "dialects/attn/Expr/Expr.h"

#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdint>
#include <cstdlib>

using llvm::Expected;
using llvm::StringRef;

namespace fovea::fuzz {

void reportDefect(const llvm::Twine &what) {
  llvm::errs() << "fuzz: " << what << "\n";
  std::abort();
}

bool acceptsSpec(StringRef text) {
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(
      llvm::MemoryBuffer::getMemBufferCopy(text, "fuzz.yaml"), llvm::SMLoc());
  bool reported = false;
  sources.setDiagHandler(
      [](const llvm::SMDiagnostic &diagnostic, void *flag) {
        if (diagnostic.getKind() == llvm::SourceMgr::DK_Error)
          *static_cast<bool *>(flag) = true;
      },
      &reported);
  bool accepted = frontend::parseSpec(sources).has_value();
  if (accepted == reported)
    reportDefect(accepted ? "a spec was accepted after an error"
                          : "a spec was refused without an error");
  return accepted;
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

static void checkExpression(expr::Context &context, const expr::Scope &scope,
                            expr::Expr parsed) {
  for (bool sugar : {false, true}) {
    std::string text = expr::print(context, parsed, {.sugar = sugar});
    expr::Diagnostic diagnostic;
    expr::Expr again = expr::parse(context, scope, text, diagnostic);
    if (again != parsed)
      reportDefect("printed as '" + StringRef(text).take_front(2000) +
                   "', which " +
                   (again ? "parses to something else"
                          : "does not parse: " + diagnostic.message));
  }
  constexpr int64_t points[] = {0, 1, -1, 7, 4096, INT64_MAX, INT64_MIN};
  llvm::StringMap<int64_t> params;
  auto load = [](expr::Expr e, llvm::ArrayRef<int64_t> indices) {
    int64_t value = indices.empty() ? 0 : indices.back();
    switch (e.getType()) {
    case expr::Type::Int:
      return std::optional(expr::Value::ofInt(value));
    case expr::Type::Bool:
      return std::optional(expr::Value::ofBool(value & 1));
    case expr::Type::Float:
      break;
    }
    return std::optional(expr::Value::ofFloat(static_cast<double>(value)));
  };
  for (size_t k = 0; k != std::size(points); ++k) {
    expr::Environment environment;
    for (size_t var = 0; var != environment.vars.size(); ++var)
      environment.vars[var] = points[(k + var * k) % std::size(points)];
    environment.s = static_cast<double>(points[k]);
    params["p"] = points[k];
    params["n"] = 3;
    environment.params = &params;
    environment.load = load;
    expr::EvalError error = expr::EvalError::None;
    std::optional<expr::Value> value =
        expr::evaluate(parsed, environment, &error);
    if (value.has_value() != (error == expr::EvalError::None))
      reportDefect("a value and an error, or neither");
  }
}

bool acceptsExpression(StringRef text) {
  expr::Scope scope;
  scope.addParam("p");
  scope.addParam("n");
  scope.addTensor("len", expr::Type::Int, 1);
  scope.addTensor("doc", expr::Type::Int, 2);
  scope.addTensor("keep", expr::Type::Bool, 2);
  scope.addTensor("slope", expr::Type::Float, 1);
  bool accepted = false;
  for (auto *parse : {expr::parseMask, expr::parseScore}) {
    expr::Context context;
    expr::Diagnostic diagnostic;
    if (expr::Expr parsed = parse(context, scope, text, diagnostic)) {
      accepted = true;
      checkExpression(context, scope, parsed);
      continue;
    }
    if (diagnostic.message.empty() || diagnostic.offset > text.size())
      reportDefect("an expression was refused with no message or no place");
    diagnostic.render(text);
  }
  return accepted;
}

//===----------------------------------------------------------------------===//
// Tensor files
//===----------------------------------------------------------------------===//

static bool takeError(llvm::Error error) {
  if (llvm::toString(std::move(error)).empty())
    reportDefect("a file was refused without a message");
  return false;
}

static bool acceptsTensors(Expected<std::vector<FileTensor>> tensors) {
  if (!tensors)
    return takeError(tensors.takeError());
  for (const FileTensor &tensor : *tensors)
    packElements(tensor);
  return true;
}

bool acceptsNpy(StringRef bytes) {
  Expected<FileTensor> tensor = parseNpy(bytes, "fuzz.npy");
  if (!tensor)
    return takeError(tensor.takeError());
  packElements(*tensor);
  return true;
}

bool acceptsNpz(StringRef bytes) {
  return acceptsTensors(parseNpz(bytes, "fuzz.npz"));
}

bool acceptsSafetensors(StringRef bytes) {
  return acceptsTensors(parseSafetensors(bytes, "fuzz.safetensors"));
}

} // namespace fovea::fuzz
