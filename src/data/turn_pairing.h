#pragma once

#include <string>
#include <utility>
#include <vector>

namespace minimind::detail {

/// One message of a conversation, as a data file has it.
struct RawMessage {
  std::string role;
  std::string text;
};

struct PairedTurns {
  std::vector<std::pair<std::string, std::string>> turns;  ///< question, answer; sides may be empty
  std::string left_out;                                    ///< why the first message that is in no turn is not, or ""
};

/// Pairs messages into questions with their answers. If some are of a person (human, user) and some of the model (gpt,
/// assistant), a message goes by its role; one with an unknown role goes by its place. Left out are then a message of
/// the system, an answer without a question (LLaVA's rule for a conversation that gpt begins), and a question with
/// another question behind it. If there are no such roles, all messages go by their place. A last question without an
/// answer is dropped without a word.
PairedTurns pair_messages(std::vector<RawMessage> messages);

}  // namespace minimind::detail
