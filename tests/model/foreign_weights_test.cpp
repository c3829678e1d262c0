#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "io/pth.h"
#include "io/safetensors.h"
#include "io/state_dict_file.h"
#include "minimind/base/file.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/weights.h"
#include "weights_support.h"

namespace minimind::testing {
namespace {

namespace fs = std::filesystem;

const fs::path kClip = fs::path(MINIMIND_SOURCE_DIR) / "data/sample/clip";

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(ForeignWeights, KeepTheHeadCountsInsideAPth) {
  const TemporaryFolder folder;
  const LmConfig config = model_config();
  write_pth(folder / "a.pth", vlm_state_dict(*small_model(config)), lm_config_to_json(config));
  const ModelFile found = find_model(folder / "a.pth");
  EXPECT_TRUE(found.config_is_given);
  EXPECT_EQ(lm_config_to_json(found.config), lm_config_to_json(config));
  EXPECT_EQ(found.notice, "");
  EXPECT_EQ(read_state_dict(folder / "a.pth").size(), vlm_state_dict(*small_model(config)).size());
  LmConfig other = config;
  other.n_heads = 2, other.n_kv_heads = 1;
  write_file_atomically(folder / "a.json", lm_config_to_json(other));
  EXPECT_EQ(find_model(folder / "a.pth").config.n_heads, config.n_heads);
  EXPECT_TRUE(says(find_model(folder / "a.pth").notice, "a.json was ignored"));
}

TEST(ForeignWeights, InPartsAreReadByTheirIndex) {
  const TemporaryFolder folder;
  const StateDict state = vlm_state_dict(*small_model(model_config()));
  StateDict parts[2];
  std::string map;
  for (size_t i = 0; i < state.size(); ++i) {
    const auto& [key, tensor] = state.entries()[i];
    if (key == "output.weight") {
      continue;
    }
    parts[i % 2].add(key, tensor);
    map += concat(map.empty() ? "" : ", ", '"', key, "\": \"part", i % 2, ".safetensors\"");
  }
  write_safetensors(folder / "part0.safetensors", parts[0], {});
  write_safetensors(folder / "part1.safetensors", parts[1], {});
  const fs::path index = folder / "model.safetensors.index.json";
  write_file_atomically(index, "{\"metadata\": {}, \"weight_map\": {" + map + "}}");
  write_file_atomically(folder / "config.json", lm_config_to_json(model_config()));
  EXPECT_EQ(find_model(folder.path()).state.size(), state.size() - 1);
  EXPECT_EQ(read_state_dict(index).size(), state.size() - 1);
  for (const auto& [key, tensor] : read_state_dict(index).entries()) {
    EXPECT_TRUE(same_bytes(tensor, *state.find(key))) << key;
  }
  fs::remove(folder / "part1.safetensors");
  EXPECT_TRUE(says(error_of([&] { find_model(folder.path()); }), "expected the part part1.safetensors"));
  write_safetensors(folder / "part1.safetensors", parts[0], {});
  EXPECT_TRUE(says(error_of([&] { find_model(folder.path()); }), "do both belong to one model?"));
  for (const std::string name : {"../x.safetensors", "/etc/passwd", "model.safetensors.index.json", ".."}) {
    write_file_atomically(index, "{\"weight_map\": {\"a\": \"" + name + "\"}}");
    EXPECT_TRUE(says(error_of([&] { read_state_dict(index); }), "the name of a file beside the index")) << name;
  }
}

/// Hugging Face's cache: the files are links into `blobs`.
fs::path write_cache(const fs::path& cache, const fs::path& source, const std::string& revision) {
  fs::create_directories(cache / "blobs");
  fs::create_directories(cache / "snapshots" / revision);
  for (const auto& entry : fs::directory_iterator(source)) {
    const std::string name = entry.path().filename().string();
    fs::copy_file(entry.path(), cache / "blobs" / (revision + name), fs::copy_options::overwrite_existing);
    fs::create_symlink("../../blobs/" + revision + name, cache / "snapshots" / revision / name);
  }
  return cache;
}

TEST(ForeignWeights, OfAHubCacheAreReadFromItsSnapshot) {
  const TemporaryFolder folder;
  const fs::path cache = write_cache(folder / "models--a--b", kClip, "abc");
  EXPECT_EQ(error_of([&] { load_clip_vision(cache); }), "");
  write_cache(cache, kClip, "def");
  EXPECT_TRUE(says(error_of([&] { load_clip_vision(cache); }), "found 2 revisions"));
  fs::create_directories(cache / "refs");
  write_file_atomically(cache / "refs/main", "def\n");
  EXPECT_EQ(error_of([&] { load_clip_vision(cache); }), "");
}

TEST(ForeignWeights, OfAnEncoderMayHaveAnotherPrefix) {
  const TemporaryFolder folder;
  const StateDict usual = read_state_dict(kClip / "model.safetensors");
  ClipVision expected = load_clip_vision(kClip);
  for (const auto& file : {"config.json", "preprocessor_config.json"}) {
    fs::copy_file(kClip / file, folder / file);
  }
  const std::string kept = "vision_model.";
  for (const std::string prefix :
       {"", "model.vision_tower.vision_tower.vision_model.", "clip.vision_model.", "module.vision_encoder."}) {
    const StateDict state = renamed(
        usual, [&](const std::string& key) { return key.starts_with(kept) ? prefix + key.substr(kept.size()) : key; });
    write_safetensors(folder / "model.safetensors", state, {});
    ClipVision found = load_clip_vision(folder.path());
    for (const auto& parameter : expected->named_parameters()) {
      EXPECT_TRUE(same_bytes(found->named_parameters()[parameter.key()], parameter.value()))
          << prefix << parameter.key();
    }
  }
}

TEST(ForeignWeights, OfOpenClipAreNamed) {
  const TemporaryFolder folder;
  fs::copy_file(kClip / "config.json", folder / "config.json");
  write_file_atomically(folder / "open_clip_config.json", "{}");
  EXPECT_TRUE(says(error_of([&] { load_clip_vision(folder.path()); }), "open_clip's"));
  StateDict state;
  state.add("visual.transformer.resblocks.0.attn.in_proj_weight", at::zeros({4000, 400}));
  write_pth(folder / "pytorch_model.bin", state);
  EXPECT_TRUE(says(error_of([&] { load_clip_vision(folder.path()); }), "the key names of open_clip"));
}

TEST(ForeignWeights, OfAnotherProgramAreNamed) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a.pth", "GGUF\3 and so on");
  EXPECT_TRUE(says(error_of([&] { find_model(folder / "a.pth"); }), "a GGUF model"));
}

}  // namespace
}  // namespace minimind::testing
