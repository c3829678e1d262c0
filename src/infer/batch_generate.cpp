#include "infer/batch_generate.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "infer/make_decoder.h"
#include "minimind/base/error.h"
#include "minimind/infer/generator.h"

namespace minimind {

namespace {

using Answers = std::vector<std::vector<TokenId>>;

at::Tensor embed(const Vlm& model, const Prompt& prompt) {
  return embed_prompt(model, prompt.ids, prompt.spans, prompt.features);
}

/// The sequences of one batch that have not ended.
struct OpenSequences {
  std::vector<size_t> prompts;  ///< each sequence's index into the prompts
  at::Tensor last;              ///< their newest tokens, int64 [B]
};

/// Removes the sequences that have ended, from the cache too.
void keep_sequences(const std::vector<int64_t>& kept, OpenSequences& open, KvCache& cache) {
  if (kept.size() == open.prompts.size()) {
    return;
  }
  std::vector<size_t> prompts;
  for (const int64_t sequence : kept) {
    prompts.push_back(open.prompts[static_cast<size_t>(sequence)]);
  }
  open.prompts = std::move(prompts);
  const at::Tensor indices = at::tensor(kept, at::kLong).to(open.last.device());
  open.last = open.last.index_select(0, indices);
  for (LayerCache& layer : cache.layers) {
    layer.keys = layer.keys.index_select(0, indices);
    layer.values = layer.values.index_select(0, indices);
  }
}

/// Decodes prompts of one length together. Fills answers[prompt index].
void generate_equal_lengths(Vlm model, const std::vector<Prompt>& prompts, OpenSequences open, int64_t limit,
                            TokenId eos, Answers& answers) {
  std::vector<at::Tensor> sequences;
  for (const size_t index : open.prompts) {
    sequences.push_back(embed(model, prompts[index]));
  }
  at::Tensor embeddings = at::stack(sequences);  // [B, S, D]
  KvCache cache = make_cache(model->config(), embeddings.size(0), embeddings.size(1) + limit, embeddings.scalar_type(),
                             embeddings.device());
  for (int64_t step = 0; step < limit && !open.prompts.empty(); ++step) {
    const at::Tensor hidden = model->forward(embeddings, {.cache = &cache, .rows = {}, .valid = {}});
    open.last = at::argmax(model->logits(hidden.select(1, -1)), -1);  // [B]
    const at::Tensor host = open.last.to(at::kCPU);
    std::vector<int64_t> kept;
    for (int64_t sequence = 0; sequence < host.size(0); ++sequence) {
      const auto id = static_cast<TokenId>(host.const_data_ptr<int64_t>()[sequence]);
      if (id != eos) {
        answers[open.prompts[static_cast<size_t>(sequence)]].push_back(id);
        kept.push_back(sequence);
      }
    }
    keep_sequences(kept, open, cache);
    if (!open.prompts.empty()) {
      embeddings = model->embed(open.last.unsqueeze(1));
    }
  }
}

std::vector<TokenId> generate_alone(const Vlm& model, const Prompt& prompt, int64_t limit, TokenId eos,
                                    Decoder& decoder, SequenceId sequence) {
  GenerationOptions greedy{{}, limit, eos};
  greedy.sampling.temperature = 0;
  Random unused(0);
  return generate(decoder, sequence, prompt.ids, embed(model, prompt), greedy, unused).ids;
}

}  // namespace

std::vector<std::vector<TokenId>> generate_batch(const Vlm& model, const std::vector<Prompt>& prompts,
                                                 const BatchOptions& options,
                                                 const std::function<void(int64_t)>& on_done) {
  require(options.batch_size >= 1, "batch_size: expected 1 or more, found ", options.batch_size);
  require(options.max_new_tokens >= 1, "max_new_tokens: expected 1 or more, found ", options.max_new_tokens);
  require(options.context >= 2, "max_seq_len: expected room for 2 tokens at least, found ", options.context);
  std::map<int64_t, std::vector<size_t>> by_length;
  for (size_t index = 0; index < prompts.size(); ++index) {
    const int64_t length = std::ssize(prompts[index].ids);
    require(length >= 1 && length < options.context, "prompt: expected 1 to ", options.context - 1, " tokens, found ",
            length, "; shorten the prompt or raise max_seq_len");
    by_length[length].push_back(index);
  }
  std::unique_ptr<Decoder> alone;
  SequenceId sequence = 0;
  if (options.weights != WeightFormat::kFloat32) {
    alone = make_decoder(model, options.context, DecoderKind::kAuto, options.weights);
    sequence = alone->open();
  }
  const c10::NoGradGuard without_gradients;
  Answers answers(prompts.size());
  int64_t done = 0;
  for (const auto& [length, members] : by_length) {
    const int64_t limit = std::min(options.max_new_tokens, options.context - length);
    const int64_t count = std::ssize(members);
    for (int64_t begin = 0; begin < count; begin += options.batch_size) {
      const int64_t end = std::min(count, begin + options.batch_size);
      OpenSequences open{{members.begin() + begin, members.begin() + end}, {}};
      if (alone) {
        for (const size_t index : open.prompts) {
          answers[index] = generate_alone(model, prompts[index], limit, options.eos, *alone, sequence);
        }
      } else {
        generate_equal_lengths(model, prompts, std::move(open), limit, options.eos, answers);
      }
      done += end - begin;
      if (on_done) {
        on_done(done);
      }
    }
  }
  return answers;
}

}  // namespace minimind
