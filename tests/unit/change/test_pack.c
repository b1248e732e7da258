#include <stdlib.h>

#include "base/limits.h"
#include "base/mem.h"
#include "change/pack.h"
#include "relations.h"

#define B(text) ((Value){.ptr = (text), .len = (uint32_t)sizeof(text) - 1, .state = VALUE_BINARY})

#define ALL SIZE_MAX

static const Transaction first = {.commit_lsn = UINT64_C(0x16B374D848),
                                  .xid = 742,
                                  .commit_time_us = INT64_C(1763719663000001),
                                  .origin = {"upstream", 8},
                                  .origin_lsn = UINT64_MAX};
static const Transaction second = {
    .commit_lsn = 5, .xid = UINT32_MAX, .commit_time_us = -1, .origin = {NULL, 0}};
static const LogicalMessage message = {
    .prefix = {"weir", 4}, .content = {"\0\xff x", 4}, .lsn = UINT64_MAX, .transactional = true};

// A relation whose every field says something.
static Relation *rich_relation(Arena *arena)
{
    const Column columns[] = {INT4("id", 1), TEXT("caf\xc3\xa9 \"x\"", 3), NUMERIC("n", 32767),
                              column("", 0, 4294967295U, "")};
    Relation *relation = relation_of(arena, 4294967295U, "public", "t", "ab", columns, 4);
    relation->key[0] = 3;
    relation->identity = IDENTITY_INDEX;
    relation->file = 16400;
    relation->definition = UINT64_C(0xFEDCBA9876543210);
    relation->published = UINT64_C(0x8000000000000001);
    relation->columns[0].is_identity = true;
    relation->columns[1].not_null = true;
    relation->columns[1].missing_value = STR("");
    relation->columns[2].has_default = true;
    relation->columns[2].missing_value = STR("-1.5");
    relation->columns[2].typmod = 655366;
    relation->columns[3].typmod = INT32_MIN;
    relation->columns[3].base_typmod = INT32_MAX;
    relation->columns[3].kind = TYPE_KIND_OTHER;
    return relation;
}

static void assert_str(Str a, Str b)
{
    assert_int_equal(a.len, b.len);
    assert_true(str_equal(a, b));
}

static void assert_column(const Column *a, const Column *b)
{
    assert_str(a->name, b->name);
    assert_int_equal(a->attnum, b->attnum);
    assert_int_equal(a->type_oid, b->type_oid);
    assert_int_equal(a->typmod, b->typmod);
    assert_str(a->type_name, b->type_name);
    assert_int_equal(a->base_type_oid, b->base_type_oid);
    assert_int_equal(a->base_typmod, b->base_typmod);
    assert_str(a->base_type_name, b->base_type_name);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->is_identity, b->is_identity);
    assert_int_equal(a->not_null, b->not_null);
    assert_int_equal(a->has_default, b->has_default);
    assert_int_equal(a->missing_value.ptr == NULL, b->missing_value.ptr == NULL);
    assert_str(a->missing_value, b->missing_value);
}

static void assert_relation(const Relation *a, const Relation *b)
{
    assert_true(relation_is_same(a, b));
    assert_int_equal(a->key_is_primary, b->key_is_primary);
    for (uint16_t i = 0; i < a->column_count; i++) {
        assert_column(&a->columns[i], &b->columns[i]);
    }
}

static void assert_row(const Value *a, const Value *b, uint16_t count)
{
    assert_int_equal(a == NULL, b == NULL);
    for (uint16_t i = 0; a != NULL && i < count; i++) {
        assert_true(value_equal(a[i], b[i]));
    }
}

static void assert_change(const Change *a, const Change *b)
{
    assert_int_equal(a->op, b->op);
    assert_int_equal(a->truncate_flags, b->truncate_flags);
    assert_true(a->ordinal == b->ordinal);
    assert_true(a->transaction->commit_lsn == b->transaction->commit_lsn);
    assert_int_equal(a->transaction->xid, b->transaction->xid);
    assert_true(a->transaction->commit_time_us == b->transaction->commit_time_us);
    assert_str(a->transaction->origin, b->transaction->origin);
    assert_int_equal(a->transaction->origin_lsn, b->transaction->origin_lsn);
    assert_int_equal(a->relation == NULL, b->relation == NULL);
    if (a->relation != NULL) {
        assert_relation(a->relation, b->relation);
        assert_row(a->old_row, b->old_row, a->relation->column_count);
        assert_row(a->new_row, b->new_row, a->relation->column_count);
    }
    assert_int_equal(a->message == NULL, b->message == NULL);
    if (a->message != NULL) {
        assert_str(a->message->prefix, b->message->prefix);
        assert_str(a->message->content, b->message->content);
        assert_true(a->message->lsn == b->message->lsn);
        assert_int_equal(a->message->transactional, b->message->transactional);
    }
}

// Everything there is: each op, each state, each flag, and numbers at their limits.
static size_t sample(const Relation *t, const Relation *empty, Change *ret)
{
    static const Value old_row[] = {{.ptr = "1", .len = 1, .state = VALUE_TEXT}, NONE, NONE, NONE};
    static const Value new_row[] = {{.ptr = "2", .len = 1, .state = VALUE_TEXT},
                                    {.ptr = "", .len = 0, .state = VALUE_TEXT},
                                    SAME,
                                    NIL};
    static const Value binary[] = {{.ptr = "\0\0\0\1", .len = 4, .state = VALUE_BINARY},
                                   {.ptr = "", .len = 0, .state = VALUE_BINARY},
                                   NIL,
                                   NIL};
    static const Value nothing[1];
    const Change all[] = {
        {.op = CHANGE_SCHEMA, .relation = t, .transaction = &first, .ordinal = 1},
        {.op = CHANGE_INSERT,
         .relation = t,
         .new_row = new_row,
         .transaction = &first,
         .ordinal = 1},
        {.op = CHANGE_UPDATE,
         .relation = t,
         .old_row = old_row,
         .new_row = binary,
         .transaction = &first,
         .ordinal = 2},
        {.op = CHANGE_UPDATE,
         .relation = t,
         .new_row = new_row,
         .transaction = &first,
         .ordinal = UINT64_MAX},
        {.op = CHANGE_DELETE,
         .relation = t,
         .old_row = old_row,
         .transaction = &second,
         .ordinal = 0},
        {.op = CHANGE_TRUNCATE,
         .relation = empty,
         .truncate_flags = UINT32_MAX,
         .transaction = &second,
         .ordinal = 3},
        {.op = CHANGE_MESSAGE, .message = &message, .transaction = &second, .ordinal = 4},
        {.op = CHANGE_READ,
         .relation = empty,
         .new_row = nothing,
         .transaction = &first,
         .ordinal = 9},
    };
    memcpy(ret, all, sizeof(all));
    return ARRAY_LEN(all);
}

typedef struct Fixture {
    Arena arena;
    Packer packer;
    Unpacker unpacker;
    Buf out;
    const Relation *rich;
    const Relation *empty;
    Change changes[16];
    size_t count;
} Fixture;

static void define(Fixture *fixture, const Relation *relation)
{
    Error err = {0};
    buf_reset(&fixture->out);
    assert_true(pack_relation(&fixture->packer, relation, &fixture->out));
    assert_int_equal(unpack_relation(&fixture->unpacker, buf_view(&fixture->out), &err), STATUS_OK);
    buf_reset(&fixture->out);
}

static void begin(Fixture *fixture)
{
    *fixture = (Fixture){0};
    buf_init(&fixture->out, 1 << 20);
    fixture->rich = rich_relation(&fixture->arena);
    fixture->empty = relation_of(&fixture->arena, 1, "", "", "", NULL, 0);
    define(fixture, fixture->rich);
    define(fixture, fixture->empty);
    fixture->count = sample(fixture->rich, fixture->empty, fixture->changes);
}

static void end(Fixture *fixture)
{
    packer_done(&fixture->packer);
    unpacker_done(&fixture->unpacker);
    buf_done(&fixture->out);
    arena_done(&fixture->arena);
}

static void test_relation_round_trip(void **state)
{
    Fixture f;
    Error err = {0};
    begin(&f);
    // With the program's own types: whatever was not of a stock type comes back as that.
    const Relation *found = map_get_u64(&f.unpacker.by_oid, f.rich->oid);
    assert_relation(f.rich, found);
    assert_false(pack_relation(&f.packer, f.rich, &f.out)); // once a segment
    assert_int_equal(f.out.len, 0);

    // The next segment names it again, and it is the same pointer.
    packer_begin_segment(&f.packer);
    unpacker_begin_segment(&f.unpacker);
    Relation *again = relation_copy(&f.arena, f.rich);
    define(&f, again);
    assert_ptr_equal(map_get_u64(&f.unpacker.by_oid, f.rich->oid), found);

    // Another version of it is another one.
    again->definition++;
    packer_begin_segment(&f.packer);
    assert_true(pack_relation(&f.packer, again, &f.out));
    assert_int_equal(unpack_relation(&f.unpacker, buf_view(&f.out), &err), STATUS_OK);
    const Relation *other = map_get_u64(&f.unpacker.by_oid, f.rich->oid);
    assert_ptr_not_equal(other, found);
    assert_relation(again, other);
    end(&f);
}

static void test_changes_round_trip(void **state)
{
    Fixture f;
    Error err = {0};
    begin(&f);
    assert_int_equal(pack_changes(&f.packer, f.changes, f.count, ALL, &f.out), f.count);
    Batch *batch = batch_new();
    assert_int_equal(unpack_changes(&f.unpacker, buf_view(&f.out), batch, &err), STATUS_OK);
    assert_int_equal(batch->count, f.count);
    for (size_t i = 0; i < f.count; i++) {
        assert_change(&f.changes[i], &batch->changes[i]);
    }
    // One transaction is one pointer.
    assert_ptr_equal(batch->changes[0].transaction, batch->changes[3].transaction);
    // Values are where the record is.
    const char *at = batch->changes[1].new_row[0].ptr;
    assert_true(at >= f.out.ptr && at < f.out.ptr + f.out.len);
    batch_unref(batch);
    end(&f);
}

static void test_budget_cuts_between_changes(void **state)
{
    Fixture f;
    Error err = {0};
    begin(&f);
    Batch *batch = batch_new();
    Buf records[16];
    size_t count = 0;
    for (size_t at = 0; at < f.count; count++) {
        buf_init(&records[count], 4096);
        size_t packed = pack_changes(&f.packer, f.changes + at, f.count - at, 1, &records[count]);
        assert_int_equal(packed, 1); // the least there is
        at += packed;
    }
    assert_int_equal(count, f.count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(unpack_changes(&f.unpacker, buf_view(&records[i]), batch, &err),
                         STATUS_OK);
        assert_change(&f.changes[i], &batch->changes[i]);
    }
    batch_unref(batch);
    for (size_t i = 0; i < count; i++) {
        buf_done(&records[i]);
    }
    end(&f);
}

// In memory of exactly its size, so that the address sanitizer sees the first byte read behind it.
static Status take(Fixture *f, bool is_relation, const char *data, size_t len, Error *err)
{
    char *exact = mem_alloc(len);
    memcpy(exact, data, len);
    Batch *batch = batch_new();
    Str record = {exact, len};
    Status status = is_relation ? unpack_relation(&f->unpacker, record, err)
                                : unpack_changes(&f->unpacker, record, batch, err);
    for (size_t i = 0; status == STATUS_OK && i < batch->count; i++) {
        assert_non_null(batch->changes[i].transaction);
        assert_true((batch->changes[i].relation == NULL) == (batch->changes[i].message != NULL));
    }
    batch_unref(batch);
    mem_free(exact);
    return status;
}

static void check_damage(Fixture *f, bool is_relation)
{
    Buf *out = &f->out;
    for (size_t len = 0; len < out->len; len++) {
        Error err = {0};
        Status status = take(f, is_relation, out->ptr, len, &err);
        // Changes may end with any change; a relation may not.
        assert_true(status == STATUS_FAIL || !is_relation);
        assert_true(status == STATUS_OK || err.kind == ERROR_FATAL);
    }
    for (size_t at = 0; at < out->len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            Error err = {0};
            out->ptr[at] = (char)(out->ptr[at] ^ (1 << bit));
            Status status = take(f, is_relation, out->ptr, out->len, &err);
            assert_true(status == STATUS_OK || err.message[0] != '\0');
            out->ptr[at] = (char)(out->ptr[at] ^ (1 << bit));
        }
    }
    Error err = {0};
    buf_char(out, (char)0xff);
    assert_int_equal(take(f, is_relation, out->ptr, out->len, &err), STATUS_FAIL);
}

static void test_damage(void **state)
{
    Fixture f;
    begin(&f);
    (void)pack_changes(&f.packer, f.changes, f.count, ALL, &f.out);
    check_damage(&f, false);
    buf_reset(&f.out);
    packer_begin_segment(&f.packer);
    assert_true(pack_relation(&f.packer, f.rich, &f.out));
    check_damage(&f, true);
    end(&f);
}

static void refuse(Fixture *f, bool is_relation, Str record, const char *part)
{
    Error err = {0};
    assert_int_equal(take(f, is_relation, record.ptr, record.len, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_FATAL);
    if (strstr(err.message, part) == NULL) {
        fail_msg("%s", err.message);
    }
}

static void test_refused(void **state)
{
    Fixture f;
    begin(&f);
    refuse(&f, false, STR(""), "changes is damaged at byte 0 of its 0");
    refuse(&f, false, STR("\2"), "version 2");
    refuse(&f, true, STR("\2"), "version 2");
    // A change before any transaction; one of a relation that was not written; no op at all.
    refuse(&f, false, STR("\1\6\2\1"), "damaged at byte 2");
    refuse(&f, false, STR("\1\7\0\0\0\0\6\2\3"), "damaged at byte 9 of its 9");
    refuse(&f, false, STR("\1\7\0\0\0\0\x87\2\1"), "damaged");
    // A row before its columns; a state that is none; a length that is more than there is.
    refuse(&f, false, STR("\1\7\0\0\0\0\x11\2\1\1"), "damaged");
    refuse(&f, false, STR("\1\7\0\0\0\0\x11\2\1\3\1\1\1"), "damaged");
    refuse(&f, false, STR("\1\7\0\0\0\0\x11\2\1\6\1\1\x80"), "damaged");
    refuse(&f, false, STR("\1\7\0\0\0\0\x11\2\1\xff\xff\xff\xff\xff\xff\xff\xff\xff\1"), "damaged");
    // More than 64 bits.
    refuse(&f, false, STR("\1\7\xff\xff\xff\xff\xff\xff\xff\xff\xff\2\0\0\0"), "damaged");
    refuse(&f, false, STR("\1\7\xff\xff\xff\xff\xff\xff\xff\xff\xff\x80\0"), "damaged");
    // An insert without a row, a schema with one, a message without one and with a relation.
    refuse(&f, false, STR("\1\7\0\0\0\0\1\2\2"), "damaged");
    refuse(&f, false, STR("\1\7\0\0\0\0\x16\2\2"), "damaged");
    refuse(&f, false, STR("\1\7\0\0\0\0\5\2"), "damaged");
    // 1665 columns, and a key column that is none.
    refuse(&f, true, STR("\1\1\1\0\0d\x81\x0d"), "a relation is damaged");
    refuse(&f, true, STR("\1\1\1\0\0d\0\1\0"), "a relation is damaged");
    refuse(&f, true, STR("\1\0\1\0\0d\0\0\0\0\0\0\0\0\0\0\0\0"), "a relation is damaged");
    end(&f);
}

// Well-formed, but of nothing that can be.
static void test_impossible_relations(void **state)
{
    Fixture f;
    begin(&f);
    for (int i = 0; i < 4; i++) {
        Relation *relation = relation_copy(&f.arena, f.rich);
        switch (i) {
        case 0:
            relation->key[1] = relation->column_count;
            break;
        case 1:
            relation->columns[0].kind = (TypeKind)(TYPE_KIND_OTHER + 1);
            break;
        case 2:
            relation->identity = (ReplicaIdentity)'x';
            break;
        default:
            relation->column_count = LIMIT_COLUMNS + 1;
            relation->columns = ARENA_ARRAY(&f.arena, Column, LIMIT_COLUMNS + 1);
        }
        buf_reset(&f.out);
        assert_true(pack_relation(&f.packer, relation, &f.out));
        refuse(&f, true, buf_view(&f.out), "a relation is damaged");
    }
    end(&f);
}

static void test_widest_and_longest(void **state)
{
    Fixture f;
    Error err = {0};
    begin(&f);
    buf_done(&f.out);
    buf_init(&f.out, 64 << 20);
    Column *columns = ARENA_ARRAY(&f.arena, Column, LIMIT_COLUMNS);
    Value *row = ARENA_ARRAY(&f.arena, Value, LIMIT_COLUMNS);
    char *bytes = arena_alloc_zero(&f.arena, 20 << 20);
    for (size_t i = 0; i < LIMIT_COLUMNS; i++) {
        columns[i] = INT4("c", (int16_t)(i + 1));
        // Around every length at which the number before the value gets longer.
        row[i] = (Value){.ptr = bytes, .len = (uint32_t)(i < 200 ? i : i + 7300)};
        row[i].state = i % 2 == 0 ? VALUE_TEXT : VALUE_BINARY;
    }
    row[7].len = 20 << 20;
    Relation *wide = relation_of(&f.arena, 77, "s", "wide", "a", columns, LIMIT_COLUMNS);
    define(&f, wide);
    Change change = {.op = CHANGE_INSERT, .relation = wide, .new_row = row, .transaction = &first};
    assert_int_equal(pack_changes(&f.packer, &change, 1, 1, &f.out), 1);
    assert_int_equal(buf_check(&f.out, "a record", &err), STATUS_OK);
    Batch *batch = batch_new();
    assert_int_equal(unpack_changes(&f.unpacker, buf_view(&f.out), batch, &err), STATUS_OK);
    assert_change(&change, &batch->changes[0]);
    batch_unref(batch);
    end(&f);
}

// Stored records must stay readable for ever: this one was written by version 1.
static void test_form_is_pinned(void **state)
{
    Fixture f;
    begin(&f);
    (void)pack_changes(&f.packer, &f.changes[4], 3, ALL, &f.out);
    static const char stored[] = "\1\7\x0a\1\xff\xff\xff\xff\x0f\0"
                                 "\x0b\0\1\6\x31\0\0\0"
                                 "\x44\6\2\xff\xff\xff\xff\x0f"
                                 "\x85\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\1\4weir\4\0\xff x";
    assert_int_equal(f.out.len, sizeof(stored) - 1);
    assert_memory_equal(f.out.ptr, stored, sizeof(stored) - 1);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relation_round_trip),
        cmocka_unit_test(test_changes_round_trip),
        cmocka_unit_test(test_budget_cuts_between_changes),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_impossible_relations),
        cmocka_unit_test(test_widest_and_longest),
        cmocka_unit_test(test_form_is_pinned),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
