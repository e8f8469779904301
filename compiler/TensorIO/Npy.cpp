// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// NumPy's .npy: a magic number, a Python dictionary as text, and the elements.

#include "compiler/TensorIO/ByteReader.h"
#include "compiler/TensorIO/TensorIO.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

#include <cstring>

using llvm::Error;
using llvm::Expected;
using llvm::SmallVector;
using llvm::StringRef;

namespace fovea {
namespace {

constexpr char magic[] = "\x93NUMPY";
constexpr size_t magicBytes = 6;
/// NumPy refuses headers of more than 10,000 bytes unless told otherwise.
constexpr uint64_t maxHeaderBytes = 1 << 16;

struct NamedDescr {
  StringRef descr; // without the byte order
  StringRef dtype;
};
constexpr NamedDescr descrs[] = {
    {"f2", "f16"},  {"f4", "f32"},        {"f8", "f64"}, {"i1", "i8"},
    {"i2", "i16"},  {"i4", "i32"},        {"i8", "i64"}, {"u1", "u8"},
    {"u2", "u16"},  {"u4", "u32"},        {"u8", "u64"}, {"b1", "bool"},
    {"V2", "bf16"}, {"bfloat16", "bf16"},
};

/// The dictionary of the header: literals of Python, as much as .npy has.
class HeaderParser {
public:
  HeaderParser(const ByteReader &reader, uint64_t begin, uint64_t end)
      : reader(reader), at(begin), end(end) {}

  DType dtype;
  SmallVector<int64_t> shape;
  bool columnMajor = false;

  Error parse() {
    if (Error error = expect('{'))
      return error;
    unsigned seen = 0;
    while (peek() != '}') {
      Expected<StringRef> key = string();
      if (!key)
        return key.takeError();
      if (Error error = expect(':'))
        return error;
      unsigned bit = *key == "descr"           ? 1
                     : *key == "fortran_order" ? 2
                     : *key == "shape"         ? 4
                                               : 0;
      if (!bit || (seen & bit))
        return fail(bit ? "the key '" + *key + "' is given twice"
                        : "unknown key '" + *key + "' in the header");
      seen |= bit;
      if (Error error = bit == 1   ? parseDescr()
                        : bit == 2 ? parseOrder()
                                   : parseShape())
        return error;
      if (peek() != ',')
        break;
      ++at;
    }
    if (Error error = expect('}'))
      return error;
    if (seen != 7)
      return fail("the header lacks descr, fortran_order or shape");
    if (peek())
      return fail("unexpected text after the header's dictionary");
    return Error::success();
  }

private:
  const ByteReader &reader;
  uint64_t at, end;

  Error fail(const llvm::Twine &message) { return reader.error(at, message); }

  /// The next character that is no space; 0 at the end.
  char peek() {
    while (at < end && llvm::isSpace(reader.all()[at]))
      ++at;
    return at < end ? reader.all()[at] : '\0';
  }
  Error expect(char c) {
    if (peek() != c)
      return fail("expected '" + llvm::Twine(c) + "' in the header");
    ++at;
    return Error::success();
  }
  Expected<StringRef> string() {
    char quote = peek();
    if (quote != '\'' && quote != '"')
      return fail("expected a string in the header");
    size_t close = reader.all().substr(0, end).find(quote, at + 1);
    if (close == StringRef::npos)
      return fail("a string in the header does not end");
    StringRef text = reader.slice(at + 1, close - at - 1);
    at = close + 1;
    return text;
  }
  bool keyword(StringRef word) {
    peek();
    if (!reader.slice(at, end - at).starts_with(word))
      return false;
    at += word.size();
    return true;
  }

  Error parseDescr() {
    if (peek() == '[')
      return fail("structured element types are not supported");
    Expected<StringRef> text = string();
    if (!text)
      return text.takeError();
    StringRef plain = *text;
    if (plain.consume_front(">") && !plain.ends_with("1"))
      return fail("big-endian elements are not supported; use "
                  "array.astype(array.dtype.newbyteorder('<'))");
    if (!plain.consume_front("<") && !plain.consume_front("|"))
      plain.consume_front("=");
    for (const NamedDescr &known : descrs)
      if (known.descr == plain) {
        dtype = *lookupDType(known.dtype);
        return Error::success();
      }
    return fail("the element type '" + *text +
                "' is not supported; known are f2 f4 f8 i1..i8 u1..u8 b1, and "
                "V2 for bf16");
  }
  Error parseOrder() {
    if (keyword("True"))
      columnMajor = true;
    else if (!keyword("False"))
      return fail("fortran_order must be True or False");
    return Error::success();
  }
  Error parseShape() {
    if (Error error = expect('('))
      return error;
    while (peek() != ')') {
      size_t digits = 0;
      while (at + digits < end && llvm::isDigit(reader.all()[at + digits]))
        ++digits;
      int64_t extent;
      if (!digits || reader.slice(at, digits).getAsInteger(10, extent))
        return fail("an extent must be an integer in [0, 2^63)");
      if (shape.size() == maxTensorRank)
        return fail("more than " + llvm::Twine(maxTensorRank) + " dimensions");
      at += digits;
      shape.push_back(extent);
      if (peek() != ',')
        break;
      ++at;
    }
    return expect(')');
  }
};

} // namespace

Expected<FileTensor> parseNpy(StringRef bytes, StringRef file) {
  ByteReader reader(bytes, file);
  if (!bytes.starts_with(StringRef(magic, magicBytes)))
    return reader.error(0, "this is no .npy file: it must begin with "
                           "\\x93NUMPY");
  if (!reader.has(magicBytes, 4))
    return reader.error(bytes.size(), "the file ends in the .npy preamble");
  uint8_t version = reader.get<uint8_t>(magicBytes);
  if (version < 1 || version > 3)
    return reader.error(magicBytes, ".npy version " +
                                        llvm::Twine(unsigned(version)) +
                                        " is not supported; 1 to 3 are");
  uint64_t begin = version == 1 ? 10 : 12;
  if (!reader.has(8, begin - 8))
    return reader.error(bytes.size(), "the file ends in the .npy preamble");
  uint64_t length =
      version == 1 ? reader.get<uint16_t>(8) : reader.get<uint32_t>(8);
  if (length > maxHeaderBytes)
    return reader.error(8, "a header of " + llvm::Twine(length) +
                               " bytes; at most " +
                               llvm::Twine(maxHeaderBytes) + " are accepted");
  if (!reader.has(begin, length))
    return reader.error(bytes.size(), "the file ends in the .npy header");
  HeaderParser header(reader, begin, begin + length);
  if (Error error = header.parse())
    return std::move(error);

  // The size is checked before memory is asked for.
  std::optional<int64_t> wanted = denseBytes(header.shape, header.dtype);
  uint64_t data = begin + length, present = bytes.size() - data;
  if (!wanted || static_cast<uint64_t>(*wanted) != present)
    return reader.error(
        data, "a tensor " + formatShape(header.shape) + " of " +
                  header.dtype.name + " needs " +
                  (wanted ? std::to_string(*wanted) : "2^63 or more") +
                  " bytes, and " + llvm::Twine(present) + " follow");
  Expected<FileTensor> tensor =
      FileTensor::create("", header.dtype, header.shape);
  if (!tensor)
    return tensor.takeError();
  tensor->strides = denseStrides(header.shape, header.columnMajor);
  std::memcpy(tensor->data, bytes.data() + data, present);
  return tensor;
}

Expected<std::string> encodeNpy(const FileTensor &tensor) {
  StringRef descr;
  for (const NamedDescr &known : llvm::reverse(descrs))
    if (known.dtype == tensor.dtype.name && known.descr != "bfloat16")
      descr = known.descr;
  if (descr.empty())
    return llvm::createStringError(std::errc::invalid_argument,
                                   ".npy cannot hold '%s'",
                                   tensor.dtype.name.data());
  std::string header = "{'descr': '";
  header += tensor.dtype.bits == 8 ? '|' : '<';
  header += descr.str() + "', 'fortran_order': False, 'shape': (";
  for (int64_t extent : tensor.shape)
    header += std::to_string(extent) + ",";
  header += "), }";
  // The elements begin at a multiple of 64 bytes, after a newline.
  constexpr size_t preamble = magicBytes + 4;
  header.resize(llvm::alignTo(preamble + header.size() + 1, 64) - preamble - 1,
                ' ');
  header += '\n';
  std::string bytes(magic, magicBytes);
  bytes += '\x01';
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + packElements(tensor);
}

} // namespace fovea
