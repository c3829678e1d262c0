#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace minimind {

/// Image files by name, from a folder or straight from a downloaded zip. Safe from several threads at once.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual bool contains(const std::string& name) const = 0;
  /// What stands against a name that is not contained, other than that there is no such file: it leads out of the
  /// source, or fits several files. A phrase with the cure; "" otherwise.
  virtual std::string objection(const std::string& name) const;
  /// The file's bytes. Throws Error that names the source and the file.
  virtual std::string read(const std::string& name) const = 0;
  /// For messages: `dataset/sft_images/` or `sft_images.zip`.
  virtual std::string description() const = 0;
};

/// A folder, or a `.zip` file; where only `path`.zip exists, that. An entry of a zip is found by its path or, where
/// that is unique, by the end of its path: `00453/1.jpg` and `1.jpg` find `images/00453/1.jpg`. `x.zip/images` is a
/// folder of a zip; its entries are found by their path from there alone. Throws Error that names `path`.
std::unique_ptr<ImageSource> open_image_source(const std::filesystem::path& path);

/// The name under which a data set's image is found: `prefix` + name (instruction data says `000000123456.jpg`, the
/// file is `COCO_train2014_000000123456.jpg`) or, failing that, the name itself. Throws Error that says whether there
/// is no such image, or why its name is refused.
std::string find_image(const ImageSource& images, const std::string& name, const std::string& prefix);

}  // namespace minimind
