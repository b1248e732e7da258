// A Postgres connection as text, looked at before libpq sees it. libpq takes malformed text apart
// in a way of its own, tries what comes out and quotes it in its messages, with pieces of the
// password among it. So what is malformed is refused here, in words that hold none of its values.
#pragma once

#include "config/option.h"

/** postgres://… or postgresql://… */
bool conninfo_is_url(Str text);

/** "host=db dbname=shop" */
bool conninfo_is_keywords(Str text);

/** Take `key = 'value'` off @rest as libpq does: blanks around the sign, quotes and backslashes
 *  (left as they are). False at the end, and with *ret_valid false where libpq would give up. */
bool conninfo_next(Str *rest, Str *ret_key, Str *ret_value, bool *ret_valid);

/** Append ` keyword='value'` so that libpq reads the value as it is; nothing of an empty one. */
void conninfo_add(Buf *out, const char *keyword, Str value);

/** Where the parameters of a URL begin (*ret_query: behind the question mark; ptr NULL: none).
 *  Before the @ a question mark belongs to the password. */
void conninfo_split(Str url, Str *ret_base, Str *ret_query);

/**
 * Refuse (ERROR_CONFIG, with what to do) a URL or keyword string that libpq would not understand,
 * or not as it was meant. @ours: options of the connector, as suggestions for a name that libpq
 * does not know; NULL: none.
 */
MUST_CHECK Status conninfo_check(Str text, const Option *ours, Error *err);
