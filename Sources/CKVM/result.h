#pragma once
#include <errno.h>

/// What a system call returned, or -errno.
static inline int result(int r) { return r < 0 ? -errno : r; }
