// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Reads the interface of a kernel from IR and writes it back as an attribute.

#include "compiler/Artifact/KernelInterface.h"

#include "fovea/kernel_abi.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using llvm::Error;
using llvm::Expected;

namespace fovea {
namespace {

constexpr llvm::StringLiteral interfaceAttr = "attn.kernel";
constexpr llvm::StringLiteral nameAttr = "attn.name";
constexpr llvm::StringLiteral roleAttr = "attn.role";
constexpr llvm::StringLiteral optionalAttr = "attn.optional";
constexpr llvm::StringLiteral dimsAttr = "attn.dims";
constexpr llvm::StringLiteral defaultAttr = "attn.default";
constexpr llvm::StringLiteral symbolsAttr = "attn.symbols";

template <typename... Ts>
Error makeError(const char *format, const Ts &...values) {
  return llvm::createStringError(llvm::formatv(format, values...).str());
}

std::optional<DType> dtypeOf(Type type) {
  if (auto integer = dyn_cast<IntegerType>(type)) {
    if (integer.getWidth() == 1)
      return lookupDType("bool");
    return lookupDType(integer.isUnsigned() ? kDLUInt : kDLInt,
                       integer.getWidth());
  }
  if (type.isBF16())
    return lookupDType("bf16");
  if (type.isF16() || type.isF32() || type.isF64())
    return lookupDType(kDLFloat, type.getIntOrFloatBitWidth());
  return std::nullopt;
}

std::optional<ArgRole> parseRole(StringRef text) {
  return llvm::StringSwitch<std::optional<ArgRole>>(text)
      .Case("input", ArgRole::Input)
      .Case("output", ArgRole::Output)
      .Case("inout", ArgRole::InOut)
      .Default(std::nullopt);
}

/// The dimensions given by an array of symbols and extents.
Error parseDims(ArrayAttr attr, ArrayRef<std::string> symbols, TensorArg &arg) {
  if (attr.size() > FOVEA_MAX_RANK)
    return makeError("'{0}' has rank {1}; at most {2} is supported", arg.name,
                     attr.size(), FOVEA_MAX_RANK);
  for (Attribute entry : attr) {
    Dim dim;
    if (auto extent = dyn_cast<IntegerAttr>(entry)) {
      dim.extent = extent.getInt();
      if (dim.extent < 0)
        return makeError("'{0}' has a negative extent", arg.name);
    } else if (auto symbol = dyn_cast<StringAttr>(entry)) {
      auto it = llvm::find(symbols, symbol.getValue());
      if (it == symbols.end())
        return makeError("'{0}' has dimension '{1}', which is no symbol",
                         arg.name, symbol.getValue());
      dim.symbol = it - symbols.begin();
    } else {
      return makeError("'{0}' has a dimension that is neither an extent nor a "
                       "symbol",
                       arg.name);
    }
    arg.dims.push_back(dim);
  }
  return Error::success();
}

Error parseSymbols(ArrayAttr attr, KernelInterface &kernel) {
  if (!attr)
    return makeError("the kernel has no {0}", symbolsAttr);
  for (Attribute entry : attr) {
    auto symbol = dyn_cast<StringAttr>(entry);
    if (!symbol)
      return makeError("{0} holds something that is no string", symbolsAttr);
    kernel.symbols.push_back(symbol.str());
  }
  return Error::success();
}

/// One tensor or parameter, whose attributes `get` looks up by name.
Error parseArgument(llvm::function_ref<Attribute(StringRef)> get,
                    std::optional<DType> dtype, KernelInterface &kernel) {
  auto name = dyn_cast_or_null<StringAttr>(get(nameAttr));
  auto role = dyn_cast_or_null<StringAttr>(get(roleAttr));
  if (!name || !role)
    return makeError("an argument of the kernel lacks {0} or {1}", nameAttr,
                     roleAttr);
  if (role.getValue() == "param") {
    Parameter param{name.str(), std::nullopt};
    if (auto value = dyn_cast_or_null<IntegerAttr>(get(defaultAttr)))
      param.defaultValue = value.getInt();
    kernel.params.push_back(std::move(param));
    return Error::success();
  }
  if (!kernel.params.empty())
    return makeError("tensor '{0}' comes after a parameter", name.getValue());
  TensorArg arg;
  arg.name = name.str();
  std::optional<ArgRole> parsed = parseRole(role.getValue());
  if (!parsed)
    return makeError("'{0}' has the unknown role '{1}'", arg.name,
                     role.getValue());
  arg.role = *parsed;
  arg.optional = static_cast<bool>(get(optionalAttr));
  if (!dtype)
    return makeError("'{0}' has an element type that no caller can pass",
                     arg.name);
  arg.dtype = *dtype;
  auto dims = dyn_cast_or_null<ArrayAttr>(get(dimsAttr));
  if (!dims)
    return makeError("'{0}' lacks {1}", arg.name, dimsAttr);
  if (Error error = parseDims(dims, kernel.symbols, arg))
    return error;
  kernel.args.push_back(std::move(arg));
  return Error::success();
}

Error checkName(StringRef what, StringRef name, llvm::StringSet<> &taken) {
  if (!isUsableIdentifier(name))
    return makeError("{0} '{1}' cannot be used as a name in C", what, name);
  if (!taken.insert(name).second)
    return makeError("{0} '{1}' has a name that is in use already", what, name);
  return Error::success();
}

/// The names as the header will declare them: tensors beside `options`,
/// symbols beside `options`, parameters beside the options' fixed fields.
Error checkInterface(const KernelInterface &kernel) {
  if (!isUsableIdentifier(kernel.name) ||
      StringRef(kernel.name).starts_with("fovea_"))
    return makeError(
        "'{0}' cannot be the name of a kernel: a C identifier that "
        "does not begin with 'fovea_' is needed",
        kernel.name);
  if (kernel.args.size() > FOVEA_MAX_ARGS ||
      kernel.symbols.size() > FOVEA_MAX_SYMBOLS ||
      kernel.params.size() > FOVEA_MAX_PARAMS)
    return makeError("'{0}' has too many arguments", kernel.name);
  llvm::StringSet<> tensors, symbols, params;
  tensors.insert("options");
  symbols.insert("options");
  for (StringRef field : {"size", "context", "workspace", "workspace_size"})
    params.insert(field);
  for (const TensorArg &arg : kernel.args)
    if (Error error = checkName("tensor", arg.name, tensors))
      return error;
  for (const std::string &symbol : kernel.symbols)
    if (Error error = checkName("symbol", symbol, symbols))
      return error;
  for (const Parameter &param : kernel.params)
    if (Error error = checkName("parameter", param.name, params))
      return error;
  return Error::success();
}

Error readFromFunction(func::FuncOp func, KernelInterface &kernel) {
  kernel.name = func.getSymName().str();
  if (Error error =
          parseSymbols(func->getAttrOfType<ArrayAttr>(symbolsAttr), kernel))
    return error;
  for (unsigned i = 0; i != func.getNumArguments(); ++i) {
    auto shaped = dyn_cast<ShapedType>(func.getArgumentTypes()[i]);
    if (Error error = parseArgument(
            [&](StringRef name) { return func.getArgAttr(i, name); },
            shaped ? dtypeOf(shaped.getElementType()) : std::nullopt, kernel))
      return error;
    if (shaped && shaped.hasRank() && !kernel.args.empty() &&
        kernel.params.empty() &&
        static_cast<size_t>(shaped.getRank()) != kernel.args.back().dims.size())
      return makeError("'{0}' has {1} dimensions in {2} and another rank",
                       kernel.args.back().name, kernel.args.back().dims.size(),
                       dimsAttr);
  }
  return Error::success();
}

Error readFromAttribute(DictionaryAttr dict, KernelInterface &kernel) {
  auto name = dict.getAs<StringAttr>("name");
  auto args = dict.getAs<ArrayAttr>("args");
  if (!name || !args)
    return makeError("{0} lacks its name or args", interfaceAttr);
  kernel.name = name.str();
  if (Error error = parseSymbols(dict.getAs<ArrayAttr>("symbols"), kernel))
    return error;
  for (Attribute entry : args) {
    auto arg = dyn_cast<DictionaryAttr>(entry);
    if (!arg)
      return makeError("{0} has a malformed entry", interfaceAttr);
    auto type = arg.getAs<TypeAttr>("type");
    if (Error error = parseArgument(
            [&](StringRef key) {
              return arg.get(key.drop_front(StringRef("attn.").size()));
            },
            type ? dtypeOf(type.getValue()) : std::nullopt, kernel))
      return error;
  }
  return Error::success();
}

Type typeOf(const DType &dtype, MLIRContext *context) {
  switch (dtype.code) {
  case dlpackBool:
    return IntegerType::get(context, 1);
  case kDLInt:
    return IntegerType::get(context, dtype.bits);
  case kDLUInt:
    return IntegerType::get(context, dtype.bits, IntegerType::Unsigned);
  case kDLBfloat:
    return BFloat16Type::get(context);
  default:
    return dtype.bits == 16   ? Type(Float16Type::get(context))
           : dtype.bits == 32 ? Type(Float32Type::get(context))
                              : Type(Float64Type::get(context));
  }
}

} // namespace

StringRef stringifyRole(ArgRole role) {
  static constexpr StringRef names[] = {"input", "output", "inout"};
  return names[static_cast<unsigned>(role)];
}

std::string KernelInterface::formatShape(const TensorArg &arg) const {
  std::string text = "[";
  for (const Dim &dim : arg.dims) {
    if (text.size() > 1)
      text += ", ";
    text += dim.symbol < 0 ? std::to_string(dim.extent) : symbols[dim.symbol];
  }
  return text + "]";
}

const TensorArg *KernelInterface::findArg(StringRef argName) const {
  auto it = llvm::find_if(
      args, [&](const TensorArg &a) { return a.name == argName; });
  return it == args.end() ? nullptr : &*it;
}

Expected<KernelInterface> readKernelInterface(ModuleOp module) {
  KernelInterface kernel;
  if (auto dict = module->getAttrOfType<DictionaryAttr>(interfaceAttr)) {
    if (Error error = readFromAttribute(dict, kernel))
      return std::move(error);
  } else {
    func::FuncOp found;
    for (auto func : module.getOps<func::FuncOp>()) {
      if (!func->hasAttr(symbolsAttr))
        continue;
      if (found)
        return makeError("the module has more than one kernel: '{0}' and '{1}'",
                         found.getSymName(), func.getSymName());
      found = func;
    }
    if (!found)
      return makeError("the module has no kernel: no function with {0}, and no "
                       "module attribute {1}",
                       symbolsAttr, interfaceAttr);
    if (Error error = readFromFunction(found, kernel))
      return std::move(error);
  }
  if (Error error = checkInterface(kernel))
    return std::move(error);
  return kernel;
}

void attachKernelInterface(ModuleOp module, const KernelInterface &kernel) {
  Builder builder(module.getContext());
  SmallVector<Attribute> args;
  auto add = [&](ArrayRef<NamedAttribute> entries) {
    args.push_back(builder.getDictionaryAttr(entries));
  };
  auto entry = [&](StringRef name, Attribute value) {
    return builder.getNamedAttr(name, value);
  };
  for (const TensorArg &arg : kernel.args) {
    SmallVector<Attribute> dims;
    for (const Dim &dim : arg.dims)
      dims.push_back(
          dim.symbol < 0
              ? Attribute(builder.getI64IntegerAttr(dim.extent))
              : Attribute(builder.getStringAttr(kernel.symbols[dim.symbol])));
    SmallVector<NamedAttribute> entries = {
        entry("name", builder.getStringAttr(arg.name)),
        entry("role", builder.getStringAttr(stringifyRole(arg.role))),
        entry("type", TypeAttr::get(typeOf(arg.dtype, module.getContext()))),
        entry("dims", builder.getArrayAttr(dims))};
    if (arg.optional)
      entries.push_back(entry("optional", builder.getUnitAttr()));
    add(entries);
  }
  for (const Parameter &param : kernel.params) {
    SmallVector<NamedAttribute> entries = {
        entry("name", builder.getStringAttr(param.name)),
        entry("role", builder.getStringAttr("param"))};
    if (param.defaultValue)
      entries.push_back(
          entry("default", builder.getI64IntegerAttr(*param.defaultValue)));
    add(entries);
  }
  SmallVector<StringRef> symbols(kernel.symbols.begin(), kernel.symbols.end());
  module->setAttr(interfaceAttr,
                  builder.getDictionaryAttr(
                      {entry("name", builder.getStringAttr(kernel.name)),
                       entry("symbols", builder.getStrArrayAttr(symbols)),
                       entry("args", builder.getArrayAttr(args))}));
}

bool isUsableIdentifier(StringRef text) {
  static const llvm::StringSet<> keywords = {
      "alignas",     "alignof",      "and",          "and_eq",
      "asm",         "auto",         "bitand",       "bitor",
      "bool",        "break",        "case",         "catch",
      "char",        "class",        "compl",        "concept",
      "const",       "consteval",    "constexpr",    "constinit",
      "const_cast",  "continue",     "co_await",     "co_return",
      "co_yield",    "decltype",     "default",      "delete",
      "do",          "double",       "dynamic_cast", "else",
      "enum",        "explicit",     "export",       "extern",
      "false",       "float",        "for",          "friend",
      "goto",        "if",           "inline",       "int",
      "long",        "mutable",      "namespace",    "new",
      "noexcept",    "not",          "not_eq",       "nullptr",
      "operator",    "or",           "or_eq",        "private",
      "protected",   "public",       "register",     "reinterpret_cast",
      "requires",    "restrict",     "return",       "short",
      "signed",      "sizeof",       "static",       "static_assert",
      "static_cast", "struct",       "switch",       "template",
      "this",        "thread_local", "throw",        "true",
      "try",         "typedef",      "typeid",       "typename",
      "typeof",      "union",        "unsigned",     "using",
      "virtual",     "void",         "volatile",     "wchar_t",
      "while",       "xor",          "xor_eq",       "NULL",
      "main"};
  return !text.empty() && text.size() <= 200 &&
         (llvm::isAlpha(text[0]) || text[0] == '_') &&
         llvm::all_of(text,
                      [](char c) { return llvm::isAlnum(c) || c == '_'; }) &&
         !text.starts_with("__") && !keywords.contains(text);
}

} // namespace fovea
