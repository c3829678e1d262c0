#include "chat/batch_answers.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>

#include "minimind/base/error.h"
#include "minimind/chat/session.h"
#include "minimind/infer/generator.h"

namespace minimind {

namespace {

/// Rows of one batch that still wait for their end.
struct OpenRows {
  std::vector<size_t> prompts;  ///< index into the prompts, for each row
  at::Tensor last;              ///< the rows' newest tokens, int64 [R]
};

/// Leaves out the rows that have ended, in the cache too.
void keep_rows(const std::vector<int64_t>& kept, OpenRows& open, KvCache& cache) {
  if (kept.size() == open.prompts.size()) {
    return;
  }
  std::vector<size_t> prompts;
  for (const int64_t row : kept) {
    prompts.push_back(open.prompts[static_cast<size_t>(row)]);
  }
  open.prompts = std::move(prompts);
  const at::Tensor rows = at::tensor(kept, at::kLong).to(open.last.device());
  open.last = open.last.index_select(0, rows);
  for (LayerCache& layer : cache.layers) {
    layer.keys = layer.keys.index_select(0, rows);
    layer.values = layer.values.index_select(0, rows);
  }
}

/// Prompts of one length, greedily. Fills answers[prompt index] with the new tokens.
void answer_equal_lengths(const ChatModel& chat, const std::vector<Prompt>& prompts, OpenRows open, int64_t limit,
                          std::vector<std::vector<TokenId>>& answers) {
  LanguageModel language_model = chat.model()->language_model();
  std::vector<at::Tensor> rows;
  for (const size_t index : open.prompts) {
    rows.push_back(chat.embed(prompts[index].ids, prompts[index].spans, prompts[index].features));
  }
  at::Tensor embeddings = at::stack(rows);  // [R, S, D]
  KvCache cache = make_cache(chat.model()->config(), embeddings.size(0), embeddings.size(1) + limit,
                             embeddings.scalar_type(), embeddings.device());
  for (int64_t step = 0; step < limit && !open.prompts.empty(); ++step) {
    const at::Tensor hidden = language_model->forward(embeddings, &cache);
    open.last = at::argmax(language_model->logits(hidden.select(1, -1)), -1);  // [R]
    const at::Tensor host = open.last.to(at::kCPU);
    std::vector<int64_t> kept;
    for (int64_t row = 0; row < host.size(0); ++row) {
      const auto id = static_cast<TokenId>(host.const_data_ptr<int64_t>()[row]);
      if (id != chat.tokenizer().eos_id()) {
        answers[open.prompts[static_cast<size_t>(row)]].push_back(id);
        kept.push_back(row);
      }
    }
    keep_rows(kept, open, cache);
    if (!open.prompts.empty()) {
      embeddings = language_model->embed(open.last.unsqueeze(1));
    }
  }
}

/// One prompt, greedily, in the decoder's number format.
std::vector<TokenId> answer_alone(const ChatModel& chat, const Prompt& prompt, int64_t limit, Decoder& decoder) {
  SamplingOptions greedy;
  greedy.temperature = 0;
  Random unused(0);
  return generate(decoder, prompt.ids, chat.embed(prompt.ids, prompt.spans, prompt.features),
                  {greedy, limit, chat.tokenizer().eos_id()}, unused, {})
      .ids;
}

}  // namespace

std::vector<std::string> answer_greedily(const ChatModel& model, const std::vector<BatchQuestion>& questions,
                                         const BatchOptions& options, const std::function<void(int64_t)>& on_done) {
  require(options.batch_size >= 1, "batch_size: expected 1 or more, found ", options.batch_size);
  require(options.max_new_tokens >= 1, "max_new_tokens: expected 1 or more, found ", options.max_new_tokens);
  require(options.context >= 2, "max_seq_len: expected room for 2 tokens at least, found ", options.context);
  const c10::NoGradGuard without_gradients;
  std::vector<Prompt> prompts;
  std::map<size_t, std::vector<size_t>> by_length;
  for (const BatchQuestion& question : questions) {
    Prompt prompt = make_prompt(model.tokenizer(), model.pattern(), {{"user", question.text}}, question.features);
    cut_prompt(prompt, options.context - 1, std::ssize(model.pattern().ids));
    require(!prompt.ids.empty(), "a question does not fit the context of ", options.context,
            " tokens: ", question.text);
    by_length[prompt.ids.size()].push_back(prompts.size());
    prompts.push_back(std::move(prompt));
  }
  std::vector<std::vector<TokenId>> answers(prompts.size());
  int64_t done = 0;
  std::unique_ptr<Decoder> alone;
  if (options.weights != WeightFormat::kFloat32) {
    alone = make_decoder(model.model(), options.context, DecoderKind::kAuto, options.weights);
  }
  for (const auto& [length, members] : by_length) {
    const int64_t limit = std::min(options.max_new_tokens, options.context - static_cast<int64_t>(length));
    for (size_t begin = 0; begin < members.size(); begin += static_cast<size_t>(options.batch_size)) {
      const size_t end = std::min(members.size(), begin + static_cast<size_t>(options.batch_size));
      OpenRows open;
      open.prompts.assign(members.begin() + static_cast<std::ptrdiff_t>(begin),
                          members.begin() + static_cast<std::ptrdiff_t>(end));
      if (alone) {
        for (const size_t index : open.prompts) {
          answers[index] = answer_alone(model, prompts[index], limit, *alone);
        }
      } else {
        answer_equal_lengths(model, prompts, std::move(open), limit, answers);
      }
      done += static_cast<int64_t>(end - begin);
      if (on_done) {
        on_done(done);
      }
    }
  }
  std::vector<std::string> texts;
  for (const std::vector<TokenId>& ids : answers) {
    texts.push_back(model.tokenizer().decode(ids));
  }
  return texts;
}

}  // namespace minimind
