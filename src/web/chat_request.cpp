#include "web/chat_request.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <type_traits>
#include <utility>

#include "base/bytes.h"
#include "base/json.h"
#include "minimind/chat/session.h"
#include "web/api_error.h"

namespace minimind {

namespace {

constexpr size_t kMaxJsonValues = 20'000;
constexpr size_t kMaxJsonDepth = 16;
constexpr size_t kMaxStops = 4;
constexpr size_t kMaxStopBytes = 256;

/// A value as messages quote it, shortened.
std::string quoted(const Json& value) {
  if (value.is_object() || value.is_array()) {
    return value.is_object() ? "an object" : concat("an array of ", value.size());
  }
  const std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "…" : text;
}

void require_that(bool condition, const std::string& where, const std::string& expected_and_found,
                  const std::string& code = "invalid_value") {
  if (!condition) {
    throw ApiError(400, concat(where, ": expected ", expected_and_found), where, code);
  }
}

void require_field(bool condition, const std::string& where, const std::string& expected, const Json& found,
                   const std::string& code = "invalid_value") {
  if (!condition) {
    require_that(false, where, concat(expected, ", found ", quoted(found)), code);
  }
}

/// The field's value; JSON's null if it is absent.
const Json& field(const Json& object, const std::string& name) {
  static const Json kNull;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? kNull : *found;
}

template <class Value>
bool has_type(const Json& json) {
  if constexpr (std::is_same_v<Value, bool>) {
    return json.is_boolean();
  } else if constexpr (std::is_same_v<Value, double>) {
    return json.is_number() && std::isfinite(json.get<double>());
  } else {
    return json.is_number_unsigned() ? json.get<uint64_t>() <= std::numeric_limits<int64_t>::max()
                                     : json.is_number_integer();
  }
}

/// Reads a field into `value`, which stays if the field is absent or null. `where` ends in the field's name. Returns
/// whether it was read. Throws if its type is wrong or `fits` refuses the value.
template <class Value>
bool read_field(const Json& object, const std::string& where, const std::string& expected, Value& value,
                const std::type_identity_t<std::function<bool(Value)>>& fits = {}) {
  const Json& found = field(object, where.substr(where.rfind('.') + 1));
  if (found.is_null()) {
    return false;
  }
  require_field(has_type<Value>(found) && (!fits || fits(found.get<Value>())), where, expected, found);
  value = found.get<Value>();
  return true;
}

Json parse_json(std::string_view body) {
  try {
    check_json_limits(body, "body", {body.size(), kMaxJsonDepth, kMaxJsonValues});
    Json json = Json::parse(body);
    require(json.is_object(), "body: expected a JSON object, found ", quoted(json));
    return json;
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "", "invalid_json");
  } catch (const Json::exception& error) {
    const std::string_view what = error.what();
    throw ApiError(400, concat("body: expected JSON, found a ", what.substr(what.find("] ") + 2, 200)), "",
                   "invalid_json");
  }
}

/// The bytes of a `data:image/…;base64,…` URL.
std::string image_of_data_url(std::string_view url, const std::string& where) {
  require_that(url.starts_with("data:"), where,
               "an image inside the request, as data:image/…;base64,…, found another URL; this server fetches nothing",
               "unsupported_image_url");
  const size_t comma = url.find(',');
  const std::string_view kind = url.substr(0, comma);
  require_that(comma != url.npos && kind.starts_with("data:image/") && kind.ends_with(";base64"), where,
               "data:image/…;base64,…, found a data URL of another form", "invalid_image_url");
  std::optional<std::string> bytes = decode_base64(url.substr(comma + 1));
  require_that(bytes.has_value(), where, "base64 (A-Z a-z 0-9 + / with = padding and no blanks), found other text",
               "invalid_base64");
  require_that(!bytes->empty(), where, "an image, found no bytes", "invalid_image");
  return *std::move(bytes);
}

void read_part(const Json& part, const std::string& where, Message& message, ChatRequest& request) {
  const Json& type = field(part, "type");
  require_field(type.is_string(), where, "an object with \"type\": \"text\" or \"image_url\"", part);
  if (type == "text") {
    const Json& text = field(part, "text");
    require_field(text.is_string(), where + ".text", "a string", text);
    message.content += (message.content.empty() ? "" : "\n") + text.get<std::string>();
    return;
  }
  require_field(type == "image_url", where + ".type", "\"text\" or \"image_url\"", type, "unsupported_content");
  require_field(message.role == "user", where + ".type", "\"text\": only user messages hold images", type,
                "unsupported_content");
  const Json& image = field(part, "image_url");
  require_field(field(image, "url").is_string(), where + ".image_url", "an object with a \"url\"", image);
  const std::string place = where + ".image_url.url";
  request.images.push_back({image_of_data_url(field(image, "url").get_ref<const std::string&>(), place), place});
}

void read_content(const Json& content, const std::string& where, const ChatRequestRules& rules, Message& message,
                  ChatRequest& request) {
  if (content.is_string()) {
    message.content = content.get<std::string>();
    return;
  }
  require_field(content.is_array() && !content.empty(), where, "a string or an array of parts", content);
  for (size_t i = 0; i < content.size(); ++i) {
    read_part(content[i], concat(where, "[", i, "]"), message, request);
    require_that(std::ssize(request.images) <= rules.images, "messages",
                 concat("at most ", rules.images, " images, found more"), "too_many_images");
  }
}

/// Puts placeholders in front of a user's text that has none. Refuses a text that has another number of placeholders
/// than `images`, and an empty text.
void place_images(const std::string& where, const std::string& placeholder, int64_t images, std::string& text) {
  text = with_image_placeholders(text, images, placeholder);
  int64_t placeholders = 0;
  for (size_t at = text.find(placeholder); at != text.npos; at = text.find(placeholder, at + placeholder.size())) {
    ++placeholders;
  }
  require_that(placeholders == images, where,
               concat("an image for each ", placeholder, " of the text (", placeholders, "), found ", images),
               "marks_and_images_differ");
  require_that(!text.empty(), where, "a text or an image, found an empty text");
}

Message read_message(const Json& json, const std::string& where, const ChatRequestRules& rules, ChatRequest& request) {
  require_field(json.is_object(), where, "an object with role and content", json);
  const Json& role = field(json, "role");
  require_field(role == "system" || role == "developer" || role == "user" || role == "assistant", where + ".role",
                "\"system\", \"user\" or \"assistant\"", role);
  for (const auto& [name, value] : json.items()) {
    const bool is_harmless = name == "name" || value.is_null() || (value.is_array() && value.empty());
    require_field(name == "role" || name == "content" || is_harmless, concat(where, ".", name),
                  "no fields but role and content", value, "unknown_parameter");
  }
  Message message{role == "developer" ? "system" : role.get<std::string>(), ""};
  const int64_t images_before = std::ssize(request.images);
  read_content(field(json, "content"), where + ".content", rules, message, request);
  if (message.role == "user") {
    place_images(where + ".content", rules.placeholder, std::ssize(request.images) - images_before, message.content);
  }
  return message;
}

/// Appends a message, or joins it to the last one if both have the same role.
void add_message(Message message, const std::string& where, std::vector<Message>& messages) {
  require_field(message.role != "system" || messages.empty(), where + ".role", "the system message first",
                Json(message.role));
  const bool follows = !messages.empty() && messages.back().role != "system";
  require_field(message.role != "assistant" || follows, where + ".role", "\"user\": an answer follows a question",
                Json(message.role));
  if (follows && messages.back().role == message.role) {
    messages.back().content += "\n" + message.content;
  } else {
    messages.push_back(std::move(message));
  }
}

void read_messages(const Json& messages, const ChatRequestRules& rules, ChatRequest& request) {
  require_field(messages.is_array() && !messages.empty(), "messages", "an array of messages", messages);
  require_field(std::ssize(messages) <= rules.messages, "messages", concat("at most ", rules.messages, " messages"),
                messages);
  size_t text_bytes = 0;
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string where = concat("messages[", i, "]");
    Message message = read_message(messages[i], where, rules, request);
    text_bytes += message.content.size();
    add_message(std::move(message), where, request.messages);
  }
  require_field(request.messages.back().role == "user", concat("messages[", messages.size() - 1, "].role"),
                "\"user\": the last message is the question", Json(request.messages.back().role));
  require_that(text_bytes <= rules.text_bytes, "messages",
               concat("at most ", rules.text_bytes, " bytes of text, found ", text_bytes), "context_length_exceeded");
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

/// Refuses unknown fields, and fields that ask for features which the server lacks.
void check_fields(const Json& json) {
  static const std::set<std::string> kAccepted = {
      "model", "messages", "stream", "stream_options", "temperature", "top_p", "top_k", "repetition_penalty",
      "max_tokens", "max_completion_tokens", "stop", "seed",
      // without effect:
      "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"};
  static const std::map<std::string, std::vector<Json>> kNeutralValues = {
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
  for (const auto& [name, value] : json.items()) {
    if (value.is_null() || kAccepted.contains(name)) {
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
  read_field(json, "temperature", concat("0 (greedy), or a number from ", kLeast, " to ", kMaxTemperature),
             sampling.temperature, [](double t) { return t == 0 || (t >= kLeast && t <= kMaxTemperature); });
  read_field(json, "top_p", "a number above 0, at most 1", sampling.top_p, [](double p) { return p > 0 && p <= 1; });
  read_field(json, "repetition_penalty", concat("a number from ", kLeast, " to ", kMaxRepetitionPenalty),
             sampling.repetition_penalty, [](double p) { return p >= kLeast && p <= kMaxRepetitionPenalty; });
  read_field(json, "top_k", "a whole number, 0 or more", sampling.top_k, [](int64_t k) { return k >= 0; });
}

void read_length(const Json& json, int64_t limit, int64_t& max_new_tokens) {
  const std::string expected = concat("a whole number from 1 to ", limit);
  const auto fits = [limit](int64_t tokens) { return tokens >= 1 && tokens <= limit; };
  max_new_tokens = limit;
  const bool has_old_name = read_field(json, "max_tokens", expected, max_new_tokens, fits);
  require_that(!(read_field(json, "max_completion_tokens", expected, max_new_tokens, fits) && has_old_name),
               "max_completion_tokens", "it or max_tokens, found both");
}

void read_stream(const Json& json, ChatRequest& request) {
  read_field(json, "stream", "true or false", request.stream);
  const Json& options = field(json, "stream_options");
  if (options.is_null()) {
    return;
  }
  require_field(options.is_object(), "stream_options", "an object", options);
  require_field(request.stream, "stream_options", "\"stream\": true beside it", Json(false));
  read_field(options, "stream_options.include_usage", "true or false", request.include_usage);
}

}  // namespace

ChatRequest parse_chat_request(std::string_view body, const ChatRequestRules& rules) {
  const Json json = parse_json(body);
  check_fields(json);
  const Json& model = field(json, "model");
  require_field(model.is_null() || model.is_string(), "model", "a string", model);
  if (!model.is_null() && model != rules.model) {
    throw ApiError(404, concat("model: expected \"", rules.model, "\", found ", quoted(model)), "model",
                   "model_not_found");
  }
  ChatRequest request;
  request.sampling = rules.sampling;
  read_sampling(json, request.sampling);
  read_length(json, rules.max_new_tokens, request.max_new_tokens);
  int64_t seed = 0;
  if (read_field(json, "seed", "a whole number of 64 bits", seed)) {
    request.seed = static_cast<uint64_t>(seed);
  }
  read_stream(json, request);
  read_stops(field(json, "stop"), request.stop);
  read_messages(field(json, "messages"), rules, request);
  return request;
}

}  // namespace minimind
