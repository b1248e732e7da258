// Files that a user names: of settings, of a secret.
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

/** All of the file at @path, at most @max bytes, in @arena. Every failure is ERROR_CONFIG. */
MUST_CHECK Status text_file_read(const char *path, size_t max, Arena *arena, Str *ret, Error *err);
