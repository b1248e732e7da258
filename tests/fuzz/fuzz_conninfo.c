// Connection strings of any bytes: libpq understands what passes conninfo_check(), what does not
// pass is refused in words that hold no password, and texts that are shown hold none either,
// wherever they are cut.
#include <libpq-fe.h>

#include "base/secret.h"
#include "config/conninfo.h"
#include "fuzz.h"

// Shorter ones are found by chance.
static const char marker[] = "hunter22";
enum { MARKER_PART = 6 };

static const char *find(const char *text, size_t len, const char *what, size_t what_len)
{
    return len == 0 ? NULL : memmem(text, len, what, what_len);
}

static bool is_once(Str text, size_t len)
{
    const char *first = find(text.ptr, text.len, marker, len);
    return first != NULL &&
           find(first + 1, (size_t)(text.ptr + text.len - first - 1), marker, len) == NULL;
}

// As it stands there: an encoded one is another text.
static bool is_password(const char *text)
{
    PQconninfoOption *options = strchr(text, '%') != NULL ? NULL : PQconninfoParse(text, NULL);
    bool found = false;
    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        found = found || (strcmp(option->keyword, "password") == 0 && option->val != NULL &&
                          strcmp(option->val, marker) == 0);
    }
    PQconninfoFree(options);
    return found;
}

static void format(char *target, size_t size, const char *how, ...) PRINTF_LIKE(3, 4);

static void format(char *target, size_t size, const char *how, ...)
{
    va_list args;
    va_start(args, how);
    secret_format(target, size, how, args);
    va_end(args);
}

static void check_hidden(Str text, size_t room)
{
    Buf shown = {.max = SIZE_MAX / 2};
    char line[SECRET_TEXT_MAX];
    secret_hide(&shown, text);
    if (is_once(text, strlen(marker))) {
        FUZZ_CHECK(find(shown.ptr, shown.len, marker, strlen(marker)) == NULL);
    }
    // A cut one, too: a part of a password is one.
    format(line, room, "no \"%s\" in %d", text.ptr, 7);
    FUZZ_CHECK(strlen(line) < room);
    if (is_once(text, strlen(marker)) && is_once(text, MARKER_PART)) {
        FUZZ_CHECK(find(line, strlen(line), marker, MARKER_PART) == NULL);
    }
    buf_done(&shown);
}

static void check_pairs(Str text)
{
    Str rest = text;
    Str key;
    Str value;
    bool valid = true;
    size_t steps = 0;
    while (conninfo_next(&rest, &key, &value, &valid)) {
        FUZZ_CHECK(key.ptr >= text.ptr && key.ptr + key.len <= text.ptr + text.len);
        FUZZ_CHECK(value.len == 0 ||
                   (value.ptr >= text.ptr && value.ptr + value.len <= text.ptr + text.len));
        FUZZ_CHECK(++steps <= text.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena arena = {0};
    Error err = {0};
    if (size == 0) {
        return 0;
    }
    size_t room = 1 + (size_t)data[0] * 3;
    const char *text = str_to_cstr(&arena, (Str){(const char *)data + 1, size - 1});
    Str whole = str_from(text);
    check_pairs(whole);
    bool is_secret = is_password(text);
    if (is_secret) {
        check_hidden(whole, room);
    }
    if (conninfo_check(whole, NULL, &err) != STATUS_OK) {
        bool is_shown = strstr(err.message, marker) != NULL || strstr(err.hint, marker) != NULL;
        FUZZ_CHECK(err.kind == ERROR_CONFIG && err.message[0] != '\0');
        FUZZ_CHECK(!is_shown || !is_secret || !is_once(whole, strlen(marker)));
    } else if (conninfo_is_url(whole) || conninfo_is_keywords(whole)) {
        PQconninfoOption *options = PQconninfoParse(text, NULL);
        FUZZ_CHECK(options != NULL);
        PQconninfoFree(options);
    }
    arena_done(&arena);
    return 0;
}
