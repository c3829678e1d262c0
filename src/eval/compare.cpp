#include "minimind/eval/compare.h"

#include <algorithm>
#include <filesystem>
#include <iomanip>
#include <sstream>
#include <utility>

#include "base/progress.h"
#include "base/stopwatch.h"
#include "base/utf8.h"
#include "chat/image_groups.h"
#include "chat/image_paths.h"
#include "eval/report_page.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/image/decode.h"
#include "minimind/image/encode.h"
#include "minimind/image/resize.h"
#include "minimind/model/weights.h"

namespace minimind {

namespace {

/// `A,B` → A, B. A word that is an existing path is not split.
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

/// A small JPEG copy, sharp at 200 pixels on a screen of double density.
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

/// One row for each group: thumbnails, question, and a problem if an image cannot be read.
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

std::string settings_summary(const EvalChatOptions& options) {
  const SamplingOptions& sampling = options.chat.sampling;
  std::ostringstream text;
  if (sampling.temperature == 0) {
    text << "greedy";
  } else {
    text << "temperature " << sampling.temperature << ", top-k " << sampling.top_k;
    text << (sampling.top_p < 1 ? concat(", top-p ", sampling.top_p) : "") << ", seed " << options.seed;
  }
  if (sampling.repetition_penalty != 1.0) {
    text << ", repetition penalty " << sampling.repetition_penalty;
  }
  text << ", at most " << options.chat.max_new_tokens << " tokens, weights in " << options.files.weights;
  return text.str();
}

/// Asks about one group in a new conversation; adds time and tokens to the column.
std::string ask_about_group(const EvalChatOptions& options, const ImageGroup& group, ChatSession& session,
                            ReportColumn& column) {
  std::vector<Image> images;
  for (const std::string& path : group.images) {
    images.push_back(load_image(path));
  }
  const Stopwatch stopwatch;
  std::vector<at::Tensor> features;
  for (const Image& image : images) {
    features.push_back(session.model().features(image));
  }
  const std::string& placeholder = session.model().pattern().placeholder;
  session.clear();
  const Answer answer = session.ask(
      options.prompt.empty() ? default_question(std::ssize(features), placeholder) : options.prompt, features);
  column.seconds += stopwatch.seconds();
  column.decode_seconds += answer.decode_seconds;
  column.tokens += std::ssize(answer.ids);
  ++column.answers;
  return answer.text;
}

/// Fills one checkpoint's column and adds its answers to the rows. Throws Error if it answers no question.
ReportColumn ask_checkpoint(const EvalChatOptions& options, const std::string& checkpoint,
                            const std::vector<ImageGroup>& groups, std::vector<ReportRow>& rows) {
  ReportColumn column;
  column.checkpoint = checkpoint;
  ChatModelFiles files = options.files;
  files.checkpoint = checkpoint;
  files.stage.clear();  // a report may compare stages, so no stage is wrong
  const Stopwatch stopwatch;
  const std::unique_ptr<ChatModel> model = ChatModel::load(files, log_warning);
  ChatSession session(*model, options.chat);
  column.load_seconds = stopwatch.seconds();
  std::vector<std::string> problems;
  Progress progress(concat("asking ", checkpoint), "questions", std::ssize(rows));
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].problem.empty()) {
      continue;
    }
    try {
      rows[i].answers.push_back({ask_about_group(options, groups[i], session, column), ""});
    } catch (const Error& error) {
      problems.push_back(concat(groups[i].name, ": ", error.what()));
      rows[i].answers.push_back({"", problems.back()});
    }
    progress.update(static_cast<int64_t>(i) + 1);
  }
  progress.finish();
  require(column.answers > 0, checkpoint, ": expected answers, found only errors; ",
          problems.empty() ? "" : printable(problems.front()));
  for (const std::string& problem : problems) {
    log_warning(printable(concat(checkpoint, ": ", problem)));
  }
  return column;
}

EvaluateOptions scoring_of(const EvalChatOptions& chat, const CompareOptions& options, const std::string& checkpoint) {
  EvaluateOptions scoring = options.scoring;
  scoring.files = chat.files;
  scoring.files.checkpoint = checkpoint;
  scoring.max_new_tokens = chat.chat.max_new_tokens;
  scoring.max_seq_len = chat.chat.context;
  scoring.resolve();
  scoring.files.stage.clear();
  return scoring;
}

/// Scores always come from greedy answers, even if the answers of the rows are sampled.
std::string scores_summary(const EvaluationResult& result) {
  const auto samples = static_cast<double>(result.samples);
  std::ostringstream text;
  text << std::fixed << std::setprecision(3);
  if (result.with_attributes > 0) {
    text << "attributes " << static_cast<double>(result.right) / static_cast<double>(result.with_attributes) << ", ";
  }
  text << "exact " << static_cast<double>(result.exact) / samples << ", token F1 " << result.f1_sum / samples;
  text << " (" << result.samples << " samples, greedy)";
  return text.str();
}

bool is_answered(const ReportRow& row) {
  return row.problem.empty() &&
         std::ranges::all_of(row.answers, [](const ReportAnswer& answer) { return answer.problem.empty(); });
}

/// --data without --report scores greedy answers to the questions of the data: flags that would change them are
/// refused.
void require_no_effect_on_scores(const EvalChatOptions& chat) {
  const SamplingOptions& sampling = chat.chat.sampling;
  const SamplingOptions usual;
  const auto refuse = [](bool is_given, const char* flag) {
    if (is_given) {
      throw UsageError(concat("--data: expected no flag that changes the greedy answers to its questions, found --",
                              flag, "; omit it, or add --report"));
    }
  };
  refuse(sampling.temperature != usual.temperature && sampling.temperature != 0, "temperature");
  refuse(sampling.top_k != usual.top_k, "top_k");
  refuse(sampling.top_p != usual.top_p, "top_p");
  refuse(sampling.repetition_penalty != usual.repetition_penalty, "repetition_penalty");
  refuse(!chat.prompt.empty(), "prompt");
  refuse(!chat.image.empty(), "image");
}

/// Asks every checkpoint about the images of `chat.image_dir`. Problems of images and questions stand in the report.
Report make_report(EvalChatOptions chat, const std::vector<std::string>& checkpoints) {
  ImageFolder folder = image_groups(chat.image_dir, chat.multi);
  const DroppedImages prompt = take_images_out(chat.prompt);
  std::ranges::for_each(folder.notes, log_warning);
  std::ranges::for_each(prompt.notes, log_warning);
  chat.prompt = prompt.text;
  for (ImageGroup& group : folder.groups) {
    group.images.insert(group.images.end(), prompt.images.begin(), prompt.images.end());
  }
  Report report{settings_summary(chat), {}, report_rows(folder.groups, chat.prompt)};
  require(std::ranges::any_of(report.rows, [](const ReportRow& row) { return row.problem.empty(); }), chat.image_dir,
          ": expected images, found no image that can be read");
  for (const std::string& checkpoint : checkpoints) {
    report.columns.push_back(ask_checkpoint(chat, checkpoint, folder.groups, report.rows));
  }
  return report;
}

}  // namespace

Fields CompareOptions::fields() {
  return {{"checkpoints", &checkpoints, "weights files to compare, separated by commas, or repeat the flag"},
          {"report", &report, "HTML report to write: images of --image_dir in rows, checkpoints in columns"},
          {"data", &scoring.data_path,
           "JSON file in the training format: score greedy answers, one JSON line per checkpoint"},
          {"images_dir", &scoring.images_dir,
           "folder or zip archive of the images of --data; empty: --image_dir, else `images` beside the data"},
          {"attributes", &scoring.attributes,
           "JSON file of words that make an answer right; empty: attributes.json beside the data; none: no file"},
          {"kind", &scoring.kind, "training format of the data file", {"pretrain", "sft", "multi"}}};
}

void CompareOptions::resolve(EvalChatOptions& chat) {
  const std::vector<std::string> words = std::exchange(checkpoints, split_at_commas(checkpoints));
  if (checkpoints.empty() && !words.empty()) {
    throw UsageError(concat("--checkpoints: expected files, A,B,…, found '", words.front(), "'"));
  }
  if (!checkpoints.empty() && !chat.files.checkpoint.empty()) {
    throw UsageError("--checkpoint and --checkpoints: expected one of the two flags, found both");
  }
  chat.resolve();
  if (!checkpoints.empty() && !is_wanted()) {
    throw UsageError("--checkpoints: expected --report FILE.html or --data FILE.json too, found neither flag");
  }
  if (!report.empty() && chat.image_dir.empty()) {
    throw UsageError("--report: expected --image_dir FOLDER with the images to ask about, found no --image_dir");
  }
  if (!scoring.data_path.empty()) {
    if (report.empty()) {
      require_no_effect_on_scores(chat);
    }
    const std::filesystem::path beside = std::filesystem::path(scoring.data_path).parent_path();
    if (scoring.images_dir.empty()) {
      scoring.images_dir = !chat.image_dir.empty() ? chat.image_dir : (beside / "images").string();
    }
    if (scoring.attributes.empty() && std::filesystem::exists(beside / "attributes.json")) {
      scoring.attributes = (beside / "attributes.json").string();
    }
  }
  if (!checkpoints.empty()) {
    chat.files.checkpoint.clear();
  }
}

int run_comparison(const EvalChatOptions& chat, const CompareOptions& options, std::ostream& out) {
  std::vector<std::string> checkpoints = options.checkpoints;
  if (checkpoints.empty()) {
    checkpoints = {chat.files.checkpoint};
  }
  for (const std::string& checkpoint : checkpoints) {
    find_model(checkpoint);
  }
  if (!options.report.empty()) {
    require(!std::filesystem::is_directory(options.report), options.report,
            ": expected a file for the report, found a folder");
    const AtomicFile probe(options.report);
  }
  std::vector<std::string> scores(checkpoints.size());
  for (size_t i = 0; i < checkpoints.size() && !options.scoring.data_path.empty(); ++i) {
    const EvaluateOptions scoring = scoring_of(chat, options, checkpoints[i]);
    const EvaluationResult result = evaluate(scoring, out);
    out << result.json(scoring) << std::endl;
    scores[i] = scores_summary(result);
  }
  if (options.report.empty()) {
    return 0;
  }
  Report report = make_report(chat, checkpoints);
  for (size_t i = 0; i < scores.size(); ++i) {
    report.columns[i].scores = scores[i];
  }
  write_file_atomically(options.report, report_page(report));
  log_info(
      concat("wrote ", options.report, ": ", report.rows.size(), " rows, ", report.columns.size(), " checkpoints"));
  return std::ranges::all_of(report.rows, is_answered) ? 0 : 1;
}

}  // namespace minimind
