// Part of the Fovea project, under the Apache License v2.0 with LLVM
// Exceptions. See LICENSE for license information. SPDX-License-Identifier:
// Apache-2.0 WITH LLVM-exception

// From LLVM's YAML parser to the tree of Yaml.h.

#include "compiler/Frontend/Yaml.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/YAMLParser.h"

using namespace fovea::frontend;
using llvm::SMLoc;
using llvm::SMRange;
using llvm::SourceMgr;
using llvm::StringRef;

namespace yaml = llvm::yaml;

SMLoc YamlNode::locOf(size_t offset) const {
  StringRef raw(range.Start.getPointer(),
                range.End.getPointer() - range.Start.getPointer());
  // The range of a block scalar is its lines alone. Folding changes white space
  // only, so the n-th other character of the value is the n-th of the source.
  size_t wanted = llvm::count_if(StringRef(text).take_front(offset),
                                 [](char c) { return !llvm::isSpace(c); });
  for (size_t at = quoted; at < raw.size(); ++at)
    if (!llvm::isSpace(raw[at]) && wanted-- == 0)
      return SMLoc::getFromPointer(raw.data() + at);
  // Behind the last word; a block scalar ends before the next key.
  return SMLoc::getFromPointer(raw.rtrim().end());
}

/// YAML has no plain scalar with brackets inside { }, but `{len: i32[B]}` is
/// how one writes the type of an input. A copy of the text in which such a type
/// has other brackets, one character for one, reads as meant.
static std::string hideTypeBrackets(StringRef text) {
  std::string copy = text.str();
  for (size_t open = text.find('['); open != StringRef::npos;
       open = text.find('[', open + 1)) {
    StringRef before = text.take_front(open);
    if (!before.ends_with("i32") && !before.ends_with("i64") &&
        !before.ends_with("f32") && !before.ends_with("f64"))
      continue;
    if (before.size() > 3 && (llvm::isAlnum(before[before.size() - 4]) ||
                              before[before.size() - 4] == '_'))
      continue;
    size_t close = text.find_first_not_of(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_, ",
        open + 1);
    if (close == StringRef::npos || text[close] != ']')
      continue;
    for (size_t at = open; at <= close; ++at)
      if (StringRef("[],").contains(text[at]))
        copy[at] = text[at] == '[' ? '`' : text[at] == ']' ? '~' : ';';
  }
  return copy;
}

namespace {

class TreeBuilder {
public:
  TreeBuilder(SourceMgr &sourceMgr, StringRef original, StringRef copy)
      : sourceMgr(sourceMgr), original(original), copy(copy) {}

  std::optional<YamlNode> build(yaml::Node *node, unsigned depth);

  /// The same place in the text as the user wrote it.
  SMLoc translate(const char *pointer) const {
    size_t offset = pointer ? pointer - copy.data() : 0;
    return SMLoc::getFromPointer(original.data() +
                                 std::min(offset, original.size()));
  }
  void error(SMLoc loc, const llvm::Twine &message) {
    hasReported = true;
    sourceMgr.PrintMessage(loc, SourceMgr::DK_Error, message);
  }
  bool hasReported = false;

private:
  bool buildMapping(yaml::MappingNode *mapping, unsigned depth, YamlNode &out);
  SMRange translate(SMRange range) const {
    return {translate(range.Start.getPointer()),
            translate(range.End.getPointer())};
  }
  /// LLVM's collections in brackets start behind the bracket; this is before.
  SMLoc bracketOf(SMLoc inside) const {
    size_t offset = inside.getPointer() - original.data();
    StringRef before = original.take_front(offset).rtrim();
    return before.ends_with("[") || before.ends_with("{")
               ? SMLoc::getFromPointer(before.end() - 1)
               : inside;
  }
  /// The value with the brackets that hideTypeBrackets took away.
  std::string restore(StringRef value, SMRange range) const;

  SourceMgr &sourceMgr;
  StringRef original, copy;
};

} // namespace

std::string TreeBuilder::restore(StringRef value, SMRange range) const {
  std::string result = value.str();
  // Stand-ins of the copy, in order; a value holds them in the same order.
  const char *at = range.Start.getPointer(), *end = range.End.getPointer();
  for (char &c : result) {
    if (c != '`' && c != '~' && c != ';')
      continue;
    while (at != end && *at != c)
      ++at;
    if (at == end)
      break;
    c = original[at - copy.data()];
    ++at;
  }
  return result;
}

bool TreeBuilder::buildMapping(yaml::MappingNode *mapping, unsigned depth,
                               YamlNode &out) {
  llvm::StringMap<SMLoc> seen;
  for (yaml::KeyValueNode &entry : *mapping) {
    yaml::Node *keyNode = entry.getKey();
    if (!keyNode)
      return false;
    std::optional<YamlNode> key = build(keyNode, depth + 1);
    if (!key)
      return false;
    if (key->kind != YamlNode::Scalar) {
      error(key->loc(), "a key must be a word");
      return false;
    }
    auto [first, isNew] = seen.try_emplace(key->text, key->loc());
    if (!isNew) {
      error(key->loc(), "the key '" + key->text + "' is given twice");
      sourceMgr.PrintMessage(first->second, SourceMgr::DK_Note,
                             "it was first given here");
      return false;
    }
    yaml::Node *valueNode = entry.getValue();
    if (!valueNode)
      return false;
    std::optional<YamlNode> value = build(valueNode, depth + 1);
    if (!value)
      return false;
    if (value->kind == YamlNode::Null)
      value->range = key->range;
    out.entries.push_back({std::move(*key), std::move(*value)});
  }
  return true;
}

std::optional<YamlNode> TreeBuilder::build(yaml::Node *node, unsigned depth) {
  YamlNode result;
  result.range = translate(node->getSourceRange());
  if (llvm::isa<yaml::MappingNode, yaml::SequenceNode>(node))
    result.range.Start = bracketOf(result.range.Start);
  if (depth > maxYamlDepth) {
    error(result.loc(), "nested deeper than " + llvm::Twine(maxYamlDepth));
    return std::nullopt;
  }
  if (llvm::isa<yaml::AliasNode>(node) || !node->getAnchor().empty()) {
    error(result.loc(), "anchors and aliases (& and *) are not allowed in a "
                        "spec; write the value out");
    return std::nullopt;
  }
  if (!node->getRawTag().empty()) {
    error(result.loc(), "tags (!) are not allowed in a spec");
    return std::nullopt;
  }
  if (auto *scalar = llvm::dyn_cast<yaml::ScalarNode>(node)) {
    llvm::SmallString<64> storage;
    result.text = restore(scalar->getValue(storage), node->getSourceRange());
    result.quoted = scalar->getRawValue().starts_with("\"") ||
                    scalar->getRawValue().starts_with("'");
    result.kind = YamlNode::Scalar;
    if (!result.quoted &&
        (result.text == "null" || result.text == "~" || result.text.empty()))
      result.kind = YamlNode::Null;
    return result;
  }
  if (auto *scalar = llvm::dyn_cast<yaml::BlockScalarNode>(node)) {
    result.text = restore(scalar->getValue(), node->getSourceRange());
    result.kind = YamlNode::Scalar;
    return result;
  }
  if (auto *mapping = llvm::dyn_cast<yaml::MappingNode>(node)) {
    result.kind = YamlNode::Mapping;
    if (!buildMapping(mapping, depth, result))
      return std::nullopt;
    return result;
  }
  if (auto *sequence = llvm::dyn_cast<yaml::SequenceNode>(node)) {
    result.kind = YamlNode::Sequence;
    for (yaml::Node &item : *sequence) {
      std::optional<YamlNode> built = build(&item, depth + 1);
      if (!built)
        return std::nullopt;
      result.items.push_back(std::move(*built));
    }
    return result;
  }
  return result; // null
}

std::optional<YamlNode> fovea::frontend::parseYaml(SourceMgr &sourceMgr) {
  StringRef original =
      sourceMgr.getMemoryBuffer(sourceMgr.getMainFileID())->getBuffer();
  SMLoc start = SMLoc::getFromPointer(original.begin());
  if (original.size() > maxFileBytes) {
    sourceMgr.PrintMessage(start, SourceMgr::DK_Error,
                           "the file is larger than 1 MiB, which no spec is");
    return std::nullopt;
  }
  if (size_t zero = original.find('\0'); zero != StringRef::npos) {
    sourceMgr.PrintMessage(SMLoc::getFromPointer(original.begin() + zero),
                           SourceMgr::DK_Error,
                           "the file holds a zero byte; a spec is text");
    return std::nullopt;
  }
  std::string copy = hideTypeBrackets(original);
  TreeBuilder builder(sourceMgr, original, copy);

  // LLVM's parser reports to a manager of its own; its first message is passed
  // on, at the place in the user's text.
  SourceMgr inner;
  inner.setDiagHandler(
      [](const llvm::SMDiagnostic &diagnostic, void *context) {
        auto *builder = static_cast<TreeBuilder *>(context);
        if (builder->hasReported || diagnostic.getKind() != SourceMgr::DK_Error)
          return;
        builder->error(builder->translate(diagnostic.getLoc().getPointer()),
                       "this is not YAML: " + diagnostic.getMessage());
      },
      &builder);
  std::error_code code;
  yaml::Stream stream(copy, inner, /*ShowColors=*/false, &code);

  yaml::document_iterator document = stream.begin();
  yaml::Node *root = document == stream.end() ? nullptr : document->getRoot();
  std::optional<YamlNode> tree;
  if (root)
    tree = builder.build(root, 0);
  auto refuse = [&]() -> std::optional<YamlNode> {
    // LLVM's parser gives up on some texts without a word.
    if (!builder.hasReported)
      builder.error(start, "this is not YAML");
    return std::nullopt;
  };
  if (stream.failed() || code || !tree)
    return refuse();
  if (tree->kind == YamlNode::Null) {
    builder.error(start, "the file is empty; a spec needs at least name, "
                         "dtype, heads and head_dim");
    return std::nullopt;
  }
  ++document;
  if (stream.failed())
    return refuse();
  if (document != stream.end()) {
    builder.error(start, "a spec is one YAML document, and this file holds "
                         "several; put each into a file of its own");
    return std::nullopt;
  }
  return tree;
}
