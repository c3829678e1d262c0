#include "web/chat_request.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json_limits.h"
#include "minimind/chat/session.h"
#include "web/api_error.h"

namespace minimind {

namespace {

using Json = nlohmann::json;

constexpr size_t kMostJsonValues = 20'000;
constexpr size_t kDeepestJson = 16;
constexpr size_t kMostStops = 4;
constexpr size_t kLongestStop = 256;

/// A value as it stands in a message, shortened.
std::string shown(const Json& value) {
  if (value.is_object() || value.is_array()) {
    return value.is_object() ? "an object" : concat("an array of ", value.size());
  }
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) {
    text = text.substr(0, 57) + "…";
  }
  return text;
}

[[noreturn]] void refuse_field(const std::string& where, const std::string& expected, const Json& found,
                               const std::string& code = "invalid_value") {
  throw ApiError(400, concat(where, ": expected ", expected, ", found ", shown(found)), where, code);
}

/// The field, or null where it is absent or null.
const Json* field(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

void read_bool(const Json& object, const char* name, const std::string& where, bool& value) {
  if (const Json* found = field(object, name)) {
    if (!found->is_boolean()) {
      refuse_field(where, "true or false", *found);
    }
    value = found->get<bool>();
  }
}

/// `fits`: the range beyond what a finite number is.
template <class Fits>
void read_double(const Json& object, const char* name, const std::string& expected, const Fits& fits, double& value) {
  if (const Json* found = field(object, name)) {
    if (!found->is_number() || !std::isfinite(found->get<double>()) || !fits(found->get<double>())) {
      refuse_field(name, expected, *found);
    }
    value = found->get<double>();
  }
}

/// False where the field is absent.
bool read_integer(const Json& object, const char* name, int64_t low, int64_t high, int64_t& value) {
  const Json* found = field(object, name);
  if (found == nullptr) {
    return false;
  }
  const bool beyond = found->is_number_unsigned() &&
                      found->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!found->is_number_integer() || beyond || found->get<int64_t>() < low || found->get<int64_t>() > high) {
    const bool any = low == std::numeric_limits<int64_t>::min();
    const bool open = high == std::numeric_limits<int64_t>::max();
    refuse_field(name,
                 any    ? "a whole number of 64 bits"
                 : open ? concat("a whole number, ", low, " or more")
                        : concat("a whole number from ", low, " to ", high),
                 *found);
  }
  value = found->get<int64_t>();
  return true;
}

Json parse_json(std::string_view body) {
  try {
    check_json_limits(body, "body", {body.size(), kDeepestJson, kMostJsonValues});
    Json json = Json::parse(body);
    if (!json.is_object()) {
      throw ApiError(400, concat("body: expected a JSON object, found ", shown(json)), "", "invalid_json");
    }
    return json;
  } catch (const ApiError&) {
    throw;
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "", "invalid_json");
  } catch (const Json::exception& error) {
    const std::string_view what = error.what();
    const size_t begin = what.find("] ");
    throw ApiError(400, concat("body: expected JSON, found a ", what.substr(begin + 2, 200)), "", "invalid_json");
  }
}

/// One message while it is read.
struct RequestMessage {
  std::string where;
  Message message;
  int64_t images = 0;
};

void read_part(const Json& part, const std::string& where, RequestMessage& message, ChatRequest& request) {
  const Json* type = part.is_object() ? field(part, "type") : nullptr;
  if (type == nullptr || !type->is_string()) {
    refuse_field(where, "an object with \"type\": \"text\" or \"image_url\"", part);
  }
  if (*type == "text") {
    const Json* text = field(part, "text");
    if (text == nullptr || !text->is_string()) {
      refuse_field(where + ".text", "a string", text == nullptr ? Json() : *text);
    }
    message.message.content += (message.message.content.empty() ? "" : "\n") + text->get_ref<const std::string&>();
    return;
  }
  if (*type != "image_url") {
    refuse_field(where + ".type", "\"text\" or \"image_url\"", *type, "unsupported_content");
  }
  if (message.message.role != "user") {
    refuse_field(where + ".type", "\"text\": only users show images", *type, "unsupported_content");
  }
  const Json* image = field(part, "image_url");
  const Json* url = image != nullptr && image->is_object() ? field(*image, "url") : nullptr;
  if (url == nullptr || !url->is_string()) {
    refuse_field(where + ".image_url", "an object with a \"url\"", image == nullptr ? Json() : *image);
  }
  const std::string place = where + ".image_url.url";
  request.images.push_back({image_of_data_url(url->get_ref<const std::string&>(), place), place});
  ++message.images;
}

void read_content(const Json& json, const ChatRequestRules& rules, RequestMessage& message, ChatRequest& request) {
  const std::string where = message.where + ".content";
  const Json* content = field(json, "content");
  if (content != nullptr && content->is_string()) {
    message.message.content = content->get<std::string>();
  } else if (content != nullptr && content->is_array() && !content->empty()) {
    for (size_t i = 0; i < content->size(); ++i) {
      read_part((*content)[i], concat(where, "[", i, "]"), message, request);
      if (std::ssize(request.images) > rules.images) {
        throw ApiError(400, concat("messages: expected at most ", rules.images, " images, found more"), "messages",
                       "too_many_images");
      }
    }
  } else {
    refuse_field(where, "a string or an array of parts", content == nullptr ? Json() : *content);
  }
}

void mark_images(const ChatRequestRules& rules, RequestMessage& message) {
  if (message.message.role != "user") {
    return;
  }
  std::string& text = message.message.content;
  text = with_image_placeholders(text, message.images, rules.placeholder);
  int64_t placeholders = 0;
  for (size_t at = text.find(rules.placeholder); at != std::string::npos;
       at = text.find(rules.placeholder, at + rules.placeholder.size())) {
    ++placeholders;
  }
  const std::string where = message.where + ".content";
  if (placeholders != message.images) {
    throw ApiError(400,
                   concat(where, ": expected an image for each ", rules.placeholder, " of the text (", placeholders,
                          "), found ", message.images),
                   where, "marks_and_images_differ");
  }
  if (text.empty()) {
    throw ApiError(400, where + ": expected a text or an image, found neither", where, "invalid_value");
  }
}

RequestMessage read_message(const Json& json, const std::string& where, const ChatRequestRules& rules,
                            ChatRequest& request) {
  if (!json.is_object()) {
    refuse_field(where, "an object with role and content", json);
  }
  RequestMessage message{where, {}, 0};
  const Json* role = field(json, "role");
  constexpr std::array<std::string_view, 4> kRoles = {"system", "developer", "user", "assistant"};
  if (role == nullptr || !role->is_string() ||
      std::find(kRoles.begin(), kRoles.end(), role->get_ref<const std::string&>()) == kRoles.end()) {
    refuse_field(where + ".role", "\"system\", \"user\" or \"assistant\"", role == nullptr ? Json() : *role);
  }
  message.message.role = *role == "developer" ? "system" : role->get<std::string>();
  for (const auto& [name, value] : json.items()) {
    const bool harmless = name == "name" || value.is_null() || (value.is_array() && value.empty());
    if (name != "role" && name != "content" && !harmless) {
      refuse_field(concat(where, ".", name), "role and content alone", value, "unknown_parameter");
    }
  }
  read_content(json, rules, message, request);
  mark_images(rules, message);
  return message;
}

void read_messages(const Json& json, const ChatRequestRules& rules, ChatRequest& request) {
  const Json* messages = field(json, "messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    refuse_field("messages", "an array of messages", messages == nullptr ? Json() : *messages);
  }
  if (std::ssize(*messages) > rules.messages) {
    refuse_field("messages", concat("at most ", rules.messages, " messages"), *messages);
  }
  size_t text_bytes = 0;
  for (size_t i = 0; i < messages->size(); ++i) {
    RequestMessage message = read_message((*messages)[i], concat("messages[", i, "]"), rules, request);
    text_bytes += message.message.content.size();
    const std::string& role = message.message.role;
    if (role == "system" && i > 0) {
      refuse_field(message.where + ".role", "the system message to come first", Json(role));
    }
    const bool follows = !request.messages.empty() && request.messages.back().role != "system";
    if (role == "assistant" && !follows) {
      refuse_field(message.where + ".role", "\"user\": an answer follows a question", Json(role));
    }
    if (follows && request.messages.back().role == role) {
      request.messages.back().content += "\n" + message.message.content;
    } else {
      request.messages.push_back(std::move(message.message));
    }
  }
  if (request.messages.back().role != "user") {
    refuse_field(concat("messages[", messages->size() - 1, "].role"), "\"user\": the last message is the question",
                 Json(request.messages.back().role));
  }
  if (text_bytes > rules.text_bytes) {
    throw ApiError(400, concat("messages: expected at most ", rules.text_bytes, " bytes of text, found ", text_bytes),
                   "messages", "context_length_exceeded");
  }
}

void read_stops(const Json& json, ChatRequest& request) {
  const Json* stop = field(json, "stop");
  if (stop == nullptr) {
    return;
  }
  const Json list = stop->is_string() ? Json::array({*stop}) : *stop;
  if (!list.is_array() || list.size() > kMostStops) {
    refuse_field("stop", concat("a string or an array of at most ", kMostStops, " strings"), *stop);
  }
  for (const Json& one : list) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty() ||
        one.get_ref<const std::string&>().size() > kLongestStop) {
      refuse_field("stop", concat("strings of 1 to ", kLongestStop, " bytes"), one);
    }
    request.stop.push_back(one.get<std::string>());
  }
}

/// Fields that are known but ask for what this server has not, unless they hold one of `neutral`.
void refuse_what_is_not_there(const Json& json) {
  static const std::vector<std::pair<const char*, std::vector<Json>>> kNeutral = {
      {"n", {1}},
      {"logprobs", {false}},
      {"top_logprobs", {0}},
      {"tools", {Json::array()}},
      {"functions", {Json::array()}},
      {"tool_choice", {"none", "auto"}},
      {"function_call", {"none", "auto"}},
      {"response_format", {Json{{"type", "text"}}}},
      {"presence_penalty", {0}},
      {"frequency_penalty", {0}},
      {"logit_bias", {Json::object()}},
      {"modalities", {Json::array({"text"})}},
  };
  for (const auto& [name, neutral] : kNeutral) {
    const Json* found = field(json, name);
    if (found != nullptr && std::find(neutral.begin(), neutral.end(), *found) == neutral.end()) {
      refuse_field(name, concat(neutral.front().dump(), " (this server has nothing else)"), *found,
                   "unsupported_parameter");
    }
  }
}

void refuse_unknown_fields(const Json& json) {
  static const std::vector<std::string> kRead = {
      "model", "messages",           "stream",     "stream_options",        "temperature", "top_p",
      "top_k", "repetition_penalty", "max_tokens", "max_completion_tokens", "stop",        "seed"};
  static const std::vector<std::string> kElsewhere = {"n",
                                                      "logprobs",
                                                      "top_logprobs",
                                                      "tools",
                                                      "functions",
                                                      "tool_choice",
                                                      "function_call",
                                                      "response_format",
                                                      "presence_penalty",
                                                      "frequency_penalty",
                                                      "logit_bias",
                                                      "modalities"};
  static const std::vector<std::string> kWithoutEffect = {
      "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"};
  const auto holds = [](const std::vector<std::string>& list, const std::string& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  for (const auto& [name, value] : json.items()) {
    if (!value.is_null() && !holds(kRead, name) && !holds(kElsewhere, name) && !holds(kWithoutEffect, name)) {
      throw ApiError(400, concat(name.substr(0, 60), ": no such parameter"), name.substr(0, 60), "unknown_parameter");
    }
  }
}

}  // namespace

ChatRequest parse_chat_request(std::string_view body, const ChatRequestRules& rules) {
  const Json json = parse_json(body);
  refuse_unknown_fields(json);
  refuse_what_is_not_there(json);
  ChatRequest request;
  if (const Json* model = field(json, "model")) {
    if (!model->is_string()) {
      refuse_field("model", "a string", *model);
    }
    if (*model != rules.model) {
      throw ApiError(404, concat("model: expected \"", rules.model, "\", found ", shown(*model)), "model",
                     "model_not_found");
    }
  }
  request.sampling = rules.sampling;
  read_double(
      json, "temperature", concat("0 (greedy), or a number from ", SamplingOptions::kLeast, " to ", kMostTemperature),
      [](double t) { return t == 0 || (t >= SamplingOptions::kLeast && t <= kMostTemperature); },
      request.sampling.temperature);
  read_double(
      json, "top_p", "a number above 0, at most 1", [](double p) { return p > 0 && p <= 1; }, request.sampling.top_p);
  read_double(
      json, "repetition_penalty", concat("a number from ", SamplingOptions::kLeast, " to ", kMostPenalty),
      [](double p) { return p >= SamplingOptions::kLeast && p <= kMostPenalty; }, request.sampling.repetition_penalty);
  read_integer(json, "top_k", 0, std::numeric_limits<int64_t>::max(), request.sampling.top_k);
  request.max_new_tokens = rules.max_new_tokens;
  const bool old_name = read_integer(json, "max_tokens", 1, rules.max_new_tokens, request.max_new_tokens);
  if (read_integer(json, "max_completion_tokens", 1, rules.max_new_tokens, request.max_new_tokens) && old_name) {
    throw ApiError(400, "max_completion_tokens: expected it or max_tokens, found both", "max_completion_tokens",
                   "invalid_value");
  }
  int64_t seed = 0;
  if (read_integer(json, "seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(), seed)) {
    request.seed = static_cast<uint64_t>(seed);
  }
  read_bool(json, "stream", "stream", request.stream);
  if (const Json* options = field(json, "stream_options")) {
    if (!options->is_object()) {
      refuse_field("stream_options", "an object", *options);
    }
    if (!request.stream) {
      refuse_field("stream_options", "\"stream\": true beside it", Json(false));
    }
    read_bool(*options, "include_usage", "stream_options.include_usage", request.include_usage);
  }
  read_stops(json, request);
  read_messages(json, rules, request);
  return request;
}

}  // namespace minimind
