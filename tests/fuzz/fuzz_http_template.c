// A kind, a template and a value of a row: the template is refused, or what it makes of the row is
// what it has to be wherever it goes. A body is JSON; a header is one line; in a URL nothing of the
// value can mean anything.
#include "codec/json.h"
#include "fuzz.h"
#include "sinks/http_template.h"

static uint16_t key[] = {0};
static Column columns[] = {
    {.name = {"id", 2}, .attnum = 1, .type = TYPE_TEXT, .type_name = {"text", 4}},
    {.name = {"doc", 3}, .attnum = 2, .type = TYPE_JSON, .type_name = {"json", 4}},
    {.name = {"n", 1}, .attnum = 3, .type = TYPE_NUMERIC, .type_name = {"numeric", 7}},
};
static const Relation relation = {.oid = 1,
                                  .schema = {"s", 1},
                                  .name = {"t", 1},
                                  .column_count = 3,
                                  .columns = columns,
                                  .key_count = 1,
                                  .key = key};

static size_t count_of(Str text, const char *bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] != '\0' && strchr(bytes, text.ptr[i]) != NULL;
    }
    return count;
}

static bool has_control(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static void check_filled(HttpTemplateKind kind, Str text, Str out)
{
    Buf json = {.max = SIZE_MAX / 2};
    switch (kind) {
    case HTTP_TEMPLATE_URL:
        FUZZ_CHECK(!has_control(out) && str_find(out, ' ') < 0);
        FUZZ_CHECK(count_of(out, "/?&#=:@") <= count_of(text, "/?&#=:@"));
        break;
    case HTTP_TEMPLATE_HEADER:
        FUZZ_CHECK(!has_control(out));
        break;
    case HTTP_TEMPLATE_BODY:
        FUZZ_CHECK(json_embed(&json, out));
        break;
    }
    buf_done(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str value = {(const char *)data + 1, size - 1};
    Str text = {0};
    Arena arena = {0};
    Error err = {0};
    HttpTemplate template;
    if (size == 0 || size > UINT32_MAX || !str_split(&value, '\n', &text)) {
        return 0;
    }
    HttpTemplateKind kind = (HttpTemplateKind)(data[0] % 3);
    if (http_template_parse(kind, text, &arena, &template, &err) != STATUS_OK) {
        FUZZ_CHECK(err.kind == ERROR_CONFIG && err.message[0] != '\0');
        arena_done(&arena);
        return 0;
    }
    bool is_known = value.ptr != NULL;
    Value cell = {value.ptr, (uint32_t)value.len, is_known ? VALUE_TEXT : VALUE_NULL};
    const Value row[] = {cell, cell, cell};
    const Transaction transaction = {.commit_lsn = 1, .xid = 2, .commit_time_us = 3};
    const Change change = {.op = CHANGE_INSERT,
                           .relation = &relation,
                           .new_row = row,
                           .transaction = &transaction,
                           .ordinal = 4};
    Buf out = {.max = SIZE_MAX / 2};
    if (http_template_check(&template, &relation, &err) == STATUS_OK &&
        http_template_fill(&template, &change, STR("{}"), &out, &err) == STATUS_OK) {
        check_filled(kind, text, buf_view(&out));
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
    }
    buf_done(&out);
    arena_done(&arena);
    return 0;
}
