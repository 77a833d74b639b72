// Linking this target into a test is all that mutex.c needs; see there.
#pragma once
#include <stdbool.h>

/// Whether this was built with the thread sanitizer, which makes everything some ten times slower.
bool is_thread_sanitizer(void);
