#include "sample/texts.h"

#include <algorithm>
#include <utility>

#include "minimind/base/error.h"

namespace minimind::sample {
namespace {

// The sides of the first and the second object: kBeside, then kAbove.
const std::vector<Alternatives>& side_names() {
  static const std::vector<Alternatives> names = {
      {"on the left", "左边"}, {"on the right", "右边"}, {"at the top", "上边"}, {"at the bottom", "下边"}};
  return names;
}

const std::vector<Alternatives>& count_names() {
  static const std::vector<Alternatives> names = {{"one shape", "一个图形"}, {"two shapes", "两个图形"}};
  return names;
}

const std::string& in_language(const Alternatives& name, Language language) {
  return name[language == Language::kChinese ? 1 : 0];
}

// One object in the words of one language.
struct Words {
  std::string colour, shape, place;
  std::string thing;  ///< `a red circle`
};

Words words_of(const SceneObject& object, Language language) {
  Words words{in_language(colour_names()[object.colour], language), in_language(shape_names()[object.shape], language),
              in_language(place_names()[place_of(object)], language), ""};
  words.thing = language == Language::kChinese
                    ? concat("一个", words.colour, "的", words.shape)
                    : concat(words.colour == "orange" ? "an " : "a ", words.colour, " ", words.shape);
  return words;
}

// A part of the words of all objects, joined by `and`.
std::string joined(const Scene& scene, Language language, std::string Words::*part) {
  std::string out;
  for (const SceneObject& object : scene.objects) {
    out += out.empty() ? "" : language == Language::kChinese ? "和" : " and ";
    out += words_of(object, language).*part;
  }
  return out;
}

const std::string& side_of(const Scene& scene, size_t which, Language language) {
  return in_language(side_names()[(scene.layout == Layout::kBeside ? 0 : 2) + which], language);
}

std::vector<Alternatives> facts_of(const std::vector<SceneObject>& objects) {
  std::vector<Alternatives> facts;
  for (const SceneObject& object : objects) {
    facts.push_back(colour_names()[object.colour]);
    facts.push_back(shape_names()[object.shape]);
  }
  return facts;
}

Turn count_turn(const Scene& scene, Language language) {
  const size_t count = scene.objects.size();
  const std::string& number = in_language(count_names()[count - 1], language);
  const std::string list = joined(scene, language, &Words::thing);
  if (language == Language::kChinese) {
    return {"图中有几个图形？", concat("有", number, "：", list, "。"), facts_of(scene.objects)};
  }
  return {"How many shapes are there?", concat("There ", count == 1 ? "is " : "are ", number, ": ", list, "."),
          facts_of(scene.objects)};
}

// A question about the only object, or about one of two objects that the question names by its side.
Turn single_turn(const Scene& scene, size_t which, Language language, Topic topic, Random& random) {
  const bool chinese = language == Language::kChinese;
  const bool alone = scene.objects.size() == 1;
  const Words words = words_of(scene.objects[which], language);
  const std::string side = alone ? "" : side_of(scene, which, language);
  const bool variant = random.below(2) == 0;
  Turn turn{"", "", facts_of({scene.objects[which]})};
  if (topic == Topic::kWhat && chinese) {
    turn.question = alone ? (variant ? "图中是什么？" : "这是什么？") : side + "是什么？";
    turn.answer = concat("这是", words.thing, "。");
  } else if (topic == Topic::kWhat) {
    turn.question = alone ? (variant ? "What is in the image?" : "What is it?") : concat("What is ", side, "?");
    turn.answer = concat("It is ", words.thing, ".");
  } else if (topic == Topic::kColour) {
    turn.question = chinese ? concat(alone ? "" : side + "的", "图形是什么颜色？")
                            : concat("Which colour is the shape", alone ? "" : " ", side, "?");
    turn.answer = chinese ? concat("这个", words.shape, "是", words.colour, "的。")
                          : concat("The ", words.shape, " is ", words.colour, ".");
  } else {
    const std::string asked = alone ? (chinese ? "图形" : "shape") : words.shape;
    const std::string place = alone ? (chinese ? "" : "at the ") + words.place : side;
    turn.question = chinese ? concat(asked, "在哪里？") : concat("Where is the ", asked, "?");
    turn.answer = chinese ? concat(words.colour, "的", words.shape, "在", place, "。")
                          : concat("The ", words.colour, " ", words.shape, " is ", place, ".");
  }
  return turn;
}

// A question about the colour or the shape alone. It separates the two facts, so that a model can name combinations
// that training never shows.
Turn alone_turn(const Scene& scene, bool colour, Language language) {
  const bool chinese = language == Language::kChinese;
  Turn turn;
  turn.question =
      chinese ? (colour ? "只说颜色。" : "只说形状。") : (colour ? "Name only the colour." : "Name only the shape.");
  turn.answer = joined(scene, language, colour ? &Words::colour : &Words::shape) + (chinese ? "。" : ".");
  for (const SceneObject& object : scene.objects) {
    turn.required.push_back(colour ? colour_names()[object.colour] : shape_names()[object.shape]);
  }
  return turn;
}

Turn caption_turn(const Scene& scene, Language language, Random& random) {
  const bool chinese = language == Language::kChinese;
  Turn turn{"Describe the image.", "", facts_of(scene.objects)};
  if (chinese) {
    turn.question = random.below(2) == 0 ? "描述这张图片。" : "这个图片描述的是什么内容？";
  }
  const std::string first = words_of(scene.objects[0], language).thing;
  if (scene.objects.size() == 1) {
    turn.answer = chinese ? concat("这是", first, "。") : concat("It is ", first, ".");
    return turn;
  }
  const std::string second = words_of(scene.objects[1], language).thing;
  const std::string &here = side_of(scene, 0, language), &there = side_of(scene, 1, language);
  turn.answer = chinese ? concat(here, "有", first, "，", there, "有", second, "。")
                        : concat("There is ", first, " ", here, " and ", second, " ", there, ".");
  return turn;
}

}  // namespace

std::vector<Turn> caption_turns(const Scene& scene, Language language, int64_t count, Random& random) {
  std::vector<Turn> turns = {caption_turn(scene, language, random), alone_turn(scene, true, language),
                             alone_turn(scene, false, language), question_turn(scene, language, Topic::kWhat, random),
                             question_turn(scene, language, Topic::kColour, random)};
  if (count < static_cast<int64_t>(turns.size()) && count > 1) {
    random.shuffle(turns);
  }
  turns.resize(std::min<size_t>(turns.size(), static_cast<size_t>(count)));
  return turns;
}

Turn question_turn(const Scene& scene, Language language, Topic topic, Random& random) {
  if (topic == Topic::kCount) {
    return count_turn(scene, language);
  }
  return single_turn(scene, random.below(scene.objects.size()), language, topic, random);
}

// The answer lists values and does not say whether they are equal: a small model needs more steps than the quickstart
// has to learn that.
Turn difference_turn(const Scene& first, const Scene& second, Language language, Random& random) {
  const bool chinese = language == Language::kChinese;
  const bool variant = random.below(2) == 0;
  const auto both = [](const Alternatives& one, const Alternatives& two) {
    return Alternatives{concat(one[0], " and ", two[0]), concat(one[1], "和", two[1])};
  };
  const SceneObject &a = first.objects[0], &b = second.objects[0];
  const Alternatives colours = both(colour_names()[a.colour], colour_names()[b.colour]);
  const Alternatives shapes = both(shape_names()[a.shape], shape_names()[b.shape]);
  if (chinese) {
    return {variant ? "说出这两张图片的所有不同之处。" : "这两个图形有哪些不同？",
            concat("颜色：", colours[1], "。形状：", shapes[1], "。"),
            {colours, shapes}};
  }
  return {concat("Name all the differences between these two ", variant ? "images." : "shapes."),
          concat("Colours: ", colours[0], ". Shapes: ", shapes[0], "."),
          {colours, shapes}};
}

std::vector<std::pair<std::string, std::vector<Alternatives>>> scoring_categories() {
  return {{"colour", colour_names()},
          {"shape", shape_names()},
          {"place", place_names()},
          {"side", side_names()},
          {"count", count_names()}};
}

}  // namespace minimind::sample
