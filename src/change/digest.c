#include "change/digest.h"

#include <inttypes.h>

Str digest_field(Str text, size_t at)
{
    Str field = {0};
    for (size_t i = 0; i <= at; i++) {
        if (!str_split(&text, ',', &field)) {
            return STR("");
        }
    }
    return field;
}

bool digest_parse_hex(Str text, uint64_t *ret)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_letter = c >= 'a' && c <= 'f';
        if (!is_letter && (c < '0' || c > '9')) {
            return false;
        }
        number = number << 4 | (uint64_t)(is_letter ? c - 'a' + 10 : c - '0');
    }
    if (text.len == 0 || text.len > DIGEST_HEX_SIZE) {
        return false;
    }
    *ret = number;
    return true;
}

void digest_list(Buf *sql, const DigestQuery *query)
{
    int width = query->kind == DIGEST_PAIRS ? (int)query->digits : DIGEST_HEX_SIZE;
    for (size_t i = 0; i < query->wanted_count; i++) {
        buf_printf(sql, "%s%0*" PRIx64, i == 0 ? "" : ",", width, query->wanted[i]);
    }
}
