#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace minimind {

/// The stages of training in their order. Each one starts from the weights of the stage before it.
enum class Stage { kLanguageModel, kPretrain, kInstruction, kMultiImage };

struct StageInfo {
  Stage stage;
  const char* name;      ///< as in `metrics.jsonl` and in the names of checkpoint folders
  const char* file_end;  ///< end of the name of a weights file, see SPEC.md section 1
  Stage starts_from;
};

inline constexpr std::array<StageInfo, 4> kStages = {{
    {Stage::kLanguageModel, "llm", "llm", Stage::kLanguageModel},  // trained elsewhere
    {Stage::kPretrain, "pretrain", "vlm_pretrain", Stage::kLanguageModel},
    {Stage::kInstruction, "sft", "vlm_sft", Stage::kPretrain},
    {Stage::kMultiImage, "sft_multi", "vlm_sft_multi", Stage::kInstruction},
}};

constexpr const StageInfo& stage_info(Stage stage) {
  return kStages[static_cast<size_t>(stage)];
}

inline std::string stage_name(Stage stage) {
  return stage_info(stage).name;
}

}  // namespace minimind
