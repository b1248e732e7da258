// One hash table a relation, keyed by the bytes of the key columns. An entry remembers whether its
// key was there before the run, whether it is there now, and the row as far as it is known; the
// final change follows from the three.
//
// Keys are compared as text. Two texts can be one value for the target (1.0 and 1.00 as numeric):
// such a change of key is a delete and an insert here, and since deletes are applied first, the
// target never sees both at once.
#include "change/compaction.h"

#include <assert.h>

#include "base/map.h"

typedef struct Entry {
    uint64_t hash;
    const Value *row;
    const Change *last;
    bool existed;  // before the run
    bool present;  // now
    bool owns_row; // `row` is ours to change
    // A row that came here with columns that only its place of before the run has: has the key of
    // that place, whose entry is `taken`. NULL: none, or this one.
    const Value *from;
    bool taken;
} Entry;

typedef struct Folder {
    const Relation *relation;
    Value *key; // of the change that is being folded
    Entry *entries;
    size_t count;
    size_t capacity;
    uint32_t *slots;   // index + 1 into entries; 0: free
    size_t slot_count; // a power of two, or 0
    size_t move_count; // partial ones
} Folder;

typedef struct Compactor {
    Arena *arena;
    CompactedMoves moves;
    Map by_oid;
    Folder **folders; // in the order of first use
    size_t count;
    size_t capacity;
    Folder *last;
} Compactor;

static void *grow(Arena *arena, void *old, size_t size, size_t count, size_t capacity)
{
    void *bigger = arena_alloc(arena, size * capacity);
    if (count > 0) {
        memcpy(bigger, old, size * count);
    }
    return bigger;
}

/** NULL when another version of the table is in the run already: what comes before a change of its
 *  columns must not meet what comes behind it. */
static Folder *find_folder(Compactor *compactor, const Relation *relation)
{
    if (compactor->last != NULL && compactor->last->relation == relation) {
        return compactor->last;
    }
    Folder *folder = map_get_u64(&compactor->by_oid, relation->oid);
    if (folder == NULL) {
        folder = arena_alloc_zero(compactor->arena, sizeof(*folder));
        folder->relation = relation;
        folder->key = ARENA_ARRAY(compactor->arena, Value, relation->key_count);
        (void)map_put_u64(&compactor->by_oid, relation->oid, folder);
        if (compactor->count == compactor->capacity) {
            size_t capacity = MAX(compactor->capacity * 2, (size_t)8);
            compactor->folders = grow(compactor->arena, compactor->folders, sizeof(Folder *),
                                      compactor->count, capacity);
            compactor->capacity = capacity;
        }
        compactor->folders[compactor->count++] = folder;
    } else if (folder->relation != relation) {
        return NULL;
    }
    compactor->last = folder;
    return folder;
}

// ---------------------------------------------------------------------------------------------
// Keys
// ---------------------------------------------------------------------------------------------

// The key of @row, taken from @other where the row does not have it (an unchanged TOASTed key,
// which the server sends with the old row). False when it is not known at all.
static bool take_key(const Relation *relation, const Value *row, const Value *other, Value *ret)
{
    for (uint16_t i = 0; i < relation->key_count; i++) {
        uint16_t column = relation->key[i];
        ret[i] = row[column];
        if (!value_is_known(ret[i]) && other != NULL) {
            ret[i] = other[column];
        }
        if (!value_is_known(ret[i])) {
            return false;
        }
    }
    return true;
}

static uint64_t hash_key(const Value *key, uint16_t count)
{
    uint64_t hash = count;
    for (uint16_t i = 0; i < count; i++) {
        uint64_t part = value_is_data(key[i]) ? hash_bytes(key[i].ptr, key[i].len) : 1;
        hash = (hash ^ part) * 0x9e3779b97f4a7c15ULL;
    }
    return hash ^ hash >> 32;
}

static bool same_key(const Relation *relation, const Value *row, const Value *key)
{
    for (uint16_t i = 0; i < relation->key_count; i++) {
        if (!value_equal(row[relation->key[i]], key[i])) {
            return false;
        }
    }
    return true;
}

static Entry *find_entry(const Folder *folder, uint64_t hash, const Value *key)
{
    if (folder->slot_count == 0) {
        return NULL;
    }
    size_t mask = folder->slot_count - 1;
    for (size_t at = (size_t)hash & mask; folder->slots[at] != 0; at = (at + 1) & mask) {
        Entry *entry = &folder->entries[folder->slots[at] - 1];
        if (entry->hash == hash && same_key(folder->relation, entry->row, key)) {
            return entry;
        }
    }
    return NULL;
}

static void put_slot(Folder *folder, uint64_t hash, size_t index)
{
    size_t mask = folder->slot_count - 1;
    size_t at = (size_t)hash & mask;
    while (folder->slots[at] != 0) {
        at = (at + 1) & mask;
    }
    folder->slots[at] = (uint32_t)index + 1;
}

static void grow_slots(Compactor *compactor, Folder *folder)
{
    folder->slot_count = MAX(folder->slot_count * 2, (size_t)64);
    folder->slots = ARENA_ARRAY(compactor->arena, uint32_t, folder->slot_count);
    for (size_t i = 0; i < folder->count; i++) {
        put_slot(folder, folder->entries[i].hash, i);
    }
}

static Entry *append_entry(Compactor *compactor, Folder *folder)
{
    if (folder->count == folder->capacity) {
        size_t capacity = MAX(folder->capacity * 2, (size_t)32);
        folder->entries =
            grow(compactor->arena, folder->entries, sizeof(Entry), folder->count, capacity);
        folder->capacity = capacity;
    }
    assert(folder->count < UINT32_MAX);
    Entry *entry = &folder->entries[folder->count++];
    *entry = (Entry){0};
    return entry;
}

static Entry *add_entry(Compactor *compactor, Folder *folder, uint64_t hash)
{
    if ((folder->count + 1) * 2 > folder->slot_count) {
        grow_slots(compactor, folder);
    }
    Entry *entry = append_entry(compactor, folder);
    entry->hash = hash;
    put_slot(folder, hash, folder->count - 1);
    return entry;
}

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

static bool all_known(const Relation *relation, const Value *row)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (!value_is_known(row[i])) {
            return false;
        }
    }
    return true;
}

// The row after an update: what the change does not say is as in its full old row (replica identity
// FULL), otherwise as in @base, the row before it as far as it is known. With @reuse it is made
// there, which may be @base itself.
static const Value *row_after(Arena *arena, const Change *change, const Value *base, Value *reuse)
{
    const Relation *relation = change->relation;
    const Value *row = change->new_row;
    if (all_known(relation, row) || (base == NULL && change->old_row == NULL)) {
        return row;
    }
    Value *merged = reuse != NULL ? reuse : ARENA_ARRAY(arena, Value, relation->column_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (value_is_known(row[i])) {
            merged[i] = row[i];
        } else if (change->old_row != NULL && value_is_known(change->old_row[i])) {
            merged[i] = change->old_row[i];
        } else {
            merged[i] = base != NULL ? base[i] : row[i];
        }
    }
    return merged;
}

// ---------------------------------------------------------------------------------------------
// Changes. Each returns false (or NULL) for a barrier, and then has changed nothing.
// ---------------------------------------------------------------------------------------------

static Entry *put_row(Compactor *compactor, Folder *folder, const Value *row, const Change *change)
{
    Value *key = folder->key;
    if (!take_key(folder->relation, row, NULL, key)) {
        return NULL;
    }
    uint64_t hash = hash_key(key, folder->relation->key_count);
    Entry *entry = find_entry(folder, hash, key);
    if (entry != NULL && entry->present) {
        return NULL;
    }
    if (entry == NULL) {
        entry = add_entry(compactor, folder, hash);
    }
    entry->present = true;
    entry->row = row;
    entry->owns_row = false;
    entry->last = change;
    return entry;
}

static bool fold_insert(Compactor *compactor, Folder *folder, const Change *change)
{
    if (!all_known(folder->relation, change->new_row)) {
        return false;
    }
    if (folder->relation->key_count > 0) {
        return put_row(compactor, folder, change->new_row, change) != NULL;
    }
    Entry *entry = append_entry(compactor, folder);
    entry->present = true;
    entry->row = change->new_row;
    entry->last = change;
    return true;
}

static Entry *entry_at(Folder *folder, const Value *row)
{
    (void)take_key(folder->relation, row, NULL, folder->key);
    uint64_t hash = hash_key(folder->key, folder->relation->key_count);
    return find_entry(folder, hash, folder->key);
}

static bool fold_delete(Compactor *compactor, Folder *folder, const Change *change)
{
    Value *key = folder->key;
    if (change->old_row == NULL || !take_key(folder->relation, change->old_row, NULL, key)) {
        return false;
    }
    uint64_t hash = hash_key(key, folder->relation->key_count);
    Entry *entry = find_entry(folder, hash, key);
    if (entry != NULL && !entry->present) {
        return false;
    }
    if (entry == NULL) {
        entry = add_entry(compactor, folder, hash);
        entry->existed = true;
        entry->row = change->old_row;
    }
    entry->present = false;
    entry->last = change;
    if (entry->from != NULL) {
        // What it came from is deleted in its place.
        const Value *from = entry->from;
        entry->from = NULL;
        entry_at(folder, from)->taken = false;
    }
    return true;
}

// The update of a row whose key stays.
static bool fold_in_place(Compactor *compactor, Folder *folder, const Change *change)
{
    const Relation *relation = folder->relation;
    Value *key = folder->key;
    uint64_t hash = hash_key(key, relation->key_count);
    Entry *entry = find_entry(folder, hash, key);
    if (entry != NULL && !entry->present) {
        return false;
    }
    if (entry == NULL) {
        entry = add_entry(compactor, folder, hash);
        entry->existed = true;
        entry->row = row_after(compactor->arena, change, NULL, NULL);
    } else {
        // A row that we own was made by row_after(), so it may be written to.
        Value *reuse = entry->owns_row ? (Value *)(uintptr_t)entry->row : NULL;
        entry->row = row_after(compactor->arena, change, entry->row, reuse);
    }
    entry->owns_row = entry->row != change->new_row;
    entry->present = true;
    entry->last = change;
    return true;
}

// A move of a row that is not known as a whole.
static bool fold_partial_move(Compactor *compactor, Folder *folder, const Value *row,
                              const Change *change)
{
    const Entry *left = entry_at(folder, change->old_row);
    const Value *from = left != NULL && left->from != NULL ? left->from : change->old_row;
    Entry *entry = put_row(compactor, folder, row, change);
    if (entry == NULL) {
        return false;
    }
    entry->from = from;
    folder->move_count++;
    (void)fold_delete(compactor, folder, change);
    Entry *origin = entry_at(folder, from);
    origin->taken = true;
    if (origin->from != NULL && same_key(folder->relation, origin->from, folder->key)) {
        origin->from = NULL; // it is back
        origin->taken = false;
    }
    return true;
}

// A row that gets another key: gone under the old one, new under the new one.
static bool fold_move(Compactor *compactor, Folder *folder, const Change *change)
{
    const Relation *relation = folder->relation;
    if (!take_key(relation, change->old_row, NULL, folder->key)) {
        return false;
    }
    const Entry *old = entry_at(folder, change->old_row);
    if (old != NULL && !old->present) {
        return false;
    }
    const Value *row = row_after(compactor->arena, change, old == NULL ? NULL : old->row, NULL);
    if (!all_known(relation, row)) {
        return compactor->moves == MOVES_ARE_FOLDED &&
               fold_partial_move(compactor, folder, row, change);
    }
    return put_row(compactor, folder, row, change) != NULL &&
           fold_delete(compactor, folder, change);
}

static bool fold_update(Compactor *compactor, Folder *folder, const Change *change)
{
    const Relation *relation = folder->relation;
    if (!take_key(relation, change->new_row, change->old_row, folder->key)) {
        return false;
    }
    bool moves = change->old_row != NULL && !same_key(relation, change->old_row, folder->key);
    return moves ? fold_move(compactor, folder, change) : fold_in_place(compactor, folder, change);
}

static bool fold(Compactor *compactor, const Change *change)
{
    if (change->op == CHANGE_MESSAGE || change->op == CHANGE_SCHEMA) {
        return true;
    }
    if (change->op == CHANGE_TRUNCATE) {
        return false;
    }
    Folder *folder = find_folder(compactor, change->relation);
    if (folder == NULL) {
        return false;
    }
    if (change->op == CHANGE_INSERT || change->op == CHANGE_READ) {
        return fold_insert(compactor, folder, change);
    }
    if (change->relation->key_count == 0) {
        return false;
    }
    return change->op == CHANGE_DELETE ? fold_delete(compactor, folder, change)
                                       : fold_update(compactor, folder, change);
}

// ---------------------------------------------------------------------------------------------
// The result
// ---------------------------------------------------------------------------------------------

static void put_result(const Entry *entry, CompactedOp op, CompactedTable *ret)
{
    ret->rows[ret->row_count++] = (CompactedRow){
        .op = op,
        .is_full = all_known(ret->relation, entry->row),
        .row = entry->row,
        .from = op == COMPACTED_MOVE ? entry->from : entry->row,
        .last = entry->last,
    };
    ret->count_by_op[op]++;
}

static void finish_table(Arena *arena, const Folder *folder, CompactedTable *ret)
{
    *ret = (CompactedTable){.relation = folder->relation};
    // Of one key the old row may go and a moved one come.
    ret->rows = arena_alloc(arena, (folder->count + folder->move_count) * sizeof(CompactedRow));
    for (size_t i = 0; i < folder->count; i++) {
        const Entry *entry = &folder->entries[i];
        bool was_there = entry->existed && !entry->taken;
        bool has_come = entry->from != NULL;
        if (was_there && (!entry->present || has_come)) {
            put_result(entry, COMPACTED_DELETE, ret);
        }
        if (entry->present && has_come) {
            put_result(entry, COMPACTED_MOVE, ret);
        } else if (entry->present) {
            put_result(entry, was_there ? COMPACTED_UPDATE : COMPACTED_INSERT, ret);
        }
    }
}

void compact(const Change *changes, size_t count, CompactedMoves moves, Arena *arena,
             Compacted *ret)
{
    Compactor folding = {.arena = arena, .moves = moves};
    Compactor *compactor = &folding;
    size_t at = 0;
    while (at < count && fold(compactor, &changes[at])) {
        at++;
    }
    *ret = (Compacted){.consumed = at, .barrier = at < count ? &changes[at] : NULL};
    ret->tables = ARENA_ARRAY(arena, CompactedTable, compactor->count);
    for (size_t i = 0; i < compactor->count; i++) {
        CompactedTable *table = &ret->tables[ret->table_count];
        finish_table(arena, compactor->folders[i], table);
        ret->table_count += table->row_count > 0 ? 1 : 0;
    }
    map_done(&compactor->by_oid);
}
