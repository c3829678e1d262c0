#include "train/failure.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "dist/rank_threads.h"
#include "minimind/base/error.h"

namespace minimind {
namespace {

using testing::run_ranks;

const c10::OutOfMemoryError kCardIsFull{{}, "CUDA out of memory. Tried to allocate 20.00 MiB.\nbacktrace"};

/// What each of two ranks says if rank 1 throws `error` in its backward pass. `limit`: to the end of both.
std::vector<std::string> messages_after(const std::function<void()>& throw_error, std::chrono::seconds limit) {
  std::vector<std::string> messages(2);
  const auto body = [&](ProcessGroup& group) {
    try {
      run_and_report_failure(group, [&] {
        const at::Tensor parameter = at::ones({4}).set_requires_grad(true);
        GradientReducer reducer(group, {parameter}, 16);
        const at::Tensor scaled = parameter * 2;
        if (group.rank() == 1) {
          scaled.register_hook([&](const at::Tensor& gradient) {
            throw_error();
            return gradient;
          });
        }
        reducer.accumulate_and_sum(scaled.sum());
      });
    } catch (const std::exception& error) {
      messages[static_cast<size_t>(group.rank())] = error.what();
      throw;
    }
  };
  const auto start = std::chrono::steady_clock::now();
  EXPECT_ANY_THROW(run_ranks(2, body));
  EXPECT_LT(std::chrono::steady_clock::now() - start, limit);
  return messages;
}

TEST(FailureOfARank, OutOfMemoryInTheBackwardPassIsItsOwnAndNamedByTheOthers) {
  const std::vector<std::string> messages = messages_after([] { throw kCardIsFull; }, std::chrono::seconds(10));
  const std::string own =
      "rank 1 of 2: out of memory (CUDA out of memory. Tried to allocate 20.00 MiB.); a smaller --batch_size or "
      "--max_seq_len needs less, --plan shows how much";
  EXPECT_EQ(messages[1], own);
  EXPECT_NE(messages[0].find("rank 0 of 2: expected all ranks to answer"), std::string::npos) << messages[0];
  EXPECT_NE(messages[0].find("rank 1 has ended: " + own), std::string::npos) << messages[0];
}

TEST(FailureOfARank, AFailedConnectionIsReportedToo) {
  const std::vector<std::string> messages = messages_after(
      [] { throw c10::DistBackendError(c10::SourceLocation{}, "NCCL error"); }, std::chrono::seconds(10));
  EXPECT_NE(messages[1].find("rank 1 of 2: expected all ranks to answer, found a connection that failed (NCCL error)"),
            std::string::npos)
      << messages[1];
  EXPECT_NE(messages[0].find("rank 1 has ended: "), std::string::npos) << messages[0];
}

TEST(FailureOfARank, AnExceptionThatNobodyReportsReachesTheOthers) {
  std::string message;
  EXPECT_ANY_THROW(run_ranks(2, [&](ProcessGroup& group) {
    require(group.rank() == 0, "rank 1 fails");
    try {
      group.barrier();
    } catch (const LostRank& error) {
      message = error.what();
      throw;
    }
  }));
  EXPECT_NE(message.find("rank 1 has ended: an error; see the message of that rank"), std::string::npos) << message;
}

TEST(FailureOfARank, NamesTheRankUnlessItSpeaksForAll) {
  std::vector<std::string> messages(2);
  EXPECT_ANY_THROW(run_ranks(2, [&](ProcessGroup& group) {
    try {
      run_and_report_failure(group, [] { throw Error("data.json: no such file"); });
    } catch (const Error& error) {
      messages[static_cast<size_t>(group.rank())] = error.what();
      throw;
    }
  }));
  EXPECT_EQ(messages, (std::vector<std::string>{"data.json: no such file", "rank 1 of 2: data.json: no such file"}));
}

TEST(OutOfMemory, IsToldFromOtherErrors) {
  EXPECT_EQ(out_of_memory_text(kCardIsFull, {}).find("out of memory (CUDA out of memory."), 0U);
  EXPECT_NE(out_of_memory_text(std::bad_alloc(), {}), "");
  EXPECT_NE(out_of_memory_text(c10::Error({}, "DefaultCPUAllocator: can't allocate memory"), {}), "");
  EXPECT_EQ(out_of_memory_text(c10::Error({}, "shape mismatch"), {}), "");
  EXPECT_EQ(out_of_memory_text(Error("no such file"), {}), "");
}

}  // namespace
}  // namespace minimind
