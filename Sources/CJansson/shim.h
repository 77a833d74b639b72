// jansson, and wrappers for those of its functions that are macros or names Swift cannot tell apart.
#pragma once
#include <jansson.h>

/// `json_typeof`.
static inline json_type cjansson_typeof(const json_t *value) { return json_typeof(value); }

/// `json_error_code`, whose enumeration has the same name as the function.
static inline int cjansson_error_code(const json_error_t *error) { return (int)json_error_code(error); }
