// Passwords in words that were not written here: a connection URL may stand wherever a user can
// type, and what is wrong with a word is said by quoting it. Messages of errors, notices and the
// log's fields all go through here, so that no message has to think of it.
#pragma once

#include <stdarg.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/**
 * The first piece of @text that must not be shown: in "scheme://user:PIECE@host" up to the last @
 * (a password may hold some of its own), and all behind "password=", "secret=" and "header=", as
 * where a quoted password ends is libpq's to know; and what follows in a word that begins as
 * Stripe's keys and secrets do ("sk_live_", "whsec_"). What is behind the piece may hold another
 * one. False: there is none.
 */
bool secret_find(Str text, Str *ret);

/** Append @text to @out with "***" for each such piece. */
void secret_hide(Buf *out, Str text);

enum { SECRET_TEXT_MAX = 4096 };

/** vsnprintf() with "***" for each such piece of an argument; @format itself is shown as it is.
 *  What does not fit is cut off. @size is at most SECRET_TEXT_MAX. Allocates nothing. */
void secret_format(char *target, size_t size, const char *format, va_list args) PRINTF_LIKE(3, 0);
