#include "pipeline/row_key.h"

#include <string.h>

#include "base/limits.h"
#include "base/reader.h"

// ---------------------------------------------------------------------------------------------
// Names: each with its length in front; a column is what tells it from others, its value's state
// and its value
// ---------------------------------------------------------------------------------------------

size_t row_name_begin(Buf *names)
{
    size_t begin = names->len;
    buf_be32(names, 0);
    return begin;
}

void row_name_add(Buf *names, Str column, Value value)
{
    Str bytes = value_is_data(value) ? value_str(value) : (Str){NULL, 0};
    buf_be32(names, (uint32_t)column.len);
    buf_str(names, column);
    buf_char(names, (char)value.state);
    buf_be32(names, (uint32_t)bytes.len);
    buf_str(names, bytes);
}

void row_name_end(Buf *names, size_t begin)
{
    if (!names->overflowed) {
        uint32_t len = htobe32((uint32_t)(names->len - begin - sizeof(len)));
        memcpy(names->ptr + begin, &len, sizeof(len));
    }
}

// One that is gone from the catalog has no number.
static void add_column(Buf *names, const Relation *relation, uint16_t column, Value value)
{
    int attnum = relation->columns[column].attnum;
    const char number[2] = {(char)(attnum >> 8), (char)attnum};
    row_name_add(names, (Str){number, attnum > 0 ? sizeof(number) : 0}, value);
}

static Str name_of(const Relation *relation, const Value *row, Arena *arena)
{
    CLEANUP(buf_done) Buf name;
    buf_init(&name, 2 * (size_t)LIMIT_MESSAGE_BYTES);
    size_t begin = row_name_begin(&name);
    if (relation->key_count == 0) {
        for (uint16_t i = 0; i < relation->column_count; i++) {
            add_column(&name, relation, i, row[i]);
        }
    } else {
        for (uint16_t i = 0; i < relation->key_count; i++) {
            add_column(&name, relation, relation->key[i], row[relation->key[i]]);
        }
    }
    row_name_end(&name, begin);
    return str_copy(arena, buf_view(&name));
}

void row_key_of_relation(const Change *change, Arena *arena, RowKey *ret)
{
    const Value *before = change->old_row != NULL ? change->old_row : change->new_row;
    *ret = (RowKey){.before = name_of(change->relation, before, arena)};
    if (change->old_row != NULL && change->new_row != NULL) {
        Str after = name_of(change->relation, change->new_row, arena);
        ret->after = str_equal(after, ret->before) ? ret->after : after;
    }
}

static bool next_bytes(Reader *in, Str *ret)
{
    uint32_t len;
    return reader_u32(in, &len) && reader_bytes(in, len, ret);
}

bool row_name_next(Str *names, Str *ret)
{
    Reader in = reader_from(names->ptr, names->len);
    if (!next_bytes(&in, ret)) {
        return false;
    }
    *names = (Str){(const char *)in.at, reader_left(&in)};
    return true;
}

static bool next_column(Reader *name, Str *ret)
{
    uint8_t state;
    Str value;
    return next_bytes(name, ret) && reader_u8(name, &state) && next_bytes(name, &value);
}

bool row_names_are_alike(Str name, Str other)
{
    Reader left = reader_from(name.ptr, name.len);
    Reader right = reader_from(other.ptr, other.len);
    while (reader_left(&left) > 0 && reader_left(&right) > 0) {
        Str one;
        Str two;
        if (!next_column(&left, &one) || !next_column(&right, &two) || one.len == 0 ||
            !str_equal(one, two)) {
            return false;
        }
    }
    return reader_left(&left) == 0 && reader_left(&right) == 0;
}

static bool names_meet(Str names, Str others)
{
    Str name;
    while (row_name_next(&names, &name)) {
        Str left = others;
        Str other;
        while (row_name_next(&left, &other)) {
            if (str_equal(name, other)) {
                return true;
            }
        }
    }
    return false;
}

bool row_keys_meet(const RowKey *key, const RowKey *other)
{
    return names_meet(key->before, other->before) || names_meet(key->before, other->after) ||
           names_meet(key->after, other->before) || names_meet(key->after, other->after);
}

// ---------------------------------------------------------------------------------------------
// Sets
// ---------------------------------------------------------------------------------------------

// Names as some row of the table has them.
typedef struct Kind {
    Str names;
    const struct Kind *next;
} Kind;

typedef struct RowTable {
    const Kind *kinds; // all that there are
    Map names;         // name -> RowSetItem
} RowTable;

static bool has_alike(Str names, Str name)
{
    Str other;
    while (row_name_next(&names, &other)) {
        if (row_names_are_alike(name, other)) {
            return true;
        }
    }
    return false;
}

// Whether it would be seen that rows of these names are one.
static bool can_be_told(Str names, Str others)
{
    Str name;
    while (row_name_next(&names, &name)) {
        if (has_alike(others, name)) {
            return true;
        }
    }
    return false;
}

static bool are_of_one_kind(Str names, Str others)
{
    Str name;
    Str other;
    while (row_name_next(&names, &name)) {
        if (!row_name_next(&others, &other) || !row_names_are_alike(name, other)) {
            return false;
        }
    }
    return names.len == 0 && others.len == 0;
}

static Str last_names(const RowKey *key)
{
    return key->after.len > 0 ? key->after : key->before;
}

static RowTable *table_of(RowSet *set, uint32_t oid)
{
    RowTable *table = map_get_u64(&set->tables, oid);
    if (table == NULL) {
        table = arena_alloc_zero(&set->arena, sizeof(*table));
        (void)map_put_u64(&set->tables, oid, table);
    }
    return table;
}

static void add_kind(RowSet *set, RowTable *table, Str names)
{
    for (const Kind *kind = table->kinds; kind != NULL; kind = kind->next) {
        if (are_of_one_kind(kind->names, names)) {
            return;
        }
    }
    Kind *kind = arena_alloc_zero(&set->arena, sizeof(*kind));
    *kind = (Kind){.names = str_copy(&set->arena, names), .next = table->kinds};
    table->kinds = kind;
}

static void add_names(RowSet *set, RowTable *table, Str names, int64_t id)
{
    Str name;
    while (row_name_next(&names, &name)) {
        RowSetItem *item = arena_alloc_zero(&set->arena, sizeof(*item));
        *item = (RowSetItem){.id = id, .next = map_get(&table->names, name)};
        (void)map_put(&table->names, str_copy(&set->arena, name), item);
    }
}

void row_set_add(RowSet *set, uint32_t oid, const RowKey *key, int64_t id)
{
    RowTable *table = table_of(set, oid);
    add_kind(set, table, last_names(key));
    add_names(set, table, key->before, id);
    add_names(set, table, key->after, id);
}

const RowSetItem *row_set_get(const RowSet *set, uint32_t oid, Str name)
{
    const RowTable *table = map_get_u64(&set->tables, oid);
    return table == NULL ? NULL : map_get(&table->names, name);
}

bool row_set_has_table(const RowSet *set, uint32_t oid)
{
    return map_get_u64(&set->tables, oid) != NULL;
}

static bool has_any(const RowTable *table, Str names)
{
    Str name;
    while (row_name_next(&names, &name)) {
        if (map_get(&table->names, name) != NULL) {
            return true;
        }
    }
    return false;
}

RowSetFound row_set_find(const RowSet *set, uint32_t oid, const RowKey *key)
{
    const RowTable *table = map_get_u64(&set->tables, oid);
    if (table == NULL) {
        return ROW_NOT_FOUND;
    }
    for (const Kind *kind = table->kinds; kind != NULL; kind = kind->next) {
        if (!can_be_told(last_names(key), kind->names)) {
            return ROW_UNKNOWN;
        }
    }
    return has_any(table, key->before) || has_any(table, key->after) ? ROW_FOUND : ROW_NOT_FOUND;
}

void row_set_reset(RowSet *set)
{
    size_t cursor = 0;
    void *table;
    while (map_next(&set->tables, &cursor, &table)) {
        map_done(&((RowTable *)table)->names);
    }
    map_reset(&set->tables);
    arena_reset(&set->arena);
}

void row_set_done(RowSet *set)
{
    row_set_reset(set);
    map_done(&set->tables);
    arena_done(&set->arena);
}
