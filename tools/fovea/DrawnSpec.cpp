// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Drawing and simplifying specs: see DrawnSpec.h.

#include "tools/fovea/DrawnSpec.h"
#include "tools/fovea/Random.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using llvm::StringRef;

namespace fovea {
namespace {

/// What expressions may refer to: declared in a spec that uses the name.
struct Declaration {
  const char *name, *type;
};
constexpr Declaration inputs[] = {
    {"len", "i32[B]"},      {"first", "i64[B]"}, {"reach", "i32[H]"},
    {"row", "i32[B, H]"},   {"group", "i32[G]"}, {"table", "i64[7]"},
    {"grid", "i32[5, 3]"},  {"slope", "f32[H]"}, {"bias", "f32[B, H]"},
    {"weight", "f64[B, 3]"}};
/// Parameters with their defaults.
constexpr Declaration params[] = {
    {"w", "9"}, {"p", "null"}, {"n", "16"}, {"c", "null"}};

constexpr const char *scores[] = {
    "20.0 * tanh(s / 20.0)",
    "s - slope[h] * abs(i - j)",
    "5.0 * tanh((s + slope[h] * (j - i) / 100.0) / 5.0)",
    "s + 0.5 * sin(float(i + 3 * j)) * slope[h]",
    "s + bias[b, h]",
    "s * weight[b, j % 3]",
    "where(j < w, s, 0.5 * s)",
    "where(s > 0.0, s, 0.25 * s)",
    "max(s, -3.0)",
    "s - log(1.0 + float(abs(i - j)))",
    "s / sqrt(float(1 + j % 5))",
    "s + cos(s)",
    "exp(min(s, 3.0))",
    "2.0 * s + float(table[j % 7]) / 50.0",
};

class SpecDrawer {
public:
  explicit SpecDrawer(uint64_t seed) : random(seed) {}
  DrawnSpec draw();

private:
  Random random;
  DrawnSpec spec;
  std::string alignment;
  /// Masks name the row only through the alignment, which RoPE then knows.
  bool rowsByAlignment = false;

  void drawAlignment(bool hasCache);
  void drawRope();
  std::string small();
  DrawnExpr drawInteger(int depth);
  DrawnExpr drawComparison();
  DrawnExpr drawNamed();
  DrawnExpr drawMask(int depth);
  static std::string number(int64_t value) { return std::to_string(value); }
};

std::string SpecDrawer::small() {
  static constexpr const char *words[] = {"1",  "2",  "3",  "5", "8", "16",
                                          "17", "33", "64", "w", "p", "n"};
  return random.from(words);
}

void SpecDrawer::drawAlignment(bool hasCache) {
  static constexpr const char *alignments[] = {
      "bottom_right", "bottom_right", "top_left",        "offset(p)",
      "offset(7)",    "offset(-3)",   "offset(first[b])"};
  alignment = hasCache && (rowsByAlignment || !random.oneIn(4))
                  ? "bottom_right"
                  : random.from(alignments);
}

DrawnExpr SpecDrawer::drawInteger(int depth) {
  static constexpr const char *leaves[] = {"j", "j", "h", "b", "N", "M", "B",
                                           "H", "G", "D", "w", "p", "n"};
  static constexpr const char *loads[] = {
      "len[b]",       "first[b]",     "reach[h]",          "row[b, h]",
      "group[h % G]", "table[j % 7]", "grid[h % 5, j % 3]"};
  static constexpr const char *operators[] = {
      "($0 + $1)",   "($0 - $1)",    "$0 * $1",
      "($0 // $1)",  "($0 % $1)",    "min($0, $1)",
      "max($0, $1)", "abs($0 - $1)", "where($0 < $1, $0, $1)"};
  if (depth == 0 || random.oneIn(3)) {
    if (random.oneIn(4))
      return {DrawnExpr::Int, random.from(loads)};
    if (random.oneIn(3))
      return {DrawnExpr::Int, number(random.between(1, 60))};
    if (!rowsByAlignment && random.oneIn(3))
      return {DrawnExpr::Int, "i"};
    return {DrawnExpr::Int, random.from(leaves)};
  }
  std::string format = random.from(operators);
  // A divisor that is the constant 0 is refused; a leaf is none, whatever it
  // is at run time.
  bool divides = format.find_first_of("/%") != std::string::npos;
  return {DrawnExpr::Int,
          format,
          {drawInteger(depth - 1), drawInteger(divides ? 0 : depth - 1)}};
}

DrawnExpr SpecDrawer::drawComparison() {
  static constexpr const char *forms[] = {"$0 < $1",  "$0 <= $1", "$0 > $1",
                                          "$0 >= $1", "$0 != $1", "$0 == $1"};
  if (random.oneIn(5))
    return {DrawnExpr::Bool,
            "$0 <= $1 < $2",
            {drawInteger(1), {DrawnExpr::Int, "j"}, drawInteger(1)}};
  if (random.oneIn(3))
    return {DrawnExpr::Bool,
            random.oneIn(2) ? "$0 < $1" : "$0 >= $1",
            {{DrawnExpr::Int, "j"}, drawInteger(1)}};
  return {
      DrawnExpr::Bool, random.from(forms), {drawInteger(2), drawInteger(2)}};
}

DrawnExpr SpecDrawer::drawNamed() {
  auto side = [&] { return random.oneIn(5) ? "-1" : small(); };
  std::string at = ", " + alignment + ")";
  switch (random.between(0, 9)) {
  case 0:
  case 1:
    return {DrawnExpr::Bool, "causal(" + alignment + ")"};
  case 2:
  case 3:
    return {DrawnExpr::Bool, "window(" + side() + ", " + side() + at};
  case 4:
    return {DrawnExpr::Bool,
            "dilated(" + side() + ", " + side() + ", " + small() + at};
  case 5:
    return {DrawnExpr::Bool, "prefix(" + small() + ")"};
  case 6:
    return {DrawnExpr::Bool,
            (random.oneIn(2) ? "chunk(" : "strided(") + small() + at};
  case 7:
    return {DrawnExpr::Bool, "fixed(" + small() + ", " + small() + at};
  case 8:
    return {DrawnExpr::Bool, "global(" + small() + at};
  default:
    return {DrawnExpr::Bool, "lengths(len)"};
  }
}

DrawnExpr SpecDrawer::drawMask(int depth) {
  if (depth == 0 || random.oneIn(3))
    return random.oneIn(3) ? drawComparison() : drawNamed();
  if (random.oneIn(4))
    return {DrawnExpr::Bool, "not ($0)", {drawMask(depth - 1)}};
  return {DrawnExpr::Bool,
          random.oneIn(3) ? "($0 or $1)" : "($0 and $1)",
          {drawMask(depth - 1), drawMask(depth - 1)}};
}

void SpecDrawer::drawRope() {
  auto set = [&](const char *key, const std::string &value) {
    spec.keys[std::string("rope.") + key] = value;
  };
  int64_t width = spec.qkWidth / 2 * 2;
  bool isPartial = width != spec.qkWidth || random.oneIn(3);
  if (isPartial) {
    width = random.between(1, width / 2) * 2;
    set("rotary_dim", number(width));
  }
  set("style", random.oneIn(2) ? "neox" : "interleaved");
  if (random.oneIn(3))
    set("base", random.oneIn(2) ? "500000" : "100.5");
  if (!rowsByAlignment)
    set("positions", "explicit");
  if (random.oneIn(2))
    return;
  auto setScaling = [&](const char *key, const std::string &value) {
    set((std::string("scaling.") + key).c_str(), value);
  };
  auto divisors = [&](int64_t low, int64_t high) {
    std::vector<std::string> list;
    for (int64_t k = 0; k != width / 2; ++k)
      list.push_back(number(random.between(low, high)) + "." +
                     number(random.between(0, 9)));
    return "[" + llvm::join(list, ", ") + "]";
  };
  static constexpr const char *factors[] = {"1.0", "2.0", "4.0", "8.5"};
  static constexpr const char *lengths[] = {"16", "64", "150", "4096"};
  static constexpr const char *types[] = {"linear", "dynamic", "yarn", "llama3",
                                          "longrope"};
  StringRef type = random.from(types);
  setScaling("type", type.str());
  setScaling("factor", random.from(factors));
  if (type != "linear")
    setScaling("original_length", random.from(lengths));
  if (type == "yarn" && random.oneIn(2))
    setScaling("truncate", "false");
  if (type == "yarn" && random.oneIn(3))
    setScaling("beta_fast", "16");
  if (type == "yarn" && random.oneIn(3))
    setScaling("beta_slow", "0.5");
  if ((type == "yarn" || type == "longrope") && random.oneIn(3))
    setScaling("attention_factor", "1.25");
  if (type == "llama3") {
    setScaling("low_freq_factor", "1.0");
    setScaling("high_freq_factor", "4.0");
  }
  if (type == "longrope") {
    setScaling("short_factor", divisors(1, 3));
    setScaling("long_factor", divisors(2, 20));
  }
}

DrawnSpec SpecDrawer::draw() {
  static constexpr const char *dtypes[] = {"f32", "bf16", "f16", "f64"};
  static constexpr int64_t kvHeads[] = {1, 1, 2, 3, 4};
  static constexpr int64_t groups[] = {1, 1, 2, 3, 4, 5, 7};
  static constexpr int64_t widths[] = {1,  2,  3,   5,   8,   16, 17,
                                       24, 31, 32,  33,  40,  64, 72,
                                       80, 96, 100, 128, 160, 256};
  spec.dtype = random.from(dtypes);
  spec.kvHeads = random.from(kvHeads);
  spec.queryHeads = spec.kvHeads * random.from(groups);
  spec.qkWidth = random.from(widths);
  spec.valueWidth = random.oneIn(2) ? spec.qkWidth : random.from(widths);
  bool hasCache = random.oneIn(4);
  if (hasCache)
    spec.keys["kv_cache"] = "{append: true}";
  if (random.oneIn(8))
    spec.keys["batch"] = number(random.between(1, 3));
  if (random.oneIn(6))
    spec.keys["query_len"] = number(random.between(0, 70));
  if (!hasCache && random.oneIn(6))
    spec.keys["kv_len"] = number(random.between(0, 140));
  if (random.oneIn(6))
    spec.keys["scale"] = random.oneIn(2) ? "0.1875" : "-0.25";
  if (spec.dtype == "f32" && random.oneIn(3))
    spec.keys["precision"] = random.oneIn(4) ? "full" : "bf16x6";
  if (random.oneIn(4))
    spec.keys["sinks"] = "true";
  if (random.oneIn(3))
    spec.keys["outputs"] = "[o]";
  if (random.oneIn(5)) {
    spec.keys["qk_norm.eps"] = random.oneIn(2) ? "1e-6" : "0.01";
    if (random.oneIn(3))
      spec.keys["qk_norm.weight"] = "false";
    if (random.oneIn(3))
      spec.keys["qk_norm.unit_offset"] = "true";
  }
  bool hasRope = spec.qkWidth > 1 && random.oneIn(3);
  rowsByAlignment = hasRope && !random.oneIn(3);
  drawAlignment(hasCache);
  if (hasRope)
    drawRope();
  if (!random.oneIn(6)) {
    DrawnExpr mask = drawMask(static_cast<int>(random.between(0, 3)));
    // RoPE asks for a causal mask if there is an alignment at all.
    if (rowsByAlignment)
      mask = {DrawnExpr::Bool,
              "causal(" + alignment + ") and $0",
              {std::move(mask)}};
    spec.mask = std::move(mask);
  }
  if (random.oneIn(4))
    spec.keys["score"] = random.from(scores);
  return spec;
}

/// The identifiers of an expression.
llvm::StringSet<> wordsOf(StringRef text) {
  llvm::StringSet<> words;
  while (!text.empty()) {
    StringRef word =
        text.take_while([](char c) { return llvm::isAlnum(c) || c == '_'; });
    words.insert(word);
    text = text.drop_front(std::max<size_t>(word.size(), 1));
  }
  return words;
}

std::string quoted(const std::string &expression) {
  return "'" + expression + "'";
}

} // namespace

std::string DrawnExpr::text() const {
  std::string result;
  for (size_t i = 0; i != format.size(); ++i)
    result += format[i] == '$' ? operands[format[++i] - '0'].text()
                               : std::string(1, format[i]);
  return result;
}

std::vector<DrawnExpr> DrawnExpr::simpler() const {
  std::vector<DrawnExpr> result;
  for (const DrawnExpr &operand : operands)
    if (operand.type == type)
      result.push_back(operand);
  for (size_t i = 0; i != operands.size(); ++i)
    for (DrawnExpr &operand : operands[i].simpler()) {
      result.push_back(*this);
      result.back().operands[i] = std::move(operand);
    }
  return result;
}

std::string DrawnSpec::text() const {
  auto mapping = [](const char *first, int64_t a, const char *second,
                    int64_t b) {
    return std::string("{") + first + ": " + std::to_string(a) + ", " + second +
           ": " + std::to_string(b) + "}\n";
  };
  std::string result = "name: drawn\ndtype: " + dtype + "\nheads: " +
                       mapping("query", queryHeads, "kv", kvHeads) +
                       "head_dim: " + mapping("qk", qkWidth, "v", valueWidth);
  std::string expressions;
  if (mask) {
    expressions = mask->text();
    result += "mask: " + quoted(expressions) + "\n";
  }
  // The keys of a mapping stand together, since they are sorted.
  std::vector<StringRef> open;
  for (const auto &[path, value] : keys) {
    llvm::SmallVector<StringRef> parts;
    StringRef(path).split(parts, '.');
    size_t common = 0;
    while (common < open.size() && common + 1 < parts.size() &&
           open[common] == parts[common])
      ++common;
    open.resize(common);
    for (; common + 1 < parts.size(); ++common) {
      result += std::string(2 * common, ' ') + parts[common].str() + ":\n";
      open.push_back(parts[common]);
    }
    bool isScore = path == "score";
    if (isScore)
      expressions += " " + value;
    result += std::string(2 * common, ' ') + parts.back().str() + ": " +
              (isScore ? quoted(value) : value) + "\n";
  }
  llvm::StringSet<> used = wordsOf(expressions);
  auto declare = [&](const char *key, llvm::ArrayRef<Declaration> all) {
    std::string lines;
    for (const Declaration &entry : all)
      if (used.contains(entry.name))
        lines += std::string("  ") + entry.name + ": " + entry.type + "\n";
    if (!lines.empty())
      result += std::string(key) + ":\n" + lines;
  };
  declare("params", params);
  declare("inputs", inputs);
  return result;
}

DrawnSpec drawSpec(uint64_t seed, int64_t kernel) {
  // Calls are drawn from the sum of both (CheckedCall.cpp); their numbers must
  // not be these.
  return SpecDrawer(~(seed * 1000003 + kernel)).draw();
}

std::vector<DrawnCall> simplify(const DrawnCall &call) {
  std::vector<DrawnCall> result;
  auto add = [&](auto change) {
    DrawnCall simpler = call;
    change(simpler);
    result.push_back(std::move(simpler));
  };
  const DrawnSpec &spec = call.spec;
  // Numbers: the least, half, one less.
  auto addLess = [&](int64_t value, int64_t least, auto member) {
    for (int64_t less : {least, value / 2, value - 1})
      if (less >= least && less < value)
        add([&](DrawnCall &simpler) { member(simpler) = less; });
  };
  // First what makes all further tries shorter.
  for (const auto &entry : call.extents)
    addLess(entry.second, 1, [&](DrawnCall &simpler) -> int64_t & {
      return simpler.extents[entry.first];
    });
  // Without a key, or without all of a mapping: "rope." is the start of its
  // keys.
  std::vector<std::string> starts;
  for (const auto &entry : spec.keys) {
    const std::string &path = entry.first;
    for (size_t dot = path.find('.'); dot != std::string::npos;
         dot = path.find('.', dot + 1))
      if (!llvm::is_contained(starts, path.substr(0, dot + 1)))
        starts.push_back(path.substr(0, dot + 1));
  }
  for (const std::string &start : starts)
    add([&](DrawnCall &simpler) {
      std::erase_if(simpler.spec.keys, [&](const auto &entry) {
        return StringRef(entry.first).starts_with(start);
      });
    });
  if (spec.mask)
    add([](DrawnCall &simpler) { simpler.spec.mask.reset(); });
  for (const auto &entry : spec.keys)
    add([&](DrawnCall &simpler) { simpler.spec.keys.erase(entry.first); });
  if (spec.mask)
    for (DrawnExpr &mask : spec.mask->simpler())
      add([&](DrawnCall &simpler) { simpler.spec.mask = std::move(mask); });
  if (spec.dtype != "f32")
    add([](DrawnCall &simpler) { simpler.spec.dtype = "f32"; });

  if (spec.queryHeads != spec.kvHeads)
    add([](DrawnCall &simpler) {
      simpler.spec.queryHeads = simpler.spec.kvHeads;
    });
  if (spec.kvHeads != 1)
    add([](DrawnCall &simpler) {
      simpler.spec.queryHeads /= simpler.spec.kvHeads;
      simpler.spec.kvHeads = 1;
    });
  addLess(spec.qkWidth, 1,
          [](DrawnCall &simpler) -> int64_t & { return simpler.spec.qkWidth; });
  addLess(spec.valueWidth, 1, [](DrawnCall &simpler) -> int64_t & {
    return simpler.spec.valueWidth;
  });
  return result;
}

DrawnCall shrink(DrawnCall call, unsigned tries,
                 llvm::function_ref<bool(DrawnCall &)> fails) {
  // After a step that holds, the next list is taken up where this one stood:
  // what failed to fail before will mostly do so again.
  size_t start = 0;
  for (bool found = true; found;) {
    found = false;
    std::vector<DrawnCall> simpler = simplify(call);
    for (size_t i = 0; i != simpler.size() && !found; ++i) {
      if (tries-- == 0)
        return call;
      size_t at = (start + i) % simpler.size();
      if (fails(simpler[at])) {
        call = std::move(simpler[at]);
        start = at;
        found = true;
      }
    }
  }
  return call;
}

} // namespace fovea
