// Linking this target into a test is all that mutex.c needs; see there.
#pragma once
#include <stdbool.h>

/// Whether this was built with the thread sanitizer, which makes everything some ten times slower.
static inline bool is_thread_sanitizer(void) {
#if __has_feature(thread_sanitizer)
  return true;
#else
  return false;
#endif
}
