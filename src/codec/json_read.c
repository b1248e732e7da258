#include "codec/json_read.h"

#include <assert.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "base/decimal.h"
#include "base/limits.h"
#include "base/utf8.h"

typedef struct JsonReader {
    Arena *arena;
    const char *start;
    const char *at;
    const char *end;
    size_t depth;
    Buf pending; // items and members of what is not complete, the innermost last
    Error *err;
} JsonReader;

static Status fail(JsonReader *in, const char *what)
{
    size_t line = 1;
    const char *line_start = in->start;
    for (const char *at = in->start; at < in->at; at++) {
        if (*at == '\n') {
            line++;
            line_start = at + 1;
        }
    }
    return error_set(in->err, ERROR_DATA, "line %zu, column %zu: %s", line,
                     (size_t)(in->at - line_start) + 1, what);
}

static void skip_spaces(JsonReader *in)
{
    while (in->at < in->end &&
           (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r')) {
        in->at++;
    }
}

// The next byte that is no space, or NUL at the end. A NUL byte in the text is no JSON either.
static char peek(JsonReader *in)
{
    skip_spaces(in);
    return in->at < in->end ? *in->at : '\0';
}

static bool take(JsonReader *in, char c)
{
    if (peek(in) != c) {
        return false;
    }
    in->at++;
    return true;
}

// ---------------------------------------------------------------------------------------------
// Strings
// ---------------------------------------------------------------------------------------------

static bool take_hex(JsonReader *in, uint32_t *ret)
{
    if (in->end - in->at < 4) {
        return false;
    }
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = ascii_hex_value(in->at[i]);
        if (digit < 0) {
            return false;
        }
        code = code << 4 | (uint32_t)digit;
    }
    in->at += 4;
    *ret = code;
    return true;
}

// Behind \u.
static bool take_code_point(JsonReader *in, uint32_t *ret)
{
    uint32_t high;
    uint32_t low;
    if (!take_hex(in, &high)) {
        return false;
    }
    *ret = high;
    if (high < 0xd800 || high > 0xdfff) {
        return true;
    }
    if (high > 0xdbff || in->end - in->at < 2 || in->at[0] != '\\' || in->at[1] != 'u') {
        return false;
    }
    in->at += 2;
    if (!take_hex(in, &low) || low < 0xdc00 || low > 0xdfff) {
        return false;
    }
    *ret = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

// An escape, whose backslash is next, is written to *out. It is never longer than it was.
static bool unescape(JsonReader *in, char **out)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    in->at++;
    if (in->at == in->end) {
        return false;
    }
    char c = *in->at++;
    const char *found = c == '\0' ? NULL : strchr(from, c);
    if (found != NULL) {
        *(*out)++ = to[found - from];
        return true;
    }
    uint32_t point;
    if (c != 'u' || !take_code_point(in, &point)) {
        return false;
    }
    *out += utf8_encode(point, *out);
    return true;
}

// The bytes at @at that stand for themselves; *ret is false when one is not UTF-8.
static const char *skip_plain(const char *at, const char *end, bool *ret_is_utf8)
{
    *ret_is_utf8 = true;
    while (at < end && *at != '"' && *at != '\\' && (uint8_t)*at >= 0x20) {
        size_t len = utf8_character(at, (size_t)(end - at));
        if (len == 0) {
            *ret_is_utf8 = false;
            return at;
        }
        at += len;
    }
    return at;
}

static Status read_string_rest(JsonReader *in, const char *begun, Str *ret)
{
    // As long as the text that it is made of at the most.
    const char *quote = in->at;
    while (quote < in->end && *quote != '"') {
        quote += *quote == '\\' && in->end - quote > 1 ? 2 : 1;
    }
    char *text = arena_alloc_bytes(in->arena, (size_t)(quote - begun) + 1);
    char *out = text;
    const char *from = begun;
    for (;;) {
        memcpy(out, from, (size_t)(in->at - from));
        out += in->at - from;
        if (in->at == in->end || (uint8_t)*in->at < 0x20) {
            return fail(in, "the string does not end");
        }
        if (*in->at == '"') {
            break;
        }
        if (!unescape(in, &out)) {
            return fail(in, "there is no such escape");
        }
        from = in->at;
        bool is_utf8;
        in->at = skip_plain(in->at, in->end, &is_utf8);
        if (!is_utf8) {
            return fail(in, "this is not UTF-8");
        }
    }
    in->at++;
    *ret = (Str){text, (size_t)(out - text)};
    return STATUS_OK;
}

// The opening quote is next.
static Status read_string(JsonReader *in, Str *ret)
{
    const char *begun = ++in->at;
    bool is_utf8;
    in->at = skip_plain(in->at, in->end, &is_utf8);
    if (!is_utf8) {
        return fail(in, "this is not UTF-8");
    }
    if (in->at == in->end || *in->at != '"') {
        return read_string_rest(in, begun, ret);
    }
    *ret = (Str){begun, (size_t)(in->at - begun)};
    in->at++;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Values
// ---------------------------------------------------------------------------------------------

static Status read_value(JsonReader *in, JsonValue *ret);

static Status read_number(JsonReader *in, JsonValue *ret)
{
    const char *end = in->at;
    while (end < in->end &&
           (ascii_is_digit(*end) || (*end != '\0' && strchr("+-.eE", *end) != NULL))) {
        end++;
    }
    Str text = {in->at, (size_t)(end - in->at)};
    Decimal number;
    if (text.len == 0) {
        return fail(in, "there is no value");
    }
    if (!decimal_parse(text, &number)) {
        return fail(in, "this is no number, or its exponent is too large");
    }
    in->at = end;
    *ret = (JsonValue){.kind = JSON_NUMBER, .text = text};
    return STATUS_OK;
}

static Status read_word(JsonReader *in, JsonValue *ret)
{
    static const struct {
        Str word;
        JsonValue value;
    } words[] = {
        {STR("null"), {.kind = JSON_NULL}},
        {STR("true"), {.kind = JSON_BOOL, .is_true = true}},
        {STR("false"), {.kind = JSON_BOOL}},
    };
    Str rest = {in->at, (size_t)(in->end - in->at)};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_starts_with(rest, words[i].word)) {
            in->at += words[i].word.len;
            *ret = words[i].value;
            return STATUS_OK;
        }
    }
    return read_number(in, ret);
}

static int compare_names(const void *a, const void *b)
{
    const JsonMember *const *x = a;
    const JsonMember *const *y = b;
    return str_compare((*x)->name, (*y)->name);
}

// NULL, or a member that has a name that another one has, too.
static const JsonMember *find_twin(JsonReader *in, const JsonMember *members, size_t count)
{
    const JsonMember **sorted = ARENA_ARRAY(in->arena, const JsonMember *, count);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &members[i];
    }
    qsort(sorted, count, sizeof(void *), compare_names);
    for (size_t i = 1; i < count; i++) {
        if (str_equal(sorted[i - 1]->name, sorted[i]->name)) {
            return sorted[i];
        }
    }
    return NULL;
}

static const JsonMember *find_twin_of_few(const JsonMember *members, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        for (size_t before = 0; before < i; before++) {
            if (str_equal(members[i].name, members[before].name)) {
                return &members[i];
            }
        }
    }
    return NULL;
}

// What has gathered since @mark goes into the arena.
static void *take_pending(JsonReader *in, size_t mark, size_t size, uint32_t *ret_count)
{
    size_t bytes = in->pending.len - mark;
    *ret_count = (uint32_t)(bytes / size);
    void *kept = NULL;
    if (bytes > 0) {
        kept = arena_alloc(in->arena, bytes);
        memcpy(kept, in->pending.ptr + mark, bytes);
    }
    in->pending.len = mark;
    return kept;
}

static Status read_array(JsonReader *in, JsonValue *ret)
{
    size_t mark = in->pending.len;
    in->at++;
    if (!take(in, ']')) {
        do {
            JsonValue item;
            if (read_value(in, &item) != STATUS_OK) {
                return STATUS_FAIL;
            }
            buf_bytes(&in->pending, &item, sizeof(item));
        } while (take(in, ','));
        if (!take(in, ']')) {
            return fail(in, "a comma or a closing bracket is missing");
        }
    }
    *ret = (JsonValue){.kind = JSON_ARRAY};
    ret->items = take_pending(in, mark, sizeof(JsonValue), &ret->count);
    return STATUS_OK;
}

static Status read_member(JsonReader *in, JsonMember *ret)
{
    *ret = (JsonMember){0};
    if (peek(in) != '"') {
        return fail(in, "the name of a member is missing");
    }
    if (read_string(in, &ret->name) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!take(in, ':')) {
        return fail(in, "a colon is missing");
    }
    return read_value(in, &ret->value);
}

static Status read_object(JsonReader *in, JsonValue *ret)
{
    enum { FEW = 16 };
    size_t mark = in->pending.len;
    in->at++;
    if (!take(in, '}')) {
        do {
            JsonMember member;
            if (read_member(in, &member) != STATUS_OK) {
                return STATUS_FAIL;
            }
            buf_bytes(&in->pending, &member, sizeof(member));
        } while (take(in, ','));
        if (!take(in, '}')) {
            return fail(in, "a comma or a closing brace is missing");
        }
    }
    *ret = (JsonValue){.kind = JSON_OBJECT};
    JsonMember *members = take_pending(in, mark, sizeof(JsonMember), &ret->count);
    ret->members = members;
    const JsonMember *twin = ret->count <= FEW ? find_twin_of_few(members, ret->count)
                                               : find_twin(in, members, ret->count);
    if (twin != NULL) {
        return fail(in,
                    arena_printf(in->arena, "the object that ends here has \"%" STR_FMT "\" twice",
                                 STR_ARG(twin->name)));
    }
    return STATUS_OK;
}

static Status read_value(JsonReader *in, JsonValue *ret)
{
    char c = peek(in);
    if (c == '"') {
        *ret = (JsonValue){.kind = JSON_STRING};
        return read_string(in, &ret->text);
    }
    if (c != '{' && c != '[') {
        return read_word(in, ret);
    }
    if (in->depth == JSON_READ_DEPTH_MAX) {
        return fail(in, "arrays and objects are nested too deeply");
    }
    in->depth++;
    Status status = c == '{' ? read_object(in, ret) : read_array(in, ret);
    in->depth--;
    return status;
}

Status json_read(Arena *arena, Str text, JsonValue *ret, Error *err)
{
    if (text.len > LIMIT_JSON_BYTES) {
        return error_set(err, ERROR_DATA, "%zu bytes of JSON are more than %zu", text.len,
                         (size_t)LIMIT_JSON_BYTES);
    }
    JsonReader in = {.arena = arena, .start = text.ptr, .at = text.ptr, .err = err};
    in.end = text.len == 0 ? text.ptr : text.ptr + text.len;
    buf_init(&in.pending, LIMIT_TEXT_BYTES);
    JsonValue value;
    Status status = read_value(&in, &value);
    if (status == STATUS_OK && (peek(&in) != '\0' || in.at < in.end)) {
        status = fail(&in, "something follows the value");
    }
    buf_done(&in.pending);
    if (status == STATUS_OK) {
        *ret = value;
    }
    return status;
}
