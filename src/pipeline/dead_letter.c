#include "pipeline/dead_letter.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/reader.h"

// SQLite keeps no larger value (SQLITE_MAX_LENGTH).
#define RECORD_MAX ((size_t)900 << 20)

// ---------------------------------------------------------------------------------------------
// Keys: for each column its number, the value's state, and the value with its length
// ---------------------------------------------------------------------------------------------

static void append_column(Buf *key, const Relation *relation, uint16_t column, Value value)
{
    buf_be16(key, (uint16_t)relation->columns[column].attnum);
    buf_char(key, (char)value.state);
    Str bytes = value_is_data(value) ? value_str(value) : (Str){NULL, 0};
    buf_be32(key, (uint32_t)bytes.len);
    buf_str(key, bytes);
}

static Str key_of(const Relation *relation, const Value *row, Arena *arena)
{
    CLEANUP(buf_done) Buf key;
    buf_init(&key, LIMIT_MESSAGE_BYTES);
    if (relation->key_count == 0) {
        for (uint16_t i = 0; i < relation->column_count; i++) {
            append_column(&key, relation, i, row[i]);
        }
    } else {
        for (uint16_t i = 0; i < relation->key_count; i++) {
            append_column(&key, relation, relation->key[i], row[relation->key[i]]);
        }
    }
    return str_copy(arena, buf_view(&key));
}

void dead_keys(const Change *change, Arena *arena, Str *ret_old, Str *ret_new)
{
    const Value *before = change->old_row != NULL ? change->old_row : change->new_row;
    *ret_old = key_of(change->relation, before, arena);
    *ret_new = (Str){"", 0};
    if (change->old_row != NULL && change->new_row != NULL) {
        Str after = key_of(change->relation, change->new_row, arena);
        *ret_new = str_equal(after, *ret_old) ? *ret_new : after;
    }
}

static bool next_column(Reader *key, uint16_t *ret)
{
    uint8_t state;
    uint32_t len;
    Str bytes;
    return reader_u16(key, ret) && reader_u8(key, &state) && reader_u32(key, &len) &&
           reader_bytes(key, len, &bytes);
}

bool dead_keys_are_alike(Str a, Str b)
{
    Reader left = reader_from(a.ptr, a.len);
    Reader right = reader_from(b.ptr, b.len);
    while (reader_left(&left) > 0 && reader_left(&right) > 0) {
        uint16_t one;
        uint16_t other;
        // One that is gone from the catalog has no number: it may be any.
        if (!next_column(&left, &one) || !next_column(&right, &other) || one != other || one == 0) {
            return false;
        }
    }
    return reader_left(&left) == 0 && reader_left(&right) == 0;
}

// ---------------------------------------------------------------------------------------------
// Records: the relation with its length in front, then the change
// ---------------------------------------------------------------------------------------------

Status dead_pack(const Change *change, Arena *arena, Str *ret, Error *err)
{
    Packer packer = {0};
    CLEANUP(buf_done) Buf relation;
    CLEANUP(buf_done) Buf record;
    buf_init(&relation, RECORD_MAX);
    buf_init(&record, RECORD_MAX);
    (void)pack_relation(&packer, change->relation, &relation);
    buf_be32(&record, (uint32_t)relation.len);
    buf_str(&record, buf_view(&relation));
    (void)pack_changes(&packer, change, 1, RECORD_MAX, &record);
    packer_done(&packer);
    if (buf_check(&record, "a dead letter", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = str_copy(arena, buf_view(&record));
    return STATUS_OK;
}

Status dead_unpack(Str record, Unpacker *unpacker, Batch *batch, Error *err)
{
    Reader in = reader_from(record.ptr, record.len);
    uint32_t len;
    Str relation;
    unpacker_begin_segment(unpacker);
    if (!reader_u32(&in, &len) || !reader_bytes(&in, len, &relation)) {
        return error_set(err, ERROR_FATAL, "a dead letter is cut short");
    }
    Str change = {(const char *)in.at, reader_left(&in)};
    if (unpack_relation(unpacker, relation, err) != STATUS_OK ||
        unpack_changes(unpacker, change, batch, err) != STATUS_OK) {
        return error_wrap(err, "a dead letter");
    }
    const Change *only = batch->count == 1 ? &batch->changes[0] : NULL;
    if (only == NULL || only->relation == NULL ||
        (only->old_row == NULL && only->new_row == NULL)) {
        return error_set(err, ERROR_FATAL, "a dead letter is not one change of a row");
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Shapes
// ---------------------------------------------------------------------------------------------

static int find_column(const Relation *was, const Column *column)
{
    int found = column->attnum > 0 ? relation_find_attnum(was, column->attnum) : -1;
    if (found >= 0) {
        return found;
    }
    found = relation_find_column(was, column->name);
    bool is_other = found >= 0 && column->attnum > 0 && was->columns[found].attnum > 0;
    return is_other ? -1 : found;
}

// What a row that was written before the column came has in it.
static Value value_before(const Change *change, const Column *column, bool is_new_row)
{
    if (!is_new_row) {
        return (Value){.state = VALUE_ABSENT};
    }
    if (change->op == CHANGE_UPDATE) {
        return (Value){.state = VALUE_UNCHANGED};
    }
    Str missing = column->missing_value;
    return missing.ptr == NULL
               ? (Value){.state = VALUE_NULL}
               : (Value){.ptr = missing.ptr, .len = (uint32_t)missing.len, .state = VALUE_TEXT};
}

static const Value *reshape_row(const Change *change, const Value *row, const Relation *now,
                                Arena *arena)
{
    if (row == NULL) {
        return NULL;
    }
    bool is_new_row = row == change->new_row;
    Value *ret = ARENA_ARRAY(arena, Value, now->column_count);
    for (uint16_t i = 0; i < now->column_count; i++) {
        int found = find_column(change->relation, &now->columns[i]);
        ret[i] = found >= 0 ? row[found] : value_before(change, &now->columns[i], is_new_row);
    }
    return ret;
}

void dead_reshape(const Change *change, const Relation *now, Arena *arena, Change *ret)
{
    *ret = *change;
    ret->relation = now;
    ret->old_row = reshape_row(change, change->old_row, now, arena);
    ret->new_row = reshape_row(change, change->new_row, now, arena);
}

const char *dead_reason(const Error *why, Arena *arena)
{
    bool has_hint = why->hint[0] != '\0';
    return arena_printf(arena, "%s%s%s", why->message, has_hint ? ". " : "", why->hint);
}
