#include <algorithm>
#include <set>
#include <utility>

#include "minimind/infer/prompt.h"
#include "web/chat_request.h"
#include "web/data_url.h"
#include "web/request_json.h"

namespace minimind {

namespace {

void read_part(const Json& part, const std::string& where, Message& message, ChatRequest& request) {
  const Json& type = json_field(part, "type");
  require_field(type.is_string(), where, "an object with \"type\": \"text\" or \"image_url\"", part);
  if (type == "text") {
    const Json& text = json_field(part, "text");
    require_field(text.is_string(), where + ".text", "a string", text);
    message.content += (message.content.empty() ? "" : "\n") + text.get<std::string>();
    return;
  }
  require_field(type == "image_url", where + ".type", "\"text\" or \"image_url\"", type, "unsupported_content");
  require_field(message.role == "user", where + ".type", "\"text\": only user messages hold images", type,
                "unsupported_content");
  const Json& image = json_field(part, "image_url");
  require_field(json_field(image, "url").is_string(), where + ".image_url", "an object with a \"url\"", image);
  const std::string place = where + ".image_url.url";
  request.images.push_back({image_of_data_url(json_field(image, "url").get_ref<const std::string&>(), place), place});
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

/// Fields that other servers send with a message or take; they change nothing here.
const std::set<std::string, std::less<>> kIgnoredFields = {"name",   "id",      "reasoning_content", "reasoning",
                                                           "prefix", "partial", "cache_control"};

bool is_empty(const Json& value) {
  return value.is_null() || value == "" || (value.is_structured() && value.empty());
}

Message read_message(const Json& json, const std::string& where, const ChatRequestRules& rules, ChatRequest& request) {
  require_field(json.is_object(), where, "an object with role and content", json);
  const Json& role = json_field(json, "role");
  require_field(role == "system" || role == "developer" || role == "user" || role == "assistant", where + ".role",
                "\"system\", \"user\" or \"assistant\"", role);
  for (const auto& [name, value] : json.items()) {
    require_field(name == "role" || name == "content" || kIgnoredFields.contains(name) || is_empty(value),
                  concat(where, ".", name), "no fields but role and content", value, "unknown_parameter");
  }
  Message message{role == "developer" ? "system" : role.get<std::string>(), ""};
  const int64_t images_before = std::ssize(request.images);
  read_content(json_field(json, "content"), where + ".content", rules, message, request);
  if (message.role == "user") {
    place_images(where + ".content", rules.placeholder, std::ssize(request.images) - images_before, message.content);
  }
  return message;
}

/// Appends a text to another one in a line of its own.
void append_text(const std::string& more, std::string& text) {
  text += (text.empty() || more.empty() ? "" : "\n") + more;
}

}  // namespace

void read_messages(const Json& messages, const ChatRequestRules& rules, ChatRequest& request) {
  require_field(messages.is_array() && !messages.empty(), "messages", "an array of messages", messages);
  require_field(std::ssize(messages) <= rules.messages, "messages", concat("at most ", rules.messages, " messages"),
                messages);
  size_t text_bytes = 0;
  std::string system;
  for (size_t i = 0; i < messages.size(); ++i) {
    Message message = read_message(messages[i], concat("messages[", i, "]"), rules, request);
    text_bytes += message.content.size();
    if (message.role == "system") {
      append_text(message.content, system);
    } else if (!request.messages.empty() && request.messages.back().role == message.role) {
      request.messages.back().content += "\n" + message.content;
    } else {
      request.messages.push_back(std::move(message));
    }
  }
  require_that(std::ranges::count(request.messages, "user", &Message::role) > 0, "messages",
               "a message of the role \"user\", found none");
  require_that(text_bytes <= rules.text_bytes, "messages",
               concat("at most ", rules.text_bytes, " bytes of text, found ", text_bytes), "context_length_exceeded");
  if (!system.empty()) {
    request.messages.insert(request.messages.begin(), {"system", std::move(system)});
  }
}

}  // namespace minimind
