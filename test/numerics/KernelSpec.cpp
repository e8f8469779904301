// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// Drawing kernels and writing them down as IR (see KernelSpec.h).

#include "test/numerics/KernelSpec.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace fovea::numerics;
using llvm::formatv;

static std::string number(int64_t value) { return std::to_string(value); }

static bool isSymbol(const std::string &dim) { return !llvm::isDigit(dim[0]); }

static std::string tensorType(const Argument &argument) {
  std::string type = "tensor<";
  for (const std::string &dim : argument.dims)
    type += (isSymbol(dim) ? "?" : dim) + "x";
  return type + argument.element + ">";
}

llvm::SmallVector<int64_t>
Argument::getShape(const std::map<std::string, int64_t> &symbols) const {
  llvm::SmallVector<int64_t> shape;
  for (const std::string &dim : dims) {
    auto symbol = symbols.find(dim);
    shape.push_back(symbol != symbols.end() ? symbol->second : std::stoll(dim));
  }
  return shape;
}

std::vector<std::string> KernelSpec::getSymbols() const {
  return {"B", "M", cache ? "C" : "N"};
}

std::vector<Argument> KernelSpec::getArguments() const {
  auto tensor = [&](const std::string &name, const std::string &rows,
                    int64_t heads, int64_t width) {
    std::vector<std::string> dims = {"B", rows, number(heads), number(width)};
    if (headsFirst)
      std::swap(dims[1], dims[2]);
    return Argument{name, dims, dtype};
  };
  auto as = [](Argument argument, Argument::Role role) {
    argument.role = role;
    return argument;
  };
  std::vector<Argument> result = {tensor("q", "M", heads, width)};
  std::string rows = cache ? "M" : "N";
  result.push_back(tensor("k", rows, kvHeads, width));
  result.push_back(tensor("v", rows, kvHeads, valueWidth));
  if (cache) {
    for (auto [name, elements] :
         {std::pair("k_cache", width), std::pair("v_cache", valueWidth)})
      result.push_back(
          as(tensor(name, "C", kvHeads, elements), Argument::InOut));
    result.push_back({"past", {"B"}, "i32"});
  }
  if (norm) {
    result.push_back({"q_norm", {number(width)}, dtype});
    result.push_back({"k_norm", {number(width)}, dtype});
  }
  if (rope && rope->explicitPositions) {
    result.push_back({"q_positions", {"B", "M"}, "i32"});
    result.push_back({"k_positions", {"B", cache ? "M" : "N"}, "i32"});
  }
  if (mask.tensor == "len")
    result.push_back({"len", {"B"}, "i32"});
  if (mask.tensor == "keep")
    result.push_back({"keep", {"B", "N"}, "i32"});
  if (mask.tensor == "allowed")
    result.push_back({"allowed", {"B", number(heads), "M", "N"}, "i1"});
  if (!score.empty())
    result.push_back({"slope", {number(heads)}, "f32"});
  if (lengths)
    result.push_back({"lengths", {"B"}, "i32"});
  std::string stateType = dtype == "f64" ? "f64" : "f32";
  if (sinks)
    result.push_back({"sinks", {number(heads)}, stateType});
  result.push_back(as(tensor("o", "M", heads, valueWidth), Argument::Output));
  if (lse)
    result.push_back({"lse",
                      {"B", number(heads), "M"},
                      stateType,
                      Argument::Output,
                      /*optional=*/true});
  return result;
}

namespace {
/// Writes one kernel function.
class Writer {
public:
  explicit Writer(const KernelSpec &spec)
      : spec(spec), arguments(spec.getArguments()) {}
  std::string write();

private:
  const Argument &find(llvm::StringRef name) const {
    return *llvm::find_if(arguments,
                          [&](const Argument &a) { return a.name == name; });
  }
  std::string typeOf(llvm::StringRef name) const {
    return tensorType(find(name));
  }
  bool has(llvm::StringRef name) const {
    return llvm::any_of(arguments,
                        [&](const Argument &a) { return a.name == name; });
  }
  void line(const std::string &text) { body += "  " + text + "\n"; }
  std::string rowOps(const std::string &name, bool isQuery);
  std::string append(const std::string &value, const std::string &name);
  std::string signature() const;
  void attention(const std::string &q, const std::string &k,
                 const std::string &v);

  const KernelSpec &spec;
  std::vector<Argument> arguments;
  std::string body;
};
} // namespace

std::string Writer::signature() const {
  static const char *roles[] = {"input", "output", "inout"};
  std::vector<std::string> inputs, results;
  for (const Argument &argument : arguments) {
    std::vector<std::string> dims;
    for (const std::string &dim : argument.dims)
      dims.push_back(isSymbol(dim) ? "\"" + dim + "\"" : dim);
    inputs.push_back(formatv(
        "%{0}: {1} {{attn.name = \"{0}\", attn.role = \"{2}\"{3}, "
        "attn.dims = [{4}]}",
        argument.name, tensorType(argument), roles[argument.role],
        argument.optional ? ", attn.optional" : "", llvm::join(dims, ", ")));
    if (argument.role != Argument::Input)
      results.push_back(tensorType(argument));
  }
  for (const Parameter &param : spec.mask.params)
    inputs.push_back(
        formatv("%param_{0}: i64 {{attn.name = \"{0}\", attn.role = "
                "\"param\"}",
                param.name));
  std::vector<std::string> symbols;
  for (const std::string &symbol : spec.getSymbols())
    symbols.push_back("\"" + symbol + "\"");
  return formatv("func.func @kernel({0}) -> ({1}) attributes {{attn.symbols = "
                 "[{2}]} {{\n",
                 llvm::join(inputs, ", "), llvm::join(results, ", "),
                 llvm::join(symbols, ", "));
}

/// Norm and RoPE of q or of the new keys.
std::string Writer::rowOps(const std::string &name, bool isQuery) {
  std::string value = "%" + name, type = typeOf(name);
  auto temporary = [&](const std::string &suffix) {
    std::string result = "%" + name + suffix;
    line(formatv("{0}_out = tensor.empty(%B, {1}) : {2}", result,
                 isQuery || spec.cache ? "%M" : "%N", type));
    return result;
  };
  if (spec.norm) {
    std::string result = temporary("_normed");
    std::string weight = isQuery ? "q_norm" : "k_norm";
    line(formatv("{0} = attn.rms_norm ins({1} : {2}) weight(%{3} : {4}) "
                 "outs({0}_out : {2}) {{eps = 1.0e-6 : f64{5}} -> {2}",
                 result, value, type, weight, typeOf(weight),
                 isQuery ? "" : ", unit_offset"));
    value = result;
  }
  if (spec.rope) {
    std::string result = temporary("_turned"), place;
    if (spec.rope->explicitPositions) {
      std::string positions = isQuery ? "q_positions" : "k_positions";
      place = formatv(" positions(%{0} : {1})", positions, typeOf(positions));
    } else if (spec.cache) {
      place = formatv(" offset(%past : {0})", typeOf("past"));
    } else if (isQuery) {
      place = " offset(%offset : i64)";
    }
    if (spec.rope->needsLength) {
      if (spec.cache)
        place += " length(%keys : tensor<?xi32>)";
      else if (spec.lengths)
        place += " length(%lengths : " + typeOf("lengths") + ")";
      else
        place += " length(%length : i64)";
    }
    std::string scaling;
    if (!spec.rope->scaling.empty())
      scaling = ", scaling = #attn.rope_scaling<" + spec.rope->scaling + ">";
    line(formatv("{0} = attn.rope ins({1} : {2}){3} outs({0}_out : {2}) "
                 "{{style = #attn.rope_style<{4}>, base = 1.0e4 : f64, "
                 "rotary_dim = {5} : i64{6}} -> {2}",
                 result, value, type, place, spec.rope->style, spec.rope->width,
                 scaling));
    value = result;
  }
  return value;
}

std::string Writer::append(const std::string &value, const std::string &name) {
  std::string cache = name + "_cache";
  line(formatv("%{0}_all = attn.append ins({1} : {2}) past(%past : {3}) "
               "outs(%{4} : {5}) -> {5}",
               name, value, typeOf(name), typeOf("past"), cache,
               typeOf(cache)));
  return "%" + name + "_all";
}

void Writer::attention(const std::string &q, const std::string &k,
                       const std::string &v) {
  std::string keys = spec.cache ? "k_cache" : "k";
  std::string values = spec.cache ? "v_cache" : "v";
  std::string text =
      formatv("attn.attention ins({0}, {1}, {2} : {3}, {4}, {5})", q, k, v,
              typeOf("q"), typeOf(keys), typeOf(values));
  if (spec.cache)
    text += " lengths(%keys : tensor<?xi32>)";
  else if (spec.lengths)
    text += " lengths(%lengths : " + typeOf("lengths") + ")";
  if (spec.sinks)
    text += " sinks(%sinks : " + typeOf("sinks") + ")";
  std::vector<std::string> captures;
  for (const Parameter &param : spec.mask.params)
    captures.push_back(formatv("{0} = %param_{0} : i64", param.name));
  for (const char *tensor : {"len", "keep", "allowed", "slope"})
    if (has(tensor))
      captures.push_back(formatv("{0} = %{0} : {1}", tensor, typeOf(tensor)));
  if (!captures.empty())
    text += " captures(" + llvm::join(captures, ", ") + ")";
  std::string outs = "%o", types = typeOf("o");
  if (spec.lse) {
    outs += ", %lse";
    types += ", " + typeOf("lse");
  }
  text += " outs(" + outs + " : " + types + ")";
  if (!spec.score.empty())
    text += " score(\"" + spec.score + "\")";
  if (!spec.mask.text.empty())
    text += " mask(\"" + spec.mask.text + "\")";
  std::vector<std::string> attributes;
  if (spec.bf16x6)
    attributes.push_back("precision = #attn.precision<bf16x6>");
  if (spec.headsFirst) {
    std::string head = "g * " + number(spec.heads / spec.kvHeads) + " + r";
    std::string maps;
    for (const std::string &map :
         {"b, " + head + ", m, d", std::string("b, g, n, d"),
          std::string("b, g, n, e"), "b, " + head + ", m, e",
          "b, " + head + ", m"}) {
      if (map.ends_with("m") && !spec.lse)
        continue;
      maps += (maps.empty() ? "" : ", ") +
              ("affine_map<(b, g, r, m, n, d, e) -> (" + map + ")>");
    }
    attributes.push_back("indexing_maps = [" + maps + "]");
  }
  if (!attributes.empty())
    text += " {" + llvm::join(attributes, ", ") + "}";
  line("%attended" + std::string(spec.lse ? ":2" : "") + " = " + text + " -> " +
       types);
}

std::string Writer::write() {
  std::string keys = spec.cache ? "k_cache" : "k";
  line("%c0 = arith.constant 0 : index");
  line(formatv("%rows = arith.constant {0} : index", spec.headsFirst ? 2 : 1));
  line("%B = tensor.dim %q, %c0 : " + typeOf("q"));
  line("%M = tensor.dim %q, %rows : " + typeOf("q"));
  line(formatv("%N = tensor.dim %{0}, %rows : {1}", keys, typeOf(keys)));
  line("%length = arith.index_cast %N : index to i64");
  line("%difference = arith.subi %N, %M : index");
  line("%offset = arith.index_cast %difference : index to i64");
  if (spec.cache) {
    line("%M32 = arith.index_cast %M : index to i32");
    line("%keys_out = tensor.empty(%B) : tensor<?xi32>");
    line(formatv("%keys = linalg.generic {{indexing_maps = [affine_map<(d0) -> "
                 "(d0)>, affine_map<(d0) -> (d0)>], iterator_types = "
                 "[\"parallel\"]} ins(%past : {0}) outs(%keys_out : {0}) {{",
                 typeOf("past")));
    line("^bb0(%x: i32, %y: i32):");
    line("  %z = arith.addi %x, %M32 : i32");
    line("  linalg.yield %z : i32");
    line("} -> tensor<?xi32>");
  }
  std::string q = rowOps("q", /*isQuery=*/true),
              k = rowOps("k", /*isQuery=*/false), v = "%v";
  if (spec.cache) {
    k = append(k, "k");
    v = append("%v", "v");
  }
  attention(q, k, v);
  std::string returned, types;
  if (spec.cache) {
    returned = k + ", " + v + ", ";
    types = typeOf("k_cache") + ", " + typeOf("v_cache") + ", ";
  }
  returned += spec.lse ? "%attended#0, %attended#1" : "%attended";
  types += typeOf("o") + (spec.lse ? ", " + typeOf("lse") : "");
  line("return " + returned + " : " + types);
  return signature() + body + "}\n";
}

std::string KernelSpec::getText() const { return Writer(*this).write(); }

std::string KernelSpec::describe() const {
  std::string text =
      formatv("{0} {1}/{2} d{3}/{4}", dtype, heads, kvHeads, width, valueWidth);
  if (!mask.text.empty())
    text += " [" + mask.text + "]";
  if (!score.empty())
    text += " score " + score;
  if (rope)
    text += " rope " + rope->style + ":" + number(rope->width) +
            (rope->scaling.empty()
                 ? ""
                 : " " + rope->scaling.substr(0, rope->scaling.find(','))) +
            (rope->explicitPositions ? " positions" : "");
  for (auto [flag, word] :
       {std::pair(lengths, "lengths"), std::pair(sinks, "sinks"),
        std::pair(lse, "lse"), std::pair(norm, "norm"),
        std::pair(headsFirst, "bhsd"), std::pair(cache, "append"),
        std::pair(bf16x6, "bf16x6")})
    if (flag)
      text += std::string(" ") + word;
  return text;
}

//===----------------------------------------------------------------------===//
// Drawing
//===----------------------------------------------------------------------===//

/// Every kind of mask that a spec can say, and compositions of them.
static const Mask masks[] = {
    {""},
    {"causal(top_left)"},
    {"causal(bottom_right)"},
    {"causal(offset(p))", {{"p", -9, 40}}},
    {"causal(bottom_right) and window(w, 0)", {{"w", -1, 90}}},
    {"window(5, 3, bottom_right)"},
    {"window(l, r, top_left)", {{"l", -1, 70}, {"r", -1, 70}}},
    {"causal(top_left) and window(0, -1)"},
    {"prefix(17) or causal(bottom_right)"},
    {"prefix(p) and not prefix(q)", {{"p", 0, 200}, {"q", 0, 40}}},
    {"chunk(16, top_left)"},
    {"chunk(c, bottom_right) and causal(bottom_right)", {{"c", 1, 100}}},
    {"strided(3, bottom_right)"},
    {"strided(n, top_left) and causal(top_left)", {{"n", 1, 150}}},
    {"dilated(4, 2, 3, bottom_right)"},
    {"dilated(l, 0, step, bottom_right)", {{"l", -1, 20}, {"step", 1, 9}}},
    {"fixed(32, 4, bottom_right) and causal(bottom_right)"},
    {"global(2, bottom_right) or window(6, 6, bottom_right)"},
    {"not causal(top_left)"},
    {"not window(9, 9, bottom_right) and causal(bottom_right)"},
    {"not (prefix(p) or strided(5, top_left))", {{"p", 0, 30}}},
    {"j < len[b]", {}, "len"},
    {"j < len[b] and i < len[b]", {}, "len"},
    {"causal(bottom_right) and j >= N - len[b]", {}, "len"},
    {"keep[b, j] != 0", {}, "keep"},
    {"keep[b, j] != 0 and causal(bottom_right)", {}, "keep"},
    {"dense(allowed)", {}, "allowed", true},
    {"(i + j) % 3 != 1"},
    {"i * j % 5 < 2"},
    {"h % 2 == 0 or j <= i"},
    {"i % 7 != 3 and j <= 2 * i + 5"},
    {"j > N"},
    {"l <= j < u and j != i", {{"l", -5, 50}, {"u", 0, 300}}},
    {"b + h + i >= j", {}, "", true},
    {"j // 4 <= i // 3 and not prefix(p)", {{"p", 0, 20}}},
    {"abs(i - j) <= max(h, G) * D // 2"},
    {"min(i, j) < p or (i + N - M - j) % 32 == 0 and B > 0",
     {{"p", 0, 12}},
     "",
     true},
};

static const char *ropeScalings[] = {
    "",
    "kind = linear, factor = 4.0",
    "kind = dynamic, factor = 4.0, original_length = 64",
    "kind = dynamic, factor = 2.0, original_length = 150",
    "kind = yarn, factor = 8.0, original_length = 128, beta_fast = 32.0, "
    "beta_slow = 1.0",
    "kind = yarn, factor = 8.0, original_length = 128, beta_fast = 32.0, "
    "beta_slow = 1.0, truncate = false",
    "kind = llama3, factor = 8.0, original_length = 256, low_freq_factor = "
    "1.0, high_freq_factor = 4.0",
};

static const char *scores[] = {
    "20.0 * tanh(s / 20.0)",
    "s - slope[h] * abs(i - j)",
    "5.0 * tanh((s + slope[h] * (j - i) / 100.0) / 5.0)",
    "s + 0.5 * sin(float(i + 3 * j)) * slope[h]",
};

/// The divisors of LongRope, one per frequency.
static std::string drawLongRope(Random &random, int64_t frequencies) {
  auto divisors = [&](int64_t low, int64_t high) {
    std::string list;
    for (int64_t k = 0; k < frequencies; ++k)
      list += (k == 0 ? "" : ", ") + number(drawBetween(random, low, high)) +
              "." + number(drawBetween(random, 0, 9));
    return list;
  };
  std::string shorts = divisors(1, 3), longs = divisors(2, 20);
  return "kind = longrope, factor = 4.0, original_length = 64, "
         "short_factor = [" +
         shorts + "], long_factor = [" + longs + "]";
}

static Rope drawRope(Random &random, int64_t width) {
  Rope rope;
  rope.style = drawOneIn(random, 2) ? "neox" : "interleaved";
  rope.width = width / 2 * 2;
  if (rope.width > 2 && drawOneIn(random, 3))
    rope.width = drawBetween(random, 1, rope.width / 2) * 2;
  rope.scaling = drawOneIn(random, 6) ? drawLongRope(random, rope.width / 2)
                                      : drawFrom(random, ropeScalings);
  rope.needsLength = rope.scaling.starts_with("kind = dynamic") ||
                     rope.scaling.starts_with("kind = longrope");
  rope.explicitPositions = drawOneIn(random, 4);
  return rope;
}

KernelSpec fovea::numerics::drawSpec(Random &random, int64_t index) {
  static const char *dtypes[] = {"f32", "bf16", "f16", "f64"};
  static const std::pair<int64_t, int64_t> heads[] = {{1, 1}, {4, 4}, {8, 2},
                                                      {6, 3}, {5, 1}, {9, 3}};
  static const int64_t widths[] = {1, 3, 8, 16, 17, 33, 64, 80, 128, 160};
  KernelSpec spec;
  spec.dtype = dtypes[index % std::size(dtypes)];
  std::tie(spec.heads, spec.kvHeads) = drawFrom(random, heads);
  spec.width = drawFrom(random, widths);
  spec.valueWidth =
      drawOneIn(random, 2) ? spec.width : drawFrom(random, widths);
  // Round after round each mask meets each dtype.
  static_assert(std::size(masks) % 2 == 1);
  spec.mask = masks[index % std::size(masks)];
  spec.lse = drawOneIn(random, 2);
  spec.sinks = drawOneIn(random, 4);
  if (drawOneIn(random, 4))
    spec.score = drawFrom(random, scores);
  spec.cache = (spec.mask.tensor.empty() || spec.mask.tensor == "len") &&
               drawOneIn(random, 4);
  if (spec.width > 1 && drawOneIn(random, 3))
    spec.rope = drawRope(random, spec.width);
  spec.norm = drawOneIn(random, 6);
  if (!spec.cache) {
    spec.lengths = drawOneIn(random, 5);
    // RoPE counts rows in dimension 1.
    spec.headsFirst = !spec.rope && !spec.norm && drawOneIn(random, 4);
  }
  return spec;
}
