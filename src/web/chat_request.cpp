#include "web/chat_request.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/json.h"
#include "web/api_error.h"
#include "web/request_json.h"

namespace minimind {

namespace {

constexpr size_t kMaxJsonValues = 20'000;
constexpr size_t kMaxJsonDepth = 16;
constexpr size_t kMaxStops = 4;
constexpr size_t kMaxStopBytes = 256;

Json parse_json(std::string_view body) {
  try {
    check_json_limits(body, "body", {body.size(), kMaxJsonDepth, kMaxJsonValues});
    Json json = Json::parse(body);
    require(json.is_object(), "body: expected a JSON object, found ", quoted_json(json));
    return json;
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "", "invalid_json");
  } catch (const Json::exception& error) {
    const std::string_view what = error.what();
    throw ApiError(400, concat("body: expected JSON, found a ", what.substr(what.find("] ") + 2, 200)), "",
                   "invalid_json");
  }
}

void read_stops(const Json& stop, std::vector<std::string>& stops) {
  const Json list = stop.is_string() ? Json::array({stop}) : stop.is_null() ? Json::array() : stop;
  require_field(list.is_array() && list.size() <= kMaxStops, "stop",
                concat("a string or an array of at most ", kMaxStops, " strings"), stop);
  for (const Json& one : list) {
    const std::string* text = one.get_ptr<const std::string*>();
    require_field(text != nullptr && !text->empty() && text->size() <= kMaxStopBytes, "stop",
                  concat("strings of 1 to ", kMaxStopBytes, " bytes"), one);
    stops.push_back(*text);
  }
}

/// Fields that other servers take and that change no answer of this one.
const std::set<std::string, std::less<>> kFieldsWithoutEffect = {
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls",
    "cache_prompt", "keep_alive", "id_slot", "slot_id", "n_keep", "priority",
    // of samplers whose neutral value kNeutralValues demands:
    "mirostat_tau", "mirostat_eta", "dynatemp_exponent", "xtc_threshold", "dry_base", "dry_allowed_length",
    "dry_penalty_last_n", "dry_sequence_breakers", "repeat_last_n", "penalize_nl"};

/// Fields of features that this server lacks, with the values that do not use them; the first one stands in messages.
const std::map<std::string, std::vector<Json>, std::less<>> kNeutralValues = {
    {"n", {1}},
    {"best_of", {1}},
    {"n_predict", {-1}},
    {"n_probs", {0}},
    {"echo", {false}},
    {"logprobs", {false}},
    {"top_logprobs", {0}},
    {"tools", {Json::array()}},
    {"functions", {Json::array()}},
    {"tool_choice", {"none", "auto"}},
    {"function_call", {"none", "auto"}},
    {"response_format", {Json{{"type", "text"}}}},
    {"grammar", {""}},
    {"modalities", {Json::array({"text"})}},
    {"reasoning_effort", {"none"}},
    {"reasoning_format", {"none", "auto"}},
    {"enable_thinking", {false}},
    {"chat_template_kwargs", {Json::object(), Json{{"enable_thinking", false}}}},
    {"presence_penalty", {0}},
    {"frequency_penalty", {0}},
    {"repeat_penalty", {1}},
    {"length_penalty", {1}},
    {"logit_bias", {Json::object(), Json::array()}},
    {"bad_words", {Json::array()}},
    {"min_p", {0}},
    {"typical_p", {1}},
    {"tfs_z", {1}},
    {"top_a", {0}},
    {"top_n_sigma", {-1, 0}},
    {"mirostat", {0}},
    {"mirostat_mode", {0}},
    {"dynatemp_range", {0}},
    {"xtc_probability", {0}},
    {"dry_multiplier", {0}},
    {"min_tokens", {0}},
    {"ignore_eos", {false}},
    {"stop_token_ids", {Json::array()}},
    {"include_stop_str_in_output", {false}},
    {"skip_special_tokens", {true}},
    {"spaces_between_special_tokens", {true}},
    {"use_beam_search", {false}},
    {"early_stopping", {false}},
    {"timings_per_token", {false}},
    {"return_progress", {false}},
};

/// Refuses unknown fields, and fields that ask for features which the server lacks.
void check_fields(const Json& json) {
  static const std::set<std::string, std::less<>> kRead = {
      "model", "messages",           "stream",     "stream_options",        "temperature", "top_p",
      "top_k", "repetition_penalty", "max_tokens", "max_completion_tokens", "stop",        "seed"};
  for (const auto& [name, value] : json.items()) {
    if (value.is_null() || kRead.contains(name) || kFieldsWithoutEffect.contains(name)) {
      continue;
    }
    const auto found = kNeutralValues.find(name);
    if (found == kNeutralValues.end()) {
      throw ApiError(400, concat(name.substr(0, 60), ": no such parameter"), name.substr(0, 60), "unknown_parameter");
    }
    require_field(std::ranges::count(found->second, value) > 0, name,
                  concat(found->second.front().dump(), " (this server supports nothing else)"), value,
                  "unsupported_parameter");
  }
}

void read_sampling(const Json& json, SamplingOptions& sampling) {
  constexpr double kLeast = SamplingOptions::kLeast;
  read_json_field(json, "temperature", concat("0 (greedy), or a number from ", kLeast, " to ", kMaxTemperature),
                  sampling.temperature, [](double t) { return t == 0 || (t >= kLeast && t <= kMaxTemperature); });
  read_json_field(json, "top_p", "a number from 0 to 1", sampling.top_p, [](double p) { return p >= 0 && p <= 1; });
  sampling.top_p = std::max(sampling.top_p, kLeast);  // 0: the likeliest token alone
  read_json_field(json, "repetition_penalty", concat("a number from ", kLeast, " to ", kMaxRepetitionPenalty),
                  sampling.repetition_penalty, [](double p) { return p >= kLeast && p <= kMaxRepetitionPenalty; });
  read_json_field(json, "top_k", "a whole number, 0 or more", sampling.top_k, [](int64_t k) { return k >= -1; });
  sampling.top_k = std::max<int64_t>(sampling.top_k, 0);  // -1 is vLLM's number for all tokens
}

/// Both names of the limit; -1 asks for the server's own limit.
void read_length(const Json& json, int64_t limit, int64_t& max_new_tokens) {
  const std::string expected = concat("a whole number from 1 to ", limit);
  const auto fits = [limit](int64_t tokens) { return tokens == -1 || (tokens >= 1 && tokens <= limit); };
  int64_t old_name = -1;
  int64_t new_name = -1;
  const bool has_old_name = read_json_field(json, "max_tokens", expected, old_name, fits);
  const bool has_new_name = read_json_field(json, "max_completion_tokens", expected, new_name, fits);
  require_that(!has_old_name || !has_new_name || old_name == new_name, "max_completion_tokens",
               concat("the value of max_tokens, ", old_name, ", found ", new_name));
  const int64_t asked = has_new_name ? new_name : old_name;
  max_new_tokens = asked == -1 ? limit : asked;
}

void read_stream(const Json& json, ChatRequest& request) {
  read_json_field(json, "stream", "true or false", request.stream);
  const Json& options = json_field(json, "stream_options");
  if (options.is_null()) {
    return;
  }
  require_field(options.is_object(), "stream_options", "an object", options);
  require_field(request.stream, "stream_options", "\"stream\": true beside it", Json(false));
  read_json_field(options, "stream_options.include_usage", "true or false", request.include_usage);
}

}  // namespace

ChatRequest parse_chat_request(std::string_view body, const ChatRequestRules& rules) {
  const Json json = parse_json(body);
  check_fields(json);
  const Json& model = json_field(json, "model");
  require_field(model.is_null() || model.is_string(), "model", "a string", model);
  if (!model.is_null() && model != rules.model) {
    throw ApiError(404, concat("model: expected \"", rules.model, "\", found ", quoted_json(model)), "model",
                   "model_not_found");
  }
  ChatRequest request;
  request.sampling = rules.sampling;
  read_sampling(json, request.sampling);
  read_length(json, rules.max_new_tokens, request.max_new_tokens);
  int64_t seed = 0;
  if (read_json_field(json, "seed", "a whole number of 64 bits", seed)) {
    request.seed = static_cast<uint64_t>(seed);
  }
  read_stream(json, request);
  read_stops(json_field(json, "stop"), request.stop);
  read_messages(json_field(json, "messages"), rules, request);
  return request;
}

}  // namespace minimind
