#pragma once

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "dist/rank_info.h"
#include "dist/rank_watch.h"
#include "minimind/base/error.h"

namespace minimind {

/// What a ProcessGroup runs on.
struct ProcessGroupBackend {
  c10::intrusive_ptr<c10d::Store> run_store;      ///< keys of all attempts of the run
  c10::intrusive_ptr<c10d::Store> attempt_store;  ///< keys of this attempt
  c10::intrusive_ptr<c10d::ProcessGroupGloo> cpu;
#ifdef USE_C10D_NCCL
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> cuda;
#endif
  c10::intrusive_ptr<c10d::ProcessGroup> group;  ///< both backends, as c10d::Reducer wants them
  std::unique_ptr<detail::RankWatch> watch;      ///< null with one process

  c10d::Backend& of(const c10::Device& device) {
#ifdef USE_C10D_NCCL
    if (device.is_cuda() && cuda) {
      return *cuda;
    }
#endif
    if (!device.is_cpu()) {
      throw std::logic_error("collective on " + device.str() + ": this process group has no backend for this device");
    }
    return *cpu;
  }
};

namespace detail {

/// Runs one collective. Turns the failure of a connection into LostRank with all that is known about it.
template <class Work>
void run_collective(const RankInfo& info, RankWatch* watch, const Work& work) {
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    const std::string cause = watch != nullptr ? watch->explain_loss() : "";
    throw LostRank(concat(
        "rank ", info.rank, " of ", info.world_size, ": expected all ranks to answer, found a connection that failed (",
        text.substr(0, text.find('\n')), "); ",
        cause.empty() ? "another rank has ended or cannot be reached: see the message of that rank" : cause));
  }
}

}  // namespace detail

}  // namespace minimind
