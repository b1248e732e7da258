// A timeline on the first line, and the history that a server tells of its own behind it. Where one
// was left is said by the first line that has it, whatever stands behind; one that is not in a
// history is found in one that has it at its end.
#include "base/ascii.h"
#include "fuzz.h"
#include "sources/postgres.h"

static bool is_word(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (ascii_is_space(c) || c == '\0') {
            return false;
        }
    }
    return text.len > 0;
}

static Str with(Arena *arena, Str history, Str timeline)
{
    char *text = arena_alloc_bytes(arena, history.len + timeline.len + 32);
    size_t len = history.len;
    if (len > 0) {
        memcpy(text, history.ptr, len);
    }
    len += (size_t)snprintf(text + len, timeline.len + 32, "\n%" STR_FMT "\t7/8\twhy\n",
                            STR_ARG(timeline));
    return (Str){text, len};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str history = {(const char *)data, size};
    Str timeline;
    if (!str_split(&history, '\n', &timeline)) {
        return 0;
    }
    const Lsn untouched = 0x123;
    const Lsn added = 0x700000008;
    Lsn lsn = untouched;
    Arena arena = {0};
    bool is_found = postgres_timeline_end(history, timeline, &lsn);
    FUZZ_CHECK(is_found || lsn == untouched);
    if (is_word(timeline)) {
        Lsn again;
        FUZZ_CHECK(postgres_timeline_end(with(&arena, history, timeline), timeline, &again));
        FUZZ_CHECK(again == (is_found ? lsn : added));
    }
    arena_done(&arena);
    return 0;
}
