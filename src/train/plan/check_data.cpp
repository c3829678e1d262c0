#include "train/plan/check_data.h"

#include <filesystem>
#include <iostream>
#include <memory>
#include <string>

#include "data/audit.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/text/load_tokenizer.h"
#include "train/setup.h"

namespace minimind {

int check_data(const TrainOptions& options, Stage stage) {
  ensure_writable_folder(options.out_dir);
  const std::filesystem::path config_path = std::filesystem::path(options.clip_dir) / "config.json";
  const ClipVisionConfig vision = clip_config_from_json(read_file(config_path), config_path.string());
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(options.tokenizer);
  const ImagePattern pattern = make_image_pattern(
      *tokenizer, image_pattern_text(LmConfig{}.image_special_token, vision.tokens()), vision.tokens());
  const Dataset dataset = Dataset::load(options.data_path, data_kind(stage));
  const std::unique_ptr<ImageSource> images = open_image_source(options.images_dir);
  const AuditReport report = audit_data({dataset, data_kind(stage), *tokenizer, pattern, *images},
                                        loader_options(options, vision.image_size, 0, 1), options.data_path);
  std::cout << report.summary() << std::flush;
  const std::filesystem::path path =
      std::filesystem::path(options.out_dir) / ("check_data_" + stage_name(stage) + ".json");
  write_file_atomically(path, report.json());
  log_info("report: " + path.string());
  return report.usable > 0 ? 0 : 1;
}

}  // namespace minimind
