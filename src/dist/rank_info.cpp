#include "dist/rank_info.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>

#include "minimind/base/error.h"

namespace minimind {
namespace {

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::optional<std::string>(value) : std::nullopt;
}

std::optional<int64_t> environment_number(const char* name) {
  const std::optional<std::string> text = environment(name);
  if (!text) {
    return std::nullopt;
  }
  int64_t number = 0;
  const auto [stop, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  require(error == std::errc() && stop == text->data() + text->size() && number >= 0, "environment: ", name,
          ": expected a whole number from 0, found '", *text, "'");
  return number;
}

/// The variables of one launcher.
struct LauncherNames {
  Launcher launcher;
  const char* rank;
  const char* world_size;
  const char* local_rank;
  const char* local_ranks;
};

constexpr LauncherNames kLaunchers[] = {
    {Launcher::kTorchrun, "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"},
    {Launcher::kSlurm, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE"},
    {Launcher::kMpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {Launcher::kMpi, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
};

/// The first host of SLURM's list: node007 of `node[007-009,12],other`. Empty if there is no list.
std::string first_slurm_host() {
  const std::string list = environment("SLURM_STEP_NODELIST").value_or(environment("SLURM_JOB_NODELIST").value_or(""));
  const size_t end = list.find_first_of("[,");
  std::string host = list.substr(0, end);
  if (end != std::string::npos && list[end] == '[') {
    const size_t stop = list.find_first_of("-,]", end + 1);
    host += list.substr(end + 1, stop == std::string::npos ? stop : stop - end - 1);
  }
  return host;
}

/// Completes the address of the store from the SLURM job.
void complete_from_slurm(std::optional<std::string>& address, std::optional<int64_t>& port) {
  const std::optional<int64_t> job = environment_number("SLURM_JOB_ID");
  const std::string host = first_slurm_host();
  if (!job || host.empty()) {
    return;
  }
  constexpr int64_t kFirstPort = 20000, kPorts = 10000;
  address = address.value_or(host);
  port = port.value_or(kFirstPort + *job % kPorts);
}

void read_store(RankInfo& info) {
  std::optional<std::string> address = environment("MASTER_ADDR");
  std::optional<int64_t> port = environment_number("MASTER_PORT");
  if (info.launcher == Launcher::kSlurm) {
    complete_from_slurm(address, port);
  }
  require(address && port, "environment: expected MASTER_ADDR and MASTER_PORT for ", info.world_size,
          " processes, found ", address ? "no MASTER_PORT" : "no MASTER_ADDR",
          "; start with torchrun --no-python, or set both to a host and a free port");
  require(*port >= 1 && *port <= 65535, "environment: MASTER_PORT: expected 1 to 65535, found ", *port);
  info.master_address = *address;
  info.master_port = *port;
  info.store_prefix = concat("minimind/", environment("TORCHELASTIC_RUN_ID").value_or("run"));
}

}  // namespace

RankInfo rank_from_environment() {
  RankInfo info;
  for (const LauncherNames& names : kLaunchers) {
    const std::optional<int64_t> rank = environment_number(names.rank);
    const std::optional<int64_t> world_size = environment_number(names.world_size);
    if (!rank && !world_size) {
      continue;
    }
    require(rank && world_size, "environment: expected ", names.rank, " and ", names.world_size, ", found only ",
            rank ? names.rank : names.world_size);
    require(*world_size >= 1, "environment: ", names.world_size, ": expected at least 1, found ", *world_size);
    require(*rank < *world_size, "environment: ", names.rank, ": expected less than ", names.world_size, " = ",
            *world_size, ", found ", *rank);
    info.launcher = names.launcher;
    info.rank = *rank;
    info.world_size = *world_size;
    info.local_rank = environment_number(names.local_rank).value_or(0);
    // SLURM's number is what the job asked for, which may be more.
    const int64_t local_ranks = environment_number(names.local_ranks).value_or(1);
    info.local_ranks = std::max(info.local_rank + 1, std::min(local_ranks, info.world_size));
    break;
  }
  info.store_is_served =
      info.launcher == Launcher::kTorchrun && environment("TORCHELASTIC_USE_AGENT_STORE").value_or("") == "True";
  info.groups_one_rank = environment("MINIMIND_TEST_GROUP_OF_ONE").value_or("") == "1";
  if (info.has_group() || info.store_is_served) {
    read_store(info);
  }
  return info;
}

}  // namespace minimind
