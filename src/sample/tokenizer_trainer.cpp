#include "sample/tokenizer_trainer.h"

#include <sentencepiece_trainer.h>

#include <string>
#include <unordered_map>
#include <utility>

#include "minimind/base/error.h"
#include "minimind/base/file.h"

namespace minimind::sample {
namespace {

class TextIterator : public sentencepiece::SentenceIterator {
 public:
  explicit TextIterator(const std::vector<std::string>& texts) : texts_(texts) {}
  bool done() const override { return next_ >= texts_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return texts_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& texts_;
  size_t next_ = 0;
};

}  // namespace

void train_tokenizer(const std::vector<std::string>& texts, int64_t vocab_size,
                     const std::filesystem::path& model_file) {
  // The trainer would end a sentence at a newline in a text. The list of symbols holds the newline instead.
  const std::unordered_map<std::string, std::string> settings = {{"model_type", "bpe"},
                                                                 {"vocab_size", std::to_string(vocab_size)},
                                                                 {"hard_vocab_limit", "false"},
                                                                 {"normalization_rule_name", "identity"},
                                                                 {"add_dummy_prefix", "false"},
                                                                 {"remove_extra_whitespaces", "false"},
                                                                 {"byte_fallback", "true"},
                                                                 {"character_coverage", "1.0"},
                                                                 {"unk_id", "0"},
                                                                 {"bos_id", "1"},
                                                                 {"eos_id", "2"},
                                                                 {"pad_id", "-1"},
                                                                 {"user_defined_symbols", "<,>,\n"},
                                                                 {"num_threads", "1"},
                                                                 {"minloglevel", "2"}};
  TextIterator iterator(texts);
  std::string model;
  sentencepiece::util::Status status = sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &model);
  require(status.ok(), model_file.string(), ": training the tokenizer on ", texts.size(), " texts with vocabulary ",
          vocab_size, " failed: ", status.ToString());
  write_file_atomically(model_file, model);
}

}  // namespace minimind::sample
