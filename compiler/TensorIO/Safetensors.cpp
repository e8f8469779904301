// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Safetensors: the length of a JSON header, the header, and the elements.

#include "compiler/TensorIO/ByteReader.h"
#include "compiler/TensorIO/TensorIO.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"

#include <cstring>

using llvm::Expected;
using llvm::SmallVector;
using llvm::StringRef;

namespace fovea {
namespace {

constexpr uint64_t lengthBytes = 8;
/// The limit of the format's own library.
constexpr uint64_t maxHeaderBytes = 100'000'000;
/// LLVM's JSON parser recurses; a header nests three deep.
constexpr unsigned maxHeaderDepth = 16;

struct NamedType {
  StringRef name, dtype;
};
constexpr NamedType types[] = {
    {"F16", "f16"},   {"BF16", "bf16"}, {"F32", "f32"}, {"F64", "f64"},
    {"I8", "i8"},     {"I16", "i16"},   {"I32", "i32"}, {"I64", "i64"},
    {"U8", "u8"},     {"U16", "u16"},   {"U32", "u32"}, {"U64", "u64"},
    {"BOOL", "bool"},
};

/// The position of the first bracket that is too deep.
std::optional<size_t> findDeepNesting(StringRef text) {
  unsigned depth = 0;
  bool inString = false;
  for (size_t k = 0; k < text.size(); ++k) {
    char c = text[k];
    if (inString && c == '\\')
      ++k;
    else if (c == '"')
      inString = !inString;
    else if (!inString && (c == '{' || c == '[') && ++depth > maxHeaderDepth)
      return k;
    else if (!inString && (c == '}' || c == ']') && depth)
      --depth;
  }
  return std::nullopt;
}

/// Non-negative integers of a JSON array; false if there is anything else.
bool readExtents(const llvm::json::Array *array, SmallVector<int64_t> &out) {
  if (!array || array->size() > maxTensorRank)
    return false;
  for (const llvm::json::Value &value : *array) {
    std::optional<int64_t> number = value.getAsInteger();
    if (!number || *number < 0)
      return false;
    out.push_back(*number);
  }
  return true;
}

Expected<FileTensor> readTensor(const ByteReader &reader, uint64_t data,
                                StringRef name,
                                const llvm::json::Value &value) {
  auto fail = [&](const llvm::Twine &message) {
    return reader.error(lengthBytes, "'" + name + "': " + message);
  };
  const llvm::json::Object *object = value.getAsObject();
  if (!object)
    return fail("not a JSON object");
  std::optional<StringRef> type = object->getString("dtype");
  std::optional<DType> dtype;
  for (const NamedType &known : types)
    if (type && known.name == *type)
      dtype = lookupDType(known.dtype);
  if (!dtype)
    return fail("the element type '" + type.value_or("(none)") +
                "' is not supported");
  SmallVector<int64_t> shape, range;
  if (!readExtents(object->getArray("shape"), shape))
    return fail("'shape' must be an array of at most " +
                llvm::Twine(maxTensorRank) + " extents in [0, 2^63)");
  if (!readExtents(object->getArray("data_offsets"), range) ||
      range.size() != 2 || range[0] > range[1] || !reader.has(data, range[1]))
    return fail("'data_offsets' must be two offsets into the " +
                llvm::Twine(reader.size() - data) + " bytes of data");
  std::optional<int64_t> bytes = denseBytes(shape, *dtype);
  if (!bytes || *bytes != range[1] - range[0])
    return fail("a tensor " + formatShape(shape) + " of " + dtype->name +
                " needs " + (bytes ? std::to_string(*bytes) : "2^63 or more") +
                " bytes, and 'data_offsets' gives " +
                llvm::Twine(range[1] - range[0]));
  Expected<FileTensor> tensor = FileTensor::create(name, *dtype, shape);
  if (tensor)
    std::memcpy(tensor->data, reader.all().data() + data + range[0], *bytes);
  return tensor;
}

} // namespace

Expected<std::vector<FileTensor>>
parseSafetensors(StringRef bytes, StringRef file, StringRef key) {
  ByteReader reader(bytes, file);
  if (!reader.has(0, lengthBytes))
    return reader.error(bytes.size(),
                        "this is no .safetensors file: it is too short");
  uint64_t length = reader.get<uint64_t>(0);
  if (length > maxHeaderBytes || !reader.has(lengthBytes, length))
    return reader.error(0, "this is no .safetensors file: a header of " +
                               llvm::Twine(length) + " bytes, where " +
                               llvm::Twine(bytes.size() - lengthBytes) +
                               " follow");
  StringRef header = reader.slice(lengthBytes, length);
  if (std::optional<size_t> deep = findDeepNesting(header))
    return reader.error(lengthBytes + *deep, "the header nests too deeply");
  Expected<llvm::json::Value> json = llvm::json::parse(header);
  if (!json)
    return reader.error(lengthBytes, "the header is no JSON: " +
                                         llvm::toString(json.takeError()));
  const llvm::json::Object *object = json->getAsObject();
  if (!object)
    return reader.error(lengthBytes, "the header is no JSON object");

  // In the order of names: the order in the file is not kept by the parser.
  SmallVector<StringRef> names;
  for (const auto &[name, value] : *object)
    if (StringRef(name) != "__metadata__")
      names.push_back(name);
  llvm::sort(names);
  std::vector<FileTensor> tensors;
  for (StringRef name : names) {
    if (!key.empty() && name != key)
      continue;
    Expected<FileTensor> tensor =
        readTensor(reader, lengthBytes + length, name, *object->get(name));
    if (!tensor)
      return tensor.takeError();
    tensors.push_back(std::move(*tensor));
  }
  if (!key.empty() && tensors.empty())
    return reader.error(lengthBytes, "no tensor '" + key + "'; there are: " +
                                         llvm::join(names, ", "));
  return tensors;
}

Expected<std::string>
encodeSafetensors(llvm::ArrayRef<const FileTensor *> tensors) {
  std::string data, header;
  llvm::raw_string_ostream os(header);
  llvm::json::OStream json(os);
  json.object([&] {
    for (const FileTensor *tensor : tensors) {
      std::string packed = packElements(*tensor);
      json.attributeObject(tensor->name, [&] {
        for (const NamedType &known : types)
          if (known.dtype == tensor->dtype.name)
            json.attribute("dtype", known.name);
        json.attributeArray("shape", [&] {
          for (int64_t extent : tensor->shape)
            json.value(extent);
        });
        json.attributeArray("data_offsets", [&] {
          json.value(static_cast<int64_t>(data.size()));
          json.value(static_cast<int64_t>(data.size() + packed.size()));
        });
      });
      data += packed;
    }
  });
  // The data begins at a multiple of 8 bytes.
  header.resize(llvm::alignTo(header.size(), 8), ' ');
  std::string bytes;
  for (unsigned k = 0; k != lengthBytes; ++k)
    bytes += static_cast<char>(header.size() >> (8 * k) & 0xff);
  return bytes + header + data;
}

} // namespace fovea
