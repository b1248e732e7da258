// The JSON writer and reader, with bytes of any kind: what the writer accepts is one line of JSON,
// strings come out as JSON strings, and nothing that is not UTF-8 gets through. What the reader
// accepts the writer does, and it comes back the same when it is written and read again.
#include "base/utf8.h"
#include "codec/json.h"
#include "codec/json_read.h"
#include "fuzz.h"

static void check_strings(Str input)
{
    Buf out = {.max = SIZE_MAX / 2};
    FUZZ_CHECK(json_string(&out, input) == utf8_is_valid(input));
    FUZZ_CHECK(!utf8_is_valid(input) || json_is_string(buf_view(&out)));
    buf_reset(&out);
    json_string_lossy(&out, input);
    FUZZ_CHECK(json_is_string(buf_view(&out)) && utf8_is_valid(buf_view(&out)));
    buf_reset(&out);
    json_base64(&out, input);
    FUZZ_CHECK(json_is_string(buf_view(&out)) && out.len == (input.len + 2) / 3 * 4 + 2);
    buf_done(&out);
}

static void check_embedded(Str input)
{
    Buf out = {.max = SIZE_MAX / 2};
    Buf again = {.max = SIZE_MAX / 2};
    if (json_embed(&out, input)) {
        FUZZ_CHECK(out.len == input.len);
        FUZZ_CHECK(str_find(buf_view(&out), '\n') < 0 && str_find(buf_view(&out), '\r') < 0);
        FUZZ_CHECK(utf8_is_valid(buf_view(&out)));
        FUZZ_CHECK(json_embed(&again, buf_view(&out)));
        FUZZ_CHECK(str_equal(buf_view(&out), buf_view(&again)));
    } else {
        FUZZ_CHECK(out.len == 0);
        FUZZ_CHECK(!json_is_number(input) && !json_is_string(input));
    }
    buf_done(&out);
    buf_done(&again);
}

static void check_read(Str input)
{
    Arena arena = {0};
    Buf out = {.max = SIZE_MAX / 2};
    JsonValue value;
    JsonValue again;
    if (json_read(&arena, input, &value, NULL) == STATUS_OK) {
        FUZZ_CHECK(json_embed(&out, input));
        buf_reset(&out);
        json_print(&out, &value);
        FUZZ_CHECK(json_read(&arena, buf_view(&out), &again, NULL) == STATUS_OK);
        FUZZ_CHECK(json_equal(&value, &again) && json_hash(&value) == json_hash(&again));
        JsonValue copy = json_copy(&arena, &value);
        FUZZ_CHECK(json_equal(&value, &copy));
    }
    buf_done(&out);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str input = {(const char *)data, size};
    check_strings(input);
    check_embedded(input);
    check_read(input);
    return 0;
}
