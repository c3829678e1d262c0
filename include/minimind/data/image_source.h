#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace minimind {

/// Picture files by name, from a folder or straight from a downloaded zip. Safe from several threads at once.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual bool contains(const std::string& name) const = 0;
  /// The file's bytes. Throws Error that names the source and the file.
  virtual std::string read(const std::string& name) const = 0;
  /// For messages: `dataset/sft_images/` or `sft_images.zip`.
  virtual std::string description() const = 0;
};

/// A folder, or a `.zip` file (its entries are found by their path in the zip or, where that is unique, by file name
/// alone); where only `path`.zip exists, that.
std::unique_ptr<ImageSource> open_image_source(const std::filesystem::path& path);

/// The name under which a data set's picture is found: `prefix` + name (instruction data says `000000123456.jpg`, the
/// file is `COCO_train2014_000000123456.jpg`) or, failing that, the name itself.
std::optional<std::string> find_picture(const ImageSource& images, const std::string& name, const std::string& prefix);

}  // namespace minimind
