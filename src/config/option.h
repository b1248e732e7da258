// Options are data: one row of a table an option. The table drives parsing, --help, docs/OPTIONS.md
// and the test that they agree.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

typedef struct StrList {
    Str *items;
    size_t count;
} StrList;

typedef enum OptionType {
    OPTION_END,         // closes a table
    OPTION_TYPE_STRING, // Str
    OPTION_TYPE_BOOL,   // bool: true, false, yes, no, on, off
    OPTION_TYPE_INT,    // int64_t
    OPTION_TYPE_SIZE,   // int64_t, bytes: 64kB, 16MB, 1GB (powers of 1024)
    OPTION_TYPE_MS,     // int64_t, milliseconds: 500ms, 10s, 5min, 1h
    OPTION_TYPE_CHOICE, // int: index into choices
    OPTION_TYPE_LIST,   // StrList: comma-separated ("a,b" in double quotes is one), or a YAML
                        // sequence
} OptionType;

typedef struct Option {
    const char *name;
    OptionType type;
    size_t offset; // of the field in the instance
    const char *help;
    const char *fallback; // the default, as the user would write it; NULL: zero, empty
    int64_t min;          // of numbers; both 0: no limit
    int64_t max;
    const char *const *choices; // NULL-terminated
    bool required;
    bool secret;
    bool is_internal;       // set by the program itself: not in the pages, and no user's to set
    bool is_path;           // what stands behind the scheme in a URL: "duckdb:<path>"
    const char *value_name; // for help: "DIR"; NULL: a word for the type
} Option;

// The field's C type is checked at compile time: a wrong one has no branch in _Generic.
#define OPTION_FIELD(struct_type, field, c_type) \
    .offset = _Generic(((struct_type *)0)->field, c_type : offsetof(struct_type, field))
#define OPTION_STRING(s, field) .type = OPTION_TYPE_STRING, OPTION_FIELD(s, field, Str)
#define OPTION_BOOL(s, field)   .type = OPTION_TYPE_BOOL, OPTION_FIELD(s, field, bool)
#define OPTION_INT(s, field)    .type = OPTION_TYPE_INT, OPTION_FIELD(s, field, int64_t)
#define OPTION_SIZE(s, field)   .type = OPTION_TYPE_SIZE, OPTION_FIELD(s, field, int64_t)
#define OPTION_MS(s, field)     .type = OPTION_TYPE_MS, OPTION_FIELD(s, field, int64_t)
#define OPTION_CHOICE(s, field, list) \
    .type = OPTION_TYPE_CHOICE, .choices = (list), OPTION_FIELD(s, field, int)
#define OPTION_LIST(s, field) .type = OPTION_TYPE_LIST, OPTION_FIELD(s, field, StrList)

/** One `key: value` that somebody wrote, and where. */
typedef struct Setting {
    Str key;
    Str value;
    Str written;  // shown in its place, as it may be a secret; empty: the value
    StrList list; // of a YAML sequence; then value is empty
    bool is_list;
    bool is_internal; // the program has set it, and not a user
    bool used;        // set by options_apply()
    Str origin;       // "weir.yml:12" or "the URL": for messages
} Setting;

typedef struct Settings {
    Setting *items;
    size_t count;
    Str origin; // of the whole: for "missing" messages
} Settings;

/**
 * Fill @instance (already zeroed) from @settings by @table: first every default, then what was set.
 * A key that no row has is ERROR_CONFIG with its origin and the nearest name as a suggestion; so
 * are a value that does not parse, one out of range, a key given twice and a required one missing.
 * `NAME_file` sets NAME to that file's contents (trailing newline removed). Text is copied to
 * @arena. A secret's value appears in no message.
 */
MUST_CHECK Status options_apply(const Option *table, void *instance, Settings *settings,
                                Arena *arena, Error *err);

/** The setting of that key, or NULL. */
Setting *settings_find(const Settings *settings, const char *key);

/** The row of that name, or NULL. */
const Option *option_find(const Option *table, Str name);

/** The row that a setting of @key is for, or NULL. *ret_from_file: @key is `NAME_file`, and the
 * value the path of a file. */
const Option *option_find_for(const Option *table, Str key, bool *ret_from_file);

/** The nearest of @names (NULL-terminated) within a plausible typing error, or NULL. */
const char *nearest_name(Str wrong, const char *const *names);

/** Append "a, b, c": the @names (NULL-terminated). */
void names_join(Buf *out, const char *const *names);

/** Hint "Did you mean …?": @before, and the nearest of @names. False, without a hint: none is near.
 */
bool suggest_nearest(Str wrong, const char *const *names, const char *before, Error *err);

/** Hint the nearest of @names; where none is near, "@label: a, b, c.". Returns STATUS_FAIL. */
Status suggest_name(Str wrong, const char *const *names, const char *label, Error *err);
