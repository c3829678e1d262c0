#include "minimind/sample/sample_data.h"

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/machine_limits.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/random.h"
#include "minimind/image/encode.h"
#include "sample/clip_folder.h"
#include "sample/scene.h"
#include "sample/texts.h"
#include "sample/tokenizer_trainer.h"

namespace minimind::sample {
namespace {

using Json = nlohmann::ordered_json;

// Plan, texts and pairs have random streams of their own, as has each image: the parts can be made in any order.
enum Stream : uint64_t { kPlan = 0, kTexts = 1, kPairs = 2, kFirstImage = 1000 };

struct SampleImage {
  Scene scene;
  std::string file;
};

std::string numbered(const std::string& prefix, size_t number) {
  std::string digits = std::to_string(number);
  return prefix + std::string(digits.size() < 6 ? 6 - digits.size() : 0, '0') + digits;
}

Layout random_layout(double two_objects, Random& random) {
  if (random.uniform() >= two_objects) {
    return Layout::kSingle;
  }
  return random.below(2) == 0 ? Layout::kBeside : Layout::kAbove;
}

Language language_of(size_t number) {
  return number % 2 == 0 ? Language::kEnglish : Language::kChinese;
}

// Plans the images of one part; write_images() draws the pixels later.
std::vector<SampleImage> plan_part(const SampleDataOptions& options, const std::string& prefix, int64_t count,
                                   const std::vector<Combination>& combinations, Random& random) {
  std::vector<SampleImage> images;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    Layout layout = random_layout(options.two_objects, random);
    bool png = options.png_every > 0 && (i + 1) % static_cast<size_t>(options.png_every) == 0;
    images.push_back({random_scene(combinations, layout, random), numbered(prefix, i) + (png ? ".png" : ".jpg")});
  }
  return images;
}

void write_image(const fs::path& path, const SampleImage& sample, const SampleDataOptions& options, Random random) {
  Image image = draw(sample.scene, random);
  bool png = path.extension() == ".png";
  std::string bytes = png ? encode_png(image) : encode_jpeg(image, static_cast<int>(options.jpeg_quality));
  // Images are not synced one by one, which would take minutes. The JSON files come last and make the sample complete.
  AtomicFile file(path);
  file.write(bytes);
  file.commit(/*to_disk=*/false);
}

// Draws and writes the images on options.threads threads. Image i has the random stream first_stream + i.
void write_images(const fs::path& folder, const std::vector<SampleImage>& images, const SampleDataOptions& options,
                  uint64_t first_stream) {
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    try {
      for (size_t i = next++; i < images.size(); i = next++) {
        Random random(static_cast<uint64_t>(options.seed), first_stream + i);
        write_image(folder / images[i].file, images[i], options, random);
      }
    } catch (...) {
      next = images.size();
      throw;
    }
  };
  std::vector<std::future<void>> workers;
  for (int64_t i = 0; i < options.threads; ++i) {
    workers.push_back(std::async(std::launch::async, work));
  }
  for (std::future<void>& worker : workers) {
    worker.get();
  }
}

Json message(const char* from, std::string value) {
  return {{"from", from}, {"value", std::move(value)}};
}

// One JSON file and the facts that score its answers.
struct Part {
  Json samples = Json::array();
  Json required = Json::object();

  void add(const std::string& id, const std::string& image, const std::string& placeholders,
           const std::vector<Turn>& turns, bool image_last = false) {
    Json conversation = Json::array();
    for (size_t i = 0; i < turns.size(); ++i) {
      std::string question = turns[i].question;
      if (i == 0) {
        image_last ? question.append("\n<image>") : question.insert(0, placeholders);
      }
      conversation.push_back(message("human", question));
      conversation.push_back(message("gpt", turns[i].answer));
    }
    samples.push_back({{"id", id}, {"image", image}, {"conversations", conversation}});
    required[id] = {{"required", turns.back().required}};
  }
};

Part make_captions(const std::vector<SampleImage>& images, int64_t turns, Random& random) {
  Part part;
  for (size_t i = 0; i < images.size(); ++i) {
    std::vector<Turn> said = caption_turns(images[i].scene, language_of(i), turns, random);
    part.add(fs::path(images[i].file).stem().string(), images[i].file, "<image>\n", said, random.below(2) == 0);
  }
  return part;
}

Part make_questions(const std::vector<SampleImage>& images, int64_t per_image, Random& random) {
  constexpr std::array<Topic, 4> kTopics = {Topic::kWhat, Topic::kColour, Topic::kPlace, Topic::kCount};
  Part part;
  for (size_t i = 0; i < images.size(); ++i) {
    for (int64_t k = 0; k < per_image; ++k) {
      size_t number = i + static_cast<size_t>(k);
      Turn turn = question_turn(images[i].scene, language_of(number), kTopics[number / 2 % 4], random);
      std::string id = concat(fs::path(images[i].file).stem().string(), "_", k);
      part.add(id, images[i].file, "<image>\n", {turn});
    }
  }
  return part;
}

// Pairs of images with one object. One third each differs in colour, in shape, in both.
Part make_pairs(const std::vector<SampleImage>& images, int64_t pairs, const std::string& prefix, Random& random) {
  std::vector<const SampleImage*> singles;
  for (const SampleImage& image : images) {
    if (image.scene.layout == Layout::kSingle) {
      singles.push_back(&image);
    }
  }
  Part part;
  constexpr size_t kTries = 100'000;
  const auto count = static_cast<size_t>(pairs);
  size_t made = 0;
  for (size_t tries = 0; made < count && tries < count * kTries; ++tries) {
    const SampleImage& first = *random.choice(singles);
    const SampleImage& second = *random.choice(singles);
    bool same_colour = first.scene.objects[0].colour == second.scene.objects[0].colour;
    bool same_shape = first.scene.objects[0].shape == second.scene.objects[0].shape;
    bool wanted = made % 3 == 0 ? same_shape && !same_colour
                                : (made % 3 == 1 ? same_colour && !same_shape : !same_colour && !same_shape);
    if (wanted) {
      Turn turn = difference_turn(first.scene, second.scene, language_of(made / 3), random);
      part.add(numbered(prefix, made++), first.file + ", " + second.file, "<image>\n<image>\n", {turn});
    }
  }
  require(made == count, "--pictures: expected enough images for ", count, " pairs, found ", made, "; lower --pairs");
  return part;
}

// Cuts a text around the names of attributes. A Chinese sentence has no spaces: without these cuts, a phrase of colour
// and shape would become one token.
void add_pieces(const std::string& text, std::vector<std::string>& out) {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = {"一个", "两个", "图形", "图片"};
    for (const auto& [category, members] : scoring_categories()) {
      for (const Alternatives& member : members) {
        all.push_back(member[1]);
      }
    }
    return all;
  }();
  std::string rest;
  auto flush = [&] {
    if (!rest.empty()) {
      out.push_back(rest);
      rest.clear();
    }
  };
  for (size_t at = 0; at < text.size();) {
    const std::string* found = nullptr;
    for (const std::string& name : names) {
      if (text.compare(at, name.size(), name) == 0 && (!found || name.size() > found->size())) {
        found = &name;
      }
    }
    if (found) {
      flush();
      out.push_back(*found);
      at += found->size();
    } else {
      rest += text[at++];
    }
  }
  flush();
}

std::vector<std::string> tokenizer_texts(const std::vector<const Part*>& parts) {
  std::vector<std::string> texts;
  for (const Part* part : parts) {
    for (const Json& sample : part->samples) {
      for (const Json& turn : sample["conversations"]) {
        std::string value = turn["value"];
        for (size_t at = value.find("<image>"); at != std::string::npos; at = value.find("<image>")) {
          value.erase(at, 7);
        }
        std::erase(value, '\n');
        add_pieces(value, texts);
        texts.emplace_back(turn["from"] == "human" ? "user" : "assistant");
      }
    }
  }
  return texts;
}

}  // namespace

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

std::string write_sample_data(const SampleDataOptions& options) {
  options.validate();
  fs::path out = options.out;
  ensure_writable_folder(out / "images");
  auto seed = static_cast<uint64_t>(options.seed);
  Random plan(seed, kPlan);
  std::vector<SampleImage> train = plan_part(options, "train_", options.images, training_combinations(), plan);
  std::vector<SampleImage> fresh = plan_part(options, "held_out_", options.held_out, training_combinations(), plan);
  std::vector<SampleImage> unseen = plan_part(options, "unseen_", options.unseen, unseen_combinations(), plan);
  Random texts(seed, kTexts), pairs(seed, kPairs);
  Part pretrain = make_captions(train, options.turns, texts);
  Part pretrain_fresh = make_captions(fresh, options.turns, texts);
  Part sft = make_questions(train, options.questions_per_picture, texts);
  Part held_out = make_questions(fresh, 1, texts);
  Part unseen_questions = make_questions(unseen, 1, texts);
  Part multi = make_pairs(train, options.pairs, "pair_", pairs);
  Part multi_fresh = make_pairs(fresh, options.held_out_pairs, "held_out_pair_", pairs);

  uint64_t stream = kFirstImage;
  for (const std::vector<SampleImage>* part : {&train, &fresh, &unseen}) {
    write_images(out / "images", *part, options, stream);
    stream += part->size();
  }
  write_clip_folder(out / "clip", {.hidden_size = options.clip_width,
                                   .intermediate_size = 4 * options.clip_width,
                                   .num_hidden_layers = options.clip_layers,
                                   .seed = seed});
  train_tokenizer(tokenizer_texts({&pretrain, &sft, &multi}), options.vocab_size, out / "tokenizer.model");

  Json attributes = {{"held_out.json", held_out.required},
                     {"unseen.json", unseen_questions.required},
                     {"multi_held_out.json", multi_fresh.required},
                     {"categories", Json::object()}};
  for (const auto& [category, members] : scoring_categories()) {
    attributes["categories"][category] = members;
  }
  const std::vector<std::pair<const char*, const Json*>> files = {{"attributes.json", &attributes},
                                                                  {"pretrain.json", &pretrain.samples},
                                                                  {"pretrain_held_out.json", &pretrain_fresh.samples},
                                                                  {"sft.json", &sft.samples},
                                                                  {"held_out.json", &held_out.samples},
                                                                  {"unseen.json", &unseen_questions.samples},
                                                                  {"sft_multi.json", &multi.samples},
                                                                  {"multi_held_out.json", &multi_fresh.samples}};
  for (const auto& [name, json] : files) {
    write_file_atomically(out / name, json->dump(1) + "\n");
  }
  return concat(out.string(), ": ", train.size() + fresh.size() + unseen.size(), " images, ", pretrain.samples.size(),
                " captions, ", sft.samples.size(), " questions, ", multi.samples.size(),
                " pairs; held out: ", held_out.samples.size(), " questions, ", unseen_questions.samples.size(),
                " on unseen combinations, ", multi_fresh.samples.size(), " pairs");
}

}  // namespace minimind::sample
