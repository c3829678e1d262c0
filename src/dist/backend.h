#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "dist/process_group.h"
#include "dist/rank_watch.h"
#include "minimind/base/error.h"

namespace minimind {

struct ProcessGroup::Backend {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> cpu;
#ifdef USE_C10D_NCCL
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> cuda;
#endif
  /// Both of them, as the framework's own reducer wants them.
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  std::unique_ptr<detail::RankWatch> watch;
  double first_started = 0;

  c10d::Backend& of(const c10::Device& device) {
#ifdef USE_C10D_NCCL
    if (device.is_cuda() && cuda) {
      return *cuda;
    }
#endif
    if (!device.is_cpu()) {
      throw std::logic_error("collective on " + device.str() + ": this process group has none for it");
    }
    return *cpu;
  }
};

namespace detail {

/// Runs one collective; a lost peer becomes a LostRank that says what is known.
template <class Work>
void run_collective(const RankInfo& info, RankWatch* watch, const Work& work) {
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    const std::string known = watch != nullptr ? watch->explain_loss() : "";
    throw LostRank(concat("rank ", info.rank, " of ", info.world_size,
                          ": expected all ranks to answer, found a connection that failed (",
                          text.substr(0, text.find('\n')), "); ",
                          known.empty() ? "another rank has ended or cannot be reached: see its own message" : known));
  }
}

}  // namespace detail

}  // namespace minimind
