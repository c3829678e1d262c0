#include "minimind/eval/evaluate.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/machine_limits.h"
#include "base/output.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "base/utf8.h"
#include "eval/scores.h"
#include "infer/batch_generate.h"
#include "minimind/base/error.h"
#include "minimind/base/log.h"
#include "minimind/base/random.h"
#include "minimind/base/stage.h"
#include "minimind/data/dataset.h"
#include "minimind/data/image_source.h"
#include "minimind/image/decode.h"
#include "minimind/infer/prompt.h"

namespace minimind {

namespace {

/// A sample that can be asked.
struct Question {
  std::string id;
  std::string text;
  std::string truth;
  std::vector<std::string> images;  ///< names in the image source
  std::vector<std::string> labels;  ///< of the images, for messages
};

/// What the questions of one evaluation share.
struct Evaluation {
  const EvaluateOptions& options;
  std::ostream& out;
  std::unique_ptr<ImageSource> images;
  std::optional<AttributeRules> rules;
  std::unique_ptr<ChatModel> model;
  EvaluationResult result;

  /// The facts that a right answer names; null if the attributes have no rule for this sample.
  const std::vector<Spellings>* required_facts(const Question& question) const {
    return rules ? rules->required(question.id) : nullptr;
  }
};

/// Questions whose image features are in memory at the same time.
constexpr int64_t kQuestionsInMemory = 1024;

DataKind kind_of(const std::string& name) {
  return name == "pretrain" ? DataKind::kPretrain : name == "sft" ? DataKind::kInstruction : DataKind::kMultiImage;
}

void warn_skipped(const std::string& id, const std::string& reason) {
  log_warning(printable(concat("sample ", id, " is skipped: ", reason)));
}

/// The question of a sample. Throws Error if the sample cannot be asked.
Question question_of(const Sample& sample, const Evaluation& evaluation) {
  require(sample.problem.empty(), sample.problem);
  require(!sample.turns.empty(), "expected a question with an answer, found no question");
  const auto& [text, truth] = sample.turns.front();
  Question question{sample.id, text, truth, {}, {}};
  const std::string prefix = evaluation.options.kind == "sft" ? evaluation.options.image_prefix : "";
  for (const std::string& name : sample.images) {
    question.images.push_back(find_image(*evaluation.images, name, prefix));
    question.labels.push_back(image_label(name, question.images.back()));
  }
  const std::vector<Message> asked = {{"user", text}};
  require_image_for_each_span(count_image_placeholders(evaluation.model->pattern(), asked), std::ssize(question.images),
                              evaluation.model->pattern().placeholder);
  return question;
}

std::vector<Question> read_questions(Evaluation& evaluation) {
  const EvaluateOptions& options = evaluation.options;
  const Dataset dataset = Dataset::load(options.data_path, kind_of(options.kind));
  std::vector<Question> questions;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    if (options.max_samples > 0 && std::ssize(questions) >= options.max_samples) {
      break;
    }
    const Sample sample = dataset.sample(i);
    try {
      questions.push_back(question_of(sample, evaluation));
    } catch (const Error& error) {
      ++evaluation.result.skipped;
      warn_skipped(sample.id, error.what());
    }
  }
  return questions;
}

/// Two samples with equal keys have the same right answer: the required facts or, without a rule, the text.
std::multiset<std::string> truth_key(const Question& question, const Evaluation& evaluation) {
  const std::vector<Spellings>* required = evaluation.required_facts(question);
  if (required == nullptr) {
    return {question.truth};
  }
  std::multiset<std::string> facts;
  for (const Spellings& fact : *required) {
    facts.insert(fact.empty() ? "" : fact.front());
  }
  return facts;
}

/// Gives each question the images of another sample with a different right answer, chosen by the seed. Removes the
/// questions for which there is no such sample.
std::vector<Question> swap_images(const std::vector<Question>& questions, const Evaluation& evaluation) {
  Random random(static_cast<uint64_t>(evaluation.options.seed));
  std::vector<std::multiset<std::string>> keys;
  for (const Question& question : questions) {
    keys.push_back(truth_key(question, evaluation));
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
        swapped.back().labels = questions[other].labels;
        break;
      }
    }
  }
  return swapped;
}

std::string one_line(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return printable(text);
}

void show_answer(const Question& question, const std::string& answer, const char* verdict,
                 const Evaluation& evaluation) {
  for (const std::string& image : question.images) {
    const std::filesystem::path path = std::filesystem::path(evaluation.options.images_dir) / image;
    evaluation.out << "image     " << one_line(path.string()) << "\n";
  }
  evaluation.out << "question  " << one_line(question.text) << "\n"
                 << "answer    " << one_line(answer) << "\n"
                 << "truth     " << one_line(question.truth) << "   (" << verdict << ")\n\n";
}

/// Adds the scores of one answer to the result and prints the answer if it is among the first `options.show`.
void score(const Question& question, const std::string& answer, Evaluation& evaluation) {
  EvaluationResult& result = evaluation.result;
  const bool exact = is_exact(answer, question.truth);
  const char* verdict = exact ? "exact" : "other words";
  result.exact += exact ? 1 : 0;
  result.f1_sum += token_f1(answer, question.truth);
  if (const std::vector<Spellings>* required = evaluation.required_facts(question)) {
    const bool right = evaluation.rules->is_right(answer, *required);
    ++result.with_attributes;
    result.right += right ? 1 : 0;
    verdict = right ? "right" : "wrong";
  }
  if (result.samples++ < evaluation.options.show) {
    show_answer(question, answer, verdict, evaluation);
    require_written(evaluation.out);
  }
}

/// The question as a prompt with the features of its images, cut to the context. Throws Error if an image cannot be
/// read or the context is too short.
Prompt prompt_for(const Question& question, const Evaluation& evaluation) {
  ChatModel& model = *evaluation.model;
  std::vector<at::Tensor> features;
  for (size_t i = 0; i < question.images.size(); ++i) {
    features.push_back(model.features(decode_image(evaluation.images->read(question.images[i]), question.labels[i])));
  }
  Prompt prompt = make_prompt(model.tokenizer(), model.pattern(), {{"user", question.text}}, std::move(features));
  cut_prompt(prompt, evaluation.options.max_seq_len - 1, std::ssize(model.pattern().ids));
  return prompt;
}

void answer_and_score(const std::vector<Question>& questions, Evaluation& evaluation) {
  const EvaluateOptions& options = evaluation.options;
  const Tokenizer& tokenizer = evaluation.model->tokenizer();
  const BatchOptions how{options.max_seq_len, options.max_new_tokens, options.batch_size, tokenizer.eos_id(),
                         weight_format_of(options.files.weights)};
  Progress progress("evaluating", "questions", std::ssize(questions));
  for (int64_t next = 0; next < std::ssize(questions);) {
    std::vector<Prompt> batch;
    std::vector<const Question*> asked;
    for (; next < std::ssize(questions) && std::ssize(batch) < kQuestionsInMemory; ++next) {
      const Question& question = questions[static_cast<size_t>(next)];
      try {
        batch.push_back(prompt_for(question, evaluation));
        asked.push_back(&question);
      } catch (const Error& error) {
        ++evaluation.result.skipped;
        warn_skipped(question.id, error.what());
      }
      progress.update(next);
    }
    const std::vector<std::vector<TokenId>> answers = generate_batch(evaluation.model->model(), batch, how);
    for (size_t i = 0; i < answers.size(); ++i) {
      score(*asked[i], tokenizer.decode(answers[i]), evaluation);
    }
  }
  progress.finish();
}

}  // namespace

Fields EvaluateOptions::file_fields() {
  Fields fields = files.fields();
  std::ranges::find(fields, "weights", &Field::name)->help += "; not float32 decodes one question at a time";
  fields.insert(
      fields.end(),
      {{"data_path", &data_path, "JSON file in the training format"},
       {"images_dir", &images_dir, "folder or zip archive of the images, or a folder inside an archive (x.zip/folder)"},
       {"image_prefix", &image_prefix, "file-name prefix of the images if --kind is sft"},
       {"attributes", &attributes,
        "JSON file of words that make an answer right; none or empty: score by exact match and token F1"}});
  return fields;
}

Fields EvaluateOptions::evaluation_fields() {
  return {{"kind", &kind, "training format of the data file", {"pretrain", "sft", "multi"}},
          {"swap_images", &swap_images, "show each question the image of another sample with a different answer"},
          {"max_samples", &max_samples, "maximum number of samples; 0: all samples"},
          {"show", &show, "number of answers to print"},
          {"max_new_tokens", &max_new_tokens, "maximum tokens per answer"},
          {"max_seq_len", &max_seq_len, "context length in tokens, question and answer together"},
          {"batch_size", &batch_size, "questions per batch"},
          {"seed", &seed, "random seed of --swap_images"}};
}

void EvaluateOptions::resolve() {
  const Stage stage = kind == "pretrain" ? Stage::kPretrain : kind == "sft" ? Stage::kInstruction : Stage::kMultiImage;
  files.stage = stage_info(stage).file_end;
  files.validate();
  require_flag_at_least("max_samples", max_samples, 0);
  require_flag_at_least("show", show, 0);
  require_flag_at_least("max_new_tokens", max_new_tokens, 1);
  require_flag_at_least("batch_size", batch_size, 1);
  require_flag_between("max_seq_len", max_seq_len, 2, kLongestContext);
}

std::string EvaluationResult::json(const EvaluateOptions& options) const {
  const auto share = [](double part, int64_t whole) { return whole == 0 ? 0.0 : part / static_cast<double>(whole); };
  const double exact_share = share(static_cast<double>(exact), samples);
  const nlohmann::ordered_json line = {
      {"data", options.data_path},
      {"checkpoint", options.files.checkpoint},
      {"kind", options.kind},
      {"swapped_images", options.swap_images},
      {"weights", options.files.weights},
      {"samples", samples},
      {"skipped", skipped},
      {"accuracy", with_attributes > 0 ? share(static_cast<double>(right), with_attributes) : exact_share},
      {"accuracy_by", with_attributes > 0 ? "attributes" : "exact match"},
      {"exact_match", exact_share},
      {"token_f1", share(f1_sum, samples)},
      {"seconds", seconds},
      {"samples_per_second", seconds > 0 ? static_cast<double>(samples) / seconds : 0.0}};
  return line.dump();
}

EvaluationResult evaluate(const EvaluateOptions& options, std::ostream& out) {
  const Stopwatch stopwatch;
  require(!options.data_path.empty(), "--data_path: expected a JSON file, found no --data_path");
  require(!options.images_dir.empty(), "--images_dir: expected a folder or .zip of images, found no --images_dir");
  require(std::filesystem::exists(options.data_path), options.data_path,
          ": expected a JSON file of questions and answers, found no file");
  Evaluation evaluation{options, out, open_image_source(options.images_dir), {}, nullptr, {}};
  EvaluationResult& result = evaluation.result;
  if (!options.attributes.empty() && options.attributes != "none") {
    const std::string name = std::filesystem::path(options.data_path).filename().string();
    evaluation.rules = AttributeRules::load(options.attributes, name);
  }
  evaluation.model = ChatModel::load(options.files, log_warning);
  std::vector<Question> questions = read_questions(evaluation);
  if (options.swap_images) {
    const int64_t all = std::ssize(questions);
    questions = swap_images(questions, evaluation);
    result.skipped += all - std::ssize(questions);
  }
  answer_and_score(questions, evaluation);
  require(result.samples > 0, options.data_path, ": expected samples that can be asked, found ", result.skipped,
          " samples, all skipped");
  result.seconds = stopwatch.seconds();
  return result;
}

}  // namespace minimind
