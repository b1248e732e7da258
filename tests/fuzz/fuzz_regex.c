// A pattern, a line feed, and a text: the pattern is refused, or matches or not. Where it matches
// is found forwards, backwards by a lookahead and up to its end by a lookbehind: all say the same.
#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "model/format.h"
#include "model/regex.h"

enum { BUDGET = 3000000 };

typedef enum Answer { NO, YES, UNKNOWN } Answer;

static Answer search(const char *before, Str pattern, const char *behind, Str text)
{
    Arena arena = {0};
    RegexScratch scratch = {0};
    Buf whole = {.max = SIZE_MAX / 2};
    buf_cstr(&whole, before);
    buf_str(&whole, pattern);
    buf_cstr(&whole, behind);
    const Regex *regex;
    Error err;
    Answer answer = UNKNOWN;
    if (regex_compile(&arena, buf_view(&whole), &regex, &err) == STATUS_OK) {
        FUZZ_CHECK(regex_is_valid(&arena, buf_view(&whole)));
        uint64_t budget = BUDGET;
        bool found = regex_search(regex, text, &scratch, &budget);
        FUZZ_CHECK(budget <= BUDGET);
        answer = budget == 0 ? UNKNOWN : found ? YES : NO;
    } else {
        FUZZ_CHECK(err.kind == ERROR_CONFIG && err.message[0] != '\0');
    }
    buf_done(&whole);
    regex_scratch_done(&scratch);
    arena_done(&arena);
    return answer;
}

static void check_pattern(Str pattern, Str text)
{
    Answer answer = search("", pattern, "", text);
    if (answer == UNKNOWN) {
        return;
    }
    static const char *const around[][2] = {
        {"(?:", ")"}, {"(?=", ")"}, {"(?<=", ")"}, {"(?:|x)(?:", ")"}, {"^[^]*(?:", ")[^]*$"}};
    for (size_t i = 0; i < ARRAY_LEN(around); i++) {
        Answer other = search(around[i][0], pattern, around[i][1], text);
        FUZZ_CHECK(other == answer || other == UNKNOWN);
    }
    Answer never = search("^(?![^]*(?:", pattern, "))", text);
    FUZZ_CHECK(never == UNKNOWN || never != answer);
}

static void check_formats(Str text)
{
    static const char *const names[] = {
        "date-time",     "duration",      "idn-email",    "email", "hostname",
        "idn-hostname",  "ipv4",          "ipv6",         "uri",   "iri",
        "iri-reference", "uri-template",  "json-pointer", "regex", "relative-json-pointer",
        "uuid",          "uri-reference", "date",         "time"};
    Arena arena = {0};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        FormatCheck check = format_find(str_from(names[i]));
        FUZZ_CHECK(check != NULL);
        (void)check(&arena, text);
    }
    FUZZ_CHECK(!format_find(STR("uri"))(&arena, text) || format_find(STR("iri"))(&arena, text));
    FUZZ_CHECK(!format_find(STR("date-time"))(&arena, text) ||
               format_find(STR("date"))(&arena, (Str){text.ptr, 10}));
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str text = {(const char *)data, size};
    Str pattern;
    if (!str_split(&text, '\n', &pattern) || !utf8_is_valid(pattern)) {
        return 0;
    }
    text = text.ptr == NULL ? STR("") : text;
    if (!utf8_is_valid(text)) {
        (void)search("(?=", pattern, ")", text);
        return 0;
    }
    check_pattern(pattern, text);
    check_formats(pattern);
    return 0;
}
