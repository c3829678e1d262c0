#include "minimind/base/content_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdio>

namespace minimind {

ContentHash hash_content(std::string_view bytes, const ContentHash& previous) {
  XXH128_hash_t hash;
  if (previous == ContentHash{}) {
    hash = XXH3_128bits(bytes.data(), bytes.size());
  } else {
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, &previous, sizeof(previous));
    XXH3_128bits_update(&state, bytes.data(), bytes.size());
    hash = XXH3_128bits_digest(&state);
  }
  return {hash.low64, hash.high64};
}

std::string to_hex(const ContentHash& hash) {
  char text[33];
  std::snprintf(text, sizeof(text), "%016llx%016llx", static_cast<unsigned long long>(hash.high),
                static_cast<unsigned long long>(hash.low));
  return text;
}

}  // namespace minimind
