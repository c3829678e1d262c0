#pragma once

#include <string>
#include <vector>

#include "minimind/base/random.h"
#include "sample/scene.h"

namespace minimind::sample {

/// The spellings of one fact; an answer that holds one of them has named it.
using Alternatives = std::vector<std::string>;

struct Turn {
  std::string question;  ///< without the image placeholder
  std::string answer;
  std::vector<Alternatives> required;  ///< facts that a right answer names
};

enum class Language { kEnglish, kChinese };
enum class Topic { kWhat, kColour, kPlace, kCount };

/// A caption and what may be said beside it: colour alone, shape alone, place, number; in random order, `count` turns.
std::vector<Turn> caption_turns(const Scene& scene, Language language, int64_t count, Random& random);

/// A question about one object of the scene, or (kCount) about all. The answer always names colour and shape of what
/// was asked for.
Turn question_turn(const Scene& scene, Language language, Topic topic, Random& random);

/// `Name all the differences …` between two single-object images: the answer puts their colours side by side,
/// then their shapes.
Turn difference_turn(const Scene& first, const Scene& second, Language language, Random& random);

/// {category: [spellings of each member]} for scoring: an answer may name no other member of a category of which a
/// member is required.
std::vector<std::pair<std::string, std::vector<Alternatives>>> scoring_categories();

}  // namespace minimind::sample
