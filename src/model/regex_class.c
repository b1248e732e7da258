#include <assert.h>
#include <stdlib.h>

#include "model/regex_inside.h"
#include "model/unicode.h"

void class_add(Arena *arena, CharacterClass *class, uint32_t from, uint32_t to)
{
    assert(from <= to && to <= UNICODE_LAST);
    if (class->count == class->capacity) {
        size_t capacity = MAX((size_t)4, class->capacity * 2);
        CharacterRange *ranges = ARENA_ARRAY(arena, CharacterRange, capacity);
        if (class->count > 0) {
            memcpy(ranges, class->ranges, class->count * sizeof(*ranges));
        }
        class->ranges = ranges;
        class->capacity = capacity;
    }
    class->ranges[class->count++] = (CharacterRange){from, to};
}

void class_add_class(Arena *arena, CharacterClass *class, const CharacterClass *other)
{
    for (size_t i = 0; i < other->count; i++) {
        class_add(arena, class, other->ranges[i].from, other->ranges[i].to);
    }
}

void class_add_categories(Arena *arena, CharacterClass *class, uint32_t categories)
{
    for (size_t i = 0; i < unicode_range_count; i++) {
        if ((categories >> unicode_ranges[i].category & 1) == 0) {
            continue;
        }
        uint32_t end = i + 1 < unicode_range_count ? unicode_ranges[i + 1].start - 1 : UNICODE_LAST;
        CharacterRange *last = class->count > 0 ? &class->ranges[class->count - 1] : NULL;
        if (last != NULL && last->to + 1 == unicode_ranges[i].start) {
            last->to = end;
        } else {
            class_add(arena, class, unicode_ranges[i].start, end);
        }
    }
}

static void add_spaces(Arena *arena, CharacterClass *class)
{
    class_add(arena, class, '\t', '\r');
    class_add(arena, class, 0xfeff, 0xfeff);
    class_add(arena, class, 0x2028, 0x2029);
    class_add_categories(arena, class, UINT32_C(1) << CATEGORY_ZS);
}

void class_add_escape(Arena *arena, CharacterClass *class, char letter)
{
    CharacterClass plain = {0};
    char small = (char)(letter | 0x20);
    if (small == 's') {
        add_spaces(arena, &plain);
    } else {
        class_add(arena, &plain, '0', '9');
    }
    if (small == 'w') {
        class_add(arena, &plain, 'a', 'z');
        class_add(arena, &plain, 'A', 'Z');
        class_add(arena, &plain, '_', '_');
    }
    if (small != letter) {
        class_finish(&plain);
        plain = class_complement(arena, &plain);
    }
    class_add_class(arena, class, &plain);
}

static int compare_ranges(const void *a, const void *b)
{
    const CharacterRange *x = a;
    const CharacterRange *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

void class_finish(CharacterClass *class)
{
    if (class->count == 0) {
        return;
    }
    qsort(class->ranges, class->count, sizeof(*class->ranges), compare_ranges);
    size_t kept = 0;
    for (size_t i = 1; i < class->count; i++) {
        CharacterRange *last = &class->ranges[kept];
        if (class->ranges[i].from <= last->to + 1) {
            last->to = MAX(last->to, class->ranges[i].to);
        } else {
            class->ranges[++kept] = class->ranges[i];
        }
    }
    class->count = kept + 1;
    for (size_t i = 0; i < class->count && class->ranges[i].from < 128; i++) {
        for (uint32_t c = class->ranges[i].from; c <= MIN(class->ranges[i].to, 127U); c++) {
            class->ascii[c / 64] |= UINT64_C(1) << c % 64;
        }
    }
}

CharacterClass class_complement(Arena *arena, const CharacterClass *class)
{
    CharacterClass rest = {0};
    uint32_t from = 0;
    for (size_t i = 0; i < class->count; i++) {
        if (class->ranges[i].from > from) {
            class_add(arena, &rest, from, class->ranges[i].from - 1);
        }
        from = class->ranges[i].to + 1;
    }
    if (from <= UNICODE_LAST) {
        class_add(arena, &rest, from, UNICODE_LAST);
    }
    class_finish(&rest);
    return rest;
}

bool class_has(const CharacterClass *class, uint32_t point)
{
    if (point < 128) {
        return (class->ascii[point / 64] >> point % 64 & 1) != 0;
    }
    size_t low = 0;
    size_t high = class->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (class->ranges[middle].to < point) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < class->count && class->ranges[low].from <= point;
}
