// Rows of COPY of any bytes: what is taken apart lies within the row, and is the same after it was
// written and read again; and any value comes back from a row of its own.
//
// The first byte of the input is the number of columns, the rest is the row.
#include "fuzz.h"
#include "pg/copy_text.h"

enum { COLUMNS_MAX = 255 };

static void check_same(const Value *values, size_t count)
{
    Value again[COLUMNS_MAX];
    Buf row = {.max = SIZE_MAX / 2};
    copy_text_encode_row(&row, values, count);
    FUZZ_CHECK(memchr(row.ptr, '\n', row.len) == row.ptr + row.len - 1); // one line
    FUZZ_CHECK(copy_text_decode(row.ptr, row.len, again, count, NULL) == STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(value_equal(values[i], again[i]));
    }
    buf_done(&row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    Value values[COLUMNS_MAX];
    Error err = {0};
    size_t count = data[0];
    size_t len = size - 1;
    char *row = mem_alloc(len);
    if (len > 0) {
        memcpy(row, data + 1, len);
    }
    if (copy_text_decode(row, len, values, count, &err) != STATUS_OK) {
        FUZZ_CHECK(err.kind == ERROR_DATA && err.message[0] != '\0');
    } else if (count > 0) {
        size_t bytes = 0;
        for (size_t i = 0; i < count; i++) {
            FUZZ_CHECK(values[i].state == VALUE_NULL || values[i].ptr + values[i].len <= row + len);
            bytes += values[i].len;
        }
        FUZZ_CHECK(bytes + count - 1 <= len);
        check_same(values, count);
    }
    mem_free(row);
    values[0] = (Value){(const char *)data + 1, (uint32_t)len, VALUE_TEXT};
    check_same(values, 1);
    return 0;
}
