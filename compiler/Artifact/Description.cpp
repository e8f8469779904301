// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Writes the C header and the JSON description of a kernel.

#include "compiler/Artifact/Description.h"

#include "fovea/kernel_abi.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

using llvm::raw_ostream;
using llvm::StringRef;

namespace fovea {
namespace {

/// Text for a C comment: nothing in it ends the comment.
std::string commentText(StringRef text) {
  std::string result;
  for (char c : text) {
    if (c == '/' && !result.empty() && result.back() == '*')
      result += ' ';
    result += llvm::isPrint(c) ? c : ' ';
  }
  return result;
}

void printArguments(raw_ostream &os, const KernelInterface &kernel) {
  size_t width = 0;
  for (const TensorArg &arg : kernel.args)
    width = std::max(width, arg.name.size());
  for (const TensorArg &arg : kernel.args) {
    os << " *   " << llvm::left_justify(arg.name, width) << "  "
       << llvm::left_justify(stringifyRole(arg.role), 6) << "  "
       << arg.dtype.name << " " << kernel.formatShape(arg);
    if (arg.optional)
      os << ", may be NULL";
    os << "\n";
  }
}

void printOptions(raw_ostream &os, const KernelInterface &kernel) {
  os << "/* How a call runs. NULL stands for all defaults; otherwise set size "
        "to\n * sizeof("
     << kernel.name
     << "_options) and clear the rest first. See fovea_options. */\n"
     << "typedef struct " << kernel.name << "_options {\n"
     << "  size_t size;\n"
     << "  const fovea_context *context; /* NULL: the default context */\n"
     << "  void *workspace;              /* NULL: allocated for the call */\n"
     << "  size_t workspace_size;        /* in bytes */\n";
  for (const Parameter &param : kernel.params) {
    os << "  int64_t " << param.name << ";";
    if (param.defaultValue)
      os << " /* a NULL options pointer or a smaller size stands for "
         << *param.defaultValue << " */";
    else
      os << " /* has no default */";
    os << "\n";
  }
  os << "} " << kernel.name << "_options;\n\n";
}

llvm::json::Array jsonShape(const KernelInterface &kernel,
                            const TensorArg &arg) {
  llvm::json::Array shape;
  for (const Dim &dim : arg.dims) {
    if (dim.symbol < 0)
      shape.push_back(dim.extent);
    else
      shape.push_back(kernel.symbols[dim.symbol]);
  }
  return shape;
}

} // namespace

std::string formatFeatures(uint64_t features) {
  static constexpr std::pair<uint64_t, StringRef> names[] = {
      {FOVEA_CPU_AVX2, "avx2"},         {FOVEA_CPU_FMA, "fma"},
      {FOVEA_CPU_F16C, "f16c"},         {FOVEA_CPU_AVX512F, "avx512f"},
      {FOVEA_CPU_AVX512BW, "avx512bw"}, {FOVEA_CPU_AVX512DQ, "avx512dq"},
      {FOVEA_CPU_AVX512VL, "avx512vl"}, {FOVEA_CPU_AVX512BF16, "avx512_bf16"},
      {FOVEA_CPU_AMX_TILE, "amx_tile"}, {FOVEA_CPU_AMX_BF16, "amx_bf16"},
  };
  std::string text;
  for (auto [bit, name] : names)
    if (features & bit)
      text += (text.empty() ? "" : " ") + name.str();
  return text;
}

std::string compilerVersion() {
  return llvm::formatv("fovea {0}.{1}.{2} (LLVM {3})", FOVEA_VERSION_MAJOR,
                       FOVEA_VERSION_MINOR, FOVEA_VERSION_PATCH,
                       LLVM_VERSION_STRING);
}

std::string makeHeader(const KernelInterface &kernel,
                       const ArtifactNotes &notes) {
  std::string text;
  llvm::raw_string_ostream os(text);
  std::string guard = StringRef(kernel.name).upper() + "_FOVEA_KERNEL_H";
  os << "/* " << kernel.name << ": an attention kernel made by "
     << compilerVersion() << ".\n * Link it with the Fovea runtime. */\n\n"
     << "#ifndef " << guard << "\n#define " << guard << "\n\n"
     << "#include <fovea/runtime.h>\n\n"
     << "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";
  printOptions(os, kernel);

  os << "/* Computes attention.\n *\n";
  printArguments(os, kernel);
  os << " *\n";
  if (!notes.mask.empty())
    os << " * Attended pairs: " << commentText(notes.mask) << "\n *\n";
  os << " * Strides are free, in elements, and NULL strides stand for "
        "row-major "
        "order;\n * inputs may have stride 0. An output may overlap nothing "
        "else. Extents of 0\n * are allowed. Tensors lie in CPU memory, "
        "aligned to their element.\n *\n";
  if (!notes.bound.empty())
    os << " * Error: " << commentText(notes.bound) << "\n *\n";
  os << " * Returns FOVEA_OK, or the reason why nothing was computed, with the "
        "details in\n * fovea_last_error(). May be called from any thread. "
        "Instruction sets, the best\n * first:";
  for (const Target *target : notes.targets)
    os << " " << target->isa;
  os << ". */\n" << "fovea_status " << kernel.name << "(";
  for (const TensorArg &arg : kernel.args)
    os << (arg.role == ArgRole::Input ? "const DLTensor *" : "DLTensor *")
       << arg.name << ",\n    ";
  os << "const " << kernel.name << "_options *options);\n\n";

  os << "/* The bytes of workspace that a call with these extents and options "
        "needs;\n * FOVEA_WORKSPACE_ERROR if they cannot be had. */\n"
     << "size_t " << kernel.name << "_workspace(";
  for (const std::string &symbol : kernel.symbols)
    os << "int64_t " << symbol << ", ";
  os << "const " << kernel.name << "_options *options);\n\n"
     << "/* The descriptor, for programs that handle kernels by data; see "
        "fovea/kernel_abi.h. */\n"
     << "extern const struct fovea_kernel " << kernel.name << "_kernel;\n\n"
     << "#ifdef __cplusplus\n}\n#endif\n\n#endif /* " << guard << " */\n";
  return text;
}

std::string makeJson(const KernelInterface &kernel,
                     const ArtifactNotes &notes) {
  llvm::json::Array arguments, parameters, symbols, isas;
  for (const TensorArg &arg : kernel.args)
    arguments.push_back(llvm::json::Object{{"name", arg.name},
                                           {"dtype", arg.dtype.name},
                                           {"shape", jsonShape(kernel, arg)},
                                           {"role", stringifyRole(arg.role)},
                                           {"optional", arg.optional}});
  for (const Parameter &param : kernel.params) {
    llvm::json::Object entry{{"name", param.name}};
    if (param.defaultValue)
      entry["default"] = *param.defaultValue;
    parameters.push_back(std::move(entry));
  }
  for (const std::string &symbol : kernel.symbols)
    symbols.push_back(symbol);
  for (const Target *target : notes.targets)
    isas.push_back(llvm::json::Object{
        {"name", target->isa},
        {"features", formatFeatures(target->runtimeFeatures)}});
  llvm::json::Object root{{"name", kernel.name},
                          {"abi_version", FOVEA_ABI_VERSION},
                          {"arguments", std::move(arguments)},
                          {"symbols", std::move(symbols)},
                          {"parameters", std::move(parameters)},
                          {"isas", std::move(isas)},
                          {"compiler", compilerVersion()}};
  if (!notes.mask.empty())
    root["mask"] = notes.mask;
  if (!notes.config.empty())
    root["config"] = notes.config;
  if (!notes.bound.empty())
    root["error_bound"] = notes.bound;
  return llvm::formatv("{0:2}\n", llvm::json::Value(std::move(root)));
}

} // namespace fovea
