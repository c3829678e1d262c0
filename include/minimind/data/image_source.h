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
  /// The name relative to the source of a file that is named by its absolute path and lies inside the source; every
  /// other name as it is.
  virtual std::string relative_name(const std::string& name) const { return name; }
  /// The file's bytes. Throws Error that names the source and the file.
  virtual std::string read(const std::string& name) const = 0;
  /// For messages: `dataset/sft_images/` or `sft_images.zip`.
  virtual std::string description() const = 0;
};

/// Opens a folder or a zip archive; if only `path`.zip exists, that archive. A file of an archive is found by its path
/// or, if that is unique, by the end of its path: `00453/1.jpg` and `1.jpg` find `images/00453/1.jpg`. `x.zip/images`
/// is a folder of an archive; its files are found by their path from there alone. Names of an archive that are not in
/// UTF-8 are read as GBK or, if they are none, as code page 437, with a warning. Throws Error that names `path`.
std::unique_ptr<ImageSource> open_image_source(const std::filesystem::path& path);

/// The name under which the source has a data set's image: `prefix` + name, else the name itself. Instruction data says
/// `000000123456.jpg`; the file is `COCO_train2014_000000123456.jpg`. If there is neither, slashes for Windows'
/// backslashes are tried, then letters with accents in one piece and in two, as Windows and macOS write them. Throws
/// Error with the data set's own name if there is no such image, or if its name is rejected.
std::string find_image(const ImageSource& images, const std::string& name, const std::string& prefix);

/// For messages: the data set's own name of an image and, if it differs, the name that find_image() returned.
std::string image_label(const std::string& name, const std::string& found);

}  // namespace minimind
