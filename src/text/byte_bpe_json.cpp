#include <utility>

#include "base/json.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "text/byte_bpe.h"

namespace minimind::text_detail {

namespace {

class TokenizerJsonReader {
 public:
  explicit TokenizerJsonReader(std::string path) : path_(std::move(path)) {}

  ByteBpeModel read() {
    const Json root = parse_json(read_file(path_), path_);
    expect(root.is_object(), "the file", "an object", root);
    check_pipeline(root);
    const Json& model = member(root, "model", "");
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
  void expect(bool condition, const std::string& place, const std::string& expected, const Json& found) const {
    // The message is made only on failure: vocabularies have many entries.
    if (!condition) {
      std::string value = found.dump(-1, ' ', false, Json::error_handler_t::replace);
      if (value.size() > 60) {
        value = value.substr(0, 60) + "…";
      }
      fail(path_, ": ", place, ": expected ", expected, ", found ", value);
    }
  }

  const Json& member(const Json& object, const char* key, const std::string& prefix) const {
    const auto found = object.is_object() ? object.find(key) : object.end();
    require(found != object.end(), path_, ": expected the key ", prefix, key,
            " of a Hugging Face tokenizer.json, found no such key");
    return *found;
  }

  // Checks that a setting is off: absent, null, false, empty or zero.
  void expect_off(const Json& object, const char* key, const std::string& place) const {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null() || *found == false || *found == Json("")) {
      return;
    }
    expect(found->is_number() && *found == 0, place + key, "no such setting (it is not supported)", *found);
  }

  void expect_byte_level(const Json& root, const char* key) const {
    const Json& stage = member(root, key, "");
    expect(stage.is_object() && stage.value("type", Json()) == "ByteLevel", key, "one of type ByteLevel", stage);
  }

  // Checks the stages around the model: a byte-level tokenizer that does not change the text.
  void check_pipeline(const Json& root) const {
    expect_off(root, "normalizer", "");
    expect_byte_level(root, "pre_tokenizer");
    const Json& splitter = root["pre_tokenizer"];
    expect(splitter.value("add_prefix_space", Json(true)) == false, "pre_tokenizer.add_prefix_space", "false",
           splitter.value("add_prefix_space", Json(true)));
    expect(splitter.value("use_regex", Json(true)) == true, "pre_tokenizer.use_regex", "true",
           splitter.value("use_regex", Json(true)));
    expect_byte_level(root, "decoder");
    if (root.contains("post_processor") && !root["post_processor"].is_null()) {
      expect_byte_level(root, "post_processor");
    }
  }

  void check_model(const Json& model) const {
    expect(model.is_object(), "model", "an object", model);
    expect(model.value("type", Json("BPE")) == "BPE", "model.type", "\"BPE\"", model.value("type", Json()));
    for (const char* key :
         {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"}) {
      expect_off(model, key, "model.");
    }
  }

  TokenId read_id(const Json& value, const std::string& place) const {
    expect(value.is_number_unsigned() && value.get<uint64_t>() < (1U << 30), place, "an id", value);
    return value.get<TokenId>();
  }

  void read_vocab(const Json& vocab, ByteBpeModel& result) const {
    expect(vocab.is_object() && !vocab.empty(), "model.vocab", "an object of tokens and ids", vocab);
    for (const auto& [token, id] : vocab.items()) {
      expect(id.is_number_unsigned(), "model.vocab", "ids", id);
      result.vocab.emplace(token, read_id(id, "model.vocab"));
    }
  }

  // A merge is "left right", in newer files ["left", "right"].
  std::pair<std::string, std::string> read_merge(const Json& merge) const {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      return {merge[0].get<std::string>(), merge[1].get<std::string>()};
    }
    const std::string pair = merge.is_string() ? merge.get<std::string>() : std::string();
    const size_t space = pair.find(' ');
    expect(space != std::string::npos && pair.find(' ', space + 1) == std::string::npos, "model.merges",
           "pairs of tokens", merge);
    return {pair.substr(0, space), pair.substr(space + 1)};
  }

  void read_merges(const Json& merges, ByteBpeModel& result) const {
    expect(merges.is_array(), "model.merges", "an array", merges);
    result.merges.reserve(merges.size());
    for (const Json& merge : merges) {
      result.merges.push_back(read_merge(merge));
    }
  }

  void read_added(const Json& added, ByteBpeModel& result) const {
    expect(added.is_array(), "added_tokens", "an array", added);
    for (const Json& token : added) {
      expect(token.is_object() && token.contains("content") && token["content"].is_string() &&
                 !token["content"].get_ref<const std::string&>().empty() && token.contains("id"),
             "added_tokens", "objects with content and id", token);
      const std::string place = "added_tokens '" + token["content"].get<std::string>() + "' ";
      for (const char* key : {"single_word", "lstrip", "rstrip"}) {
        expect_off(token, key, place);
      }
      const Json special = token.value("special", Json(false));
      expect(special.is_boolean(), place + "special", "true or false", special);
      result.added.push_back(
          {token["content"].get<std::string>(), read_id(token["id"], place + "id"), special.get<bool>()});
    }
  }

  std::string path_;
};

}  // namespace

ByteBpeModel read_byte_bpe_model(const std::string& path) {
  return TokenizerJsonReader(path).read();
}

}  // namespace minimind::text_detail
