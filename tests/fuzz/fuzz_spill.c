// Spills that are filled, read and dropped in any order: each gives back what it was given, in
// order, and memory stays within the budget. An input is steps of three bytes: which spill and what
// to do with it, and two for the length of a record.
#include <sys/stat.h>

#include "base/mem.h"
#include "base/reader.h"
#include "fuzz.h"
#include "io/spill.h"

enum { SPILLS = 6, RECORDS_MAX = 512, BYTES_MAX = 1 << 20, BUDGET = 300 << 10 };

typedef struct Kept {
    Spill *spill;
    uint32_t lengths[RECORDS_MAX];
    size_t count;
    size_t read;
    uint64_t bytes;
    bool is_reading;
} Kept;

static Kept kept[SPILLS];
static char bytes[256 * 1024];

// What a record has depends on whose it is, which it is and how long it is.
static void fill(size_t whose, size_t number, size_t len)
{
    memset(bytes, (int)(whose * 31 + number * 7) & 0xFF, len);
    for (size_t i = 0; i < len; i += 509) {
        bytes[i] = (char)(i >> 9);
    }
}

static void drop(size_t whose)
{
    spill_free(kept[whose].spill);
    kept[whose] = (Kept){0};
}

static void append(SpillStore *store, size_t whose, size_t len, size_t *total)
{
    Kept *one = &kept[whose];
    Error err = {0};
    if (one->is_reading || one->count == RECORDS_MAX || *total + len > BYTES_MAX) {
        return;
    }
    if (one->spill == NULL) {
        one->spill = spill_new(store);
    }
    fill(whose, one->count, len);
    FUZZ_CHECK(spill_append(one->spill, (Str){bytes, len}, &err) == STATUS_OK);
    one->lengths[one->count++] = (uint32_t)len;
    one->bytes += len;
    *total += len;
    FUZZ_CHECK(spill_size(one->spill) == one->bytes);
    FUZZ_CHECK(spill_size_on_disk(one->spill) <= one->bytes);
}

static void take(size_t whose, size_t most)
{
    Kept *one = &kept[whose];
    Error err = {0};
    Str record;
    if (one->spill == NULL) {
        return;
    }
    one->is_reading = true;
    for (; most > 0 && one->read < one->count; most--) {
        FUZZ_CHECK(spill_next(one->spill, &record, &err) == STATUS_OK);
        fill(whose, one->read, one->lengths[one->read]);
        FUZZ_CHECK(str_equal(record, (Str){bytes, one->lengths[one->read]}));
        one->read++;
    }
    if (one->read == one->count) {
        FUZZ_CHECK(spill_next(one->spill, &record, &err) == STATUS_AGAIN);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stat shared;
    SpillStore *store =
        spill_store_new(stat("/dev/shm", &shared) == 0 ? "/dev/shm" : "/tmp", BUDGET);
    Reader in = reader_from(data, size);
    uint8_t what;
    uint16_t len;
    size_t total = 0;
    while (reader_u8(&in, &what) && reader_u16(&in, &len)) {
        size_t whose = what % SPILLS;
        switch (what / SPILLS % 8) {
        case 0:
            drop(whose);
            break;
        case 1:
        case 2:
            take(whose, (size_t)len + 1);
            break;
        case 3:
            append(store, whose, (size_t)len * 4 % sizeof(bytes), &total);
            break;
        default:
            append(store, whose, len % 300, &total);
            break;
        }
        FUZZ_CHECK(spill_memory_used() <= BUDGET);
    }
    for (size_t i = 0; i < SPILLS; i++) {
        take(i, SIZE_MAX);
        drop(i);
    }
    FUZZ_CHECK(spill_memory_used() == 0);
    spill_store_free(store);
    return 0;
}
