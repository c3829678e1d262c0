#include "sample/texts.h"

#include <array>
#include <utility>

#include "minimind/base/error.h"

namespace minimind::sample {
namespace {

// The sides of the first and the second object: kBeside, then kAbove.
constexpr std::array<std::array<const char*, 2>, 4> kSides = {
    {{"on the left", "左边"}, {"on the right", "右边"}, {"at the top", "上边"}, {"at the bottom", "下边"}}};
constexpr std::array<std::array<const char*, 2>, 2> kCounts = {{{"one shape", "一个图形"}, {"two shapes", "两个图形"}}};

Alternatives alternatives(const Name& name) {
  return {name.english, name.chinese};
}
Alternatives alternatives(const std::array<const char*, 2>& name) {
  return {name[0], name[1]};
}

// One object in the words of one language.
struct Words {
  std::string colour, shape, place;
  std::string article;  ///< English article before `colour`
};

Words words_of(const SceneObject& object, Language language) {
  const Name& colour = colour_names()[object.colour];
  const Name& shape = shape_names()[object.shape];
  const Name& place = place_names()[place_of(object)];
  if (language == Language::kChinese) {
    return {colour.chinese, shape.chinese, place.chinese, ""};
  }
  return {colour.english, shape.english, place.english, colour.english == "orange" ? "an" : "a"};
}

std::string thing(const Words& words, Language language) {
  return language == Language::kChinese ? concat("一个", words.colour, "的", words.shape)
                                        : concat(words.article, " ", words.colour, " ", words.shape);
}

std::string things(const Scene& scene, Language language) {
  std::string out = thing(words_of(scene.objects[0], language), language);
  if (scene.objects.size() == 2) {
    out += language == Language::kChinese ? "和" : " and ";
    out += thing(words_of(scene.objects[1], language), language);
  }
  return out;
}

const std::array<const char*, 2>& side_of(const Scene& scene, size_t which) {
  return kSides[(scene.layout == Layout::kBeside ? 0 : 2) + which];
}

std::vector<Alternatives> facts_of(const SceneObject& object) {
  return {alternatives(colour_names()[object.colour]), alternatives(shape_names()[object.shape])};
}

std::vector<Alternatives> facts_of(const Scene& scene) {
  std::vector<Alternatives> facts;
  for (const SceneObject& object : scene.objects) {
    for (Alternatives& fact : facts_of(object)) {
      facts.push_back(std::move(fact));
    }
  }
  return facts;
}

Turn count_turn(const Scene& scene, Language language) {
  size_t count = scene.objects.size();
  Turn turn;
  turn.required = facts_of(scene);
  std::string list = things(scene, language);
  if (language == Language::kChinese) {
    turn.question = "图中有几个图形？";
    turn.answer = concat("有", kCounts[count - 1][1], "：", list, "。");
  } else {
    turn.question = "How many shapes are there?";
    turn.answer = concat("There ", count == 1 ? "is " : "are ", kCounts[count - 1][0], ": ", list, ".");
  }
  return turn;
}

// A question about the only object, or about one of two objects that the question names by its side.
Turn single_turn(const Scene& scene, size_t which, Language language, Topic topic, Random& random) {
  bool chinese = language == Language::kChinese;
  bool alone = scene.objects.size() == 1;
  const SceneObject& object = scene.objects[which];
  Words words = words_of(object, language);
  std::string side = alone ? "" : side_of(scene, which)[chinese ? 1 : 0];
  bool variant = random.below(2) == 0;
  Turn turn;
  turn.required = facts_of(object);
  if (topic == Topic::kWhat) {
    if (chinese) {
      turn.question = alone ? (variant ? "图中是什么？" : "这是什么？") : concat(side, "是什么？");
      turn.answer = concat("这是", thing(words, language), "。");
    } else {
      turn.question = alone ? (variant ? "What is in the image?" : "What is it?") : concat("What is ", side, "?");
      turn.answer = concat("It is ", thing(words, language), ".");
    }
  } else if (topic == Topic::kColour) {
    turn.question = chinese ? concat(side.empty() ? "" : side + "的", "图形是什么颜色？")
                            : concat("Which colour is the shape", side.empty() ? "" : " ", side, "?");
    turn.answer = chinese ? concat("这个", words.shape, "是", words.colour, "的。")
                          : concat("The ", words.shape, " is ", words.colour, ".");
  } else {
    std::string asked = alone ? (chinese ? "图形" : "shape") : words.shape;
    std::string place = alone ? (chinese ? words.place : concat("at the ", words.place)) : side;
    turn.question = chinese ? concat(asked, "在哪里？") : concat("Where is the ", asked, "?");
    turn.answer = chinese ? concat(words.colour, "的", words.shape, "在", place, "。")
                          : concat("The ", words.colour, " ", words.shape, " is ", place, ".");
  }
  return turn;
}

// A question about the colour or the shape alone. It separates the two facts, so that a model can name combinations
// that training never shows.
Turn alone_turn(const Scene& scene, bool colour, Language language) {
  bool chinese = language == Language::kChinese;
  Turn turn;
  turn.question =
      chinese ? (colour ? "只说颜色。" : "只说形状。") : (colour ? "Name only the colour." : "Name only the shape.");
  for (const SceneObject& object : scene.objects) {
    Words words = words_of(object, language);
    turn.answer += turn.answer.empty() ? "" : (chinese ? "和" : " and ");
    turn.answer += colour ? words.colour : words.shape;
    turn.required.push_back(facts_of(object)[colour ? 0 : 1]);
  }
  turn.answer += chinese ? "。" : ".";
  return turn;
}

Turn caption_turn(const Scene& scene, Language language, Random& random) {
  bool chinese = language == Language::kChinese;
  Turn turn;
  turn.required = facts_of(scene);
  turn.question =
      chinese ? (random.below(2) == 0 ? "描述这张图片。" : "这个图片描述的是什么内容？") : "Describe the image.";
  Words first = words_of(scene.objects[0], language);
  if (scene.objects.size() == 2) {
    Words second = words_of(scene.objects[1], language);
    turn.answer = chinese ? concat(side_of(scene, 0)[1], "有", thing(first, language), "，", side_of(scene, 1)[1], "有",
                                   thing(second, language), "。")
                          : concat("There is ", thing(first, language), " ", side_of(scene, 0)[0], " and ",
                                   thing(second, language), " ", side_of(scene, 1)[0], ".");
  } else {
    turn.answer =
        chinese ? concat("这是", thing(first, language), "。") : concat("It is ", thing(first, language), ".");
  }
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
  bool chinese = language == Language::kChinese;
  const SceneObject& a = first.objects[0];
  const SceneObject& b = second.objects[0];
  auto both = [](const Name& one, const Name& two) {
    return Alternatives{concat(one.english, " and ", two.english), concat(one.chinese, "和", two.chinese)};
  };
  Alternatives colours = both(colour_names()[a.colour], colour_names()[b.colour]);
  Alternatives shapes = both(shape_names()[a.shape], shape_names()[b.shape]);
  Turn turn;
  turn.question = chinese ? (random.below(2) == 0 ? "说出这两张图片的所有不同之处。" : "这两个图形有哪些不同？")
                          : (random.below(2) == 0 ? "Name all the differences between these two images."
                                                  : "Name all the differences between these two shapes.");
  turn.answer = chinese ? concat("颜色：", colours[1], "。形状：", shapes[1], "。")
                        : concat("Colours: ", colours[0], ". Shapes: ", shapes[0], ".");
  turn.required = {colours, shapes};
  return turn;
}

std::vector<std::pair<std::string, std::vector<Alternatives>>> scoring_categories() {
  std::vector<Alternatives> colours, shapes, places, sides, counts;
  for (const Name& name : colour_names()) {
    colours.push_back(alternatives(name));
  }
  for (const Name& name : shape_names()) {
    shapes.push_back(alternatives(name));
  }
  for (const Name& name : place_names()) {
    places.push_back(alternatives(name));
  }
  for (const auto& side : kSides) {
    sides.push_back(alternatives(side));
  }
  for (const auto& count : kCounts) {
    counts.push_back(alternatives(count));
  }
  return {{"colour", colours}, {"shape", shapes}, {"place", places}, {"side", sides}, {"count", counts}};
}

}  // namespace minimind::sample
