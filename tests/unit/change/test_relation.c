#include <string.h>

#include "change/relation.h"
#include "unit.h"

static Arena arena;

static int reset(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static Column column(const char *name, int16_t attnum, uint32_t type)
{
    return (Column){.name = str_from(name),
                    .attnum = attnum,
                    .type_oid = type,
                    .typmod = -1,
                    .type_name = STR("some type"),
                    .base_type_oid = type,
                    .base_typmod = -1,
                    .base_type_name = STR("some type"),
                    .type = type_class(type)};
}

enum { COLUMNS_MAX = 8 };

/** A table with its columns and key in itself. */
typedef struct Table {
    Relation relation;
    Column columns[COLUMNS_MAX];
    uint16_t key[COLUMNS_MAX];
} Table;

/** (id, name, note), keyed by id. */
static Relation *make_table(Table *table)
{
    *table = (Table){.relation = {.oid = 16385,
                                  .schema = STR("shop"),
                                  .name = STR("orders"),
                                  .identity = IDENTITY_DEFAULT,
                                  .column_count = 3,
                                  .columns = table->columns,
                                  .key_count = 1,
                                  .key = table->key,
                                  .key_is_primary = true},
                     .columns = {column("id", 1, OID_INT8), column("name", 2, OID_TEXT),
                                 column("note", 3, OID_TEXT)}};
    table->columns[0].is_identity = true;
    table->columns[0].not_null = true;
    return &table->relation;
}

static void test_words(void **state)
{
    static const struct {
        uint32_t oid;
        const char *schema;
        const char *kind;
        const char *row;
        const char *title;
    } cases[] = {
        {RELATION_OID_FIRST, "public", "table", "a row", "public.it"},
        {1, "public", "table", "a row", "public.it"}, // of a test, or of another kind of source
        {RELATION_OID_FIRST, "", "model", "an object", "it"},
        {UINT32_MAX, "", "model", "an object", "it"},
        {RELATION_OID_FIRST - 1, "", "system", "an event", "it"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Str schema = str_from(cases[i].schema);
        const RelationWords *words = relation_words(cases[i].oid, schema);
        assert_string_equal(words->kind, cases[i].kind);
        assert_string_equal(words->row, cases[i].row);
        assert_true(str_is(relation_title(schema, STR("it"), &arena), cases[i].title));
    }
}

static void test_find(void **state)
{
    Table table;
    const Relation *relation = make_table(&table);
    assert_int_equal(relation_find_column(relation, STR("id")), 0);
    assert_int_equal(relation_find_column(relation, STR("note")), 2);
    assert_int_equal(relation_find_column(relation, STR("Note")), -1);
    assert_int_equal(relation_find_column(relation, STR("")), -1);
    assert_int_equal(relation_find_attnum(relation, 2), 1);
    assert_int_equal(relation_find_attnum(relation, 4), -1);
    assert_true(relation_is_key(relation, 0));
    assert_false(relation_is_key(relation, 1));
    table.relation.key_count = 0;
    assert_false(relation_is_key(relation, 0));
}

// Everything that makes a new version, one at a time.
static void test_equal(void **state)
{
    enum { DIFFERENCES = 16 };
    Table a;
    make_table(&a);
    for (int i = 0; i <= DIFFERENCES; i++) {
        Table b;
        make_table(&b);
        assert_true(relation_equal(&a.relation, &b.relation));
        switch (i) {
        case 0:
            b.relation.oid++;
            break;
        case 1:
            b.relation.schema = STR("other");
            break;
        case 2:
            b.relation.name = STR("order");
            break;
        case 3:
            b.relation.identity = IDENTITY_FULL;
            break;
        case 4:
            b.relation.column_count--;
            break;
        case 5:
            b.relation.key_count = 0;
            break;
        case 6:
            b.relation.key_is_primary = false;
            break;
        case 7:
            b.key[0] = 1;
            break;
        case 8:
            b.columns[2].name = STR("notes");
            break;
        case 9:
            b.columns[2].attnum = 4;
            break;
        case 10:
            b.columns[2].type_oid = OID_VARCHAR;
            break;
        case 11:
            b.columns[2].typmod = 34;
            break;
        case 12:
            b.columns[2].base_type_oid = OID_VARCHAR;
            break;
        case 13:
            b.columns[2].base_typmod = 34;
            break;
        case 14:
            b.columns[2].is_identity = true;
            break;
        case 15:
            b.columns[2].not_null = true;
            break;
        case DIFFERENCES:
            b.columns[2].type_name = STR("renamed type");
            break;
        default:
            fail();
        }
        if (relation_equal(&a.relation, &b.relation) || relation_equal(&b.relation, &a.relation)) {
            fail_msg("difference %d was not seen", i);
        }
    }
}

static void test_copy_is_deep(void **state)
{
    Table table;
    make_table(&table);
    char name[] = "name";
    char schema[] = "shop";
    char missing[] = "7";
    char type_name[] = "some type";
    table.relation.schema = str_from(schema);
    table.columns[1].name = str_from(name);
    table.columns[1].missing_value = str_from(missing);
    table.columns[1].type_name = str_from(type_name);
    table.columns[2].missing_value = STR("");
    Relation *copy = relation_copy(&arena, &table.relation);
    assert_true(relation_equal(copy, &table.relation));
    assert_true(str_is(copy->columns[1].missing_value, "7"));
    // An empty missing value is one; none stays none.
    assert_non_null(copy->columns[2].missing_value.ptr);
    assert_ptr_not_equal(copy->columns[2].missing_value.ptr, table.columns[2].missing_value.ptr);
    assert_null(copy->columns[0].missing_value.ptr);

    memset(name, 'x', sizeof(name) - 1);
    memset(schema, 'x', sizeof(schema) - 1);
    memset(missing, 'x', sizeof(missing) - 1);
    memset(type_name, 'x', sizeof(type_name) - 1);
    memset(&table, 0xa5, sizeof(table));
    Table fresh;
    assert_true(relation_equal(copy, make_table(&fresh)));
    assert_true(str_is(copy->columns[1].missing_value, "7"));
    assert_true(str_is(copy->columns[2].base_type_name, "some type"));
}

static void test_copy_of_nothing(void **state)
{
    Relation empty = {.schema = STR("s"), .name = STR("t"), .identity = IDENTITY_DEFAULT};
    const Relation *copy = relation_copy(&arena, &empty);
    assert_true(relation_equal(copy, &empty));
}

typedef struct Expected {
    SchemaEdit edit;
    const char *was; // NULL: none
    const char *now;
} Expected;

static void check_side(const Column *got, const char *expected)
{
    if (expected == NULL) {
        assert_null(got);
    } else {
        assert_non_null(got);
        assert_true(str_is(got->name, expected));
    }
}

#define ASSERT_DIFF(was, now, ...)                                                              \
    do {                                                                                        \
        const Expected diff_expected[] = {__VA_ARGS__};                                         \
        assert_diff(&(was).relation, &(now).relation, diff_expected, ARRAY_LEN(diff_expected)); \
    } while (0)

static void assert_diff(const Relation *was, const Relation *now, const Expected *expected,
                        size_t count)
{
    SchemaChange *changes;
    assert_int_equal(relation_diff(was, now, &arena, &changes), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(changes[i].edit, expected[i].edit);
        check_side(changes[i].was, expected[i].was);
        check_side(changes[i].now, expected[i].now);
    }
}

static void test_diff_of_one_thing(void **state)
{
    Table was;
    Table now;
    make_table(&was);
    make_table(&now);
    assert_diff(&was.relation, &now.relation, NULL, 0);

    now.relation.name = STR("purchases");
    ASSERT_DIFF(was, now, {SCHEMA_RENAME_TABLE});
    make_table(&now)->schema = STR("store");
    ASSERT_DIFF(was, now, {SCHEMA_RENAME_TABLE});

    make_table(&now)->column_count = 4;
    now.columns[3] = column("extra", 4, OID_INT4);
    ASSERT_DIFF(was, now, {SCHEMA_ADD_COLUMN, NULL, "extra"});
    ASSERT_DIFF(now, was, {SCHEMA_DROP_COLUMN, "extra", NULL});

    make_table(&now);
    now.columns[2].name = STR("remark");
    ASSERT_DIFF(was, now, {SCHEMA_RENAME_COLUMN, "note", "remark"});

    make_table(&now);
    now.columns[2].typmod = 34;
    ASSERT_DIFF(was, now, {SCHEMA_CHANGE_TYPE, "note", "note"});
    make_table(&now);
    now.columns[2].base_type_oid = OID_INT4; // a domain over something else
    ASSERT_DIFF(was, now, {SCHEMA_CHANGE_TYPE, "note", "note"});
}

static void test_diff_of_keys(void **state)
{
    Table was;
    Table now;
    make_table(&was);
    make_table(&now)->identity = IDENTITY_FULL;
    ASSERT_DIFF(was, now, {SCHEMA_CHANGE_KEY});
    make_table(&now)->key_count = 0;
    ASSERT_DIFF(was, now, {SCHEMA_CHANGE_KEY});
    make_table(&now);
    now.key[0] = 1;
    ASSERT_DIFF(was, now, {SCHEMA_CHANGE_KEY});
    // The same columns in another order are another key.
    make_table(&was)->key_count = 2;
    was.key[1] = 1;
    make_table(&now)->key_count = 2;
    now.key[0] = 1;
    now.key[1] = 0;
    ASSERT_DIFF(was, now, {SCHEMA_CHANGE_KEY});
    // The key column under another name, at another place, is the same key.
    make_table(&was);
    make_table(&now);
    now.columns[0] = column("name", 2, OID_TEXT);
    now.columns[1] = column("number", 1, OID_INT8);
    now.key[0] = 1;
    ASSERT_DIFF(was, now, {SCHEMA_RENAME_COLUMN, "id", "number"});
}

// A rename is not a drop and an add, and a drop and an add of the same name is not nothing.
static void test_diff_goes_by_attnum(void **state)
{
    Table was;
    Table now;
    make_table(&was);
    make_table(&now);
    now.columns[2].attnum = 4; // note was dropped and added again
    ASSERT_DIFF(was, now, {SCHEMA_DROP_COLUMN, "note", NULL}, {SCHEMA_ADD_COLUMN, NULL, "note"});

    make_table(&now)->column_count = 4;
    now.columns[2].name = STR("note_old"); // renamed, and a new one took its name
    now.columns[3] = column("note", 4, OID_TEXT);
    ASSERT_DIFF(was, now, {SCHEMA_RENAME_COLUMN, "note", "note_old"},
                {SCHEMA_ADD_COLUMN, NULL, "note"});

    // Not known on either side: by name.
    make_table(&now);
    was.columns[2].attnum = 0;
    assert_diff(&was.relation, &now.relation, NULL, 0);
    assert_diff(&now.relation, &was.relation, NULL, 0);
    now.columns[2].name = STR("remark");
    ASSERT_DIFF(was, now, {SCHEMA_DROP_COLUMN, "note", NULL}, {SCHEMA_ADD_COLUMN, NULL, "remark"});
}

// A target can do them one after the other: no name is taken when its turn comes.
static void test_diff_orders_renames(void **state)
{
    Table was;
    Table now;
    make_table(&was);
    make_table(&now);
    now.columns[0].name = STR("name"); // id -> name -> note -> text
    now.columns[1].name = STR("note");
    now.columns[2].name = STR("text");
    ASSERT_DIFF(was, now, {SCHEMA_RENAME_COLUMN, "note", "text"},
                {SCHEMA_RENAME_COLUMN, "name", "note"}, {SCHEMA_RENAME_COLUMN, "id", "name"});

    make_table(&now);
    now.columns[0].name = STR("key");
    now.columns[1].name = STR("note"); // name and note change places
    now.columns[2].name = STR("name");
    ASSERT_DIFF(was, now, {SCHEMA_RENAME_COLUMN, "id", "key"},
                {SCHEMA_RENAME_COLUMN, "name", "note"}, {SCHEMA_RENAME_COLUMN, "note", "name"});
}

static void test_diff_of_everything(void **state)
{
    Table was;
    Table now;
    make_table(&was);
    make_table(&now)->name = STR("purchases");
    now.columns[0] = column("number", 1, OID_NUMERIC);
    now.columns[1] = column("note", 3, OID_VARCHAR);
    now.columns[2] = column("name", 4, OID_TEXT);
    now.relation.identity = IDENTITY_FULL;
    ASSERT_DIFF(was, now, {SCHEMA_RENAME_TABLE}, {SCHEMA_DROP_COLUMN, "name", NULL},
                {SCHEMA_RENAME_COLUMN, "id", "number"}, {SCHEMA_CHANGE_TYPE, "id", "number"},
                {SCHEMA_CHANGE_TYPE, "note", "note"}, {SCHEMA_ADD_COLUMN, NULL, "name"},
                {SCHEMA_CHANGE_KEY});
}

/** A table with columns of these names and attnums, beside its key. */
static const Relation *shaped(Table *table, const char *first, int16_t first_attnum,
                              const char *second, int16_t second_attnum)
{
    Relation *relation = make_table(table);
    table->columns[1].name = str_from(first);
    table->columns[1].attnum = first_attnum;
    relation->column_count = second == NULL ? 2 : 3;
    if (second != NULL) {
        table->columns[2].name = str_from(second);
        table->columns[2].attnum = second_attnum;
    }
    return relation;
}

static void test_uncertain(void **state)
{
    Table a;
    Table b;
    const Relation *was = shaped(&a, "b", 2, NULL, 0);
    assert_false(relation_is_uncertain(was, was));
    assert_false(relation_is_uncertain(was, shaped(&b, "b", 2, "c", 3)));
    assert_false(relation_is_uncertain(was, shaped(&b, "c", 2, NULL, 0)));
    assert_false(relation_is_uncertain(was, shaped(&b, "b", 2, "c", 0)));
    // DROP b, and another b: it happened, or it is still to come.
    assert_true(relation_is_uncertain(was, shaped(&b, "b", 3, NULL, 0)));
    assert_true(relation_is_uncertain(was, shaped(&b, "b", 3, "b_new", 0)));

    was = shaped(&a, "b", 2, "b_new", 3);
    // DROP b, RENAME b_new TO b: b_new is in the catalog under its new name, and not in the
    // message.
    assert_false(relation_is_uncertain(was, shaped(&b, "b", 3, NULL, 0)));
    // The same catalog, and a message from before.
    assert_true(relation_is_uncertain(was, shaped(&b, "b", 3, "b_new", 0)));
    // Exchanged names, and a message from before that.
    assert_false(relation_is_uncertain(was, shaped(&b, "b_new", 2, "b", 3)));
    assert_true(relation_is_uncertain(was, shaped(&b, "b", 3, "b_new", 2)));
}

// a(2), b(3) -> a(?), b(2): whichever of them a was, no column may come out twice or not at all.
static void test_diff_of_unknown_attnums(void **state)
{
    Table a;
    Table b;
    const Relation *was = shaped(&a, "a", 2, "b", 3);
    const Relation *now = shaped(&b, "a", 0, "b", 2);
    SchemaChange *changes;
    assert_int_equal(relation_diff(was, now, &arena, &changes), 3);
    assert_int_equal(changes[0].edit, SCHEMA_DROP_COLUMN);
    assert_ptr_equal(changes[0].was, &was->columns[2]);
    assert_int_equal(changes[1].edit, SCHEMA_RENAME_COLUMN);
    assert_ptr_equal(changes[1].was, &was->columns[1]);
    assert_ptr_equal(changes[1].now, &now->columns[2]);
    assert_int_equal(changes[2].edit, SCHEMA_ADD_COLUMN);
    assert_ptr_equal(changes[2].now, &now->columns[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_uncertain, reset),
        cmocka_unit_test_teardown(test_diff_of_unknown_attnums, reset),
        cmocka_unit_test_teardown(test_words, reset),
        cmocka_unit_test_teardown(test_find, reset),
        cmocka_unit_test_teardown(test_equal, reset),
        cmocka_unit_test_teardown(test_copy_is_deep, reset),
        cmocka_unit_test_teardown(test_copy_of_nothing, reset),
        cmocka_unit_test_teardown(test_diff_of_one_thing, reset),
        cmocka_unit_test_teardown(test_diff_of_keys, reset),
        cmocka_unit_test_teardown(test_diff_goes_by_attnum, reset),
        cmocka_unit_test_teardown(test_diff_orders_renames, reset),
        cmocka_unit_test_teardown(test_diff_of_everything, reset),
    };
    return cmocka_run_group_tests_name("relation", tests, NULL, NULL);
}
