#include "hub/push_conflicts.h"

#include "base/decimal.h"

enum { KEYS_MAX = 100000 };

#define OPEN_LSN UINT64_MAX // of what is not committed yet

struct ConflictEntry {
    Lsn at;              // the system stood there or before when it was pushed
    ConflictEntry *next; // of those that are open
};

// Where a model lets a key be both, one system may say 3 and another one "3".
static uint64_t hash_loosely(const JsonValue *value)
{
    Decimal number;
    return value->kind == JSON_STRING && decimal_parse(value->text, &number)
               ? json_hash(&(JsonValue){.kind = JSON_NUMBER, .text = value->text})
               : json_hash(value);
}

static uint64_t key_of(const MixerField *field, const JsonValue *value)
{
    return hash_loosely(value) * UINT64_C(0x9e3779b97f4a7c15) + (uintptr_t)field;
}

static void forget(PushConflicts *conflicts)
{
    map_reset(&conflicts->by_key);
    arena_reset(&conflicts->arena);
    conflicts->open = NULL;
}

void push_conflicts_begin(PushConflicts *conflicts, Lsn now)
{
    forget(conflicts);
    conflicts->floor = MAX(conflicts->floor, now);
}

static void note_key(PushConflicts *conflicts, uint64_t key)
{
    ConflictEntry *entry = map_get_u64(&conflicts->by_key, key);
    if (entry == NULL) {
        entry = arena_alloc_zero(&conflicts->arena, sizeof(*entry));
        (void)map_put_u64(&conflicts->by_key, key, entry);
    }
    if (entry->at != OPEN_LSN) {
        entry->at = OPEN_LSN;
        entry->next = conflicts->open;
        conflicts->open = entry;
    }
}

void push_conflicts_note(PushConflicts *conflicts, const PushedRow *row)
{
    for (size_t i = 0; i < row->search_key_count; i++) {
        note_key(conflicts, key_of(row->cells[i].field, &row->cells[i].value));
    }
    if (row->changed != NULL) {
        note_key(conflicts, key_of(row->changed->field, &row->changed->before));
    }
}

void push_conflicts_committed(PushConflicts *conflicts, Lsn now)
{
    for (ConflictEntry *entry = conflicts->open; entry != NULL; entry = entry->next) {
        entry->at = now;
    }
    conflicts->open = NULL;
    conflicts->last = now;
    if (conflicts->by_key.count > KEYS_MAX) {
        push_conflicts_begin(conflicts, now);
    }
}

void push_conflicts_pass(PushConflicts *conflicts, Lsn made)
{
    if (conflicts->open == NULL && conflicts->by_key.count > 0 && made >= conflicts->last) {
        forget(conflicts);
    }
}

static bool is_pushed_behind(const PushConflicts *conflicts, uint64_t key, Lsn made)
{
    const ConflictEntry *entry = map_get_u64(&conflicts->by_key, key);
    return entry != NULL && entry->at > made;
}

bool push_conflicts_has(const PushConflicts *conflicts, const PushedRow *row, Lsn made)
{
    bool has = made < conflicts->floor;
    for (size_t i = 0; !has && i < row->search_key_count; i++) {
        has = is_pushed_behind(conflicts, key_of(row->cells[i].field, &row->cells[i].value), made);
    }
    return has ||
           (row->changed != NULL &&
            is_pushed_behind(conflicts, key_of(row->changed->field, &row->changed->before), made));
}

void push_conflicts_done(PushConflicts *conflicts)
{
    map_done(&conflicts->by_key);
    arena_done(&conflicts->arena);
}
