#include "pipeline/dead_letter.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/reader.h"

// SQLite keeps no larger value (SQLITE_MAX_LENGTH).
#define RECORD_MAX ((size_t)900 << 20)

// ---------------------------------------------------------------------------------------------
// Places
// ---------------------------------------------------------------------------------------------

Position dead_place(const Change *change)
{
    Position position = change_position(change);
    if (change->op == CHANGE_READ) {
        position.ordinal = (uint64_t)change->relation->oid << 32 | (position.ordinal & UINT32_MAX);
    }
    return position;
}

Position dead_stands(const DeadLetter *letter)
{
    return letter->op == CHANGE_READ ? (Position){letter->position.lsn, 0} : letter->position;
}

Position dead_shown(const DeadLetter *letter)
{
    Position position = letter->position;
    position.ordinal &= letter->op == CHANGE_READ ? UINT32_MAX : UINT64_MAX;
    return position;
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

static bool is_same(Value value, Value other)
{
    return value.state == other.state &&
           (!value_is_data(value) || str_equal(value_str(value), value_str(other)));
}

static DeadStanding compare_rows(const Value *was, const Value *later, uint16_t count)
{
    bool is_covered = true;
    bool is_apart = true;
    for (uint16_t i = 0; i < count; i++) {
        bool says_it = value_is_known(later[i]);
        is_covered = is_covered && (says_it || !value_is_known(was[i]));
        is_apart = is_apart && (!says_it || !value_is_known(was[i]) || is_same(was[i], later[i]));
    }
    return is_covered ? DEAD_COVERED : is_apart ? DEAD_APART : DEAD_AGAINST;
}

// Of a row that is gone nothing is left, so that only a whole one is like it.
static bool is_whole(const Change *change)
{
    for (uint16_t i = 0; i < change->relation->column_count; i++) {
        if (!value_is_known(change->new_row[i])) {
            return false;
        }
    }
    return true;
}

DeadStanding dead_standing(const Change *was, const Change *later)
{
    if (later->op == CHANGE_DELETE) {
        return DEAD_COVERED;
    }
    if (was->op == CHANGE_DELETE) {
        return is_whole(later) ? DEAD_COVERED : DEAD_AGAINST;
    }
    Arena arena = {0};
    Change now;
    dead_reshape(was, later->relation, &arena, &now);
    DeadStanding standing =
        compare_rows(now.new_row, later->new_row, later->relation->column_count);
    arena_done(&arena);
    return standing;
}

const char *dead_reason(const Error *why, Arena *arena)
{
    bool has_hint = why->hint[0] != '\0';
    return arena_printf(arena, "%s%s%s", why->message, has_hint ? ". " : "", why->hint);
}
