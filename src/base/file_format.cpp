#include "base/file_format.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/text.h"

namespace minimind {

namespace {

using namespace std::literals;

constexpr std::string_view kConvertImage = "convert it to JPEG or PNG";
constexpr std::string_view kUnpack = "unpack it first";
constexpr std::string_view kDownload = "download the file again";

struct Magic {
  size_t offset;
  std::string_view bytes;
  FileFormat format;
};

constexpr std::array kMagics = {
    Magic{0, "\xFF\xD8\xFF"sv, {"a JPEG image", kConvertImage}},
    Magic{0, "\x89PNG\r\n\x1A\n"sv, {"a PNG image", kConvertImage}},
    Magic{0, "GIF8"sv, {"a GIF image", kConvertImage}},
    Magic{0, "\0\0\0\x0CJXL "sv, {"a JPEG XL image", kConvertImage}},
    Magic{0, "\xFF\x0A"sv, {"a JPEG XL image", kConvertImage}},
    Magic{0, "\0\0\0\x0CjP  "sv, {"a JPEG 2000 (JP2) image", kConvertImage}},
    Magic{0, "\xFF\x4F\xFF\x51"sv, {"a JPEG 2000 image", kConvertImage}},
    Magic{0, "II*\0"sv, {"a TIFF image (or a camera's raw image)", kConvertImage}},
    Magic{0, "MM\0*"sv, {"a TIFF image (or a camera's raw image)", kConvertImage}},
    Magic{0, "II+\0"sv, {"a BigTIFF image", kConvertImage}},
    Magic{0, "8BPS"sv, {"a Photoshop image", kConvertImage}},
    Magic{0, "\0\0\1\0"sv, {"a Windows icon", kConvertImage}},
    Magic{0, "\x76\x2F\x31\x01"sv, {"an OpenEXR image", kConvertImage}},
    Magic{0, "%PDF"sv, {"a PDF document", "save its page as PNG"}},
    Magic{0, "%!PS"sv, {"a PostScript document", "save its page as PNG"}},
    Magic{0,
          "version https://git-lfs"sv,
          {"a Git LFS pointer (the address of the file, not its contents)", "fetch it with `git lfs pull`"}},
    Magic{0, "\0\5\x16\7"sv, {"the side file of a Mac (._NAME), which holds no image", "take the file without ._"}},
    Magic{0, "Rar!"sv, {"a RAR archive", kUnpack}},
    Magic{0, "7z\xBC\xAF\x27\x1C"sv, {"a 7z archive", kUnpack}},
    Magic{257, "ustar"sv, {"a tar archive", kUnpack}},
    Magic{0, "\x1F\x8B"sv, {"a gzip file", "unpack it first: gunzip (tar -xzf if it is a tar archive)"}},
    Magic{0, "BZh"sv, {"a bzip2 file", "unpack it first: bunzip2 (tar -xjf if it is a tar archive)"}},
    Magic{0, "\xFD\x37zXZ\0"sv, {"an xz file", "unpack it first: unxz (tar -xJf if it is a tar archive)"}},
    Magic{0, "\x28\xB5\x2F\xFD"sv, {"a zstd file", "unpack it first: unzstd"}},
    Magic{0, "PK\3\4"sv, {"a zip archive", kUnpack}},
    Magic{0, "PK\5\6"sv, {"an empty zip archive", kDownload}},
    Magic{0, "MSCF"sv, {"a cabinet archive", kUnpack}},
    Magic{0, "PAR1"sv, {"a Parquet file", "export its rows as JSON"}},
    Magic{0, "ARROW1"sv, {"an Arrow file", "export its rows as JSON"}},
    Magic{0, "\x89HDF"sv, {"an HDF5 file", "export its contents first"}},
    Magic{0, "SQLite format 3"sv, {"an SQLite database", "export its rows as JSON"}},
    Magic{0, "GGUF"sv, {"a GGUF model, which is llama.cpp's", "take the .pth or .safetensors file of the model"}},
    Magic{0, "\x93NUMPY"sv, {"a NumPy array", "save it in the expected format"}},
    Magic{0, "OggS"sv, {"a sound or a video (Ogg)", "take one of its frames as JPEG or PNG"}},
    Magic{0, "\x1A\x45\xDF\xA3"sv, {"a video (WebM or Matroska)", "save one of its frames as JPEG or PNG"}},
    Magic{8, "WAVE"sv, {"a sound (WAV)", "give the path of an image"}},
    Magic{8, "AVI "sv, {"a video (AVI)", "save one of its frames as JPEG or PNG"}},
    Magic{0, "\xFF\xFE\0\0"sv, {"a text in UTF-32", "convert it: iconv -f UTF-32 -t UTF-8 FILE > NEW"}},
    Magic{0, "\xFF\xFE"sv, {"a text in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"}},
    Magic{0, "\xFE\xFF"sv, {"a text in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"}},
    Magic{0,
          "\x7F"
          "ELF"sv,
          {"a program", "is it the right file?"}},
};

/// The formats of ISO's media container, told apart by the brands of its first box.
std::optional<FileFormat> recognise_container(std::string_view head) {
  if (head.size() < 12 || head.substr(4, 4) != "ftyp") {
    return std::nullopt;
  }
  const auto size = static_cast<uint8_t>(head[3]);
  const std::string_view brands = head.substr(8, std::max<size_t>(size, 16) - 8);
  const auto has = [&](std::string_view brand) { return brands.find(brand) != std::string_view::npos; };
  if (has("avif") || has("avis")) {
    return FileFormat{"an AVIF image", kConvertImage};
  }
  if (has("hei") || has("hev") || has("mif1") || has("msf1")) {
    return FileFormat{"a HEIC image (HEIF), a phone's photo", kConvertImage};
  }
  if (has("crx ")) {
    return FileFormat{"a camera's raw image (CR3)", kConvertImage};
  }
  return FileFormat{"a video (MP4 or MOV)", "save one of its frames as JPEG or PNG"};
}

std::optional<FileFormat> recognise_markup(std::string_view head) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (head.starts_with(kByteOrderMark)) {
    head.remove_prefix(kByteOrderMark.size());
  }
  const std::string text = lower_case(strip(head));
  if (!text.starts_with('<')) {
    return std::nullopt;
  }
  if (text.find("<svg") != std::string::npos) {
    return FileFormat{"an SVG drawing", "save it as PNG"};
  }
  return FileFormat{"a web page (HTML or XML; an error page that a download saved?)", kDownload};
}

/// UTF-16 without its mark: every other byte of the first characters, which are JSON's, is zero.
bool is_bare_utf16(std::string_view head) {
  const auto has_zeros = [&](size_t first) {
    return head.size() >= 4 && head[first] == 0 && head[first + 2] == 0 && head[1 - first] != 0 && head[3 - first] != 0;
  };
  return has_zeros(0) || has_zeros(1);
}

}  // namespace

std::optional<FileFormat> recognise_format(std::string_view head) {
  const auto found = std::ranges::find_if(kMagics, [&](const Magic& magic) {
    return head.size() >= magic.offset && head.substr(magic.offset).starts_with(magic.bytes);
  });
  if (found != kMagics.end()) {
    return found->format;
  }
  if (const std::optional<FileFormat> container = recognise_container(head)) {
    return container;
  }
  if (is_bare_utf16(head)) {
    return FileFormat{"a text in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW (-f UTF-16LE or UTF-16BE)"};
  }
  return recognise_markup(head.substr(0, 300));
}

}  // namespace minimind
