#include "cli/json_print.h"

#include <stdio.h>

#include "base/limits.h"
#include "codec/json.h"

void json_print_string(Str text)
{
    CLEANUP(buf_done) Buf out;
    buf_init(&out, LIMIT_TEXT_BYTES);
    json_string_lossy(&out, text);
    (void)fwrite(out.ptr, 1, out.len, stdout);
}

void json_print_text(const char *before, const char *name, Str text, bool is_known)
{
    printf("%s\"%s\":", before, name);
    if (is_known) {
        json_print_string(text);
    } else {
        printf("null");
    }
}

void json_print_number(const char *name, int64_t value)
{
    if (value < 0) {
        printf(",\"%s\":null", name);
    } else {
        printf(",\"%s\":%lld", name, (long long)value);
    }
}

void json_print_bool(const char *name, bool value)
{
    printf(",\"%s\":%s", name, value ? "true" : "false");
}
