// Patterns as ECMA-262 has them with its u flag, matched in time that grows with the text and the
// pattern and with nothing else: all ways through the pattern are followed at once (Thompson 1968,
// Pike's machine without captures), so that no text can make a match run away.
//
// Lookarounds are matched by the same machine, each once over the whole text: where a lookahead
// holds is found from the end of the text, with its pattern read backwards; a lookbehind from its
// start. Back references have no such way and are not taken.
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

typedef struct Regex Regex;

/** Instructions of one pattern, its counted repetitions written out. */
enum { REGEX_PROGRAM_MAX = 20000, REGEX_PATTERN_BYTES = 16 * 1024 };

/** *ret lives in @arena. ERROR_CONFIG: not a pattern, too large, or with what is not taken. */
MUST_CHECK Status regex_compile(Arena *arena, Str pattern, const Regex **ret, Error *err);

/** @pattern is one by ECMA-262, also when regex_compile() does not take it. @scratch is for
 *  memory that is needed meanwhile. */
bool regex_is_valid(Arena *scratch, Str pattern);

/** Memory of matches, for one after the other; zeroed is fine. */
typedef struct RegexScratch {
    uint32_t *words;
    size_t capacity;
    uint32_t generation;
    Arena looks;
} RegexScratch;

void regex_scratch_done(RegexScratch *scratch);

/** The pattern is somewhere in @text, which should be UTF-8; what of it is not matches as it comes.
 * What the match took is subtracted from *budget; at zero it is given up, and the result is false.
 */
bool regex_search(const Regex *regex, Str text, RegexScratch *scratch, uint64_t *budget);
