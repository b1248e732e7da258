#include "config/table_pattern.h"

// One part of a pattern: quoted as in SQL, or as it stands.
static bool take_part(Str *rest, Arena *arena, Str *ret)
{
    if (rest->len == 0 || rest->ptr[0] != '"') {
        ptrdiff_t dot = str_find(*rest, '.');
        size_t len = dot < 0 ? rest->len : (size_t)dot;
        *ret = (Str){rest->ptr, len};
        *rest = (Str){rest->ptr + len, rest->len - len};
        return len > 0;
    }
    char *name = arena_alloc_bytes(arena, rest->len);
    size_t len = 0;
    for (size_t i = 1; i < rest->len; i++) {
        bool quote = rest->ptr[i] == '"';
        bool doubled = quote && i + 1 < rest->len && rest->ptr[i + 1] == '"';
        if (quote && !doubled) {
            *ret = (Str){name, len};
            *rest = (Str){rest->ptr + i + 1, rest->len - i - 1};
            return len > 0;
        }
        name[len++] = rest->ptr[i];
        i += doubled ? 1 : 0;
    }
    return false;
}

typedef struct Pattern {
    Str schema; // ptr NULL: any
    Str name;   // ptr NULL: any
} Pattern;

static bool parse_pattern(Str text, Arena *arena, Pattern *ret)
{
    Str rest = text;
    Str first;
    if (!take_part(&rest, arena, &first)) {
        return false;
    }
    if (rest.len == 0) {
        *ret = (Pattern){.name = str_is(first, "*") ? (Str){NULL, 0} : first};
        return true;
    }
    if (rest.ptr[0] != '.') {
        return false;
    }
    rest = (Str){rest.ptr + 1, rest.len - 1};
    Str second = rest;
    bool quoted = rest.len > 0 && rest.ptr[0] == '"';
    if (!quoted) {
        // A name with a dot in it needs no quotes behind the schema.
        rest.len = 0;
    } else if (!take_part(&rest, arena, &second)) {
        return false;
    }
    if (rest.len != 0 || second.len == 0) {
        return false;
    }
    *ret = (Pattern){.schema = str_is(first, "*") ? (Str){NULL, 0} : first,
                     .name = str_is(second, "*") && !quoted ? (Str){NULL, 0} : second};
    return true;
}

bool table_pattern_matches(Str text, Str schema, Str name)
{
    Arena scratch = {0};
    Pattern pattern;
    bool matches = parse_pattern(text, &scratch, &pattern) &&
                   (pattern.schema.ptr == NULL || str_equal(pattern.schema, schema)) &&
                   (pattern.name.ptr == NULL || str_equal(pattern.name, name));
    arena_done(&scratch);
    // As it stands, too: a table "a.b" is named by a.b when no schema a has a table b.
    return matches || str_equal(text, name);
}

bool table_name_parse(Str text, Arena *arena, Str *ret_schema, Str *ret_name)
{
    Pattern pattern;
    if (!parse_pattern(text, arena, &pattern) || pattern.schema.ptr == NULL ||
        pattern.name.ptr == NULL) {
        return false;
    }
    *ret_schema = pattern.schema;
    *ret_name = pattern.name;
    return true;
}
