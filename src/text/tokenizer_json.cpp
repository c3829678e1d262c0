#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "base/json_limits.h"
#include "minimind/base/error.h"
#include "minimind/base/fields.h"
#include "minimind/base/file.h"
#include "text/byte_bpe.h"

namespace minimind::text_detail {

namespace {

using nlohmann::json;

class TokenizerJsonReader {
 public:
  explicit TokenizerJsonReader(std::string path) : path_(std::move(path)) {}

  ByteBpeModel read() {
    const std::string text = read_file(path_);
    check_json_limits(text, path_);
    json root;
    try {
      root = json::parse(text);
    } catch (const json::parse_error& error) {
      fail(path_, ": malformed JSON at ", line_and_column(text, error.byte > 0 ? error.byte - 1 : 0));
    }
    expect(root.is_object(), "the file", "an object", root);
    check_pipeline(root);
    const json& model = member(root, "model", "");
    check_model(model);
    ByteBpeModel result;
    read_vocab(member(model, "vocab", "model."), result);
    read_merges(member(model, "merges", "model."), result);
    if (root.contains("added_tokens") && !root["added_tokens"].is_null()) {
      read_added(root["added_tokens"], result);
    }
    return result;
  }

 private:
  void expect(bool condition, const std::string& place, const std::string& expected, const json& found) const {
    // Nothing but the place and the value is worked out for the many entries that are right.
    if (!condition) {
      std::string value = found.dump(-1, ' ', false, json::error_handler_t::replace);
      if (value.size() > 60) {
        value = value.substr(0, 60) + "…";
      }
      fail(path_, ": ", place, ": expected ", expected, ", found ", value);
    }
  }

  const json& member(const json& object, const char* key, const std::string& prefix) const {
    const auto found = object.is_object() ? object.find(key) : object.end();
    require(found != object.end(), path_, ": expected the key ", prefix, key,
            " of a Hugging Face tokenizer.json, found none");
    return *found;
  }

  // A switch that must be off: absent, null, false, empty or zero.
  void expect_off(const json& object, const char* key, const std::string& place) const {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null() || *found == false || *found == "") {
      return;
    }
    expect(found->is_number() && *found == 0, place + key, "none (unsupported)", *found);
  }

  void expect_byte_level(const json& root, const char* key) const {
    const json& stage = member(root, key, "");
    expect(stage.is_object() && stage.value("type", json()) == "ByteLevel", key, "one of type ByteLevel", stage);
  }

  // The stages around the model: those of a byte-level tokenizer that leaves text as it is.
  void check_pipeline(const json& root) const {
    expect_off(root, "normalizer", "");
    expect_byte_level(root, "pre_tokenizer");
    const json& splitter = root["pre_tokenizer"];
    expect(splitter.value("add_prefix_space", json(true)) == false, "pre_tokenizer.add_prefix_space", "false",
           splitter.value("add_prefix_space", json(true)));
    expect(splitter.value("use_regex", json(true)) == true, "pre_tokenizer.use_regex", "true",
           splitter.value("use_regex", json(true)));
    expect_byte_level(root, "decoder");
    if (root.contains("post_processor") && !root["post_processor"].is_null()) {
      expect_byte_level(root, "post_processor");
    }
  }

  void check_model(const json& model) const {
    expect(model.is_object(), "model", "an object", model);
    expect(model.value("type", json("BPE")) == "BPE", "model.type", "\"BPE\"", model.value("type", json()));
    for (const char* key :
         {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"}) {
      expect_off(model, key, "model.");
    }
  }

  TokenId read_id(const json& value, const std::string& place) const {
    expect(value.is_number_unsigned() && value.get<uint64_t>() < (1U << 30), place, "an id", value);
    return value.get<TokenId>();
  }

  void read_vocab(const json& vocab, ByteBpeModel& result) const {
    expect(vocab.is_object() && !vocab.empty(), "model.vocab", "an object of tokens and ids", vocab);
    for (const auto& [token, id] : vocab.items()) {
      expect(id.is_number_unsigned(), "model.vocab", "ids", id);
      result.vocab.emplace(token, read_id(id, "model.vocab"));
    }
  }

  // "left right", or ["left", "right"] in newer files.
  std::pair<std::string, std::string> read_merge(const json& merge) const {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      return {merge[0].get<std::string>(), merge[1].get<std::string>()};
    }
    const std::string pair = merge.is_string() ? merge.get<std::string>() : std::string();
    const size_t space = pair.find(' ');
    expect(space != std::string::npos && pair.find(' ', space + 1) == std::string::npos, "model.merges",
           "pairs of tokens", merge);
    return {pair.substr(0, space), pair.substr(space + 1)};
  }

  void read_merges(const json& merges, ByteBpeModel& result) const {
    expect(merges.is_array(), "model.merges", "an array", merges);
    result.merges.reserve(merges.size());
    for (const json& merge : merges) {
      result.merges.push_back(read_merge(merge));
    }
  }

  void read_added(const json& added, ByteBpeModel& result) const {
    expect(added.is_array(), "added_tokens", "an array", added);
    for (const json& token : added) {
      expect(token.is_object() && token.contains("content") && token["content"].is_string() &&
                 !token["content"].get_ref<const std::string&>().empty() && token.contains("id"),
             "added_tokens", "objects with content and id", token);
      const std::string place = "added_tokens '" + token["content"].get<std::string>() + "' ";
      for (const char* key : {"single_word", "lstrip", "rstrip"}) {
        expect_off(token, key, place);
      }
      const json special = token.value("special", json(false));
      expect(special.is_boolean(), place + "special", "true or false", special);
      result.added.push_back(
          {token["content"].get<std::string>(), read_id(token["id"], place + "id"), special.get<bool>()});
    }
  }

  std::string path_;
};

}  // namespace

std::unique_ptr<Tokenizer> read_tokenizer_json(const std::string& path) {
  return std::make_unique<ByteBpeTokenizer>(TokenizerJsonReader(path).read(), path);
}

}  // namespace minimind::text_detail
