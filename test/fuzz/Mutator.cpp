// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// How the inputs are broken. Each drawing depends on the Random alone.

#include "test/fuzz/Mutator.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CRC.h"
#include "llvm/Support/Compression.h"
#include "llvm/Support/MemoryBuffer.h"

#include <functional>

using fovea::frontend::YamlNode;
using llvm::StringRef;

namespace fovea::fuzz {
namespace {

//===----------------------------------------------------------------------===//
// What breaks programs
//===----------------------------------------------------------------------===//

constexpr const char *numbers[] = {
    "0",
    "1",
    "2",
    "3",
    "-1",
    "-0",
    "7",
    "127",
    "128",
    "255",
    "256",
    "65535",
    "65536",
    "65537",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999999999",
    "0x10",
    "0x7fffffffffffffff",
    "007",
    "1_000",
    "1.5",
    ".5",
    "5.",
    "-0.0",
    "1e308",
    "1e309",
    "1e-400",
    "1e999999999",
    "4.9e-324",
    "nan",
    "inf",
    "-inf",
    ".nan",
    ".inf",
};

constexpr const char *names[] = {"i", "j", "b",  "h", "hkv", "B",
                                 "M", "N", "Hq", "D", "p",   "n"};
constexpr const char *wrongNames[] = {"len", "doc",   "keep", "slope",
                                      "s",   "chunk", "and",  "undefined"};

const StringRef oddBytes[] = {
    StringRef("\0", 1),
    "\xef\xbb\xbf", // a byte order mark
    "\xff",
    "\xc3\x28", // no UTF-8
    "\xed\xa0\x80",
    "\xf0\x9f\x92\xa9",
    "\u202e",
    "\u00e9",
    "\r",
    "\r\n",
    "\n",
    "\t",
    "\x1b[31m",
    "\"",
    "'",
    "\\",
    "%s%n",
    "#",
    "//",
};

size_t drawLength(Random &random) {
  constexpr size_t lengths[] = {1,   2,   5,    16,   64,    127,  128,
                                199, 200, 201,  202,  255,   256,  257,
                                500, 999, 1001, 5000, 20000, 70000};
  return random.from(lengths);
}

std::string repeat(StringRef text, size_t count) {
  std::string result;
  result.reserve(text.size() * count);
  for (size_t k = 0; k != count; ++k)
    result += text;
  return result;
}

std::string drawNumber(Random &random) {
  if (random.oneIn(40))
    return repeat("9", drawLength(random));
  if (random.oneIn(4))
    return std::to_string(random.below(300));
  return random.from(numbers);
}

/// Mostly one that is good where numbers are good.
std::string drawPlainNumber(Random &random) {
  return random.oneIn(12) ? drawNumber(random)
                          : std::to_string(random.below(300));
}

std::string drawLongName(Random &random) {
  return repeat("a_very_long_name_", drawLength(random));
}

/// One change of bytes, whatever they mean.
void breakBytes(std::string &bytes, Random &random) {
  size_t at = random.below(bytes.size() + 1);
  size_t count = std::min(bytes.size() - at, random.below(16) + 1);
  switch (random.below(6)) {
  case 0:
    bytes.resize(at);
    break;
  case 1:
    bytes.insert(at, random.from(oddBytes).str());
    break;
  case 2:
    if (count)
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
    break;
  case 3:
    bytes.erase(at, count);
    break;
  case 4:
    bytes.insert(at, bytes.substr(at, count));
    break;
  default:
    for (size_t k = 0; k != count; ++k)
      bytes[at + k] = static_cast<char>(random.below(256));
  }
}

//===----------------------------------------------------------------------===//
// Expressions, grown
//===----------------------------------------------------------------------===//

std::string growNumber(Random &random, unsigned depth);

std::string growMask(Random &random, unsigned depth) {
  auto mask = [&] { return growMask(random, depth - 1); };
  auto number = [&] { return growNumber(random, depth ? depth - 1 : 0); };
  if (random.oneIn(60))
    return number(); // of the wrong type
  switch (depth ? random.below(12) : 11) {
  case 0:
    return mask() + " and " + mask();
  case 1:
    return mask() + " or " + mask();
  case 2:
    return "not " + mask();
  case 3:
    return "(" + mask() + ")";
  case 4:
    return "where(" + mask() + ", " + mask() + ", " + mask() + ")";
  case 5: {
    const std::string align[] = {"top_left", "bottom_right",
                                 "offset(" + number() + ")"};
    return "causal(" + random.from(align) + ")";
  }
  case 6:
    return "window(" + number() + ", " + number() +
           (random.oneIn(2) ? ", bottom_right)" : ")");
  case 7: {
    const std::string masks[] = {"chunk(" + drawPlainNumber(random) + ")",
                                 "document(doc)", "padding(len)",
                                 "prefix(" + number() + ")", "prefix(len)"};
    return random.from(masks);
  }
  case 8:
    return "keep[" + number() + ", " + number() + "]";
  default: {
    const char *const comparisons[] = {" == ", " != ", " < ",
                                       " <= ", " > ",  " >= "};
    std::string text = number() + random.from(comparisons) + number();
    if (random.oneIn(5))
      text += random.from(comparisons) + number();
    return text;
  }
  }
}

std::string growNumber(Random &random, unsigned depth) {
  auto number = [&] { return growNumber(random, depth - 1); };
  switch (depth ? random.below(11) : random.below(3) + 8) {
  case 0: {
    const char *const operators[] = {" + ", " - ", " * "};
    return number() + random.from(operators) + number();
  }
  case 1:
    return number() + (random.oneIn(2) ? " // " : " % ") +
           drawPlainNumber(random);
  case 2:
    return "-" + number();
  case 3:
    return "(" + number() + ")";
  case 4: {
    // A mask has integers only.
    const char *const functions[] = {"exp",  "log", "tanh",
                                     "sqrt", "sin", "cos"};
    return std::string(random.oneIn(12) ? random.from(functions) : "abs") +
           "(" + number() + ")";
  }
  case 5:
    return (random.oneIn(2) ? "min(" : "max(") + number() + ", " + number() +
           ")";
  case 6:
    return "where(" + growMask(random, depth - 1) + ", " + number() + ", " +
           number() + ")";
  case 7:
    return random.oneIn(2) ? "len[" + number() + "]"
                           : "doc[" + number() + ", " + number() + "]";
  case 8:
    return drawPlainNumber(random);
  default:
    return random.oneIn(40) ? random.from(wrongNames) : random.from(names);
  }
}

std::string growExpression(Random &random) {
  unsigned depth = static_cast<unsigned>(random.below(6));
  if (!random.oneIn(3))
    return growMask(random, depth);
  const char *const scores[] = {
      "s + ", "s * ", "30.0 * tanh(s / 30.0) + ", "s + slope[h] * ",
      "s / ", ""};
  return random.from(scores) + growNumber(random, depth);
}

//===----------------------------------------------------------------------===//
// Tokens: each with the white space before it
//===----------------------------------------------------------------------===//

std::vector<std::string> tokenize(StringRef text) {
  std::vector<std::string> tokens;
  auto isWord = [](char c) {
    return llvm::isAlnum(c) || StringRef("_.$%@^!#").contains(c);
  };
  for (size_t at = 0; at < text.size();) {
    size_t begin = at;
    while (at < text.size() && llvm::isSpace(text[at]))
      ++at;
    if (at == text.size()) {
      // White space at the end is a token of its own.
    } else if (text[at] == '"') {
      size_t close = text.find('"', at + 1);
      at = close == StringRef::npos ? text.size() : close + 1;
    } else if (isWord(text[at])) {
      while (at < text.size() && isWord(text[at]))
        ++at;
    } else {
      ++at;
    }
    tokens.push_back(text.slice(begin, at).str());
  }
  return tokens;
}

/// What a token may be replaced by: its first character that is no space tells.
char classOf(StringRef token) {
  token = token.ltrim();
  if (token.empty())
    return ' ';
  if (llvm::isDigit(token[0]))
    return '0';
  return llvm::isAlpha(token[0]) ? 'a' : token[0];
}

void replaceToken(std::string &token, StringRef text) {
  StringRef old = token;
  token = (old.take_front(old.size() - old.ltrim().size()) + text).str();
}

/// The bracket that closes the one at `open`; `open` if there is none.
size_t findClose(const std::vector<std::string> &tokens, size_t open) {
  int depth = 0;
  for (size_t k = open; k != tokens.size(); ++k) {
    StringRef token = StringRef(tokens[k]).ltrim();
    depth += token == "(" || token == "[" || token == "{";
    depth -= token == ")" || token == "]" || token == "}";
    if (depth == 0)
      return k;
  }
  return open;
}

//===----------------------------------------------------------------------===//
// Specs as trees
//===----------------------------------------------------------------------===//

YamlNode makeScalar(StringRef text, bool quoted = false) {
  YamlNode node;
  node.kind = YamlNode::Scalar;
  node.text = text.str();
  node.quoted = quoted;
  return node;
}

void collect(YamlNode &node, std::vector<YamlNode *> &all) {
  all.push_back(&node);
  for (frontend::YamlEntry &entry : node.entries)
    collect(entry.value, all);
  for (YamlNode &item : node.items)
    collect(item, all);
}

void printScalar(const YamlNode &node, std::string &out) {
  StringRef text = node.text;
  // An input's type may stand without quotes for all its brackets.
  bool plain =
      !node.quoted && !text.empty() &&
      (text.find_first_of(",[]{}#&*!|>'\"%@`\n\\") == StringRef::npos ||
       text.ends_with("]"));
  if (plain && !text.contains(": ") && !text.ends_with(":")) {
    out += text;
    return;
  }
  out += '"';
  for (char c : text)
    if (c == '\n')
      out += "\\n";
    else
      out +=
          (c == '"' || c == '\\') ? std::string("\\") + c : std::string(1, c);
  out += '"';
}

void printFlow(const YamlNode &node, std::string &out) {
  switch (node.kind) {
  case YamlNode::Null:
    out += "null";
    break;
  case YamlNode::Scalar:
    printScalar(node, out);
    break;
  case YamlNode::Mapping:
    out += "{";
    for (const frontend::YamlEntry &entry : node.entries) {
      printScalar(entry.key, out);
      out += ": ";
      printFlow(entry.value, out);
      out += ", ";
    }
    out += "}";
    break;
  case YamlNode::Sequence:
    out += "[";
    for (const YamlNode &item : node.items) {
      printFlow(item, out);
      out += ", ";
    }
    out += "]";
    break;
  }
}

void printBlock(const YamlNode &node, unsigned indent, std::string &out) {
  auto child = [&](const YamlNode &value) {
    bool nests = (value.kind == YamlNode::Mapping && !value.entries.empty()) ||
                 (value.kind == YamlNode::Sequence && !value.items.empty());
    if (nests && indent < 6) {
      out += "\n";
      printBlock(value, indent + 2, out);
    } else {
      out += " ";
      printFlow(value, out);
      out += "\n";
    }
  };
  for (const frontend::YamlEntry &entry : node.entries) {
    out.append(indent, ' ');
    printScalar(entry.key, out);
    out += ":";
    child(entry.value);
  }
  for (const YamlNode &item : node.items) {
    out.append(indent, ' ');
    out += "-";
    child(item);
  }
}

//===----------------------------------------------------------------------===//
// Tensor files
//===----------------------------------------------------------------------===//

void put(std::string &to, uint64_t value, unsigned count) {
  for (unsigned k = 0; k != count; ++k)
    to += static_cast<char>(k < 8 ? value >> (8 * k) & 0xff : 0);
}

/// A header's number: mostly what is right.
uint64_t bend(uint64_t value, Random &random, size_t rarely = 12) {
  if (!random.oneIn(rarely))
    return value;
  const uint64_t others[] = {0,
                             1,
                             value - 1,
                             value + 1,
                             2 * value,
                             value / 2,
                             0x7f,
                             0xff,
                             0x7fff,
                             0xffff,
                             0x7fffffff,
                             0x80000000,
                             0xffffffff,
                             INT64_MAX,
                             uint64_t(1) << 63,
                             UINT64_MAX,
                             UINT64_MAX - 7,
                             random.below(1 << 16)};
  return random.from(others);
}

using Fields = std::vector<std::pair<std::string, std::string>>;

/// Swaps, repeats, drops, renames.
void mutateFields(Fields &fields, llvm::ArrayRef<const char *> values,
                  Random &random) {
  if (fields.empty())
    return;
  size_t at = random.below(fields.size()), other = random.below(fields.size());
  switch (random.below(8)) {
  case 0:
    std::swap(fields[at], fields[other]);
    break;
  case 1:
    std::swap(fields[at].second, fields[other].second);
    break;
  case 2:
    fields.push_back(fields[at]);
    break;
  case 3:
    fields.erase(fields.begin() + static_cast<ptrdiff_t>(at));
    break;
  case 4:
    fields[at].first =
        random.oneIn(2) ? drawLongName(random) : random.from(oddBytes).str();
    break;
  case 5: {
    std::string open = repeat("[", drawLength(random));
    fields[at].second =
        random.oneIn(2) ? open : open + repeat("]", open.size());
    break;
  }
  default:
    fields[at].second =
        random.oneIn(6) ? drawNumber(random) : random.from(values);
  }
}

/// "(2, 3)" and how many elements it has; sometimes neither is sensible.
std::string drawShape(Random &random, char open, char close, uint64_t &count) {
  std::string text(1, open);
  count = 1;
  size_t rank = random.oneIn(20) ? 28 + random.below(10) : random.below(5);
  for (size_t dim = 0; dim != rank; ++dim) {
    uint64_t extent = rank > 5 ? 1 : random.below(5);
    text += dim ? ", " : "";
    if (random.oneIn(20)) {
      text += drawNumber(random);
      continue;
    }
    text += std::to_string(extent);
    count *= extent;
  }
  if (rank == 1 && open == '(')
    text += ',';
  return text + close;
}

struct ElementType {
  const char *npy, *safetensors;
  unsigned bytes;
};
constexpr ElementType elementTypes[] = {
    {"'<f2'", "\"F16\"", 2}, {"'<V2'", "\"BF16\"", 2}, {"'<f4'", "\"F32\"", 4},
    {"'<f8'", "\"F64\"", 8}, {"'|i1'", "\"I8\"", 1},   {"'<i4'", "\"I32\"", 4},
    {"'<i8'", "\"I64\"", 8}, {"'|b1'", "\"BOOL\"", 1}, {"'<u2'", "\"U16\"", 2},
};

std::string drawNpy(Random &random) {
  constexpr const char *values[] = {"'>f4'",
                                    "'<f4'",
                                    "'|O'",
                                    "'<U5'",
                                    "True",
                                    "[('x', '<f4')]",
                                    "(-1,)",
                                    "(9223372036854775807, 2)",
                                    "()",
                                    "(2,",
                                    "(1,,2)",
                                    "(0, 4294967296, 4294967296)",
                                    "False",
                                    "None",
                                    "'<f99'",
                                    "''",
                                    "'",
                                    "{}",
                                    "1",
                                    "(1.5,)",
                                    "(True)",
                                    "'\\x00'",
                                    "(4611686018427387904,)"};
  const ElementType &type = random.from(elementTypes);
  uint64_t count = 0;
  std::string shape = drawShape(random, '(', ')', count);
  Fields fields = {{"'descr'", type.npy},
                   {"'fortran_order'", random.oneIn(2) ? "True" : "False"},
                   {"'shape'", shape}};
  if (random.oneIn(2))
    mutateFields(fields, values, random);
  std::string header = "{";
  for (const auto &[key, value] : fields) {
    header += key + ": ";
    header += value + ", ";
  }
  header += "}";
  header.append(random.below(70), ' ');
  header += random.oneIn(30) ? random.from(oddBytes).str() : "\n";
  auto version = static_cast<unsigned>(bend(1 + random.below(3), random, 20));
  std::string bytes = "\x93NUMPY";
  put(bytes, version, 1);
  put(bytes, bend(0, random, 20), 1);
  put(bytes, bend(header.size(), random), version == 1 ? 2 : 4);
  bytes += header;
  bytes.append(bend(count * type.bytes, random, 10) & 0xffff, '\x3c');
  return bytes;
}

std::string drawSafetensors(Random &random) {
  constexpr const char *values[] = {"\"F32\"",
                                    "\"F8_E4M3\"",
                                    "[]",
                                    "[-1]",
                                    "[0, 0]",
                                    "[8, 4]",
                                    "[1e3]",
                                    "[9223372036854775807, 2]",
                                    "null",
                                    "{}",
                                    "\"\\u0000\"",
                                    "\"\\ud800\"",
                                    "[1.5]",
                                    "true",
                                    "[[1]]",
                                    "[0, 18446744073709551615]",
                                    "\"",
                                    "[0, 4294967296, 4294967296]",
                                    "4611686018427387904"};
  Fields tensors;
  uint64_t offset = 0;
  for (size_t k = random.below(5); k-- != 0;) {
    const ElementType &type = random.from(elementTypes);
    uint64_t count = 0;
    std::string shape = drawShape(random, '[', ']', count);
    uint64_t end = offset + count * type.bytes;
    Fields fields = {{"\"dtype\"", type.safetensors},
                     {"\"shape\"", shape},
                     {"\"data_offsets\"",
                      "[" + std::to_string(bend(offset, random, 30)) + ", " +
                          std::to_string(bend(end, random, 30)) + "]"}};
    if (random.oneIn(4))
      mutateFields(fields, values, random);
    std::string text = "{";
    for (const auto &[key, value] : fields) {
      text += text.size() > 1 ? ", " : "";
      text += key + ": ";
      text += value;
    }
    tensors.emplace_back(std::string("\"t") + std::to_string(k) + "\"",
                         text + "}");
    offset = end;
  }
  if (random.oneIn(3))
    tensors.emplace_back("\"__metadata__\"", "{\"format\": \"pt\"}");
  if (random.oneIn(4))
    mutateFields(tensors, values, random);
  std::string header = "{";
  for (const auto &[key, value] : tensors) {
    header += header.size() > 1 ? ", " : "";
    header += key + ": ";
    header += value;
  }
  header += "}";
  if (random.oneIn(12))
    breakBytes(header, random);
  header.append(random.below(8), ' ');
  std::string bytes;
  put(bytes, bend(header.size(), random, 10), 8);
  bytes += header;
  bytes.append(bend(offset, random, 10) & 0xffff, '\x3c');
  return bytes;
}

/// The deflate stream within zlib's format.
std::string deflate(StringRef contents) {
  llvm::SmallVector<uint8_t, 0> packed;
  llvm::compression::zlib::compress(llvm::arrayRefFromStringRef(contents),
                                    packed);
  return llvm::toStringRef(packed).drop_front(2).drop_back(4).str();
}

std::string drawNpz(Random &random) {
  std::string bytes, directory;
  size_t count = random.below(4);
  bool canDeflate = llvm::compression::zlib::isAvailable();
  // Few headers have more than one number wrong: the first hides the others.
  size_t rarely = random.oneIn(3) ? 1000000 : 40;
  for (size_t k = 0; k != count; ++k) {
    std::string contents = drawNpy(random);
    bool isDeflated = canDeflate && random.oneIn(2);
    std::string packed = isDeflated ? deflate(contents) : contents;
    if (random.oneIn(12))
      breakBytes(packed, random);
    std::string name = random.oneIn(12)   ? drawLongName(random)
                       : random.oneIn(12) ? random.from(oddBytes).str()
                                          : "t" + std::to_string(k);
    name += random.oneIn(12) ? "" : ".npy";
    uint64_t offset = bytes.size();
    std::string extra;
    if (random.oneIn(8)) {
      put(extra, bend(1, random), 2);
      put(extra, bend(24, random, 4), 2);
      for (uint64_t field : {contents.size(), packed.size(), size_t(offset)})
        put(extra, bend(field, random), 8);
    }
    auto putCommon = [&](std::string &to, bool isCentral) {
      bool wide = isCentral && !extra.empty();
      put(to, bend(20, random, rarely), 2);                 // version needed
      put(to, bend(0, random, rarely), 2);                  // flags
      put(to, bend(isDeflated ? 8 : 0, random, rarely), 2); // method
      put(to, 0, 4);                                        // time, date
      put(to,
          bend(llvm::crc32(llvm::arrayRefFromStringRef(contents)), random,
               rarely),
          4);
      for (uint64_t size : {packed.size(), contents.size()})
        put(to, bend(wide ? 0xffffffff : size, random, rarely), 4);
      put(to, bend(name.size(), random, rarely), 2);
      put(to, bend(isCentral ? extra.size() : 0, random, rarely), 2);
    };
    put(bytes, bend(0x04034b50, random, rarely), 4);
    putCommon(bytes, false);
    bytes += name + packed;
    for (size_t times = random.oneIn(20) ? 2 : 1; times--;) {
      put(directory, bend(0x02014b50, random, rarely), 4);
      put(directory, 20, 2); // made by
      putCommon(directory, true);
      put(directory, bend(0, random, rarely), 2); // comment
      put(directory, 0, 8);                       // disk, attributes
      put(directory, bend(extra.empty() ? offset : 0xffffffff, random, rarely),
          4);
      directory += name + extra;
    }
  }
  uint64_t offset = bytes.size();
  bytes += directory;
  put(bytes, bend(0x06054b50, random, rarely), 4);
  put(bytes, 0, 4); // disks
  put(bytes, bend(count, random, rarely), 2);
  put(bytes, bend(count, random, rarely), 2);
  put(bytes, bend(directory.size(), random, rarely), 4);
  put(bytes, bend(offset, random, rarely), 4);
  put(bytes, 0, 2); // comment
  return bytes;
}

} // namespace

//===----------------------------------------------------------------------===//
// The corpus
//===----------------------------------------------------------------------===//

void Mutator::addSpec(StringRef text) {
  llvm::SourceMgr sources;
  sources.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text),
                             llvm::SMLoc());
  if (std::optional<YamlNode> tree = frontend::parseYaml(sources))
    specs.push_back(std::move(*tree));
}

void Mutator::addKernel(StringRef text) { kernels.push_back(tokenize(text)); }

void Mutator::addIR(StringRef text) {
  llvm::SmallVector<StringRef> parts;
  text.split(parts, "// -----");
  for (StringRef part : parts) {
    // Comments are no input, and would be most of the tokens.
    std::string code;
    for (StringRef line : llvm::split(part, '\n'))
      if (!line.ltrim().starts_with("//"))
        code += (line + "\n").str();
    modules.push_back(tokenize(code));
  }
}

void Mutator::addExpression(StringRef text) {
  expressions.push_back(tokenize(text));
}

void Mutator::addCommand(llvm::ArrayRef<StringRef> words) {
  std::vector<std::string> command;
  for (StringRef word : words)
    command.push_back(word.str());
  commands.push_back(std::move(command));
}

//===----------------------------------------------------------------------===//
// Mutants
//===----------------------------------------------------------------------===//

std::string Mutator::mutate(Kind kind, Random &random) const {
  std::string bytes;
  switch (kind) {
  case Kind::Command:
    return mutateCommand(random);
  case Kind::Spec:
    bytes = mutateSpec(random);
    break;
  case Kind::Expression:
    bytes = mutateExpression(random);
    break;
  case Kind::IR:
    bytes = mutateIR(random);
    break;
  case Kind::Npy:
    bytes = drawNpy(random);
    break;
  case Kind::Npz:
    bytes = drawNpz(random);
    break;
  case Kind::Safetensors:
    bytes = drawSafetensors(random);
    break;
  }
  if (random.oneIn(8))
    breakBytes(bytes, random);
  return bytes;
}

void Mutator::mutateTokens(Tokens &tokens, const std::vector<Tokens> &others,
                           Random &random) const {
  if (tokens.empty())
    tokens.emplace_back();
  size_t at = random.below(tokens.size());
  auto iterator = [&](size_t index) {
    return tokens.begin() + static_cast<ptrdiff_t>(index);
  };
  size_t end = std::min(tokens.size(), at + 1 + random.below(4));
  if (random.oneIn(2))
    end = std::max(end, std::min(findClose(tokens, at) + 1, tokens.size()));
  const Tokens &other = random.from(others);
  switch (random.below(12)) {
  case 0:
    tokens.erase(iterator(at), iterator(end));
    break;
  case 1: {
    Tokens copy(iterator(at), iterator(end));
    tokens.insert(iterator(at), copy.begin(), copy.end());
    break;
  }
  case 2:
    std::swap(tokens[at], random.from(tokens));
    break;
  case 3:
    if (!other.empty()) {
      size_t from = random.below(other.size());
      size_t to = std::min(other.size(), findClose(other, from) + 1);
      auto begin = other.begin();
      Tokens piece(begin + static_cast<ptrdiff_t>(from),
                   begin + static_cast<ptrdiff_t>(to));
      tokens.erase(iterator(at), iterator(end));
      tokens.insert(iterator(at), piece.begin(), piece.end());
    }
    break;
  case 4: {
    constexpr const char *brackets[] = {"(",    "[",    "{",         "<",
                                        "not ", "-",    "((",        "tuple<",
                                        "abs(", "1 + ", "i < j and "};
    tokens[at].insert(0, repeat(random.from(brackets), drawLength(random)));
    break;
  }
  case 5:
    replaceToken(tokens[at], drawLongName(random));
    break;
  default: {
    // A token of the same class.
    char wanted = classOf(tokens[at]);
    if (wanted == '"') {
      replaceToken(tokens[at], "\"" + growExpression(random) + "\"");
    } else if (wanted == '0' && random.oneIn(2)) {
      replaceToken(tokens[at], drawNumber(random));
    } else {
      const Tokens &source = random.oneIn(2) ? tokens : other;
      std::vector<StringRef> candidates;
      for (const std::string &token : source)
        if (classOf(token) == wanted)
          candidates.push_back(StringRef(token).ltrim());
      if (!candidates.empty())
        replaceToken(tokens[at], random.from(candidates).str());
    }
  }
  }
}

std::string Mutator::mutateExpression(Random &random) const {
  std::string grown = growExpression(random);
  if (random.oneIn(3))
    return grown;
  Tokens tokens = random.oneIn(2) ? tokenize(grown) : random.from(expressions);
  for (size_t times = random.below(3) + 1; times--;)
    mutateTokens(tokens, expressions, random);
  if (random.oneIn(4)) {
    // A chain.
    constexpr const char *joints[] = {" and ", " or ", " + ", " * ", " < "};
    const char *joint = random.from(joints);
    std::string link = joint + llvm::join(tokens, "");
    size_t count = std::min<size_t>(drawLength(random), 200000 / link.size());
    return llvm::join(tokens, "") + repeat(link, count);
  }
  return llvm::join(tokens, "");
}

std::string Mutator::mutateIR(Random &random) const {
  Tokens tokens = random.from(random.oneIn(4) ? modules : kernels);
  for (size_t times = random.below(3) + 1; times--;)
    mutateTokens(tokens, random.oneIn(2) ? modules : kernels, random);
  return llvm::join(tokens, "");
}

void Mutator::mutateTree(YamlNode &root, Random &random) const {
  std::vector<YamlNode *> nodes;
  collect(root, nodes);
  YamlNode &node = *random.from(nodes);
  YamlNode donor = random.from(specs);
  std::vector<YamlNode *> pieces;
  collect(donor, pieces);
  YamlNode &piece = *random.from(pieces);
  std::vector<YamlNode *> mappings;
  for (YamlNode *candidate : nodes)
    if (!candidate->entries.empty())
      mappings.push_back(candidate);
  YamlNode &mapping = mappings.empty() ? root : *random.from(mappings);

  switch (mapping.entries.empty() ? 5 + random.below(5) : random.below(10)) {
  case 0: {
    std::swap(random.from(mapping.entries).value,
              random.from(mapping.entries).value);
    break;
  }
  case 1: {
    frontend::YamlEntry copy = random.from(mapping.entries);
    mapping.entries.push_back(std::move(copy));
    break;
  }
  case 2:
    mapping.entries.erase(
        mapping.entries.begin() +
        static_cast<ptrdiff_t>(random.below(mapping.entries.size())));
    break;
  case 3:
    if (!donor.entries.empty()) {
      frontend::YamlEntry &given = random.from(donor.entries);
      for (frontend::YamlEntry &entry : mapping.entries)
        if (entry.key.text == given.key.text) {
          entry = given;
          return;
        }
      mapping.entries.push_back(given);
    }
    break;
  case 4:
    random.from(mapping.entries).key =
        makeScalar(random.oneIn(3)   ? drawLongName(random)
                   : random.oneIn(3) ? drawNumber(random)
                                     : random.from(oddBytes).str());
    break;
  case 5: {
    YamlNode nested = std::move(node);
    for (size_t depth = std::min<size_t>(drawLength(random), 2000); depth--;) {
      YamlNode outer;
      outer.kind = YamlNode::Sequence;
      outer.items.push_back(std::move(nested));
      nested = std::move(outer);
    }
    node = std::move(nested);
    break;
  }
  case 6:
    node = piece;
    break;
  case 7:
    node = makeScalar(growExpression(random), random.oneIn(2));
    break;
  case 8:
    node = makeScalar(random.oneIn(3) ? drawLongName(random)
                                      : random.from(oddBytes).str(),
                      random.oneIn(2));
    break;
  default: {
    // A number becomes another.
    std::vector<YamlNode *> found;
    for (YamlNode *candidate : nodes)
      if (classOf(candidate->text) == '0')
        found.push_back(candidate);
    (found.empty() ? node : *random.from(found)) =
        makeScalar(drawNumber(random), random.oneIn(20));
  }
  }
}

std::string Mutator::mutateSpec(Random &random) const {
  YamlNode root = random.from(specs);
  for (frontend::YamlEntry &entry : root.entries)
    if ((entry.key.text == "mask" || entry.key.text == "score") &&
        random.oneIn(4))
      entry.value = makeScalar(growExpression(random), true);
  for (size_t times = random.below(3); times--;)
    mutateTree(root, random);
  std::string text;
  if (random.oneIn(2))
    printFlow(root, text);
  else
    printBlock(root, 0, text);
  return text;
}

std::string Mutator::mutateCommand(Random &random) const {
  std::vector<std::string> words = random.from(commands);
  for (size_t times = random.below(3) + 1; times--;) {
    if (words.empty())
      words.emplace_back();
    size_t at = random.below(words.size());
    auto place = words.begin() + static_cast<ptrdiff_t>(at);
    const std::vector<std::string> &other = random.from(commands);
    switch (random.below(9)) {
    case 0:
      words.erase(place);
      break;
    case 1:
      words.insert(place, std::string(words[at]));
      break;
    case 2:
      std::swap(words[at], random.from(words));
      break;
    case 3:
      words[at] = random.from(other);
      break;
    case 4:
      words.insert(place, random.from(other));
      break;
    case 5:
      words[at].insert(random.below(words[at].size() + 1),
                       random.from(oddBytes).str());
      break;
    case 6:
      words[at] = words[at].substr(0, random.below(words[at].size() + 1));
      break;
    case 7:
      words[at] += random.oneIn(2) ? drawLongName(random)
                                   : std::string(1, random.from("=,:@-"));
      break;
    default:
      // A number of the word becomes one that is wrong or beyond any memory:
      // what lies between is a request for long work.
      if (size_t digit = words[at].find_first_of("0123456789");
          digit != std::string::npos) {
        size_t end = words[at].find_first_not_of("0123456789", digit);
        constexpr const char *extremes[] = {
            "0",   "-1", "1e3",  "9223372036854775807", "4611686018427387904",
            "",    "x",  "0x10", "9223372036854775808", "-9223372036854775808",
            "1.5", "+1", "nan",  "1099511627776",       "18446744073709551616"};
        words[at] = words[at].substr(0, digit) + random.from(extremes) +
                    (end == std::string::npos ? "" : words[at].substr(end));
      }
    }
  }
  std::string text;
  for (std::string &word : words) {
    // An argument cannot hold a zero byte, and ends at a newline in our text.
    llvm::erase_if(word, [](char c) { return c == '\0' || c == '\n'; });
    word.resize(
        std::min<size_t>(word.size(), 100000)); // Linux's limit: 128 KiB
    text += word + "\n";
  }
  return text;
}

} // namespace fovea::fuzz
