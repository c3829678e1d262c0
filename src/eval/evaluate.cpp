#include "minimind/eval/evaluate.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/machine_limits.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "chat/model_flags.h"
#include "eval/scores.h"
#include "infer/batch_generate.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/base/random.h"
#include "minimind/data/dataset.h"
#include "minimind/data/image_source.h"
#include "minimind/infer/prompt.h"

namespace minimind {

namespace {

/// A sample that can be asked about.
struct Question {
  std::string id;
  std::string text;
  std::string truth;
  std::vector<std::string> images;  ///< names in the image source
};

DataKind kind_of(const std::string& name) {
  return name == "pretrain" ? DataKind::kPretrain : name == "sft" ? DataKind::kInstruction : DataKind::kMultiImage;
}

/// Why a sample cannot be asked about; "" if it can.
std::string make_question(const Sample& sample, const ImageSource& images, const EvaluateOptions& options,
                          const std::string& placeholder, Question& question) {
  if (!sample.problem.empty()) {
    return sample.problem;
  }
  if (sample.turns.empty()) {
    return "it has no question with an answer";
  }
  const auto& [text, truth] = sample.turns.front();
  question = {sample.id, text, truth, {}};
  const std::string prefix = options.kind == "sft" ? options.image_prefix : "";
  for (const std::string& name : sample.images) {
    try {
      question.images.push_back(find_image(images, name, prefix));
    } catch (const Error& error) {
      return error.what();
    }
  }
  int64_t placeholders = 0;
  for (size_t at = text.find(placeholder); at != std::string::npos;
       at = text.find(placeholder, at + placeholder.size())) {
    ++placeholders;
  }
  if (placeholders != std::ssize(question.images)) {
    return concat("expected an image for each ", placeholder, " of the question (", placeholders, "), found ",
                  question.images.size());
  }
  return "";
}

/// Questions whose features are in memory at once.
constexpr int64_t kChunk = 1024;

/// The question as a prompt with its images' features, cut to the context. Logs a question whose image cannot be read
/// and returns null.
std::optional<Prompt> prompt_for(const Question& question, ChatModel& model, const ImageSource& images,
                                 int64_t context) {
  std::vector<at::Tensor> features;
  for (const std::string& name : question.images) {
    try {
      features.push_back(model.features(images.read(name), name));
    } catch (const Error& error) {
      log_warning(printable(concat("sample ", question.id, " is left out: ", error.what())));
      return std::nullopt;
    }
  }
  Prompt prompt = make_prompt(model.tokenizer(), model.pattern(), {{"user", question.text}}, std::move(features));
  cut_prompt(prompt, std::max<int64_t>(1, context - 1), std::ssize(model.pattern().ids));
  require(!prompt.ids.empty(), "a question does not fit the context of ", context, " tokens: ", question.text);
  return prompt;
}

/// What tells one sample's truth from another's: the facts that it must name, else its text.
std::string truth_key(const Question& question, const AttributeRules* rules) {
  const std::vector<Spellings>* required = rules == nullptr ? nullptr : rules->required(question.id);
  if (required == nullptr) {
    return question.truth;
  }
  std::multiset<std::string> facts;
  for (const Spellings& fact : *required) {
    facts.insert(fact.empty() ? "" : fact.front());
  }
  std::string key;
  for (const std::string& fact : facts) {
    key += fact + "\n";
  }
  return key;
}

/// Gives each question the images of another sample whose truth differs, chosen by the seed. Questions for which
/// there is none keep no image and are left out.
std::vector<Question> swap_images(const std::vector<Question>& questions, const AttributeRules* rules, uint64_t seed) {
  Random random(seed);
  std::vector<std::string> keys;
  for (const Question& question : questions) {
    keys.push_back(truth_key(question, rules));
  }
  std::vector<Question> swapped;
  for (size_t i = 0; i < questions.size(); ++i) {
    const size_t start = random.below(questions.size());
    for (size_t step = 0; step < questions.size(); ++step) {
      const size_t other = (start + step) % questions.size();
      const bool fits = questions[other].images.size() == questions[i].images.size() &&
                        questions[other].images != questions[i].images && keys[other] != keys[i];
      if (fits) {
        swapped.push_back(questions[i]);
        swapped.back().images = questions[other].images;
        break;
      }
    }
  }
  return swapped;
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return printable(text);
}

void show_answer(const Question& question, const std::string& answer, const char* verdict,
                 const EvaluateOptions& options, std::ostream& out) {
  for (const std::string& image : question.images) {
    out << "image   " << one_line((std::filesystem::path(options.images_dir) / image).string()) << "\n";
  }
  out << "question  " << one_line(question.text) << "\n"
      << "answer    " << one_line(answer) << "\n"
      << "truth     " << one_line(question.truth) << "   (" << verdict << ")\n\n";
}

std::vector<Question> read_questions(const EvaluateOptions& options, const ImageSource& images,
                                     const std::string& placeholder, int64_t& skipped) {
  const Dataset dataset = Dataset::load(options.data_path, kind_of(options.kind));
  std::vector<Question> questions;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    if (options.max_samples > 0 && std::ssize(questions) >= options.max_samples) {
      break;
    }
    Question question;
    const Sample sample = dataset.sample(i);
    const std::string problem = make_question(sample, images, options, placeholder, question);
    if (problem.empty()) {
      questions.push_back(std::move(question));
    } else {
      ++skipped;
      log_warning(printable(concat("sample ", sample.id, " is left out: ", problem)));
    }
  }
  return questions;
}

/// Adds one answer's scores to the result and shows it if it is among the first.
void score(const Question& question, const std::string& answer, const AttributeRules* rules,
           const EvaluateOptions& options, EvaluationResult& result, std::ostream& out) {
  const bool exact = is_exact(answer, question.truth);
  const char* verdict = exact ? "exact" : "other words";
  result.exact += exact ? 1 : 0;
  result.f1_sum += token_f1(answer, question.truth);
  const std::vector<Spellings>* required = rules == nullptr ? nullptr : rules->required(question.id);
  if (required != nullptr) {
    const bool right = rules->is_right(answer, *required);
    ++result.with_attributes;
    result.right += right ? 1 : 0;
    verdict = right ? "right" : "wrong";
  }
  if (result.samples++ < options.show) {
    show_answer(question, answer, verdict, options, out);
  }
}

/// Answers and scores `questions`, so many at once that their features fit in memory.
void answer_and_score(const std::vector<Question>& questions, ChatModel& model, const ImageSource& images,
                      const AttributeRules* rules, const EvaluateOptions& options, EvaluationResult& result,
                      std::ostream& out) {
  Progress progress("evaluating", "questions", std::ssize(questions));
  int64_t looked_at = 0;
  while (looked_at < std::ssize(questions)) {
    std::vector<Prompt> batch;
    std::vector<const Question*> asked;
    for (; looked_at < std::ssize(questions) && std::ssize(batch) < kChunk; ++looked_at) {
      const Question& question = questions[static_cast<size_t>(looked_at)];
      if (std::optional<Prompt> prompt = prompt_for(question, model, images, options.max_seq_len)) {
        batch.push_back(std::move(*prompt));
        asked.push_back(&question);
      } else {
        ++result.unreadable;
      }
      progress.update(looked_at);
    }
    const std::vector<std::vector<TokenId>> answers =
        generate_batch(model.model(), batch,
                       {options.max_seq_len, options.max_new_tokens, options.batch_size, model.tokenizer().eos_id(),
                        weight_format_of(options.weights)});
    for (size_t i = 0; i < answers.size(); ++i) {
      score(*asked[i], model.tokenizer().decode(answers[i]), rules, options, result, out);
    }
  }
  progress.finish();
}

}  // namespace

Fields EvaluateOptions::file_fields() {
  Fields fields = model_flags(files, weights);
  std::ranges::find(fields, "weights", &Field::name)->help += "; not float32 decodes one question at a time";
  const Fields data = {
      {"data_path", &data_path, "JSON file in the training format", {}},
      {"images_dir",
       &images_dir,
       "folder or zip archive of the images, or a folder inside an archive (x.zip/folder)",
       {}},
      {"image_prefix", &image_prefix, "file-name prefix of the images if --kind is sft", {}},
      {"attributes",
       &attributes,
       "JSON file of words that make an answer right; none or empty: score by exact match and token F1",
       {}}};
  fields.insert(fields.end(), data.begin(), data.end());
  return fields;
}

Fields EvaluateOptions::evaluation_fields() {
  return {{"kind", &kind, "training format of the data file", {"pretrain", "sft", "multi"}},
          {"swap_images", &swap_images, "show each question the image of another sample with a different answer", {}},
          {"max_samples", &max_samples, "maximum number of samples; 0: all samples", {}},
          {"show", &show, "number of answers to print", {}},
          {"max_new_tokens", &max_new_tokens, "maximum tokens per answer", {}},
          {"max_seq_len", &max_seq_len, "context length in tokens, question and answer together", {}},
          {"batch_size", &batch_size, "questions per batch", {}},
          {"seed", &seed, "random seed of --swap_images", {}}};
}

void EvaluateOptions::resolve() {
  files.stage = kind == "pretrain" ? "vlm_pretrain" : kind == "sft" ? "vlm_sft" : "vlm_sft_multi";
  resolve_model_flags(files, weights);
  const auto at_least = [](const char* name, int64_t value, int64_t lowest) {
    if (value < lowest) {
      throw UsageError(concat("--", name, ": expected ", lowest, " or more, found ", value));
    }
  };
  at_least("max_samples", max_samples, 0);
  at_least("show", show, 0);
  at_least("max_new_tokens", max_new_tokens, 1);
  at_least("batch_size", batch_size, 1);
  require_flag_between("max_seq_len", max_seq_len, 2, kLongestContext);
}

std::string EvaluationResult::json(const EvaluateOptions& options) const {
  const auto share = [](double part, int64_t whole) { return whole == 0 ? 0.0 : part / static_cast<double>(whole); };
  nlohmann::ordered_json line = {{"data", options.data_path},
                                 {"checkpoint", options.files.checkpoint},
                                 {"kind", options.kind},
                                 {"swapped_images", options.swap_images},
                                 {"weights", options.weights},
                                 {"samples", samples},
                                 {"skipped", skipped},
                                 {"accuracy", 0.0},
                                 {"accuracy_by", with_attributes > 0 ? "attributes" : "exact match"},
                                 {"exact_match", share(static_cast<double>(exact), samples)},
                                 {"token_f1", share(f1_sum, samples)},
                                 {"seconds", seconds},
                                 {"samples_per_second", seconds > 0 ? static_cast<double>(samples) / seconds : 0.0}};
  line["accuracy"] = with_attributes > 0 ? share(static_cast<double>(right), with_attributes)
                                         : share(static_cast<double>(exact), samples);
  return line.dump();
}

EvaluationResult evaluate(const EvaluateOptions& options, std::ostream& out) {
  const auto start = std::chrono::steady_clock::now();
  require(!options.data_path.empty(), "--data_path: expected a JSON file, found none");
  require(!options.images_dir.empty(), "--images_dir: expected a folder or .zip of images, found none");
  require(std::filesystem::exists(options.data_path), options.data_path,
          ": expected a JSON file of questions and answers, found nothing");
  const std::unique_ptr<ImageSource> images = open_image_source(options.images_dir);
  std::optional<AttributeRules> rules;
  if (!options.attributes.empty() && options.attributes != "none") {
    const std::string name = std::filesystem::path(options.data_path).filename().string();
    rules = AttributeRules::load(options.attributes, name);
  }
  const std::unique_ptr<ChatModel> model =
      ChatModel::load(options.files, [](const std::string& text) { log_warning(text); });
  EvaluationResult result;
  std::vector<Question> questions = read_questions(options, *images, model->pattern().placeholder, result.skipped);
  const AttributeRules* rules_or_none = rules ? &*rules : nullptr;
  if (options.swap_images) {
    const int64_t all = std::ssize(questions);
    questions = swap_images(questions, rules_or_none, static_cast<uint64_t>(options.seed));
    result.skipped += all - std::ssize(questions);
  }
  answer_and_score(questions, *model, *images, rules_or_none, options, result, out);
  result.skipped += result.unreadable;
  require(result.samples > 0, options.data_path, ": expected samples to ask about, found none that can be used (",
          result.skipped, " left out)");
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

int run_evaluate(const EvaluateOptions& options) {
  const EvaluationResult result = evaluate(options, std::cout);
  std::cout << result.json(options) << std::endl;
  return 0;
}

}  // namespace minimind
