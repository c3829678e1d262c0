#include "minimind/chat/session.h"

#include <gtest/gtest.h>

#include <set>

#include "base/utf8.h"
#include "chat/toy_chat.h"
#include "minimind/base/error.h"
#include "minimind/chat/eval_chat.h"
#include "minimind/image/decode.h"

namespace minimind::testing {
namespace {

ChatOptions greedy_options(int64_t max_new_tokens = 12) {
  ChatOptions options;
  options.sampling.temperature = 0;
  options.max_new_tokens = max_new_tokens;
  return options;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ChatSessionOptions, RefusesMoreThanAMachineHas) {
  const auto refusal = [](const std::function<void(EvalChatOptions&)>& set) {
    EvalChatOptions options;
    set(options);
    return message_of([&] { options.resolve(); });
  };
  EXPECT_EQ(refusal([](EvalChatOptions& options) { options.chat.context = 999'999'999'999; }),
            "--max_seq_len: expected 2 to 1048576 tokens, found 999999999999");
  EXPECT_NE(refusal([](EvalChatOptions& options) { options.files.threads = 5000; }).find("--threads: expected 0"),
            std::string::npos);
  EXPECT_NE(refusal([](EvalChatOptions& options) { options.chat.sampling.temperature = 1e-40; }).find("--temperature"),
            std::string::npos);
  EXPECT_EQ(refusal([](EvalChatOptions& options) { options.files.threads = 256; }), "no error");
}

TEST(ChatModelImages, EncodesEqualImagesOnce) {
  const auto model = toy_chat_model();
  const at::Tensor first = model->features(toy_image(1));
  const at::Tensor other = model->features(toy_image(2));
  const at::Tensor again = model->features(toy_image(1));
  EXPECT_EQ(model->encoded_images(), 2);
  EXPECT_TRUE(at::equal(first, again));
  EXPECT_FALSE(at::equal(first, other));
}

TEST(ChatModelImages, LaterTurnsEncodeNothingAgain) {
  const auto model = toy_chat_model();
  ChatSession session(*model, greedy_options());
  session.ask("what?", {model->features(toy_image(1))});
  session.ask("and now?", {});
  session.ask("the same one?", {model->features(toy_image(1))});
  EXPECT_EQ(model->encoded_images(), 1);
}

TEST(ChatModelImages, ForgetsTheImageThatWasUsedLongestAgo) {
  const auto model = toy_chat_model(false, 2);
  model->features(toy_image(1));
  model->features(toy_image(2));
  model->features(toy_image(1));
  model->features(toy_image(3));  // 2 goes
  EXPECT_EQ(model->encoded_images(), 3);
  model->features(toy_image(1));
  EXPECT_EQ(model->encoded_images(), 3);
  model->features(toy_image(2));
  EXPECT_EQ(model->encoded_images(), 4);
}

TEST(ChatModelImages, NamesAFileThatIsNoImage) {
  const auto model = toy_chat_model();
  EXPECT_NE(message_of([&] { model->features(decode_image("not an image", "notes.png")); }).find("notes.png"),
            std::string::npos);
}

TEST(ChatSession, AnswerDependsOnTheImage) {
  const auto model = toy_chat_model();
  ChatSession session(*model, greedy_options());
  std::set<std::string> answers;
  const auto answer = [&](int tone) {
    session.clear();
    return session.ask("what?", {model->features(toy_image(tone))}).text;
  };
  for (int tone = 0; tone < 8; ++tone) {
    answers.insert(answer(tone));
  }
  // A toy's greedy answers to two images may be equal by chance; those to eight may not.
  EXPECT_GT(answers.size(), 1U);
  EXPECT_EQ(answer(3), answer(3));
}

TEST(ChatSession, RefusesMoreImagesThanMarksAndTheReverseAndStaysUsable) {
  const auto model = toy_chat_model();
  ChatSession session(*model, greedy_options());
  const at::Tensor image = model->features(toy_image(1));
  const std::string more_marks = message_of([&] { session.ask("<image> <image> same?", {image}); });
  EXPECT_NE(more_marks.find("(2), found 1"), std::string::npos) << more_marks;
  const std::string more_images = message_of([&] { session.ask("<image> same?", {image, image}); });
  EXPECT_NE(more_images.find("(1), found 2"), std::string::npos) << more_images;
  EXPECT_THROW(session.ask("<image>", {}), Error);
  EXPECT_THROW(session.ask("", {}), Error);
  EXPECT_TRUE(session.messages().empty());
  EXPECT_NO_THROW(session.ask("<image> fine?", {image}));
}

TEST(ChatSession, RefusesASlotTypedAsText) {
  const auto model = toy_chat_model();
  ChatSession session(*model, greedy_options());
  EXPECT_THROW(session.ask(std::string("look: ") + kToyPattern, {}), Error);
}

TEST(ChatSession, LaterTurnsSeeTheEarlierOnes) {
  const auto model = toy_chat_model();
  ChatSession session(*model, greedy_options());
  session.ask("first?", {model->features(toy_image(1))});
  const Answer second = session.ask("and now?", {});
  ASSERT_EQ(session.messages().size(), 4U);
  EXPECT_EQ(session.messages()[0].content, "<image>\nfirst?");
  EXPECT_EQ(session.messages()[1].role, "assistant");
  ChatSession fresh(*model, greedy_options());
  const Answer alone = fresh.ask("and now?", {});
  EXPECT_GT(second.prompt_tokens, alone.prompt_tokens);
  EXPECT_NE(second.text, alone.text);
}

TEST(ChatSession, StreamsWholeCharactersThatAddUpToTheAnswer) {
  const auto model = toy_chat_model();
  ChatSession session(*model, greedy_options(40));
  std::string streamed;
  const Answer answer = session.ask("what?", {}, [&](std::string_view piece) {
    EXPECT_EQ(repair_utf8(piece), piece);
    streamed += piece;
    return true;
  });
  EXPECT_EQ(streamed, answer.text);
  EXPECT_FALSE(answer.text.empty());
}

TEST(ChatSession, StoppedAnswerIsKeptAsFarAsItCameAndTheSessionGoesOn) {
  const auto model = toy_chat_model();
  ChatSession session(*model, greedy_options(40));
  const std::string whole = session.ask("what?", {}).text;
  session.clear();
  int pieces = 0;
  const Answer stopped = session.ask("what?", {}, [&](std::string_view) { return ++pieces < 3; });
  EXPECT_EQ(stopped.reason, StopReason::kStopped);
  EXPECT_LT(stopped.text.size(), whole.size());
  EXPECT_EQ(session.messages().back().content, stopped.text);
  EXPECT_NO_THROW(session.ask("go on", {}));
  session.clear();
  EXPECT_EQ(session.ask("what?", {}).text, whole);
}

TEST(ChatSession, ANewConversationNeverSeesTheOldCache) {
  const auto model = toy_chat_model();
  ChatSession used(*model, greedy_options());
  used.ask("a long first question that fills the cache with other keys and values", {});
  used.clear();
  ChatSession fresh(*model, greedy_options());
  EXPECT_EQ(used.ask("what?", {}).text, fresh.ask("what?", {}).text);
}

TEST(ChatSession, OldestTurnsGoWhenTheContextIsFull) {
  const auto model = toy_chat_model();
  ChatOptions options = greedy_options(10);
  options.context = 120;
  ChatSession session(*model, options);
  bool told = false;
  for (int turn = 0; turn < 6; ++turn) {
    const Answer answer = session.ask("question number " + std::to_string(turn), {model->features(toy_image(turn))});
    EXPECT_LE(answer.prompt_tokens + std::ssize(answer.ids), options.context);
    told = told || answer.notice.find("oldest") != std::string::npos;
  }
  EXPECT_TRUE(told);
  EXPECT_LT(session.messages().size(), 12U);
  EXPECT_EQ(session.messages().front().role, "user");
}

TEST(ChatSession, TooLongAQuestionIsCutWithANotice) {
  const auto model = toy_chat_model();
  ChatOptions options = greedy_options(10);
  options.context = 64;
  ChatSession session(*model, options);
  const Answer answer = session.ask("<image>" + std::string(200, 'x'), {model->features(toy_image(1))});
  EXPECT_NE(answer.notice.find("1 image"), std::string::npos) << answer.notice;
  EXPECT_LE(answer.prompt_tokens, options.context - options.max_new_tokens);
  EXPECT_GT(std::ssize(answer.ids), 0);
}

TEST(ChatSession, StopsWhenTheContextIsFull) {
  const auto model = toy_chat_model();
  ChatOptions options = greedy_options(1000);
  options.context = 64;
  ChatSession session(*model, options);
  const Answer answer = session.ask("what?", {});
  if (answer.reason == StopReason::kContextFull) {
    EXPECT_EQ(answer.prompt_tokens + std::ssize(answer.ids), options.context);
  } else {
    EXPECT_EQ(answer.reason, StopReason::kEos);
  }
}

TEST(ChatSession, SameSeedSameAnswers) {
  const auto model = toy_chat_model();
  ChatOptions options = greedy_options(30);
  options.sampling.temperature = 1.0;
  options.sampling.top_k = 0;
  const auto answer = [&](uint64_t seed) {
    options.seed = seed;
    ChatSession session(*model, options);
    return session.ask("what?", {}).text;
  };
  EXPECT_EQ(answer(1), answer(1));
  EXPECT_NE(answer(1), answer(2));
}

}  // namespace
}  // namespace minimind::testing
