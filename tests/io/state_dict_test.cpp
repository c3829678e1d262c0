#include "minimind/io/state_dict.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "io/io_support.h"

namespace minimind {
namespace {

using testing::error_of;
using testing::read_bytes;
using testing::same_bytes;
using testing::TemporaryFolder;
using testing::write_bytes;

/// One tensor of every dtype and form.
StateDict varied_state() {
  StateDict state;
  const at::Tensor base = at::arange(24, at::kFloat).view({4, 6});
  state.add("float", base);
  state.add("transposed", base.t());
  state.add("row", base.select(0, 2));
  state.add("half", base.to(at::kHalf));
  state.add("bfloat16", base.to(at::kBFloat16));
  state.add("double", base.to(at::kDouble));
  state.add("scalar", at::scalar_tensor(3, at::kLong));
  state.add("bool", at::ones({3}, at::kBool));
  state.add("byte", at::arange(5, at::kByte));
  state.add("char", at::arange(5, at::kChar));
  state.add("short", at::arange(5, at::kShort));
  state.add("int", at::arange(5, at::kInt));
  state.add("empty", at::empty({0, 3}));
  return state;
}

StateDict unshared(const StateDict& state) {
  StateDict copies;
  for (const auto& [name, tensor] : state.entries()) {
    copies.add(name, tensor.clone());
  }
  return copies;
}

void expect_same(const StateDict& found, const StateDict& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected.entries()) {
    ASSERT_NE(found.find(name), nullptr) << name;
    EXPECT_TRUE(same_bytes(*found.find(name), tensor)) << name;
  }
}

TEST(Pth, GivesBackEveryDtypeShapeAndStride) {
  const TemporaryFolder folder;
  const StateDict state = varied_state();
  write_pth(folder / "a.pth", state);
  const StateDict found = read_state_dict(folder / "a.pth");
  expect_same(found, state);
  for (size_t i = 0; i < state.size(); ++i) {
    EXPECT_EQ(found.entries()[i].first, state.entries()[i].first);
  }
  EXPECT_EQ(found.find("transposed")->strides(), state.find("transposed")->strides());
}

TEST(Pth, KeepsSharedStoragesShared) {
  const TemporaryFolder folder;
  write_pth(folder / "a.pth", varied_state());
  const StateDict found = read_state_dict(folder / "a.pth");
  const auto storage = [&](const char* name) { return found.find(name)->storage().unsafeGetStorageImpl(); };
  EXPECT_EQ(storage("float"), storage("transposed"));
  EXPECT_EQ(storage("float"), storage("row"));
  EXPECT_NE(storage("float"), storage("double"));
  // Another round writes no storage twice.
  write_pth(folder / "b.pth", found);
  EXPECT_EQ(read_bytes(folder / "a.pth"), read_bytes(folder / "b.pth"));
}

TEST(Pth, LaysEveryRecordAtAMultipleOf64) {
  const TemporaryFolder folder;
  const at::Tensor marked = at::full({3}, 0x7171717171717171, at::kLong);
  StateDict state;
  state.add("odd", at::arange(7, at::kByte));
  state.add("marked", marked);
  write_pth(folder / "a.pth", state);
  const size_t at = read_bytes(folder / "a.pth").find(std::string(24, 'q'));
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(at % 64, 0U);
}

TEST(Pth, SaysInOneLineWhyItCannotBeWritten) {
  const TemporaryFolder folder;
  StateDict state;
  state.add("a", at::zeros({100'000}));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = error_of([&] { write_pth(folder / "a.pth", state); });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, (folder / "a.pth").string() + ": cannot be written: File too large");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Pth, OutlivesTheReaderOfItsFile) {
  const TemporaryFolder folder;
  write_pth(folder / "a.pth", varied_state());
  at::Tensor tensor;
  {
    const StateDict state = read_state_dict(folder / "a.pth");
    tensor = *state.find("row");
  }
  std::filesystem::remove(folder / "a.pth");
  EXPECT_EQ(tensor.sum().item<float>(), 12 + 13 + 14 + 15 + 16 + 17);
}

TEST(Safetensors, GivesBackEveryDtypeAndShape) {
  const TemporaryFolder folder;
  const StateDict state = unshared(varied_state());
  write_safetensors(folder / "a.safetensors", state);
  expect_same(read_state_dict(folder / "a.safetensors"), state);
}

TEST(Safetensors, KeepsLongMetadata) {
  const TemporaryFolder folder;
  const std::map<std::string, std::string> metadata = {{"config", std::string(3'000'000, 'x')}, {"quote", "\"\n\t图"}};
  write_safetensors(folder / "a.safetensors", unshared(varied_state()), metadata);
  EXPECT_EQ(read_safetensors_metadata(folder / "a.safetensors"), metadata);
  EXPECT_EQ(read_state_dict(folder / "a.safetensors").size(), varied_state().size());
}

TEST(Safetensors, AlignsTheDataAndRepeatsItself) {
  const TemporaryFolder folder;
  const StateDict state = unshared(varied_state());
  write_safetensors(folder / "a.safetensors", state, {{"b", "1"}, {"a", "2"}});
  write_safetensors(folder / "b.safetensors", state, {{"a", "2"}, {"b", "1"}});
  const std::string bytes = read_bytes(folder / "a.safetensors");
  EXPECT_EQ(bytes, read_bytes(folder / "b.safetensors"));
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  EXPECT_EQ((header + 8) % 64, 0U);
  for (const auto& [name, tensor] : read_state_dict(folder / "a.safetensors").entries()) {
    if (tensor.numel() > 0) {
      const auto address = reinterpret_cast<uintptr_t>(tensor.const_data_ptr());
      EXPECT_EQ(address % tensor.element_size(), 0U) << name;
    }
  }
}

TEST(Safetensors, ReadsDataThatIsNotAligned) {
  const TemporaryFolder folder;
  const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  std::string bytes(8, '\0');
  bytes[0] = static_cast<char>(header.size() + 1);
  const float value = 2.5;
  bytes += header + " " + std::string(reinterpret_cast<const char*>(&value), 4);
  ASSERT_NE((8 + header.size() + 1) % 4, 0U);
  write_bytes(folder / "a.safetensors", bytes);
  EXPECT_EQ(read_state_dict(folder / "a.safetensors").find("a")->item<float>(), 2.5f);
}

TEST(Safetensors, RefusesToWriteSharedTensors) {
  const TemporaryFolder folder;
  StateDict state;
  const at::Tensor tensor = at::ones({2});
  state.add("a", tensor);
  state.add("b", tensor);
  EXPECT_THROW(write_safetensors(folder / "a.safetensors", state), std::logic_error);
  EXPECT_FALSE(std::filesystem::exists(folder / "a.safetensors"));
}

TEST(StateDictFormat, IsToldByContentNotByName) {
  const TemporaryFolder folder;
  const StateDict state = unshared(varied_state());
  write_pth(folder / "a.safetensors", state);
  write_safetensors(folder / "b.pth", state);
  expect_same(read_state_dict(folder / "a.safetensors"), state);
  expect_same(read_state_dict(folder / "b.pth"), state);
}

TEST(StateDictFormat, NamesWhatWasFoundInstead) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& name, const std::string& bytes) {
    write_bytes(folder / name, bytes);
    return error_of([&] { read_state_dict(folder / name); });
  };
  EXPECT_NE(message("a.pth", "").find("empty file"), std::string::npos);
  EXPECT_NE(message("a.pth", "version https://git-lfs.github.com/spec/v1\n").find("Git LFS"), std::string::npos);
  EXPECT_NE(message("a.pth", "<!DOCTYPE html>").find("web page"), std::string::npos);
  EXPECT_NE(message("a.pth", "\x80\x02\x8a\x0al\xfc\x9c").find("legacy"), std::string::npos);
  EXPECT_NE(message("a.pth", "hello").find("found a file that begins with \"hello\""), std::string::npos);
  EXPECT_NE(error_of([&] { read_state_dict(folder / "none.pth"); }).find("none.pth"), std::string::npos);
  EXPECT_NE(error_of([&] { read_state_dict(folder.path()); }).find("folder"), std::string::npos);
}

TEST(StateDictFormat, LeavesNothingBehindWhenTheTargetCannotBeWritten) {
  const TemporaryFolder folder;
  write_bytes(folder / "file", "x");
  EXPECT_NE(error_of([&] { write_pth(folder / "file/a.pth", varied_state()); }), "");
  EXPECT_NE(error_of([&] { write_safetensors("/dev/full/a", unshared(varied_state())); }), "");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

}  // namespace
}  // namespace minimind
