#include "sample/texts.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace minimind::sample {
namespace {

bool names_one_of(const std::string& answer, const Alternatives& alternatives) {
  return std::any_of(alternatives.begin(), alternatives.end(),
                     [&](const std::string& spelling) { return answer.find(spelling) != std::string::npos; });
}

// The rule of attributes.json: every required fact is named, and no other member of its category.
bool is_right(const std::string& answer, const std::vector<Alternatives>& required) {
  bool all = std::all_of(required.begin(), required.end(),
                         [&](const Alternatives& fact) { return names_one_of(answer, fact); });
  for (const auto& [category, members] : scoring_categories()) {
    auto is_required = [&](const Alternatives& member) {
      return std::find(required.begin(), required.end(), member) != required.end();
    };
    if (std::any_of(members.begin(), members.end(), is_required)) {
      for (const Alternatives& member : members) {
        all = all && (is_required(member) || !names_one_of(answer, member));
      }
    }
  }
  return all;
}

std::vector<Scene> all_kinds_of_scenes(int64_t each) {
  Random random(11);
  std::vector<Scene> scenes;
  for (int64_t i = 0; i < each; ++i) {
    for (Layout layout : {Layout::kSingle, Layout::kBeside, Layout::kAbove}) {
      scenes.push_back(random_scene(training_combinations(), layout, random));
    }
  }
  return scenes;
}

TEST(SampleTexts, EveryAnswerIsRightByTheScoringRule) {
  Random random(12);
  for (const Scene& scene : all_kinds_of_scenes(100)) {
    for (Language language : {Language::kEnglish, Language::kChinese}) {
      for (Topic topic : {Topic::kWhat, Topic::kColour, Topic::kPlace, Topic::kCount}) {
        Turn turn = question_turn(scene, language, topic, random);
        EXPECT_TRUE(is_right(turn.answer, turn.required)) << turn.question << " " << turn.answer;
      }
      for (const Turn& turn : caption_turns(scene, language, 5, random)) {
        EXPECT_TRUE(is_right(turn.answer, turn.required)) << turn.question << " " << turn.answer;
      }
    }
  }
}

TEST(SampleTexts, AnswerAboutAnotherImageIsWrong) {
  Random random(13);
  std::vector<Scene> scenes = all_kinds_of_scenes(100);
  for (size_t i = 0; i + 3 < scenes.size(); ++i) {
    const SceneObject& here = scenes[i].objects[0];
    const SceneObject& there = scenes[i + 3].objects[0];
    if (scenes[i].objects.size() == 1 && (here.colour != there.colour || here.shape != there.shape)) {
      Turn asked = question_turn(scenes[i], Language::kEnglish, Topic::kWhat, random);
      Turn other = question_turn(scenes[i + 3], Language::kEnglish, Topic::kWhat, random);
      EXPECT_FALSE(is_right(other.answer, asked.required)) << asked.answer << " " << other.answer;
    }
  }
}

TEST(SampleTexts, QuestionsDoNotTellTheColour) {
  Random random(14);
  for (const Scene& scene : all_kinds_of_scenes(50)) {
    for (Topic topic : {Topic::kWhat, Topic::kColour, Topic::kPlace, Topic::kCount}) {
      for (Language language : {Language::kEnglish, Language::kChinese}) {
        std::string question = question_turn(scene, language, topic, random).question;
        for (const Alternatives& colour : colour_names()) {
          EXPECT_FALSE(names_one_of(question, colour)) << question;
        }
      }
    }
  }
}

TEST(SampleTexts, DifferencesCompareColoursAndShapes) {
  Random random(15);
  Scene red_circle{Layout::kSingle, {{.colour = 0, .shape = 0}}};
  Scene red_star{Layout::kSingle, {{.colour = 0, .shape = 3}}};
  Turn turn = difference_turn(red_circle, red_star, Language::kEnglish, random);
  EXPECT_EQ(turn.answer, "Colours: red and red. Shapes: circle and star.");
  EXPECT_TRUE(is_right(turn.answer, turn.required));
  EXPECT_FALSE(is_right("Colours: red and blue. Shapes: circle and star.", turn.required));
  EXPECT_FALSE(is_right("Colours: red and red. Shapes: circle and circle.", turn.required));
  EXPECT_FALSE(is_right("Colours: red and red. Shapes: star and circle.", turn.required));
  EXPECT_TRUE(turn.question.starts_with("Name all the differences"));
}

TEST(SampleTexts, ArticleFitsTheColour) {
  Random random(16);
  Scene scene{Layout::kSingle, {{.colour = 1, .shape = 5}}};
  EXPECT_EQ(question_turn(scene, Language::kEnglish, Topic::kWhat, random).answer, "It is an orange ring.");
}

}  // namespace
}  // namespace minimind::sample
