// The form of the records. All of it is stored: numbers here never change their meaning; another
// form has another PACK_VERSION.
//
//   changes    version, items
//   item       tag: the three low bits are the ChangeOp, or TAG_TRANSACTION
//     transaction   commit LSN and time as differences from the last one of the record, xid,
//                   origin, then the LSN there when the tag has TAG_ORIGIN_LSN
//     change        of the last transaction: relation's number, ordinal as the difference from the
//                   last one of the transaction, then the parts that the tag's other bits name
//   row        for each column: a number that is the state, or state and length; the bytes
//   relation   version, number, the fields of Relation and Column in their order
//
// Numbers are little-endian groups of seven bits (LEB128), signed ones folded to small unsigned
// ones first (zigzag). Text is its length and its bytes.
#include "change/pack.h"

#include <assert.h>

#include "base/limits.h"
#include "base/reader.h"

enum { PACK_VERSION = 1 };

enum {
    TAG_OP = 0x07,
    TAG_TRANSACTION = 0x07, // in place of an op
    TAG_ORIGIN_LSN = 0x08,  // with that
    TAG_OLD_ROW = 0x08,
    TAG_NEW_ROW = 0x10,
    TAG_FLAGS = 0x40, // truncate_flags are not 0
    TAG_MESSAGE = 0x80,
};

enum {
    VALUE_DATA = 4, // a column's number from here on: VALUE_DATA + length * 2 + is_binary
    COLUMN_IDENTITY = 1,
    COLUMN_NOT_NULL = 2,
    COLUMN_DEFAULT = 4,
    COLUMN_MISSING = 8,
};

static_assert(CHANGE_READ == 0 && CHANGE_INSERT == 1 && CHANGE_UPDATE == 2 && CHANGE_DELETE == 3 &&
                  CHANGE_TRUNCATE == 4 && CHANGE_MESSAGE == 5 && CHANGE_SCHEMA == 6,
              "the numbers of ops are stored");
static_assert(VALUE_ABSENT == 0 && VALUE_NULL == 1 && VALUE_UNCHANGED == 2,
              "the numbers of states are stored");
static_assert(TYPE_KIND_BASE == 0 && TYPE_KIND_ARRAY == 1 && TYPE_KIND_ENUM == 2 &&
                  TYPE_KIND_COMPOSITE == 3 && TYPE_KIND_RANGE == 4 && TYPE_KIND_MULTIRANGE == 5 &&
                  TYPE_KIND_OTHER == 6,
              "the numbers of kinds are stored");

// ---------------------------------------------------------------------------------------------
// Numbers and text
// ---------------------------------------------------------------------------------------------

static void put_number(Buf *out, uint64_t value)
{
    uint8_t bytes[10];
    size_t len = 0;
    while (value >= 0x80) {
        bytes[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    bytes[len++] = (uint8_t)value;
    buf_bytes(out, bytes, len);
}

static void put_signed(Buf *out, int64_t value)
{
    put_number(out, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

// The way from @from to @to, also where that is more than an int64_t can count.
static void put_difference(Buf *out, uint64_t from, uint64_t to)
{
    put_signed(out, (int64_t)(to - from));
}

static void put_text(Buf *out, Str text)
{
    put_number(out, text.len);
    buf_str(out, text);
}

MUST_CHECK static inline bool take_number(Reader *in, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte;
        if (!reader_u8(in, &byte)) {
            return false;
        }
        uint64_t bits = byte & 0x7F;
        if (shift == 63 && bits > 1) {
            return false;
        }
        value |= bits << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

MUST_CHECK static bool take_limited(Reader *in, uint64_t max, uint64_t *ret)
{
    return take_number(in, ret) && *ret <= max;
}

MUST_CHECK static bool take_u32(Reader *in, uint32_t *ret)
{
    uint64_t value;
    if (!take_limited(in, UINT32_MAX, &value)) {
        return false;
    }
    *ret = (uint32_t)value;
    return true;
}

MUST_CHECK static bool take_signed(Reader *in, int64_t *ret)
{
    uint64_t value;
    if (!take_number(in, &value)) {
        return false;
    }
    *ret = (int64_t)((value >> 1) ^ (0 - (value & 1)));
    return true;
}

MUST_CHECK static bool take_between(Reader *in, int64_t min, int64_t max, int64_t *ret)
{
    return take_signed(in, ret) && *ret >= min && *ret <= max;
}

MUST_CHECK static bool take_difference(Reader *in, uint64_t from, uint64_t *ret)
{
    int64_t difference;
    if (!take_signed(in, &difference)) {
        return false;
    }
    *ret = from + (uint64_t)difference;
    return true;
}

MUST_CHECK static bool take_text(Reader *in, Str *ret)
{
    uint64_t len;
    return take_number(in, &len) && len <= reader_left(in) && reader_bytes(in, (size_t)len, ret);
}

MUST_CHECK static bool take_version(Reader *in, uint8_t *ret)
{
    return reader_u8(in, ret) && *ret == PACK_VERSION;
}

static Status damaged(const char *what, Str record, const Reader *in, Error *err)
{
    uint8_t version = record.len == 0 ? PACK_VERSION : (uint8_t)record.ptr[0];
    if (version != PACK_VERSION) {
        error_set(err, ERROR_FATAL, "a record of %s has version %u, and this program knows %d",
                  what, version, PACK_VERSION);
        return error_hint(err, "Go on with the version of this program that wrote it.");
    }
    return error_set(err, ERROR_FATAL, "a record of %s is damaged at byte %zu of its %zu", what,
                     record.len - reader_left(in), record.len);
}

// ---------------------------------------------------------------------------------------------
// Relations
// ---------------------------------------------------------------------------------------------

void packer_done(Packer *packer)
{
    map_done(&packer->ids);
    *packer = (Packer){0};
}

void packer_begin_segment(Packer *packer)
{
    map_reset(&packer->ids);
    packer->count = 0;
}

static uint32_t id_of(const Packer *packer, const Relation *relation)
{
    return (uint32_t)(uintptr_t)map_get_u64(&packer->ids, (uintptr_t)relation);
}

bool packer_has(const Packer *packer, const Relation *relation)
{
    return id_of(packer, relation) != 0;
}

static void put_column(Buf *out, const Column *column)
{
    bool has_missing = column->missing_value.ptr != NULL;
    int flags = (column->is_identity ? COLUMN_IDENTITY : 0) |
                (column->not_null ? COLUMN_NOT_NULL : 0) |
                (column->has_default ? COLUMN_DEFAULT : 0) | (has_missing ? COLUMN_MISSING : 0);
    put_text(out, column->name);
    put_signed(out, column->attnum);
    put_number(out, column->type_oid);
    put_signed(out, column->typmod);
    put_text(out, column->type_name);
    put_number(out, column->base_type_oid);
    put_signed(out, column->base_typmod);
    put_text(out, column->base_type_name);
    buf_char(out, (char)column->kind);
    buf_char(out, (char)flags);
    if (has_missing) {
        put_text(out, column->missing_value);
    }
}

static uint32_t give_number(Packer *packer, const Relation *relation)
{
    uint32_t id = ++packer->count;
    (void)map_put_u64(&packer->ids, (uintptr_t)relation, (void *)(uintptr_t)id);
    return id;
}

bool pack_relation(Packer *packer, const Relation *relation, Buf *out)
{
    if (packer_has(packer, relation)) {
        return false;
    }
    uint32_t id = give_number(packer, relation);
    buf_char(out, PACK_VERSION);
    put_number(out, id);
    put_number(out, relation->oid);
    put_text(out, relation->schema);
    put_text(out, relation->name);
    buf_char(out, (char)relation->identity);
    put_number(out, relation->column_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        put_column(out, &relation->columns[i]);
    }
    put_number(out, relation->key_count);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        put_number(out, relation->key[i]);
    }
    buf_char(out, relation->key_is_primary);
    put_number(out, relation->file);
    buf_be64(out, relation->definition);
    buf_be64(out, relation->published);
    put_number(out, (uint64_t)relation->highest);
    buf_char(out, relation->is_unclear);
    return true;
}

void unpacker_done(Unpacker *unpacker)
{
    map_done(&unpacker->by_oid);
    map_done(&unpacker->by_id);
    arena_done(&unpacker->scratch);
    arena_done(&unpacker->arena);
    *unpacker = (Unpacker){0};
}

void unpacker_begin_segment(Unpacker *unpacker)
{
    map_reset(&unpacker->by_id);
}

void pack_share_relation(Packer *packer, Unpacker *unpacker, const Relation *relation)
{
    if (!packer_has(packer, relation)) {
        uint32_t id = give_number(packer, relation);
        // They are only read: a map does not say so.
        (void)map_put_u64(&unpacker->by_id, id, (void *)(uintptr_t)relation);
    }
}

MUST_CHECK static bool take_column(Reader *in, Column *column)
{
    int64_t attnum;
    int64_t typmod;
    int64_t base_typmod;
    uint8_t kind;
    uint8_t flags;
    if (!take_text(in, &column->name) || !take_between(in, INT16_MIN, INT16_MAX, &attnum) ||
        !take_u32(in, &column->type_oid) || !take_between(in, INT32_MIN, INT32_MAX, &typmod) ||
        !take_text(in, &column->type_name) || !take_u32(in, &column->base_type_oid) ||
        !take_between(in, INT32_MIN, INT32_MAX, &base_typmod) ||
        !take_text(in, &column->base_type_name) || !reader_u8(in, &kind) ||
        kind > TYPE_KIND_OTHER || !reader_u8(in, &flags) || flags >= COLUMN_MISSING * 2 ||
        ((flags & COLUMN_MISSING) != 0 && !take_text(in, &column->missing_value))) {
        return false;
    }
    column->attnum = (int16_t)attnum;
    column->typmod = (int32_t)typmod;
    column->base_typmod = (int32_t)base_typmod;
    column->kind = (TypeKind)kind;
    column->type = type_class(column->base_type_oid);
    column->is_identity = (flags & COLUMN_IDENTITY) != 0;
    column->not_null = (flags & COLUMN_NOT_NULL) != 0;
    column->has_default = (flags & COLUMN_DEFAULT) != 0;
    return true;
}

MUST_CHECK static bool take_columns(Reader *in, Arena *scratch, Relation *relation)
{
    uint64_t count;
    if (!take_limited(in, LIMIT_COLUMNS, &count)) {
        return false;
    }
    relation->column_count = (uint16_t)count;
    relation->columns = ARENA_ARRAY(scratch, Column, count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (!take_column(in, &relation->columns[i])) {
            return false;
        }
    }
    return true;
}

MUST_CHECK static bool take_key(Reader *in, Arena *scratch, Relation *relation)
{
    uint64_t count;
    if (!take_limited(in, relation->column_count, &count)) {
        return false;
    }
    relation->key_count = (uint16_t)count;
    relation->key = ARENA_ARRAY(scratch, uint16_t, count);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        uint64_t column;
        if (!take_number(in, &column) || column >= relation->column_count) {
            return false;
        }
        relation->key[i] = (uint16_t)column;
    }
    return true;
}

MUST_CHECK static bool take_identity(Reader *in, Relation *relation)
{
    uint8_t identity;
    if (!reader_u8(in, &identity) ||
        (identity != IDENTITY_DEFAULT && identity != IDENTITY_NOTHING &&
         identity != IDENTITY_FULL && identity != IDENTITY_INDEX)) {
        return false;
    }
    relation->identity = (ReplicaIdentity)identity;
    return true;
}

// Its text is in the record, its arrays in @scratch.
MUST_CHECK static bool take_relation(Reader *in, Arena *scratch, uint32_t *ret_id, Relation *ret)
{
    uint8_t version;
    uint8_t key_is_primary;
    uint8_t is_unclear;
    uint32_t highest;
    if (!take_version(in, &version) || !take_u32(in, ret_id) || *ret_id == 0 ||
        !take_u32(in, &ret->oid) || !take_text(in, &ret->schema) || !take_text(in, &ret->name) ||
        !take_identity(in, ret) || !take_columns(in, scratch, ret) || !take_key(in, scratch, ret) ||
        !reader_u8(in, &key_is_primary) || key_is_primary > 1 || !take_u32(in, &ret->file) ||
        !reader_u64(in, &ret->definition) || !reader_u64(in, &ret->published) ||
        !take_u32(in, &highest) || highest > INT16_MAX || !reader_u8(in, &is_unclear) ||
        is_unclear > 1) {
        return false;
    }
    ret->highest = (int16_t)highest;
    ret->is_unclear = is_unclear == 1;
    ret->key_is_primary = key_is_primary == 1;
    return reader_left(in) == 0;
}

Status unpack_relation(Unpacker *unpacker, Str record, Error *err)
{
    Reader in = reader_from(record.ptr, record.len);
    Relation relation = {0};
    uint32_t id;
    arena_reset(&unpacker->scratch);
    if (!take_relation(&in, &unpacker->scratch, &id, &relation)) {
        return damaged("a relation", record, &in, err);
    }
    Relation *known = map_get_u64(&unpacker->by_oid, relation.oid);
    if (known == NULL || !relation_is_same(known, &relation)) {
        known = relation_copy(&unpacker->arena, &relation);
        (void)map_put_u64(&unpacker->by_oid, relation.oid, known);
    }
    (void)map_put_u64(&unpacker->by_id, id, known);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Changes
// ---------------------------------------------------------------------------------------------

// What a change of this op must have and may not have: what reads it relies on that.
static bool is_sound(ChangeOp op, int tag, bool has_relation)
{
    bool has_row = op == CHANGE_READ || op == CHANGE_INSERT || op == CHANGE_UPDATE;
    bool may_have_old = op == CHANGE_UPDATE || op == CHANGE_DELETE;
    return ((tag & TAG_NEW_ROW) != 0) == has_row && (may_have_old || (tag & TAG_OLD_ROW) == 0) &&
           ((tag & TAG_MESSAGE) != 0) == (op == CHANGE_MESSAGE) &&
           has_relation == (op != CHANGE_MESSAGE);
}

static void put_row(Buf *out, const Value *row, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        if (value_is_data(row[i])) {
            bool binary = row[i].state == VALUE_BINARY;
            put_number(out, VALUE_DATA + (uint64_t)row[i].len * 2 + binary);
            buf_bytes(out, row[i].ptr, row[i].len);
        } else {
            buf_char(out, (char)row[i].state);
        }
    }
}

static void put_message(Buf *out, const LogicalMessage *message)
{
    put_number(out, message->lsn);
    buf_char(out, message->transactional);
    put_text(out, message->prefix);
    put_text(out, message->content);
}

static void put_transaction(Buf *out, const Transaction *was, const Transaction *now)
{
    buf_char(out, (char)(TAG_TRANSACTION | (now->origin_lsn != LSN_NONE ? TAG_ORIGIN_LSN : 0)));
    put_difference(out, was->commit_lsn, now->commit_lsn);
    put_difference(out, (uint64_t)was->commit_time_us, (uint64_t)now->commit_time_us);
    put_number(out, now->xid);
    put_text(out, now->origin);
    if (now->origin_lsn != LSN_NONE) {
        put_number(out, now->origin_lsn);
    }
}

static void put_change(const Packer *packer, Buf *out, const Change *change, uint64_t was_ordinal)
{
    int tag = (int)change->op | (change->old_row != NULL ? TAG_OLD_ROW : 0) |
              (change->new_row != NULL ? TAG_NEW_ROW : 0) |
              (change->truncate_flags != 0 ? TAG_FLAGS : 0) |
              (change->message != NULL ? TAG_MESSAGE : 0);
    const Relation *relation = change->relation;
    assert(is_sound(change->op, tag, relation != NULL));
    buf_char(out, (char)tag);
    put_difference(out, was_ordinal, change->ordinal);
    if (relation != NULL) {
        uint32_t id = id_of(packer, relation);
        assert(id != 0);
        put_number(out, id);
    }
    if (change->truncate_flags != 0) {
        put_number(out, change->truncate_flags);
    }
    if (change->old_row != NULL) {
        put_row(out, change->old_row, relation->column_count);
    }
    if (change->new_row != NULL) {
        put_row(out, change->new_row, relation->column_count);
    }
    if (change->message != NULL) {
        put_message(out, change->message);
    }
}

size_t pack_changes(const Packer *packer, const Change *changes, size_t count, size_t budget,
                    Buf *out)
{
    static const Transaction none = {0};
    const Transaction *transaction = NULL;
    uint64_t ordinal = 0;
    size_t begin = out->len;
    size_t at = 0;
    assert(count > 0);
    buf_char(out, PACK_VERSION);
    do {
        const Change *change = &changes[at++];
        if (change->transaction != transaction) {
            put_transaction(out, transaction == NULL ? &none : transaction, change->transaction);
            transaction = change->transaction;
            ordinal = 0;
        }
        put_change(packer, out, change, ordinal);
        ordinal = change->ordinal;
    } while (at < count && out->len - begin < budget && !out->overflowed);
    return at;
}

// The inner loop of reading. Bytes are not copied: a value is a slice of the record.
MUST_CHECK static bool take_row(Reader *in, Batch *batch, uint16_t count, const Value **ret)
{
    if (reader_left(in) < count) { // before memory is taken: each value has a byte
        return false;
    }
    Value *row = arena_alloc(&batch->arena, count * sizeof(Value));
    for (uint16_t i = 0; i < count; i++) {
        uint64_t number;
        if (!take_number(in, &number)) {
            return false;
        }
        if (number < VALUE_DATA) {
            if (number > VALUE_UNCHANGED) {
                return false;
            }
            row[i] = (Value){.state = (ValueState)number};
            continue;
        }
        uint64_t len = (number - VALUE_DATA) >> 1;
        if (len > reader_left(in) || len > UINT32_MAX) {
            return false;
        }
        row[i] = (Value){.ptr = (const char *)in->at,
                         .len = (uint32_t)len,
                         .state = (number & 1) != 0 ? VALUE_BINARY : VALUE_TEXT};
        in->at += len;
    }
    batch->bytes += count * sizeof(Value);
    *ret = row;
    return true;
}

MUST_CHECK static bool take_message(Reader *in, Batch *batch, const LogicalMessage **ret)
{
    LogicalMessage *message = arena_alloc(&batch->arena, sizeof(*message));
    uint8_t transactional;
    if (!take_number(in, &message->lsn) || !reader_u8(in, &transactional) || transactional > 1 ||
        !take_text(in, &message->prefix) || !take_text(in, &message->content)) {
        return false;
    }
    message->transactional = transactional == 1;
    *ret = message;
    return true;
}

MUST_CHECK static bool take_transaction(Reader *in, int tag, const Transaction *was,
                                        Transaction *now)
{
    uint64_t time;
    *now = (Transaction){0};
    if (!take_difference(in, was->commit_lsn, &now->commit_lsn) ||
        !take_difference(in, (uint64_t)was->commit_time_us, &time) || !take_u32(in, &now->xid) ||
        !take_text(in, &now->origin)) {
        return false;
    }
    now->commit_time_us = (int64_t)time;
    return (tag & TAG_ORIGIN_LSN) == 0 || take_number(in, &now->origin_lsn);
}

MUST_CHECK static bool take_named_relation(Unpacker *unpacker, Reader *in, const Relation **ret)
{
    uint64_t id;
    if (!take_number(in, &id)) {
        return false;
    }
    *ret = map_get_u64(&unpacker->by_id, id);
    return *ret != NULL;
}

// @change has its transaction already.
MUST_CHECK static bool take_change(Unpacker *unpacker, Reader *in, int tag, uint64_t was_ordinal,
                                   Batch *batch, Change *change)
{
    change->op = (ChangeOp)(tag & TAG_OP);
    bool has_relation = change->op != CHANGE_MESSAGE;
    if (!is_sound(change->op, tag, has_relation) ||
        !take_difference(in, was_ordinal, &change->ordinal) ||
        (has_relation && !take_named_relation(unpacker, in, &change->relation)) ||
        ((tag & TAG_FLAGS) != 0 && !take_u32(in, &change->truncate_flags))) {
        return false;
    }
    uint16_t columns = has_relation ? change->relation->column_count : 0;
    return ((tag & TAG_OLD_ROW) == 0 || take_row(in, batch, columns, &change->old_row)) &&
           ((tag & TAG_NEW_ROW) == 0 || take_row(in, batch, columns, &change->new_row)) &&
           ((tag & TAG_MESSAGE) == 0 || take_message(in, batch, &change->message));
}

MUST_CHECK static bool take_items(Unpacker *unpacker, Reader *in, Batch *batch)
{
    static const Transaction none = {0};
    const Transaction *transaction = NULL;
    uint64_t ordinal = 0;
    while (reader_left(in) > 0) {
        uint8_t tag;
        if (!reader_u8(in, &tag)) {
            return false;
        }
        if ((tag & ~TAG_ORIGIN_LSN) == TAG_TRANSACTION) {
            Transaction *now = arena_alloc(&batch->arena, sizeof(*now));
            if (!take_transaction(in, tag, transaction == NULL ? &none : transaction, now)) {
                return false;
            }
            transaction = now;
            ordinal = 0;
            continue;
        }
        if (transaction == NULL || (tag & TAG_OP) == TAG_TRANSACTION) {
            return false;
        }
        Change *change = batch_add(batch);
        change->transaction = transaction;
        if (!take_change(unpacker, in, tag, ordinal, batch, change)) {
            return false;
        }
        ordinal = change->ordinal;
    }
    return true;
}

Status unpack_changes(Unpacker *unpacker, Str record, Batch *batch, Error *err)
{
    Reader in = reader_from(record.ptr, record.len);
    uint8_t version;
    if (!take_version(&in, &version) || !take_items(unpacker, &in, batch)) {
        return damaged("changes", record, &in, err);
    }
    return STATUS_OK;
}
