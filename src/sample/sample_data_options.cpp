#include "base/machine_limits.h"
#include "minimind/base/error.h"
#include "minimind/sample/sample_data.h"

namespace minimind::sample {

Fields SampleDataOptions::fields() {
  return {{"out", &out, "output folder"},
          {"pictures", &images, "number of training images"},
          {"questions_per_picture", &questions_per_picture, "questions per training image in sft.json"},
          {"pairs", &pairs, "number of training image pairs in sft_multi.json"},
          {"held_out", &held_out, "number of held-out images, one question each"},
          {"unseen", &unseen, "number of images with colour-shape combinations that training never shows"},
          {"held_out_pairs", &held_out_pairs, "number of held-out image pairs"},
          {"two_objects", &two_objects, "share of images with two objects, 0 to 1"},
          {"turns", &turns, "question-answer turns per caption sample"},
          {"vocab_size", &vocab_size, "maximum vocabulary size of the tokenizer"},
          {"clip_width", &clip_width, "width of the sample encoder, a multiple of 16"},
          {"clip_layers", &clip_layers, "number of layers of the sample encoder"},
          {"jpeg_quality", &jpeg_quality, "JPEG quality, 1 to 100"},
          {"png_every", &png_every, "write every n-th image as PNG; 0: no PNG files"},
          {"threads", &threads, "drawing threads; the output does not depend on their number"},
          {"seed", &seed, "random seed"}};
}

void SampleDataOptions::validate() const {
  if (out.empty()) {
    throw UsageError("--out: expected a folder, found no --out");
  }
  require_flag_at_least("pictures", images, 16);
  require_flag_at_least("questions_per_picture", questions_per_picture, 1);
  require_flag_at_least("pairs", pairs, 0);
  require_flag_at_least("held_out", held_out, 8);
  require_flag_at_least("unseen", unseen, 1);
  require_flag_at_least("held_out_pairs", held_out_pairs, 0);
  if (!(two_objects >= 0 && two_objects <= 1)) {
    throw UsageError(concat("--two_objects: expected 0 to 1, found ", two_objects));
  }
  require_flag_at_least("turns", turns, 1);
  require_flag_between("vocab_size", vocab_size, 400, 32000);
  if (clip_width < 16 || clip_width % 16 != 0) {
    throw UsageError(concat("--clip_width: expected a multiple of 16, found ", clip_width));
  }
  require_flag_at_least("clip_layers", clip_layers, 1);
  require_flag_between("jpeg_quality", jpeg_quality, 1, 100);
  require_flag_at_least("png_every", png_every, 0);
  require_flag_between("threads", threads, 1, most_threads());
}

}  // namespace minimind::sample
