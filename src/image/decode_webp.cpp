#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#include <new>

#include "image/decode_formats.h"
#include "minimind/base/error.h"

namespace minimind::detail {
namespace {

void check_webp_status(const DecodeRequest& request, VP8StatusCode status) {
  if (status == VP8_STATUS_OUT_OF_MEMORY) {
    throw std::bad_alloc();
  }
  if (status != VP8_STATUS_OK) {
    const bool is_cut = status == VP8_STATUS_NOT_ENOUGH_DATA || status == VP8_STATUS_SUSPENDED;
    fail_image(request, "WebP", is_cut ? kCutShort : concat("damaged data (libwebp status ", status, ")"));
  }
}

WebPBitstreamFeatures webp_features(const DecodeRequest& request, const WebPData& data) {
  WebPBitstreamFeatures features;
  check_webp_status(request, WebPGetFeatures(data.bytes, data.size, &features));
  return features;
}

/// What libwebp takes beside the image: four bytes a pixel without loss, else a row and one byte of alpha.
int64_t webp_working_bytes(const WebPBitstreamFeatures& features) {
  constexpr int kLossy = 1;
  return int64_t{features.width} * features.height * (features.format == kLossy ? 1 : 4);
}

/// Decodes a still image into the canvas, its upper left corner at (x, y).
void decode_webp_frame(const DecodeRequest& request, const WebPData& data, int64_t x, int64_t y, Image& canvas) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) {
    fail_image(request, "WebP", "a libwebp of another version than the one built with");
  }
  config.input = webp_features(request, data);
  if (x + config.input.width > canvas.width || y + config.input.height > canvas.height) {
    fail_image(request, "WebP", "a frame outside its canvas");
  }
  const auto begin = static_cast<size_t>((y * canvas.width + x) * 3);
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = canvas.pixels.data() + begin;
  config.output.u.RGBA.stride = static_cast<int>(canvas.width * 3);
  config.output.u.RGBA.size = canvas.pixels.size() - begin;
  const VP8StatusCode status = WebPDecode(data.bytes, data.size, &config);
  WebPFreeDecBuffer(&config.output);
  check_webp_status(request, status);
}

/// Decodes the first frame of an animation on a black canvas.
Image decode_webp_animation(const DecodeRequest& request, const WebPData& data) {
  WebPDemuxState state;
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemuxPartial(&data, &state), WebPDemuxDelete);
  WebPIterator frame;
  if (demuxer == nullptr || WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) {
    fail_image(request, "WebP", "an animation without a whole first frame");
  }
  // Releasing the iterator frees nothing in libwebp; its fragment points into `data`.
  const bool is_whole = frame.complete != 0;
  WebPDemuxReleaseIterator(&frame);
  if (!is_whole) {
    fail_image(request, "WebP", "an animation without a whole first frame");
  }
  Image canvas = new_image(
      request, "WebP",
      {WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH), WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT),
       webp_working_bytes(webp_features(request, frame.fragment))});
  decode_webp_frame(request, frame.fragment, frame.x_offset, frame.y_offset, canvas);
  return canvas;
}

}  // namespace

Image decode_webp(const DecodeRequest& request) {
  const WebPData data{request.data(), request.bytes.size()};
  const WebPBitstreamFeatures features = webp_features(request, data);
  if (features.has_animation != 0) {
    return decode_webp_animation(request, data);
  }
  Image image = new_image(request, "WebP", {features.width, features.height, webp_working_bytes(features)});
  decode_webp_frame(request, data, 0, 0, image);
  return image;
}

}  // namespace minimind::detail
