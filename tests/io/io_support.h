#pragma once

#include <ATen/Tensor.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "io/pth.h"
#include "io/safetensors.h"
#include "io/state_dict_file.h"
#include "minimind/base/error.h"
#include "support/error_of.h"
#include "support/temporary_folder.h"

namespace minimind::testing {

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Whether two tensors have the same dtype, shape and bytes (NaN equals itself).
inline bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) {
    return false;
  }
  const at::Tensor left = a.contiguous(), right = b.contiguous();
  return a.numel() == 0 || std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

/// The Python of the wheel that LibTorch came from: MINIMIND_PYTHON, else found from LIBTORCH; "" if there is none.
inline std::string reference_python() {
  const char* named = std::getenv("MINIMIND_PYTHON");
  const std::filesystem::path python = named != nullptr
                                           ? std::filesystem::path(named)
                                           : std::filesystem::path(MINIMIND_LIBTORCH) / "../../../../bin/python";
  return std::filesystem::exists(python) ? python.string() : "";
}

/// Runs a Python program with arguments; fails the test, showing its output, unless it ends with 0.
inline void run_python(const TemporaryFolder& folder, const std::string& program, const std::string& arguments) {
  write_bytes(folder / "program.py", program);
  const std::string output = (folder / "output.txt").string();
  const std::string command = "OMP_NUM_THREADS=1 '" + reference_python() + "' '" + (folder / "program.py").string() +
                              "' " + arguments + " >'" + output + "' 2>&1";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << read_bytes(output);
}

}  // namespace minimind::testing

/// At the head of a test that needs the wheel's Python.
#define MINIMIND_REQUIRE_PYTHON()                                                           \
  do {                                                                                      \
    if (::minimind::testing::reference_python().empty()) {                                  \
      GTEST_SKIP() << "NOT RUN: no Python with torch beside LIBTORCH; set MINIMIND_PYTHON"; \
    }                                                                                       \
  } while (false)
