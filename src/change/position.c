#include "change/position.h"

#include "base/ascii.h"

static bool parse_hex32(Str text, uint32_t *ret)
{
    uint32_t value = 0;
    if (text.len == 0 || text.len > 8) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        int digit = ascii_hex_value(text.ptr[i]);
        if (digit < 0) {
            return false;
        }
        value = value << 4 | (uint32_t)digit;
    }
    *ret = value;
    return true;
}

bool lsn_parse(Str text, Lsn *ret)
{
    ptrdiff_t slash = str_find(text, '/');
    uint32_t high;
    uint32_t low;
    if (slash < 0 || !parse_hex32((Str){text.ptr, (size_t)slash}, &high) ||
        !parse_hex32((Str){text.ptr + slash + 1, text.len - (size_t)slash - 1}, &low)) {
        return false;
    }
    *ret = (Lsn)high << 32 | low;
    return true;
}

void position_format(Position position, char ret[static POSITION_TEXT_SIZE])
{
    (void)snprintf(ret, POSITION_TEXT_SIZE, LSN_FMT ":%" PRIu64, LSN_ARG(position.lsn),
                   position.ordinal);
}

bool position_parse(Str text, Position *ret)
{
    ptrdiff_t colon = str_find(text, ':');
    Lsn lsn;
    uint64_t ordinal;
    if (colon < 0 || !lsn_parse((Str){text.ptr, (size_t)colon}, &lsn) ||
        !str_to_uint64((Str){text.ptr + colon + 1, text.len - (size_t)colon - 1}, &ordinal)) {
        return false;
    }
    *ret = (Position){lsn, ordinal};
    return true;
}
