// What is stored of a table comes back as it was, whatever it is called; what is damaged is
// refused.
#include "pipeline/tables.h"
#include "unit.h"

static Column columns[] = {
    {.name = {"id", 2},
     .attnum = 1,
     .type_oid = 23,
     .typmod = -1,
     .type_name = {"integer", 7},
     .base_type_oid = 23,
     .base_typmod = -1,
     .base_type_name = {"integer", 7},
     .type = TYPE_INT4,
     .is_identity = true,
     .not_null = true},
    {.name = {"odd\tname\\with\nall", 17},
     .attnum = 7,
     .type_oid = 16999,
     .typmod = 20,
     .type_name = {"shop.\"mood, or so\"", 18},
     .base_type_oid = 1043,
     .base_typmod = 24,
     .base_type_name = {"character varying(20)", 21},
     .kind = TYPE_KIND_ENUM,
     .type = TYPE_TEXT},
};
static uint16_t key[] = {0};
static const Relation relation = {.oid = 4000000000u,
                                  .schema = {"a.b", 3},
                                  .name = {"t\"\n", 3},
                                  .identity = IDENTITY_FULL,
                                  .column_count = 2,
                                  .columns = columns,
                                  .key_count = 1,
                                  .key = key,
                                  .key_is_primary = true};

static void a_table_comes_back(void **context)
{
    (void)context;
    Tables tables;
    tables_init(&tables);
    Table *table = tables_get(&tables, relation.oid);
    tables_set_target(&tables, table, &relation);
    table->state = TABLE_READY;
    table->copied_at = 0x1600000042;
    Checkpoint checkpoint = {0};
    tables_save(&tables, &checkpoint);
    assert_int_equal(checkpoint.count, 1);
    assert_false(table->is_dirty);

    Tables loaded;
    tables_init(&loaded);
    Error err = {0};
    assert_int_equal(tables_load(&loaded, &checkpoint, &err), STATUS_OK);
    const Table *again = tables_find(&loaded, relation.oid);
    assert_non_null(again);
    assert_int_equal(again->state, TABLE_READY);
    assert_int_equal(again->copied_at, 0x1600000042);
    assert_true(relation_equal(again->target, &relation));
    assert_int_equal(again->target->columns[1].type, TYPE_TEXT);
    tables_done(&loaded);
    tables_done(&tables);
    checkpoint_done(&checkpoint);
}

// What rows of before a column came have in it is asked for long after it came.
static void missing_values_come_back(void **context)
{
    (void)context;
    static char large[4097];
    memset(large, 'x', sizeof(large));
    const Str values[] = {{NULL, 0}, {"", 0}, {"\\N", 2}, {"a\tb\nc", 5}, {large, sizeof(large)}};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        Column altered[2] = {columns[0], columns[1]};
        altered[1].missing_value = values[i];
        Relation with = relation;
        with.columns = altered;
        Tables tables;
        tables_init(&tables);
        tables_set_target(&tables, tables_get(&tables, with.oid), &with);
        Checkpoint checkpoint = {0};
        tables_save(&tables, &checkpoint);
        Tables loaded;
        tables_init(&loaded);
        assert_int_equal(tables_load(&loaded, &checkpoint, NULL), STATUS_OK);
        const Relation *again = tables_find(&loaded, with.oid)->target;
        Str missing = again->columns[1].missing_value;
        bool is_kept = values[i].ptr != NULL && values[i].len <= 4096;
        assert_true(relation_equal(again, &relation));
        assert_true((missing.ptr != NULL) == is_kept);
        assert_true(!is_kept || str_equal(missing, values[i]));
        tables_done(&loaded);
        tables_done(&tables);
        checkpoint_done(&checkpoint);
    }
}

// Its snapshot is gone with the process that copied: the copy starts again, from an emptied table.
static void a_copy_under_way_starts_again(void **context)
{
    (void)context;
    static const TableState states[] = {TABLE_COPYING, TABLE_PENDING};
    for (size_t i = 0; i < 2; i++) {
        Tables tables;
        tables_init(&tables);
        Table *table = tables_get(&tables, relation.oid);
        tables_set_target(&tables, table, &relation);
        table->state = states[i];
        table->copy_begun = true;
        Checkpoint checkpoint = {0};
        tables_save(&tables, &checkpoint);
        Tables loaded;
        tables_init(&loaded);
        assert_int_equal(tables_load(&loaded, &checkpoint, NULL), STATUS_OK);
        const Table *again = tables_find(&loaded, relation.oid);
        assert_int_equal(again->state, TABLE_PENDING);
        assert_true(again->copy_begun);
        tables_done(&loaded);
        tables_done(&tables);
        checkpoint_done(&checkpoint);
    }
}

static void damage_is_refused(void **context)
{
    (void)context;
    Tables tables;
    tables_init(&tables);
    Table *table = tables_get(&tables, relation.oid);
    tables_set_target(&tables, table, &relation);
    Checkpoint good = {0};
    table_save(table, &good);
    Str whole = good.entries[0].value;
    // Up to the last column's line: a shorter text is a table with fewer columns only if it ends
    // there.
    for (size_t len = 0; len < whole.len; len++) {
        if (whole.ptr[len] == '\n') {
            continue;
        }
        Checkpoint cut = {0};
        checkpoint_set(&cut, STR("table:1"), (Str){whole.ptr, len});
        Tables loaded;
        tables_init(&loaded);
        Error err = {0};
        Status status = tables_load(&loaded, &cut, &err);
        bool ends_a_number = len > 0 && whole.ptr[len - 1] >= '0' && whole.ptr[len - 1] <= '9';
        if (!ends_a_number) {
            assert_int_equal(status, STATUS_FAIL);
            assert_int_equal(err.kind, ERROR_FATAL);
        }
        tables_done(&loaded);
        checkpoint_done(&cut);
    }
    tables_done(&tables);
    checkpoint_done(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_comes_back),
        cmocka_unit_test(missing_values_come_back),
        cmocka_unit_test(a_copy_under_way_starts_again),
        cmocka_unit_test(damage_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
