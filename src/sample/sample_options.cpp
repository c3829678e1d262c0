#include "base/machine_limits.h"
#include "minimind/base/error.h"
#include "minimind/sample/sample_data.h"

namespace minimind::sample {

Fields SampleDataOptions::fields() {
  return {{"out", &out, "folder to write", {}},
          {"pictures", &images, "training images", {}},
          {"questions_per_picture", &questions_per_picture, "questions on each training image in sft.json", {}},
          {"pairs", &pairs, "training pairs in sft_multi.json", {}},
          {"held_out", &held_out, "fresh images, one question each", {}},
          {"unseen", &unseen, "fresh images of colour-shape combinations that never occur in training", {}},
          {"held_out_pairs", &held_out_pairs, "fresh pairs", {}},
          {"two_objects", &two_objects, "share of images that show two objects", {}},
          {"turns", &turns, "question-answer turns of each caption sample", {}},
          {"vocab_size", &vocab_size, "upper bound of the tokenizer's vocabulary", {}},
          {"clip_width", &clip_width, "width of the encoder, a multiple of 16", {}},
          {"clip_layers", &clip_layers, "layers of the encoder", {}},
          {"jpeg_quality", &jpeg_quality, "1 to 100", {}},
          {"png_every", &png_every, "every so many images one is a PNG; 0: none", {}},
          {"threads", &threads, "threads that draw; the files do not depend on it", {}},
          {"seed", &seed, "of everything that is drawn", {}}};
}

void SampleDataOptions::validate() const {
  auto check = [](bool good, const auto&... parts) {
    if (!good) {
      throw UsageError(concat(parts...));
    }
  };
  check(!out.empty(), "--out: expected a folder to write");
  check(images >= 16, "--pictures: expected at least 16, found ", images);
  check(held_out >= 8 && unseen >= 1, "--held_out, --unseen: expected at least 8 and 1, found ", held_out, " and ",
        unseen);
  check(pairs >= 0 && held_out_pairs >= 0, "--pairs, --held_out_pairs: expected 0 or more, found ", pairs, " and ",
        held_out_pairs);
  check(questions_per_picture >= 1, "--questions_per_picture: expected at least 1, found ", questions_per_picture);
  check(two_objects >= 0 && two_objects <= 1, "--two_objects: expected a share in 0..1, found ", two_objects);
  check(turns >= 1, "--turns: expected at least 1, found ", turns);
  check(vocab_size >= 400 && vocab_size <= 32000, "--vocab_size: expected 400..32000, found ", vocab_size);
  check(clip_width >= 16 && clip_width % 16 == 0, "--clip_width: expected a multiple of 16, found ", clip_width);
  check(clip_layers >= 1, "--clip_layers: expected at least 1, found ", clip_layers);
  check(jpeg_quality >= 1 && jpeg_quality <= 100, "--jpeg_quality: expected 1..100, found ", jpeg_quality);
  check(png_every >= 0, "--png_every: expected 0 or more, found ", png_every);
  check(threads >= 1 && threads <= most_threads(), "--threads: expected 1..", most_threads(), ", found ", threads);
}

}  // namespace minimind::sample
