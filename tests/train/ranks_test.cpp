#include <ATen/TensorOperators.h>
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "minimind/base/error.h"
#include "minimind/io/state_dict.h"
#include "train/tiny_run.h"

namespace minimind {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryFolder;
using testing::write_tiny_data;

/// A port of the loopback that was free a moment ago.
int free_port() {
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  const bool bound = bind(descriptor, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  close(descriptor);
  return bound ? ntohs(address.sin_port) : 0;
}

int run_shell(const std::string& command) {
  const int status = std::system(("bash -c '" + command + "'").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class Ranks : public ::testing::Test {
 protected:
  void SetUp() override { write_tiny_data(folder_.path(), 26); }
  std::string worker(const std::string& out, int batch_size, int steps) const {
    return concat(MINIMIND_TRAIN_WORKER, " ", folder_.path().string(), " ", out, " ", batch_size, " ", steps);
  }
  void expect_equal_weights(const std::string& a, const std::string& b) const {
    const StateDict first = read_state_dict(folder_.path() / a / "16_vlm_pretrain.pth");
    const StateDict second = read_state_dict(folder_.path() / b / "16_vlm_pretrain.pth");
    ASSERT_EQ(first.size(), second.size());
    for (const auto& [name, tensor] : first.entries()) {
      const at::Tensor& other = *second.find(name);
      EXPECT_LE(((tensor - other).norm() / other.norm()).item<double>(), 1e-5) << name;
    }
  }
  TemporaryFolder folder_;
};

// 26 samples in groups of 4: every epoch ends with a group of two for one rank and none for the other; every fifth
// sample has no picture.
TEST_F(Ranks, TrainLikeOneProcessWithTheDoubleBatch) {
  ASSERT_EQ(run_shell(worker("one", 8, 20)), 0);
  const std::string environment = concat("export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=", free_port(), "; ");
  ASSERT_EQ(run_shell(environment + "RANK=1 LOCAL_RANK=1 " + worker("two", 4, 20) + " & RANK=0 LOCAL_RANK=0 " +
                      worker("two", 4, 20) + " && wait $!"),
            0);
  expect_equal_weights("two", "one");
}

TEST_F(Ranks, TrainUnderTorchrun) {
  if (!fs::exists(MINIMIND_TORCHRUN)) {
    GTEST_SKIP() << "NOT RUN: no torchrun beside LibTorch (" << MINIMIND_TORCHRUN << ")";
  }
  ASSERT_EQ(run_shell(worker("one", 8, 20)), 0);
  const std::string torchrun = concat(MINIMIND_TORCHRUN, " --no-python --nproc_per_node 2 ");
  ASSERT_EQ(run_shell(torchrun + "--standalone " + worker("standalone", 4, 20)), 0);
  expect_equal_weights("standalone", "one");
  ASSERT_EQ(run_shell(torchrun + concat("--master_port ", free_port(), " ") + worker("plain", 4, 20)), 0);
  expect_equal_weights("plain", "one");
}

}  // namespace
}  // namespace minimind
