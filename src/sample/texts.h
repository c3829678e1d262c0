#pragma once

#include <string>
#include <vector>

#include "minimind/base/random.h"
#include "sample/scene.h"

namespace minimind::sample {

struct Turn {
  std::string question;  ///< without the image placeholder
  std::string answer;
  std::vector<Alternatives> required;  ///< facts that a right answer names
};

enum class Language { kEnglish, kChinese };
enum class Topic { kWhat, kColour, kPlace, kCount };

/// `count` turns about a scene: the caption and turns that name the colour, the shape, the place or the number alone,
/// in random order.
std::vector<Turn> caption_turns(const Scene& scene, Language language, int64_t count, Random& random);

/// A question about one object of the scene or, for kCount, about all objects. The answer names colour and shape of
/// every object that the question is about.
Turn question_turn(const Scene& scene, Language language, Topic topic, Random& random);

/// `Name all the differences …` between two images of one object: the answer lists both colours, then both shapes.
Turn difference_turn(const Scene& first, const Scene& second, Language language, Random& random);

/// {category: [spellings of each member]}. An answer that must name a member of a category may name no other member.
std::vector<std::pair<std::string, std::vector<Alternatives>>> scoring_categories();

}  // namespace minimind::sample
