#include "minimind/eval/compare.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <utility>

#include "base/progress.h"
#include "base/utf8.h"
#include "chat/image_groups.h"
#include "eval/report_page.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/image/image.h"
#include "minimind/model/weights.h"

namespace minimind {

namespace {

using CompareClock = std::chrono::steady_clock;

double seconds_from(CompareClock::time_point start) {
  return std::chrono::duration<double>(CompareClock::now() - start).count();
}

/// `A,B` → A, B; a word that is a path as it stands stays whole.
std::vector<std::string> split_at_commas(const std::vector<std::string>& words) {
  std::vector<std::string> parts;
  for (const std::string& word : words) {
    std::error_code failure;
    if (std::filesystem::exists(word, failure)) {
      parts.push_back(word);
      continue;
    }
    std::istringstream stream(word);
    for (std::string part; std::getline(stream, part, ',');) {
      if (!part.empty()) {
        parts.push_back(part);
      }
    }
  }
  return parts;
}

/// A small copy that is sharp at 200 pixels on a dense screen.
std::string thumbnail(const Image& image) {
  constexpr int64_t kLongestSide = 400;
  constexpr int kQuality = 85;
  const int64_t longest = std::max(image.width, image.height);
  if (longest <= kLongestSide) {
    return encode_jpeg(image, kQuality);
  }
  const auto scaled = [&](int64_t side) { return std::max<int64_t>(1, side * kLongestSide / longest); };
  return encode_jpeg(resize_bicubic(image, scaled(image.width), scaled(image.height)), kQuality);
}

/// The rows with their thumbnails and questions, and whether each can be asked about.
std::vector<ReportRow> report_rows(const std::vector<ImageGroup>& groups, const std::string& prompt) {
  std::vector<ReportRow> rows;
  for (const ImageGroup& group : groups) {
    ReportRow row;
    row.question = prompt.empty() ? default_question(std::ssize(group.images), "") : prompt;
    for (const std::string& path : group.images) {
      const std::string name = std::filesystem::path(path).filename().string();
      row.images.push_back({group.images.size() > 1 ? group.name + "/" + name : name, ""});
      try {
        row.images.back().jpeg = thumbnail(load_image(path));
      } catch (const Error& error) {
        log_warning(printable(error.what()));
        row.problem = error.what();
      }
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string how_drawn(const EvalChatOptions& options) {
  const SamplingOptions& sampling = options.chat.sampling;
  std::string text =
      sampling.temperature == 0
          ? "greedy"
          : concat("temperature ", sampling.temperature, ", top-k ", sampling.top_k,
                   sampling.top_p < 1 ? concat(", top-p ", sampling.top_p) : "", ", seed ", options.seed);
  if (sampling.repetition_penalty != 1.0) {
    text += concat(", repetition penalty ", sampling.repetition_penalty);
  }
  return concat(text, ", at most ", options.chat.max_new_tokens, " tokens, weights in ", options.weights);
}

/// Asks about one group, and adds what it took to the column.
std::string ask_about_group(const EvalChatOptions& options, const ImageGroup& group, ChatModel& model,
                            ChatSession& session, ReportColumn& column) {
  std::vector<Image> images;
  for (const std::string& path : group.images) {
    images.push_back(load_image(path));
  }
  const auto start = CompareClock::now();
  std::vector<at::Tensor> features;
  for (const Image& image : images) {
    features.push_back(model.features(image));
  }
  const int64_t count = std::ssize(features);
  session.clear();
  const Answer answer = session.ask(
      options.prompt.empty() ? default_question(count, model.pattern().placeholder) : options.prompt, features);
  column.seconds += seconds_from(start);
  column.decode_seconds += answer.decode_seconds;
  column.tokens += answer.tokens;
  ++column.answers;
  return answer.text;
}

/// One checkpoint's column; its answers go into the rows. Throws Error where it answers nothing.
ReportColumn ask_checkpoint(const EvalChatOptions& options, const std::string& checkpoint,
                            const std::vector<ImageGroup>& groups, std::vector<ReportRow>& rows) {
  ReportColumn column;
  column.checkpoint = checkpoint;
  const auto load_start = CompareClock::now();
  ChatModelFiles files = options.files;
  files.checkpoint = checkpoint;
  files.stage.clear();  // columns of several stages are the point of a report
  const std::unique_ptr<ChatModel> model = ChatModel::load(files, [](const std::string& text) { log_warning(text); });
  ChatSession session(*model, options.chat);
  column.load_seconds = seconds_from(load_start);
  std::vector<std::string> problems;
  Progress progress(concat("asking ", checkpoint), "questions", std::ssize(rows));
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].problem.empty()) {
      continue;
    }
    try {
      rows[i].answers.push_back({ask_about_group(options, groups[i], *model, session, column), ""});
    } catch (const Error& error) {
      rows[i].answers.push_back({"", concat(groups[i].name, ": ", error.what())});
      problems.push_back(rows[i].answers.back().problem);
    }
    progress.update(static_cast<int64_t>(i) + 1);
  }
  progress.finish();
  require(column.answers > 0, checkpoint, ": answered nothing; ", problems.empty() ? "" : printable(problems.front()));
  for (const std::string& problem : problems) {
    log_warning(printable(concat(checkpoint, ": ", problem)));
  }
  return column;
}

EvaluateOptions scoring_of(const EvalChatOptions& chat, const CompareOptions& options, const std::string& checkpoint) {
  EvaluateOptions scoring;
  scoring.files = chat.files;
  scoring.files.checkpoint = checkpoint;
  scoring.data_path = options.data;
  scoring.images_dir = options.images_dir;
  scoring.attributes = options.attributes;
  scoring.kind = options.kind;
  scoring.weights = chat.weights;
  scoring.max_new_tokens = chat.chat.max_new_tokens;
  scoring.max_seq_len = chat.chat.context;
  scoring.resolve();
  scoring.files.stage.clear();
  return scoring;
}

std::string scores_phrase(const EvaluationResult& result) {
  const auto samples = static_cast<double>(result.samples);
  char text[128];
  // Answers to score are drawn greedily, whatever the answers of the rows are.
  std::snprintf(text, sizeof text, "exact %.3f, token F1 %.3f", static_cast<double>(result.exact) / samples,
                result.f1_sum / samples);
  std::string phrase = text;
  if (result.with_attributes > 0) {
    std::snprintf(text, sizeof text, "attributes %.3f, ",
                  static_cast<double>(result.right) / static_cast<double>(result.with_attributes));
    phrase = text + phrase;
  }
  return concat(phrase, " (", result.samples, " samples, greedy)");
}

bool is_answered(const ReportRow& row) {
  return row.problem.empty() &&
         std::ranges::all_of(row.answers, [](const ReportAnswer& answer) { return answer.problem.empty(); });
}

/// Scores are of the best answers to the data's own questions: what would change them has no place beside --data alone.
void require_no_effect_on_scores(const EvalChatOptions& chat) {
  const SamplingOptions& sampling = chat.chat.sampling;
  const SamplingOptions usual;
  const auto refuse = [](bool is_given, const char* flag) {
    if (is_given) {
      throw UsageError(concat("--data: scores are of the greedy answers to its own questions, found --", flag,
                              " with it; leave it out, or add --report for other answers"));
    }
  };
  refuse(sampling.temperature != usual.temperature && sampling.temperature != 0, "temperature");
  refuse(sampling.top_k != usual.top_k, "top_k");
  refuse(sampling.top_p != usual.top_p, "top_p");
  refuse(sampling.repetition_penalty != usual.repetition_penalty, "repetition_penalty");
  refuse(!chat.prompt.empty(), "prompt");
  refuse(!chat.image.empty(), "image");
}

}  // namespace

Fields CompareOptions::fields() {
  return {
      {"checkpoints", &checkpoints, "several weights to compare: A,B,… (or the flag repeated)", {}},
      {"report", &report, "HTML file to write: the images of --image_dir in rows, the checkpoints in columns", {}},
      {"data",
       &data,
       "JSON file in the training data's format: score the greedy answers to its questions, one JSON line a "
       "checkpoint",
       {}},
      {"images_dir",
       &images_dir,
       "folder or .zip of the images of --data; empty: --image_dir, else `images` beside "
       "the data",
       {}},
      {"attributes",
       &attributes,
       "JSON file that says which words make an answer right; empty: attributes.json beside the data if there is one; "
       "none: "
       "score by the words of the true answers alone",
       {}},
      {"kind", &kind, "format of --data", {"pretrain", "sft", "multi"}}};
}

void CompareOptions::resolve(EvalChatOptions& chat) {
  const std::vector<std::string> words = std::exchange(checkpoints, split_at_commas(checkpoints));
  if (checkpoints.empty() && !words.empty()) {
    throw UsageError(concat("--checkpoints: expected files, A,B,…, found '", words.front(), "'"));
  }
  if (!checkpoints.empty() && !chat.files.checkpoint.empty()) {
    throw UsageError("--checkpoint and --checkpoints: expected one of them, found both");
  }
  chat.resolve();
  if (!checkpoints.empty() && !is_wanted()) {
    throw UsageError("--checkpoints: expected --report FILE.html or --data FILE.json with it, found neither");
  }
  if (!report.empty() && chat.image_dir.empty()) {
    throw UsageError("--report: expected --image_dir FOLDER with the images to ask about, found none");
  }
  if (!data.empty() && report.empty()) {
    require_no_effect_on_scores(chat);
  }
  if (!data.empty()) {
    const std::filesystem::path beside = std::filesystem::path(data).parent_path();
    if (images_dir.empty()) {
      images_dir = !chat.image_dir.empty() ? chat.image_dir : (beside / "images").string();
    }
    if (attributes.empty() && std::filesystem::exists(beside / "attributes.json")) {
      attributes = (beside / "attributes.json").string();
    }
  }
  if (!checkpoints.empty()) {
    chat.files.checkpoint.clear();
  }
}

Report make_report(const EvalChatOptions& chat, const CompareOptions& options) {
  const std::vector<ImageGroup> groups = image_groups(chat.image_dir, chat.multi);
  Report report{how_drawn(chat), {}, report_rows(groups, chat.prompt)};
  require(std::ranges::any_of(report.rows, [](const ReportRow& row) { return row.problem.empty(); }), chat.image_dir,
          ": expected images, found none that can be read");
  for (const std::string& checkpoint : options.checkpoints) {
    report.columns.push_back(ask_checkpoint(chat, checkpoint, groups, report.rows));
  }
  return report;
}

int run_comparison(const EvalChatOptions& chat, const CompareOptions& given) {
  CompareOptions options = given;
  if (options.checkpoints.empty()) {
    options.checkpoints = {chat.files.checkpoint};
  }
  for (const std::string& checkpoint : options.checkpoints) {
    find_model(checkpoint);
  }
  if (!options.report.empty()) {
    require(!std::filesystem::is_directory(options.report), options.report,
            ": expected a file for the report, found a folder");
    const AtomicFile probe(options.report);
  }
  std::vector<std::string> scores;
  if (!options.data.empty()) {
    for (const std::string& checkpoint : options.checkpoints) {
      const EvaluateOptions scoring = scoring_of(chat, options, checkpoint);
      const EvaluationResult result = evaluate(scoring, std::cout);
      std::cout << result.json(scoring) << std::endl;
      scores.push_back(scores_phrase(result));
    }
  }
  if (options.report.empty()) {
    return 0;
  }
  Report report = make_report(chat, options);
  for (size_t i = 0; i < scores.size(); ++i) {
    report.columns[i].scores = scores[i];
  }
  write_file_atomically(options.report, report_page(report));
  log_info(
      concat("wrote ", options.report, ": ", report.rows.size(), " rows, ", report.columns.size(), " checkpoints"));
  return std::ranges::all_of(report.rows, is_answered) ? 0 : 1;
}

}  // namespace minimind
