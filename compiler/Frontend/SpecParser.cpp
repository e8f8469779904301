// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// From YAML to Spec: the table of keys, one reading function for each, and the
// checks that concern several keys at once. Reports every error it can find,
// each with its place, its rule and the way out.

#include "compiler/Frontend/QueryOffset.h"
#include "compiler/Frontend/Schema.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include <cmath>

using namespace fovea;
using namespace fovea::frontend;
using llvm::ArrayRef;
using llvm::SMLoc;
using llvm::SourceMgr;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// Limits
//===----------------------------------------------------------------------===//

// Far beyond any model; they keep products of sizes, and what is compiled from
// them, in bounds.
static constexpr int64_t maxHeads = 65536;
static constexpr int64_t maxWidth = 65536;
static constexpr int64_t maxRowElements = int64_t(1) << 24; // heads * width
static constexpr int64_t maxExtent = (int64_t(1) << 31) - 1;
static constexpr int64_t maxTensorElements = int64_t(1) << 48;
static constexpr size_t maxNameLength = 128;
static constexpr size_t maxNames = 64; // of inputs, and of params
static constexpr size_t maxInputRank = 4;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

static bool isKeywordOfC(StringRef name) {
  static const llvm::StringSet<> keywords = {"alignas",      "alignof",
                                             "and",          "and_eq",
                                             "asm",          "atomic",
                                             "auto",         "bitand",
                                             "bitor",        "bool",
                                             "break",        "case",
                                             "catch",        "char",
                                             "char16_t",     "char32_t",
                                             "char8_t",      "class",
                                             "co_await",     "co_return",
                                             "co_yield",     "compl",
                                             "concept",      "const",
                                             "const_cast",   "consteval",
                                             "constexpr",    "constinit",
                                             "continue",     "decltype",
                                             "default",      "delete",
                                             "do",           "double",
                                             "dynamic_cast", "else",
                                             "enum",         "explicit",
                                             "export",       "extern",
                                             "false",        "float",
                                             "for",          "friend",
                                             "goto",         "if",
                                             "inline",       "int",
                                             "long",         "mutable",
                                             "namespace",    "new",
                                             "noexcept",     "not",
                                             "not_eq",       "nullptr",
                                             "operator",     "or",
                                             "or_eq",        "private",
                                             "protected",    "public",
                                             "register",     "reinterpret_cast",
                                             "requires",     "restrict",
                                             "return",       "short",
                                             "signed",       "sizeof",
                                             "static",       "static_assert",
                                             "static_cast",  "struct",
                                             "switch",       "template",
                                             "this",         "thread_local",
                                             "throw",        "true",
                                             "try",          "typedef",
                                             "typeid",       "typename",
                                             "typeof",       "typeof_unqual",
                                             "union",        "unsigned",
                                             "using",        "virtual",
                                             "void",         "volatile",
                                             "wchar_t",      "while",
                                             "xor",          "xor_eq",
                                             "main",         "NULL"};
  return keywords.contains(name);
}

/// What is wrong with a name that goes into a C header; empty if nothing is.
static std::string objectionToName(StringRef name) {
  if (name.empty() || !(llvm::isAlpha(name[0]) || name[0] == '_') ||
      !llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; }))
    return "is no C identifier; use letters, digits and _, and no digit first";
  if (name[0] == '_')
    return "starts with '_', which C reserves";
  if (name.size() > maxNameLength)
    return "is longer than " + std::to_string(maxNameLength) + " characters";
  if (isKeywordOfC(name))
    return "is a word of C or C++; choose another name";
  if (name.starts_with("fovea_") || name.starts_with("FOVEA_"))
    return "starts with the prefix of Fovea's own names";
  return "";
}

/// Arguments that a kernel may have by itself, and fields of its options.
static bool isTakenByTheKernel(StringRef name) {
  return llvm::StringSwitch<bool>(name)
      .Cases({"q", "k", "v", "o", "lse"}, true)
      .Cases({"k_cache", "v_cache", "past"}, true)
      .Cases({"sinks", "q_norm_weight", "k_norm_weight"}, true)
      .Cases({"positions", "q_positions", "k_positions"}, true)
      .Cases({"options", "size", "context", "workspace", "workspace_size"},
             true)
      .Default(false);
}

//===----------------------------------------------------------------------===//
// The reader
//===----------------------------------------------------------------------===//

namespace fovea::frontend {

class SpecReader {
public:
  explicit SpecReader(SourceMgr &sourceMgr) : sourceMgr(sourceMgr) {}
  std::optional<Spec> read();

  // One per key of the table.
  void readName(const YamlNode &value);
  void readDType(const YamlNode &value);
  void readHeads(const YamlNode &value);
  void readQueryHeads(const YamlNode &value);
  void readKvHeads(const YamlNode &value);
  void readWidth(const YamlNode &value);
  void readQkWidth(const YamlNode &value);
  void readValueWidth(const YamlNode &value);
  void readBatch(const YamlNode &value);
  void readQueryLength(const YamlNode &value);
  void readKvLength(const YamlNode &value);
  void readScale(const YamlNode &value);
  void readPrecision(const YamlNode &value);
  void readMask(const YamlNode &value);
  void readScore(const YamlNode &value);
  void readParams(const YamlNode &value);
  void readInputs(const YamlNode &value);
  void readRopeStyle(const YamlNode &value);
  void readRopeBase(const YamlNode &value);
  void readRotaryDim(const YamlNode &value);
  void readPositions(const YamlNode &value);
  void readScalingType(const YamlNode &value);
  void readFactor(const YamlNode &value);
  void readOriginalLength(const YamlNode &value);
  void readBetaFast(const YamlNode &value);
  void readBetaSlow(const YamlNode &value);
  void readTruncate(const YamlNode &value);
  void readLowFreqFactor(const YamlNode &value);
  void readHighFreqFactor(const YamlNode &value);
  void readAttentionFactor(const YamlNode &value);
  void readShortFactor(const YamlNode &value);
  void readLongFactor(const YamlNode &value);
  void readNormEps(const YamlNode &value);
  void readNormWeight(const YamlNode &value);
  void readNormOffset(const YamlNode &value);
  void readSinks(const YamlNode &value);
  void readCacheLayout(const YamlNode &value);
  void readCacheAppend(const YamlNode &value);
  void readOutputs(const YamlNode &value);
  void readDescription(const YamlNode &value);

private:
  void error(SMLoc loc, const Twine &message) {
    ++errors;
    sourceMgr.PrintMessage(loc, SourceMgr::DK_Error, message);
  }

  void readMapping(ArrayRef<Key> keys, const YamlNode &node,
                   const std::string &path);
  /// The value given for a key such as "rope.base", or null.
  const YamlNode *given(StringRef path) const {
    auto it = values.find(path);
    return it == values.end() ? nullptr : it->second;
  }

  // Scalars of a kind; on anything else, an error and nothing.
  std::optional<int64_t> integer(const YamlNode &value, int64_t least,
                                 int64_t most);
  std::optional<double> number(const YamlNode &value, bool positive);
  std::optional<bool> boolean(const YamlNode &value);
  std::optional<std::string> word(const YamlNode &value, StringRef expected);
  std::vector<double> factors(const YamlNode &value);

  /// A name that the spec declares, checked against all others.
  bool declare(const YamlNode &key);
  std::optional<Spec::Input> inputOf(const YamlEntry &entry);

  // Checks that concern several keys.
  void checkSizes();
  void checkPrecision();
  void checkRope();
  void checkScaling();
  void checkCache();
  void resolveInputs();
  void parseExpressions();
  void checkQueryPositions();
  void warnOfUnused();
  expr::Expr parseExpression(const YamlNode &value, const expr::Scope &scope,
                             bool isScore);

  SourceMgr &sourceMgr;
  Spec spec;
  unsigned errors = 0;
  llvm::StringMap<const YamlNode *> values; // by path
  llvm::StringMap<SMLoc> declared;          // inputs and params
  const YamlNode *mask = nullptr, *score = nullptr;
};

} // namespace fovea::frontend

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static constexpr Key headsKeys[] = {
    {"query", "integer", "required", "S1", "query heads",
     &SpecReader::readQueryHeads},
    {"kv", "integer", "as query", "S1",
     "key-value heads; query heads are a multiple of them",
     &SpecReader::readKvHeads}};

static constexpr Key widthKeys[] = {
    {"qk", "integer", "required", "R4", "width of a head of q and k",
     &SpecReader::readQkWidth},
    {"v", "integer", "as qk", "R4", "width of a head of v and o",
     &SpecReader::readValueWidth}};

static constexpr Key scalingKeys[] = {
    {"type", "linear | dynamic | yarn | llama3 | longrope", "required", "P1",
     "how positions beyond the training length are reached; dynamic and "
     "longrope look at the key length N, which with a cache is past[b] + M",
     &SpecReader::readScalingType},
    {"factor", "number", "required but for longrope", "P1",
     "how much longer the reach becomes, at least 1", &SpecReader::readFactor},
    {"original_length", "integer", "required but for linear", "P1",
     "the training length", &SpecReader::readOriginalLength},
    {"beta_fast", "number", "32", "P1",
     "yarn: rotations above which nothing is stretched",
     &SpecReader::readBetaFast},
    {"beta_slow", "number", "1", "P1",
     "yarn: rotations below which all is stretched", &SpecReader::readBetaSlow},
    {"truncate", "true | false", "true", "P1",
     "yarn: the indices between which frequencies are blended are rounded to "
     "integers",
     &SpecReader::readTruncate},
    {"low_freq_factor", "number", "required for llama3", "P1",
     "llama3: rotations below which all is stretched",
     &SpecReader::readLowFreqFactor},
    {"high_freq_factor", "number", "required for llama3", "P1",
     "llama3: rotations above which nothing is stretched",
     &SpecReader::readHighFreqFactor},
    {"attention_factor", "number", "from factor", "P1",
     "yarn, longrope: what rotated elements are multiplied by",
     &SpecReader::readAttentionFactor},
    {"short_factor", "list of numbers", "required for longrope", "P1",
     "longrope: divisor of each frequency up to original_length",
     &SpecReader::readShortFactor},
    {"long_factor", "list of numbers", "required for longrope", "P1",
     "longrope: the same beyond original_length", &SpecReader::readLongFactor}};

static constexpr Key ropeKeys[] = {
    {"style", "neox | interleaved", "required", "P1",
     "which elements rotate together: halves, or neighbours",
     &SpecReader::readRopeStyle},
    {"base", "number", "10000", "P1", "theta, greater than 1",
     &SpecReader::readRopeBase},
    {"rotary_dim", "integer", "head_dim", "P1",
     "elements that rotate, from the first on; even",
     &SpecReader::readRotaryDim},
    {"positions", "implicit | explicit", "implicit", "P1, M3",
     "implicit: key j stands at j and query i where the mask's causal "
     "alignment puts it (with a cache, new tokens follow the past ones); "
     "explicit: inputs q_positions i32[B, M] and k_positions i32[B, N] (with a "
     "cache, positions i32[B, M])",
     &SpecReader::readPositions},
    {"scaling", "mapping", "none", "P1", "stretched frequencies", nullptr,
     scalingKeys,
     [](Spec &spec) { spec.rope->scaling = Spec::Rope::Scaling(); }}};

static constexpr Key normKeys[] = {
    {"eps", "number", "1e-6", "", "added to the mean square",
     &SpecReader::readNormEps},
    {"weight", "true | false", "true", "",
     "inputs q_norm_weight and k_norm_weight, one f32 per element of a head "
     "(f64 for dtype f64)",
     &SpecReader::readNormWeight},
    {"unit_offset", "true | false", "false", "", "1 is added to the weights",
     &SpecReader::readNormOffset}};

static constexpr Key cacheKeys[] = {
    {"layout", "contiguous", "contiguous", "K1",
     "k_cache [B, C, kv heads, width] and v_cache likewise, in and out",
     &SpecReader::readCacheLayout},
    {"append", "true", "true", "K3",
     "k and v are the M new tokens of each row; they are written (after norm "
     "and RoPE) behind the past[b] tokens that the cache holds, and N is "
     "past[b] + M",
     &SpecReader::readCacheAppend}};

static constexpr Key specKeys[] = {
    {"name", "C identifier", "required", "", "the function's name",
     &SpecReader::readName},
    {"description", "text", "none", "", "for the reader; ignored",
     &SpecReader::readDescription},
    {"dtype", "f32 | f16 | bf16 | f64", "required", "S1, R2",
     "element type of q, k, v and o; arithmetic is f32 (f64 for f64)",
     &SpecReader::readDType},
    {"heads", "integer, or {query, kv}", "required", "S1", "number of heads",
     &SpecReader::readHeads, headsKeys},
    {"head_dim", "integer, or {qk, v}", "required", "R4", "width of a head",
     &SpecReader::readWidth, widthKeys},
    {"batch", "integer", "dynamic", "R4", "B, if it is always the same",
     &SpecReader::readBatch},
    {"query_len", "integer", "dynamic", "R4", "M, if it is always the same",
     &SpecReader::readQueryLength},
    {"kv_len", "integer", "dynamic", "R4", "N, if it is always the same",
     &SpecReader::readKvLength},
    {"scale", "number", "1/sqrt(head_dim)", "S1", "what q k is multiplied by",
     &SpecReader::readScale},
    {"mask", "expression", "true", "M1-M5", "which keys a query attends",
     &SpecReader::readMask},
    {"score", "expression", "s", "S2, S3",
     "the score in place of s, before the mask", &SpecReader::readScore},
    {"precision", "full | bf16x6", "full", "S8",
     "what products of f32 may be: full, of f32 alone; bf16x6, where the "
     "target has matrix units, sums of six products of bf16, an element being "
     "the sum of three, within a wider bound",
     &SpecReader::readPrecision},
    {"params", "{name: integer or null, ...}", "none", "M5",
     "integers passed at run time, with their defaults (null: none)",
     &SpecReader::readParams},
    {"inputs", "{name: type[dims], ...}", "none", "M5",
     "tensors that mask and score read: i32 or i64 (f32, f64 in a score) of "
     "dimensions B, H, G or numbers",
     &SpecReader::readInputs},
    {"rope", "mapping", "none", "P1", "rotary position embedding of q and k",
     nullptr, ropeKeys, [](Spec &spec) { spec.rope = Spec::Rope(); }},
    {"qk_norm", "mapping", "none", "",
     "root-mean-square norm of q and k over a head, before RoPE", nullptr,
     normKeys, [](Spec &spec) { spec.qkNorm = Spec::QkNorm(); }},
    {"sinks", "true | false", "false", "M7",
     "input sinks [query heads], f32 (f64 for f64): a logit that joins the "
     "denominator",
     &SpecReader::readSinks},
    {"kv_cache", "mapping", "none", "K1, K3",
     "keys and values of earlier calls", nullptr, cacheKeys,
     [](Spec &spec) { spec.kvCache = true; }},
    {"outputs", "[o] or [o, lse]", "[o, lse]", "R1",
     "results; a caller may pass no lse", &SpecReader::readOutputs}};

ArrayRef<Key> fovea::frontend::getSpecKeys() { return specKeys; }

//===----------------------------------------------------------------------===//
// Reading by the table
//===----------------------------------------------------------------------===//

static std::string nearestKey(ArrayRef<Key> keys, StringRef wanted) {
  unsigned best = std::max<size_t>(2, wanted.size() / 3) + 1;
  StringRef nearest;
  for (const Key &key : keys) {
    unsigned distance = wanted.edit_distance(key.name, true, best);
    if (distance < best) {
      best = distance;
      nearest = key.name;
    }
  }
  if (!nearest.empty())
    return "; did you mean '" + nearest.str() + "'?";
  std::string all;
  for (const Key &key : keys)
    all += (all.empty() ? "" : ", ") + key.name.str();
  return "; the keys here are " + all;
}

void SpecReader::readMapping(ArrayRef<Key> keys, const YamlNode &node,
                             const std::string &path) {
  for (const YamlEntry &entry : node.entries) {
    const Key *key = llvm::find_if(
        keys, [&](const Key &key) { return key.name == entry.key.text; });
    if (key == keys.end()) {
      error(entry.key.loc(), "unknown key '" + path + entry.key.text + "'" +
                                 nearestKey(keys, entry.key.text));
      continue;
    }
    std::string full = path + key->name.str();
    values[full] = &entry.value;
    bool nested = !key->children.empty();
    if (nested && entry.value.kind == YamlNode::Mapping) {
      if (key->open)
        key->open(spec);
      readMapping(key->children, entry.value, full + ".");
    } else if (!key->read) {
      error(entry.value.loc(), "'" + full + "' is a mapping such as {" +
                                   key->children.front().name + ": ...}");
    } else {
      (this->*key->read)(entry.value);
    }
  }
  for (const Key &key : keys)
    if (key.isRequired() && !given(path + key.name.str()))
      error(node.loc(), "the key '" + path + key.name + "' is missing: " +
                            key.summary + " (" + key.type + ")");
}

std::optional<Spec> SpecReader::read() {
  std::optional<YamlNode> tree = parseYaml(sourceMgr);
  if (!tree)
    return std::nullopt;
  if (tree->kind != YamlNode::Mapping) {
    error(tree->loc(), "a spec is a mapping of keys to values, such as "
                       "`name: my_attention`");
    return std::nullopt;
  }
  spec.fileName = sourceMgr.getMemoryBuffer(sourceMgr.getMainFileID())
                      ->getBufferIdentifier()
                      .str();
  readMapping(specKeys, *tree, "");
  if (errors == 0) {
    checkSizes();
    checkPrecision();
    checkRope();
    checkCache();
    resolveInputs();
  }
  if (errors == 0)
    parseExpressions();
  if (errors == 0)
    checkQueryPositions();
  if (errors)
    return std::nullopt;
  warnOfUnused();
  std::tie(spec.line, spec.column) =
      sourceMgr.getLineAndColumn(mask ? mask->loc() : tree->loc());
  return std::move(spec);
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

std::optional<int64_t> SpecReader::integer(const YamlNode &value, int64_t least,
                                           int64_t most) {
  int64_t result;
  if (value.kind != YamlNode::Scalar || value.quoted ||
      StringRef(value.text).getAsInteger(10, result)) {
    error(value.loc(), "expected an integer");
    return std::nullopt;
  }
  if (result < least || result > most) {
    error(value.loc(),
          "expected an integer from " + Twine(least) + " to " + Twine(most));
    return std::nullopt;
  }
  return result;
}

std::optional<double> SpecReader::number(const YamlNode &value, bool positive) {
  double result;
  if (value.kind != YamlNode::Scalar || value.quoted ||
      StringRef(value.text).getAsDouble(result) || !std::isfinite(result)) {
    error(value.loc(), "expected a finite number");
    return std::nullopt;
  }
  if (positive && !(result > 0)) {
    error(value.loc(), "expected a number greater than 0");
    return std::nullopt;
  }
  return result;
}

std::optional<bool> SpecReader::boolean(const YamlNode &value) {
  if (value.kind == YamlNode::Scalar && !value.quoted) {
    if (value.text == "true")
      return true;
    if (value.text == "false")
      return false;
  }
  error(value.loc(), "expected true or false");
  return std::nullopt;
}

std::optional<std::string> SpecReader::word(const YamlNode &value,
                                            StringRef expected) {
  if (value.kind == YamlNode::Scalar && !value.text.empty())
    return value.text;
  error(value.loc(), "expected " + expected);
  return std::nullopt;
}

std::vector<double> SpecReader::factors(const YamlNode &value) {
  std::vector<double> result;
  if (value.kind != YamlNode::Sequence || value.items.empty()) {
    error(value.loc(), "expected a list of numbers such as [1.0, 1.5]");
    return {};
  }
  for (const YamlNode &item : value.items)
    if (std::optional<double> factor = number(item, /*positive=*/true))
      result.push_back(*factor);
  return result;
}

//===----------------------------------------------------------------------===//
// The keys
//===----------------------------------------------------------------------===//

void SpecReader::readName(const YamlNode &value) {
  std::optional<std::string> name = word(value, "a name");
  if (!name)
    return;
  if (std::string objection = objectionToName(*name); !objection.empty())
    return error(value.loc(), "the name '" + *name + "' " + objection);
  spec.name = *name;
}

void SpecReader::readDescription(const YamlNode &) {}

void SpecReader::readDType(const YamlNode &value) {
  auto dtype = llvm::StringSwitch<std::optional<DType>>(
                   value.kind == YamlNode::Scalar ? value.text : "")
                   .Case("f32", DType::F32)
                   .Case("f16", DType::F16)
                   .Case("bf16", DType::BF16)
                   .Case("f64", DType::F64)
                   .Default(std::nullopt);
  if (!dtype)
    return error(value.loc(), "expected a dtype: f32, f16, bf16 or f64");
  spec.dtype = *dtype;
}

void SpecReader::readHeads(const YamlNode &value) {
  readQueryHeads(value);
  spec.kvHeads = spec.queryHeads;
}
void SpecReader::readQueryHeads(const YamlNode &value) {
  spec.queryHeads = integer(value, 1, maxHeads).value_or(1);
}
void SpecReader::readKvHeads(const YamlNode &value) {
  spec.kvHeads = integer(value, 1, maxHeads).value_or(1);
}
void SpecReader::readWidth(const YamlNode &value) {
  readQkWidth(value);
  spec.valueWidth = spec.qkWidth;
}
void SpecReader::readQkWidth(const YamlNode &value) {
  spec.qkWidth = integer(value, 1, maxWidth).value_or(1);
}
void SpecReader::readValueWidth(const YamlNode &value) {
  spec.valueWidth = integer(value, 1, maxWidth).value_or(1);
}
void SpecReader::readBatch(const YamlNode &value) {
  spec.batch = integer(value, 0, maxExtent);
}
void SpecReader::readQueryLength(const YamlNode &value) {
  spec.queryLength = integer(value, 0, maxExtent);
}
void SpecReader::readKvLength(const YamlNode &value) {
  spec.kvLength = integer(value, 0, maxExtent);
}
void SpecReader::readScale(const YamlNode &value) {
  spec.scale = number(value, /*positive=*/false);
}
void SpecReader::readPrecision(const YamlNode &value) {
  std::optional<attn::Precision> precision;
  if (value.kind == YamlNode::Scalar)
    precision = attn::symbolizePrecision(value.text);
  if (!precision)
    return error(value.loc(), "expected full (products of f32) or bf16x6 (six "
                              "products of bf16, on matrix units) (rule S8)");
  spec.precision = *precision;
}

void SpecReader::readMask(const YamlNode &value) {
  if (word(value, "an expression such as `causal(bottom_right)`"))
    mask = &value;
}
void SpecReader::readScore(const YamlNode &value) {
  if (word(value, "an expression such as `50 * tanh(s / 50)`"))
    score = &value;
}

bool SpecReader::declare(const YamlNode &key) {
  std::string objection = objectionToName(key.text);
  if (objection.empty() && expr::isReservedName(key.text))
    objection = "is a word of the expression language; choose another name";
  if (objection.empty() && isTakenByTheKernel(key.text))
    objection = "is the name of an argument or option that kernels have; "
                "choose another name";
  if (!objection.empty()) {
    error(key.loc(), "the name '" + key.text + "' " + objection);
    return false;
  }
  auto [other, isNew] = declared.try_emplace(key.text, key.loc());
  if (!isNew) {
    error(key.loc(), "the name '" + key.text + "' is declared twice");
    sourceMgr.PrintMessage(other->second, SourceMgr::DK_Note,
                           "it was first declared here");
  }
  return isNew;
}

void SpecReader::readParams(const YamlNode &value) {
  if (value.kind != YamlNode::Mapping)
    return error(value.loc(), "expected a mapping such as {w: 4096}, or "
                              "{w: null} for a parameter without a default");
  if (value.entries.size() > maxNames)
    return error(value.loc(), "more than " + Twine(maxNames) + " parameters");
  for (const YamlEntry &entry : value.entries) {
    Spec::Param param{entry.key.text, std::nullopt};
    if (entry.value.kind != YamlNode::Null)
      param.defaultValue = integer(entry.value, INT64_MIN, INT64_MAX);
    if (declare(entry.key))
      spec.params.push_back(std::move(param));
  }
}

/// "i32[B, 4]"; a dimension that is not a number stays as a symbol here.
std::optional<Spec::Input> SpecReader::inputOf(const YamlEntry &entry) {
  const YamlNode &value = entry.value;
  auto complain = [&](size_t offset, const Twine &message) {
    error(value.kind == YamlNode::Scalar ? value.locOf(offset) : value.loc(),
          message);
    return std::nullopt;
  };
  StringRef text = value.text; // empty unless a scalar
  auto [element, rest] = text.split('[');
  auto type = llvm::StringSwitch<std::optional<InputType>>(element.trim())
                  .Case("i32", InputType::I32)
                  .Case("i64", InputType::I64)
                  .Case("f32", InputType::F32)
                  .Case("f64", InputType::F64)
                  .Default(std::nullopt);
  if (!type || rest.empty() || !rest.trim().ends_with("]"))
    return complain(0, "expected the type of an input such as i32[B]: i32, "
                       "i64, f32 or f64 and its dimensions (rule M5)");
  Spec::Input input{entry.key.text, *type, {}, {}};
  StringRef dims = rest.trim().drop_back();
  for (StringRef dim : llvm::split(dims, ',')) {
    size_t offset = dim.trim().data() - text.data();
    dim = dim.trim();
    int64_t extent = 0;
    if (!dim.getAsInteger(10, extent)) {
      if (extent < 1 || extent > maxExtent)
        return complain(offset, "a dimension is an integer from 1 to " +
                                    Twine(maxExtent));
    } else if (dim == "M" || dim == "N") {
      return complain(offset, "inputs over M or N are not supported yet; "
                              "dimensions are B, H, G or numbers (rule M5)");
    } else if (dim != "B" && dim != "H" && dim != "G") {
      return complain(offset, "unknown dimension '" + dim +
                                  "'; dimensions are B, H, G or numbers "
                                  "(rule M5)");
    }
    input.symbols.push_back(extent ? "" : dim.str());
    input.extents.push_back(extent);
  }
  if (input.symbols.size() > maxInputRank)
    return complain(0, "an input has at most " + Twine(maxInputRank) +
                           " dimensions");
  return input;
}

void SpecReader::readInputs(const YamlNode &value) {
  if (value.kind != YamlNode::Mapping)
    return error(value.loc(), "expected a mapping such as {len: i32[B]}");
  if (value.entries.size() > maxNames)
    return error(value.loc(), "more than " + Twine(maxNames) + " inputs");
  for (const YamlEntry &entry : value.entries) {
    std::optional<Spec::Input> input = inputOf(entry);
    if (declare(entry.key) && input)
      spec.inputs.push_back(std::move(*input));
  }
}

void SpecReader::readRopeStyle(const YamlNode &value) {
  if (value.text == "neox")
    spec.rope->style = attn::RopeStyle::Neox;
  else if (value.text == "interleaved")
    spec.rope->style = attn::RopeStyle::Interleaved;
  else
    error(value.loc(), "expected neox (halves rotate together) or interleaved "
                       "(neighbours do) (rule P1)");
}
void SpecReader::readRopeBase(const YamlNode &value) {
  std::optional<double> base = number(value, /*positive=*/true);
  if (base && !(*base > 1))
    error(value.loc(), "the base must be greater than 1 (rule P1)");
  spec.rope->base = base.value_or(2);
}
void SpecReader::readRotaryDim(const YamlNode &value) {
  spec.rope->rotaryDim = integer(value, 2, maxWidth);
}
void SpecReader::readPositions(const YamlNode &value) {
  if (value.text != "implicit" && value.text != "explicit")
    error(value.loc(), "expected implicit or explicit (rule P1)");
  spec.rope->explicitPositions = value.text == "explicit";
}

void SpecReader::readScalingType(const YamlNode &value) {
  std::optional<attn::RopeScalingKind> kind;
  if (value.kind == YamlNode::Scalar)
    kind = attn::symbolizeRopeScalingKind(value.text);
  if (!kind)
    error(value.loc(), "expected linear, dynamic, yarn, llama3 or longrope "
                       "(rule P1)");
  spec.rope->scaling->kind = kind.value_or(attn::RopeScalingKind::Linear);
}
void SpecReader::readFactor(const YamlNode &value) {
  std::optional<double> factor = number(value, /*positive=*/true);
  if (factor && *factor < 1)
    error(value.loc(), "the factor must be at least 1 (rule P1)");
  spec.rope->scaling->factor = factor.value_or(1);
}
void SpecReader::readOriginalLength(const YamlNode &value) {
  spec.rope->scaling->originalLength = integer(value, 2, maxExtent).value_or(2);
}
void SpecReader::readBetaFast(const YamlNode &value) {
  spec.rope->scaling->betaFast = number(value, true).value_or(32);
}
void SpecReader::readBetaSlow(const YamlNode &value) {
  spec.rope->scaling->betaSlow = number(value, true).value_or(1);
}
void SpecReader::readTruncate(const YamlNode &value) {
  spec.rope->scaling->truncate = boolean(value).value_or(true);
}
void SpecReader::readLowFreqFactor(const YamlNode &value) {
  spec.rope->scaling->lowFreqFactor = number(value, true).value_or(1);
}
void SpecReader::readHighFreqFactor(const YamlNode &value) {
  spec.rope->scaling->highFreqFactor = number(value, true).value_or(2);
}
void SpecReader::readAttentionFactor(const YamlNode &value) {
  spec.rope->scaling->attentionFactor = number(value, true).value_or(1);
}
void SpecReader::readShortFactor(const YamlNode &value) {
  spec.rope->scaling->shortFactor = factors(value);
}
void SpecReader::readLongFactor(const YamlNode &value) {
  spec.rope->scaling->longFactor = factors(value);
}

void SpecReader::readNormEps(const YamlNode &value) {
  std::optional<double> eps = number(value, /*positive=*/false);
  if (eps && *eps < 0)
    error(value.loc(), "eps must not be negative");
  spec.qkNorm->eps = eps.value_or(0);
}
void SpecReader::readNormWeight(const YamlNode &value) {
  spec.qkNorm->weight = boolean(value).value_or(true);
}
void SpecReader::readNormOffset(const YamlNode &value) {
  spec.qkNorm->unitOffset = boolean(value).value_or(false);
}

void SpecReader::readSinks(const YamlNode &value) {
  spec.sinks = boolean(value).value_or(false);
}

void SpecReader::readCacheLayout(const YamlNode &value) {
  if (value.text != "contiguous")
    error(value.loc(), "the only layout supported yet is contiguous (rule K1)");
}
void SpecReader::readCacheAppend(const YamlNode &value) {
  if (std::optional<bool> append = boolean(value); append && !*append)
    error(value.loc(),
          "a cache that nothing is appended to is k and v themselves: leave "
          "kv_cache out and give the lengths as inputs: {len: i32[B]} with "
          "mask: j < len[b] (rule K1)");
}

void SpecReader::readOutputs(const YamlNode &value) {
  auto isWord = [](const YamlNode &node, StringRef word) {
    return node.kind == YamlNode::Scalar && node.text == word;
  };
  size_t count = value.items.size();
  if (value.kind != YamlNode::Sequence || count < 1 || count > 2 ||
      !isWord(value.items[0], "o") ||
      (count == 2 && !isWord(value.items[1], "lse")))
    return error(value.loc(), "expected [o] or [o, lse] (rule R1)");
  spec.lse = count == 2;
}

//===----------------------------------------------------------------------===//
// Several keys at once
//===----------------------------------------------------------------------===//

void SpecReader::checkSizes() {
  if (!given("heads.kv"))
    spec.kvHeads = spec.queryHeads;
  if (!given("head_dim.v"))
    spec.valueWidth = spec.qkWidth;
  SMLoc heads = given("heads")->loc(), width = given("head_dim")->loc();
  if (spec.queryHeads % spec.kvHeads != 0)
    return error(heads, "query heads (" + Twine(spec.queryHeads) +
                            ") must be a multiple of kv heads (" +
                            Twine(spec.kvHeads) + ") (rule S1)");
  int64_t row = spec.queryHeads * std::max(spec.qkWidth, spec.valueWidth);
  if (row > maxRowElements)
    return error(width, "heads times head_dim is " + Twine(row) +
                            ", which is more than " + Twine(maxRowElements) +
                            " (rule R5)");
  // Extents are below 2^31 and a row below 2^24, so one product at a time fits.
  int64_t batch = std::max<int64_t>(spec.batch.value_or(1), 1);
  for (std::optional<int64_t> rows : {spec.queryLength, spec.kvLength})
    if (rows.value_or(1) * row > maxTensorElements / batch)
      return error(width, "the fixed extents make a tensor of more than 2^48 "
                          "elements (rule R5)");
}

void SpecReader::checkPrecision() {
  if (spec.precision != attn::Precision::Full && spec.dtype != DType::F32)
    error(given("precision")->loc(),
          attn::stringifyPrecision(spec.precision) +
              " stands for products of f32; leave precision out for other "
              "dtypes (rule S8)");
}

void SpecReader::checkRope() {
  if (!spec.rope)
    return;
  SMLoc loc = given("rope")->loc();
  if (const YamlNode *value = given("rope.rotary_dim"))
    loc = value->loc();
  int64_t rotary = spec.rope->rotaryDim.value_or(spec.qkWidth);
  if (rotary % 2 != 0 || rotary > spec.qkWidth)
    return error(loc, "rotary_dim must be even and at most head_dim (" +
                          Twine(spec.qkWidth) + "), got " + Twine(rotary) +
                          " (rule P1)");
  if (spec.rope->scaling)
    checkScaling();
}

void SpecReader::checkScaling() {
  using Kind = attn::RopeScalingKind;
  const Spec::Rope::Scaling &scaling = *spec.rope->scaling;
  Kind kind = scaling.kind;
  SMLoc loc = given("rope.scaling")->loc();
  struct Use {
    StringRef key;
    bool used, required;
  } uses[] = {
      {"factor", true, kind != Kind::LongRope},
      {"original_length", kind != Kind::Linear, true},
      {"beta_fast", kind == Kind::Yarn, false},
      {"beta_slow", kind == Kind::Yarn, false},
      {"truncate", kind == Kind::Yarn, false},
      {"low_freq_factor", kind == Kind::Llama3, true},
      {"high_freq_factor", kind == Kind::Llama3, true},
      {"attention_factor", kind == Kind::Yarn || kind == Kind::LongRope, false},
      {"short_factor", kind == Kind::LongRope, true},
      {"long_factor", kind == Kind::LongRope, true}};
  StringRef name = attn::stringifyRopeScalingKind(kind);
  for (const Use &use : uses) {
    const YamlNode *value = given(("rope.scaling." + use.key).str());
    if (value && !use.used)
      error(value->loc(), name + " scaling takes no " + use.key + " (rule P1)");
    if (!value && use.used && use.required)
      error(loc, name + " scaling needs " + use.key + " (rule P1)");
  }
  if (kind == Kind::Yarn && !(scaling.betaFast > scaling.betaSlow))
    error(loc, "beta_fast must be greater than beta_slow (rule P1)");
  if (kind == Kind::Llama3 && errors == 0 &&
      !(scaling.highFreqFactor > scaling.lowFreqFactor))
    error(loc, "high_freq_factor must be greater than low_freq_factor "
               "(rule P1)");
  size_t pairs = spec.rope->rotaryDim.value_or(spec.qkWidth) / 2;
  for (StringRef key : {"short_factor", "long_factor"})
    if (const YamlNode *value = given(("rope.scaling." + key).str());
        value && kind == Kind::LongRope && value->items.size() != pairs)
      error(value->loc(), key + " needs one number per frequency, " +
                              Twine(pairs) + ", got " +
                              Twine(value->items.size()) + " (rule P1)");
}

void SpecReader::checkCache() {
  if (!spec.kvCache)
    return;
  if (const YamlNode *value = given("kv_len"))
    error(value->loc(), "with kv_cache the key length is past[b] + M and is "
                        "never fixed; leave kv_len out (rule K1)");
}

/// H and G are known numbers.
void SpecReader::resolveInputs() {
  for (Spec::Input &input : spec.inputs)
    for (auto [symbol, extent] :
         llvm::zip_equal(input.symbols, input.extents)) {
      if (symbol == "H")
        extent = spec.queryHeads;
      else if (symbol == "G")
        extent = spec.kvHeads;
      if (symbol != "B")
        symbol.clear();
    }
}

expr::Expr SpecReader::parseExpression(const YamlNode &value,
                                       const expr::Scope &scope, bool isScore) {
  expr::Diagnostic diagnostic;
  expr::Expr result =
      isScore ? expr::parseScore(*spec.context, scope, value.text, diagnostic)
              : expr::parseMask(*spec.context, scope, value.text, diagnostic);
  if (!result)
    error(value.locOf(diagnostic.offset),
          diagnostic.message +
              (diagnostic.hint.empty() ? "" : "; " + diagnostic.hint));
  return result;
}

void SpecReader::parseExpressions() {
  if (!mask && !score)
    return;
  spec.context = std::make_shared<expr::Context>();
  expr::Scope scope;
  for (const Spec::Param &param : spec.params)
    scope.addParam(param.name);
  for (const Spec::Input &input : spec.inputs)
    scope.addTensor(input.name,
                    input.type == InputType::I32 || input.type == InputType::I64
                        ? expr::Type::Int
                        : expr::Type::Float,
                    input.symbols.size());
  if (mask)
    spec.mask = parseExpression(*mask, scope, /*isScore=*/false);
  if (score)
    spec.score = parseExpression(*score, scope, /*isScore=*/true);
}

/// Where query i stands among the keys must be known to rotate it, and nothing
/// is guessed (M3).
void SpecReader::checkQueryPositions() {
  if (!spec.rope || spec.rope->explicitPositions || !spec.mask)
    return;
  const char *wayOut = "; write the mask with one causal(...), or set "
                       "positions: explicit under rope (rules P1, M3)";
  std::optional<expr::Alignment> alignment =
      expr::findAlignment(*spec.context, spec.mask);
  if (!alignment) {
    if (spec.mask.uses(expr::Var::i) && !spec.kvCache)
      error(mask->loc(),
            Twine("rope cannot tell from this mask where query i stands among "
                  "the keys") +
                wayOut);
    return;
  }
  if (spec.kvCache) {
    if (alignment->kind != expr::Alignment::BottomRight)
      error(mask->loc(), "with kv_cache, new tokens follow those of the past: "
                         "use causal(bottom_right) (rules M3, K3)");
    return;
  }
  if (alignment->kind == expr::Alignment::Offset &&
      !isQueryOffset(alignment->offset))
    error(mask->loc(), Twine("rope needs an offset made of numbers, parameters "
                             "and sizes, or an input t[b]") +
                           wayOut);
}

void SpecReader::warnOfUnused() {
  llvm::StringSet<> used = spec.usedNames();
  auto warn = [&](StringRef name) {
    if (!used.contains(name))
      sourceMgr.PrintMessage(declared[name], SourceMgr::DK_Warning,
                             "'" + name +
                                 "' is declared, but neither mask nor score "
                                 "uses it");
  };
  for (const Spec::Param &param : spec.params)
    warn(param.name);
  for (const Spec::Input &input : spec.inputs)
    warn(input.name);
}

llvm::StringSet<> Spec::usedNames() const {
  llvm::StringSet<> used;
  for (expr::Expr root : {mask, score})
    if (root)
      expr::walk(root, [&](expr::Expr e) {
        if (e.is(expr::Kind::Param) || e.is(expr::Kind::Load))
          used.insert(e.getName());
      });
  return used;
}

std::optional<Spec> fovea::frontend::parseSpec(SourceMgr &sourceMgr) {
  return SpecReader(sourceMgr).read();
}
