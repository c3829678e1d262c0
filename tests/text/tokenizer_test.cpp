#include "minimind/text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "minimind/base/random.h"
#include "text/byte_bpe.h"
#include "text/char_class.h"
#include "text/merge_table.h"
#include "text/special_splitter.h"
#include "text_test_support.h"

namespace {

using minimind::StreamDecoder;
using minimind::TokenId;
using minimind::testing::small_byte_bpe;
using Ids = std::vector<TokenId>;
using Words = std::vector<std::string>;

Words words_of(std::string_view text) {
  Words words;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = minimind::text_detail::word_end(text, begin);
    words.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

TEST(WordSplit, JoinsOneSpaceToTheWordBehindIt) {
  EXPECT_EQ(words_of("ab 12 !? c"), (Words{"ab", " 12", " !?", " c"}));
}

TEST(WordSplit, LeavesTheLastOfSeveralWhiteSpacesToTheNextWord) {
  EXPECT_EQ(words_of("a   b"), (Words{"a", "  ", " b"}));
  EXPECT_EQ(words_of("a \n\tb"), (Words{"a", " \n", "\t", "b"}));
  EXPECT_EQ(words_of("a   "), (Words{"a", "   "}));
  EXPECT_EQ(words_of("\nb"), (Words{"\n", "b"}));
  EXPECT_EQ(words_of("a\u3000\u3000b"), (Words{"a", "\u3000", "\u3000", "b"}));
}

TEST(WordSplit, CutsEnglishContractionsAndNoOthers) {
  EXPECT_EQ(words_of("it's we're I'll"), (Words{"it", "'s", " we", "'re", " I", "'ll"}));
  EXPECT_EQ(words_of("'S 'r ''s '"), (Words{"'", "S", " '", "r", " ''", "s", " '"}));
  EXPECT_EQ(words_of("'st"), (Words{"'s", "t"}));
}

TEST(WordSplit, KnowsLettersNumbersAndSpacesOfUnicode) {
  EXPECT_EQ(words_of("你好世界"), (Words{"你好世界"}));
  EXPECT_EQ(words_of("第三章Ⅳ½²"), (Words{"第三章", "Ⅳ½²"}));
  EXPECT_EQ(words_of("x\u00A0y"), (Words{"x", "\u00A0", "y"}));
  // No white space in the pattern's sense.
  EXPECT_EQ(words_of("x \u200By"), (Words{"x", " \u200B", "y"}));
  EXPECT_EQ(words_of("x\u180E\x1Cy"), (Words{"x", "\u180E\x1C", "y"}));
  EXPECT_EQ(words_of("a😀b"), (Words{"a", "😀", "b"}));
}

TEST(WordSplit, TakesInvalidBytesAsCharactersOfTheirOwn) {
  EXPECT_EQ(words_of("a\xFF\xE4\xBD"
                     "b"),
            (Words{"a", "\xFF\xE4\xBD", "b"}));
  EXPECT_EQ(words_of("\xE4"), (Words{"\xE4"}));
  EXPECT_EQ(words_of(std::string_view("你").substr(0, 2)), (Words{"\xE4\xBD"}));
  EXPECT_EQ(words_of("\xC0\x80"), (Words{"\xC0\x80"}));
}

TEST(SpecialSplit, TakesTheLeftmostThenTheLongest) {
  const minimind::text_detail::SpecialSplitter splitter({{"<a>", 1}, {"<a><b>", 2}, {"", 3}});
  Words seen;
  splitter.split(
      "x<a><b>y<a><a", [&](std::string_view piece) { seen.emplace_back(piece); },
      [&](TokenId id) { seen.push_back(std::to_string(id)); });
  EXPECT_EQ(seen, (Words{"x", "2", "y", "1", "<a"}));
}

// Merging by its definition.
Ids merged_by_definition(Ids word, const std::vector<std::array<TokenId, 3>>& merges) {
  while (true) {
    size_t best = merges.size();
    size_t at = 0;
    for (size_t i = 0; i + 1 < word.size(); ++i) {
      for (size_t rank = 0; rank < best; ++rank) {
        if (merges[rank][0] == word[i] && merges[rank][1] == word[i + 1]) {
          best = rank, at = i;
        }
      }
    }
    if (best == merges.size()) {
      return word;
    }
    word[at] = merges[best][2];
    word.erase(word.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(MergeTable, MergesWordsOfEveryLengthAsDefined) {
  minimind::Random random(5);
  for (int round = 0; round < 200; ++round) {
    // Few symbols and many merges: chains, overlaps, and pairs of equal symbols.
    std::vector<std::array<TokenId, 3>> merges;
    minimind::text_detail::MergeTable table(40);
    for (TokenId id = 3; id < 43; ++id) {
      const auto symbol = [&] { return static_cast<TokenId>(random.below(static_cast<uint64_t>(id))); };
      const std::array<TokenId, 3> merge{symbol(), symbol(), id};
      const auto known = [&](const auto& other) { return other[0] == merge[0] && other[1] == merge[1]; };
      if (std::none_of(merges.begin(), merges.end(), known)) {
        merges.push_back(merge);
        table.add(merge[0], merge[1], merge[2]);
      }
    }
    Ids word(random.below(200));
    std::generate(word.begin(), word.end(), [&] { return static_cast<TokenId>(random.below(3)); });
    Ids merged = word;
    table.merge(merged);
    ASSERT_EQ(merged, merged_by_definition(word, merges)) << "word of " << word.size();
  }
}

TEST(ByteBpe, MatchesSpecialsBeforeAnythingElse) {
  const auto tokenizer = small_byte_bpe();
  const auto b = [&](const char* text) { return *tokenizer->token_id(text); };
  EXPECT_EQ(tokenizer->encode("<s>ab</s>"), (Ids{1, b("ab"), 2}));
  EXPECT_EQ(tokenizer->encode("<s"), (Ids{b("<"), b("s")}));
  EXPECT_EQ(tokenizer->encode(""), Ids{});
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_TRUE(tokenizer->is_special(0));
  EXPECT_FALSE(tokenizer->is_special(b("ab")));
  EXPECT_FALSE(tokenizer->is_special(-1));
  EXPECT_FALSE(tokenizer->is_special(1 << 30));
}

TEST(ByteBpe, KeepsTheLowestRankFirstAcrossALongRun) {
  const auto tokenizer = small_byte_bpe();  // merges: a b, ab ab
  const TokenId abab = *tokenizer->token_id("abab");
  std::string text;
  for (int i = 0; i < 100000; ++i) {
    text += "ab";
  }
  EXPECT_EQ(tokenizer->encode(text), Ids(50000, abab));
}

TEST(ByteBpe, GivesAnyBytesBack) {
  const auto tokenizer = small_byte_bpe();
  std::string all;
  for (int byte = 0; byte < 256; ++byte) {
    all += static_cast<char>(byte);
  }
  std::string back;
  for (const TokenId id : tokenizer->encode(all)) {
    back += tokenizer->token_bytes(id);
  }
  EXPECT_EQ(back, all);
}

TEST(ByteBpe, DecodesIdsOutsideTheVocabularyToNothing) {
  const auto tokenizer = small_byte_bpe();
  const Ids ids{-1, *tokenizer->token_id("a"), static_cast<TokenId>(tokenizer->vocab_size()), INT32_MAX};
  EXPECT_EQ(tokenizer->decode(ids), "a");
}

TEST(ByteBpe, DecodesSpecialsToTheirText) {
  const auto tokenizer = small_byte_bpe();
  const Ids ids = tokenizer->encode("<s>a</s>");
  EXPECT_EQ(tokenizer->decode(ids), "<s>a</s>");
  EXPECT_TRUE(tokenizer->is_special(ids.front()));
  EXPECT_FALSE(tokenizer->is_special(ids[1]));
}

// Ids of single bytes.
Ids byte_ids(const minimind::Tokenizer& tokenizer, std::string_view bytes) {
  Ids ids;
  for (const char byte : bytes) {
    ids.push_back(*tokenizer.token_id({&byte, 1}));
  }
  return ids;
}

TEST(StreamDecoder, HoldsBackWhatIsNoCharacterYet) {
  const auto tokenizer = small_byte_bpe();
  StreamDecoder stream(*tokenizer);
  Words shown;
  for (const TokenId id : byte_ids(*tokenizer, "é你😀x")) {
    shown.push_back(stream.push(id));
  }
  EXPECT_EQ(shown, (Words{"", "é", "", "", "你", "", "", "", "😀", "x"}));
  EXPECT_EQ(stream.finish(), "");
}

TEST(StreamDecoder, ReplacesAnIncompleteEndOnce) {
  const auto tokenizer = small_byte_bpe();
  StreamDecoder stream(*tokenizer);
  for (const TokenId id : byte_ids(*tokenizer, "\xF0\x9F\x98")) {
    EXPECT_EQ(stream.push(id), "");
  }
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(StreamDecoder, SaysWhatDecodeSaysForAnyBytes) {
  const auto tokenizer = small_byte_bpe();
  minimind::Random random(11);
  const std::vector<std::string> parts{"a",        "\x80", "\xC3",     "\xE4\xBD", "\xED\xA0\x80", "\xF0\x9F\x98\x80",
                                       "\xF4\x90", "\xFF", "\xE0\x80", "é",        "\xF0\x9F"};
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (uint64_t i = random.below(8); i > 0; --i) {
      bytes += random.choice(parts);
    }
    const Ids ids = byte_ids(*tokenizer, bytes);
    StreamDecoder stream(*tokenizer);
    std::string shown;
    for (const TokenId id : ids) {
      shown += stream.push(id);
    }
    ASSERT_EQ(shown + stream.finish(), tokenizer->decode(ids));
  }
}

}  // namespace
