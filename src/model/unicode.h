// What Unicode says of each code point, as far as patterns and host names ask. The table is made
// when the program is built (tools/make_unicode).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

// General categories.
typedef enum Category {
    CATEGORY_LU,
    CATEGORY_LL,
    CATEGORY_LT,
    CATEGORY_LM,
    CATEGORY_LO,
    CATEGORY_MN,
    CATEGORY_MC,
    CATEGORY_ME,
    CATEGORY_ND,
    CATEGORY_NL,
    CATEGORY_NO,
    CATEGORY_PC,
    CATEGORY_PD,
    CATEGORY_PS,
    CATEGORY_PE,
    CATEGORY_PI,
    CATEGORY_PF,
    CATEGORY_PO,
    CATEGORY_SM,
    CATEGORY_SC,
    CATEGORY_SK,
    CATEGORY_SO,
    CATEGORY_ZS,
    CATEGORY_ZL,
    CATEGORY_ZP,
    CATEGORY_CC,
    CATEGORY_CF,
    CATEGORY_CS,
    CATEGORY_CO,
    CATEGORY_CN,
} Category;

/** May stand in an internationalized host name (RFC 5892); where its context says so. */
typedef enum HostUse { HOST_NO, HOST_YES, HOST_CONTEXT } HostUse;

/** Direction, as far as RFC 5893 tells them apart; ES, CS, ET, ON and BN are NEUTRAL. */
typedef enum BidiClass {
    BIDI_OTHER,
    BIDI_L,
    BIDI_R,
    BIDI_AL,
    BIDI_AN,
    BIDI_EN,
    BIDI_NSM,
    BIDI_NEUTRAL,
} BidiClass;

/** Scripts that RFC 5892's contexts ask for. KANA: Hiragana, Katakana or Han. */
typedef enum Script { SCRIPT_NONE, SCRIPT_GREEK, SCRIPT_HEBREW, SCRIPT_KANA } Script;

/** Whether a letter joins its neighbours: the one before it (BEHIND that one), or BOTH; THROUGH: it
 * is passed over. Known of Arabic letters alone. */
typedef enum Joining { JOINS_NOT, JOINS_BEHIND, JOINS_BOTH, JOINS_THROUGH } Joining;

/** What holds from @start up to the next range. */
typedef struct UnicodeRange {
    uint32_t start;
    uint32_t category : 5;
    uint32_t host : 2;
    uint32_t bidi : 3;
    uint32_t script : 2;
    uint32_t joining : 2;
    uint32_t is_virama : 1; // canonical combining class 9
} UnicodeRange;

extern const UnicodeRange unicode_ranges[];
extern const size_t unicode_range_count;

enum { UNICODE_LAST = 0x10ffff };

/** @point is at most UNICODE_LAST. */
const UnicodeRange *unicode_find(uint32_t point);

/** The categories that @name means, one bit each: "Lu", "Uppercase_Letter", "L", "Letter", "Any",
 *  …; 0 when there is no such name. */
uint32_t unicode_categories(Str name);
