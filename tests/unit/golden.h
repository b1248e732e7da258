// Compares with a file under tests/golden, byte for byte. With WEIR_UPDATE_GOLDEN=1 in the
// environment the file is written instead: look at the difference before committing it.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "unit.h"

static inline void golden_read(const char *path, Buf *ret)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("cannot read %s", path);
    }
    char part[4096];
    size_t got;
    while ((got = fread(part, 1, sizeof(part), file)) > 0) {
        buf_bytes(ret, part, got);
    }
    (void)fclose(file);
}

static inline void assert_golden(const char *name, Str actual)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/golden/%s", TESTS_DIR, name);
    if (getenv("WEIR_UPDATE_GOLDEN") != NULL) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(actual.ptr, 1, actual.len, file), actual.len);
        assert_int_equal(fclose(file), 0);
        return;
    }
    Buf expected = {.max = 1 << 24};
    golden_read(path, &expected);
    if (!str_equal(buf_view(&expected), actual)) {
        print_message("%s: expected\n%" STR_FMT "actual\n%" STR_FMT "\n", name,
                      STR_ARG(buf_view(&expected)), STR_ARG(actual));
        fail();
    }
    buf_done(&expected);
}
