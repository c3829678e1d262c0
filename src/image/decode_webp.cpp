#include <webp/decode.h>

#include <cstring>

#include "image/decoders.h"
#include "minimind/base/error.h"

namespace minimind::detail {
namespace {

constexpr size_t kRiffHeader = 12;
constexpr size_t kChunkHeader = 8;

uint32_t little_endian(std::string_view bytes, size_t at, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i) {
    value |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  }
  return value;
}

struct WebpFrame {
  int64_t canvas_width = 0;
  int64_t canvas_height = 0;
  int64_t x = 0;
  int64_t y = 0;
  std::string file;  ///< the frame as a still image's file
};

std::string chunk_of(std::string_view type, std::string_view body) {
  std::string chunk(type);
  for (int shift = 0; shift < 32; shift += 8) {
    chunk += static_cast<char>(body.size() >> shift & 0xFFU);
  }
  chunk += body;
  if (body.size() % 2 == 1) {
    chunk += '\0';
  }
  return chunk;
}

/// The first animation frame, wrapped as a still image with the frame's own size: libwebp proper decodes only those.
WebpFrame first_webp_frame(const DecodeRequest& request) {
  constexpr size_t kCanvasAt = 4;
  constexpr size_t kFrameFields = 16;
  WebpFrame frame;
  std::string canvas;
  size_t at = kRiffHeader;
  while (request.bytes.size() - at >= kChunkHeader) {
    const std::string_view type = request.bytes.substr(at, 4);
    const size_t length = little_endian(request.bytes, at + 4, 4);
    if (length > request.bytes.size() - at - kChunkHeader) {
      break;
    }
    const std::string_view body = request.bytes.substr(at + kChunkHeader, length);
    if (type == "VP8X" && length >= 10) {
      canvas = body.substr(0, 10);
      frame.canvas_width = int64_t{little_endian(body, kCanvasAt, 3)} + 1;
      frame.canvas_height = int64_t{little_endian(body, kCanvasAt + 3, 3)} + 1;
    } else if (type == "ANMF" && length >= kFrameFields && !canvas.empty()) {
      frame.x = int64_t{little_endian(body, 0, 3)} * 2;
      frame.y = int64_t{little_endian(body, 3, 3)} * 2;
      constexpr char kAnimationFlag = 0x02;
      canvas[0] = static_cast<char>(canvas[0] & ~kAnimationFlag);
      canvas.replace(kCanvasAt, 6, body.substr(6, 6));
      const std::string content = "WEBP" + chunk_of("VP8X", canvas) + std::string(body.substr(kFrameFields));
      frame.file = chunk_of("RIFF", content);
      return frame;
    }
    const size_t padded = length + length % 2;
    if (padded > request.bytes.size() - at - kChunkHeader) {
      break;
    }
    at += kChunkHeader + padded;
  }
  fail_image(request, "WebP", "an animation without a whole first frame");
}

void check_webp_status(const DecodeRequest& request, VP8StatusCode status) {
  if (status == VP8_STATUS_OK) {
    return;
  }
  const bool cut = status == VP8_STATUS_NOT_ENOUGH_DATA || status == VP8_STATUS_SUSPENDED;
  fail_image(request, "WebP", cut ? "one that is cut short" : concat("damaged data (libwebp status ", status, ")"));
}

WebPBitstreamFeatures webp_features(const DecodeRequest& request, std::string_view bytes) {
  WebPBitstreamFeatures features;
  check_webp_status(request, WebPGetFeatures(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), &features));
  return features;
}

Image decode_still_webp(const DecodeRequest& request, std::string_view bytes) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) {
    fail_image(request, "WebP", "a libwebp of another version than the one built with");
  }
  config.input = webp_features(request, bytes);
  if (config.input.has_animation != 0) {
    fail_image(request, "WebP", "an animation inside a frame");
  }
  Image image = new_image(request, "WebP", config.input.width, config.input.height);
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = image.pixels.data();
  config.output.u.RGBA.stride = static_cast<int>(image.width * 3);
  config.output.u.RGBA.size = image.pixels.size();
  const VP8StatusCode status = WebPDecode(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), &config);
  WebPFreeDecBuffer(&config.output);
  check_webp_status(request, status);
  return image;
}

}  // namespace

Image decode_webp(const DecodeRequest& request) {
  if (webp_features(request, request.bytes).has_animation == 0) {
    return decode_still_webp(request, request.bytes);
  }
  const WebpFrame frame = first_webp_frame(request);
  Image canvas = new_image(request, "WebP", frame.canvas_width, frame.canvas_height);
  const Image image = decode_still_webp(request, frame.file);
  if (frame.x + image.width > canvas.width || frame.y + image.height > canvas.height) {
    fail_image(request, "WebP", "a frame outside its canvas");
  }
  for (int64_t y = 0; y < image.height; ++y) {
    std::memcpy(&canvas.pixels[static_cast<size_t>(((frame.y + y) * canvas.width + frame.x) * 3)],
                &image.pixels[static_cast<size_t>(y * image.width * 3)], static_cast<size_t>(image.width * 3));
  }
  return canvas;
}

}  // namespace minimind::detail
