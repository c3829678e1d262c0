#include "data/turn_pairing.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/text.h"
#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

enum class Role { kUnknown, kQuestion, kAnswer, kSystem };

Role role_of(std::string_view name) {
  struct Name {
    std::string_view text;
    Role role;
  };
  constexpr std::array kNames = {Name{"human", Role::kQuestion}, Name{"user", Role::kQuestion},
                                 Name{"gpt", Role::kAnswer},     Name{"assistant", Role::kAnswer},
                                 Name{"chatgpt", Role::kAnswer}, Name{"bot", Role::kAnswer},
                                 Name{"model", Role::kAnswer},   Name{"system", Role::kSystem}};
  const std::string lower = lower_case(strip(name));
  const auto found = std::ranges::find(kNames, std::string_view(lower), &Name::text);
  return found == kNames.end() ? Role::kUnknown : found->role;
}

class Pairing {
 public:
  explicit Pairing(bool by_role) : by_role_(by_role) {}

  void add(RawMessage message) {
    const int64_t place = place_++;
    Role role = by_role_ ? role_of(message.role) : Role::kUnknown;
    if (role == Role::kUnknown) {
      role = question_ ? Role::kAnswer : Role::kQuestion;
    }
    if (role == Role::kSystem) {
      leave_out("training uses questions and answers alone", message.role, place);
    } else if (role == Role::kQuestion) {
      if (question_) {
        leave_out("another question follows it", message.role, place - 1);
      }
      question_ = std::move(message.text);
    } else if (!question_) {
      leave_out("no question stands before it", message.role, place);
    } else {
      paired_.turns.emplace_back(std::move(*question_), std::move(message.text));
      question_.reset();
    }
  }
  PairedTurns take() { return std::move(paired_); }

 private:
  void leave_out(const char* why, const std::string& role, int64_t place) {
    if (paired_.left_out.empty()) {
      paired_.left_out = concat("message ", place, " (", role, ") is left out: ", why);
    }
  }

  bool by_role_;
  std::optional<std::string> question_;
  int64_t place_ = 0;
  PairedTurns paired_;
};

}  // namespace

PairedTurns pair_messages(std::vector<RawMessage> messages) {
  const auto has = [&](Role role) {
    return std::ranges::any_of(messages, [&](const RawMessage& message) { return role_of(message.role) == role; });
  };
  Pairing pairing(has(Role::kQuestion) && has(Role::kAnswer));
  for (RawMessage& message : messages) {
    pairing.add(std::move(message));
  }
  return pairing.take();
}

}  // namespace minimind::detail
