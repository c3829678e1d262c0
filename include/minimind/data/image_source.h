#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace minimind {

/// Image files by name, from a folder or from a zip archive that stays packed. Safe from several threads at once.
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual bool contains(const std::string& name) const = 0;
  /// Why a name is rejected although a file may exist: it leaves the source, or several files match. A phrase with the
  /// cure; empty if there is no such reason.
  virtual std::string why_rejected(const std::string& name) const;
  /// The file's bytes. Throws Error that names the source and the file.
  virtual std::string read(const std::string& name) const = 0;
  /// For messages: `dataset/sft_images/` or `sft_images.zip`.
  virtual std::string description() const = 0;
};

/// Opens a folder or a zip archive; if only `path`.zip exists, that archive. A file of an archive is found by its path
/// or, if that is unique, by the end of its path: `00453/1.jpg` and `1.jpg` find `images/00453/1.jpg`. `x.zip/images`
/// is a folder of an archive; its files are found by their path from there alone. Throws Error that names `path`.
std::unique_ptr<ImageSource> open_image_source(const std::filesystem::path& path);

/// The name under which the source has a data set's image: `prefix` + name, else the name itself. Instruction data says
/// `000000123456.jpg`; the file is `COCO_train2014_000000123456.jpg`. Throws Error if there is no such image, or if its
/// name is rejected.
std::string find_image(const ImageSource& images, const std::string& name, const std::string& prefix);

}  // namespace minimind
