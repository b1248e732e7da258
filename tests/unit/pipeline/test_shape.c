// Names that pass from table to table: whose target steps aside, under which name, and what the
// checkpoint then says.
#include <stdio.h>

#include "base/buf.h"
#include "pipeline/copy.h"
#include "pipeline/shape.h"
#include "relations.h"

static Arena arena;
static Tables tables;
static Buf calls; // "orders>orders_old1 >orders " : every prepare()
static Buf told;
static const char *refused; // the name that prepare() fails for
static bool is_gone;        // the target's tables were dropped by somebody

static Status fake_prepare(Sink *sink, const Relation *was, const Relation *now, Error *err)
{
    (void)sink;
    if (refused != NULL && str_is(now->name, refused)) {
        return error_set(err, ERROR_CONFIG, "no");
    }
    buf_str(&calls, was == NULL ? STR("") : was->name);
    buf_char(&calls, '>');
    buf_str(&calls, now->name);
    buf_char(&calls, ' ');
    return STATUS_OK;
}

static Status fake_has(Sink *sink, const Relation *relation, bool *ret, Error *err)
{
    (void)sink;
    (void)relation;
    (void)err;
    *ret = !is_gone;
    return STATUS_OK;
}

static void notice(void *context, const char *message)
{
    (void)context;
    buf_cstr(&told, message);
}

static const SinkOps with_tables = {.prepare = fake_prepare, .has = fake_has, .has_tables = true};
static const SinkOps with_events = {.prepare = fake_prepare};
static Sink sink = {.ops = &with_tables, .context = {.notice = {notice, NULL}}};

static int setup(void **context)
{
    (void)context;
    tables_init(&tables);
    buf_init(&calls, 1 << 20);
    buf_init(&told, 1 << 20);
    refused = NULL;
    is_gone = false;
    sink.ops = &with_tables;
    return 0;
}

static int teardown(void **context)
{
    (void)context;
    tables_done(&tables);
    buf_done(&calls);
    buf_done(&told);
    arena_done(&arena);
    return 0;
}

static const Relation *named(uint32_t oid, const char *schema, const char *name)
{
    const Column columns[] = {INT4("id", 1)};
    return relation_of(&arena, oid, schema, name, "a", columns, 1);
}

static Status shape(uint32_t oid, const char *name, Error *err)
{
    return shape_table(&tables, &sink, tables_get(&tables, oid), named(oid, "public", name), err);
}

static void must_shape(uint32_t oid, const char *name)
{
    Error err = {0};
    assert_int_equal(shape(oid, name, &err), STATUS_OK);
}

static void assert_calls(const char *expected)
{
    assert_string_equal(buf_cstring(&calls), expected);
    buf_reset(&calls);
}

static void assert_target(uint32_t oid, const char *expected)
{
    const Table *table = tables_find(&tables, oid);
    assert_non_null(table);
    assert_non_null(table->target);
    assert_true(str_is(table->target->name, expected));
}

static void a_table_made_again_takes_the_name(void **context)
{
    (void)context;
    must_shape(1, "orders");
    assert_int_equal(buf_view(&told).len, 0);
    tables_find(&tables, 1)->prepared = named(1, "public", "orders");
    tables_find(&tables, 1)->state = TABLE_READY;
    must_shape(2, "orders");
    assert_calls(">orders orders>orders_old1 >orders ");
    assert_target(1, "orders_old1");
    assert_target(2, "orders");
    // Its next change, of whatever version, has to be prepared for.
    assert_null(tables_find(&tables, 1)->prepared);
    assert_string_equal(buf_cstring(&told),
                        "table \"public.orders\" is another one now: the rows of the one that had "
                        "this name before are in \"public.orders_old1\"");
    // One that is to be copied has been told of already: its copy begins with that.
    const Relation *told_of = named(2, "public", "invoices");
    tables_find(&tables, 2)->prepared = told_of;
    must_shape(3, "orders");
    assert_calls("orders>orders_old2 >orders ");
    assert_ptr_equal(tables_find(&tables, 2)->prepared, told_of);
    // Of another schema: another name.
    assert_int_equal(
        shape_table(&tables, &sink, tables_get(&tables, 4), named(4, "shop", "orders"), NULL),
        STATUS_OK);
    assert_calls(">orders ");
}

static void both_are_stored(void **context)
{
    (void)context;
    Checkpoint stored = {0};
    must_shape(1, "orders");
    tables_save(&tables, &stored);
    must_shape(2, "orders");
    tables_save(&tables, &stored);
    assert_int_equal(stored.count, 2);
    tables_done(&tables);
    tables_init(&tables);
    assert_int_equal(tables_load(&tables, &stored, NULL), STATUS_OK);
    buf_reset(&calls);
    must_shape(3, "orders");
    must_shape(4, "orders_old1");
    assert_calls("orders>orders_old2 >orders orders_old1>orders_old1_old1 >orders_old1 ");
    checkpoint_done(&stored);
}

// A copy commits by itself: what it moved aside has to be in the same commit.
static void a_copy_stores_both(void **context)
{
    (void)context;
    const CopyJob job = {.tables = &tables, .persistent = true};
    Checkpoint changed = {0};
    must_shape(1, "t");
    tables_save(&tables, &changed);
    checkpoint_done(&changed);
    changed = (Checkpoint){0};
    assert_int_equal(
        copy_prepare(&job, &sink, tables_get(&tables, 2), named(2, "public", "t"), &changed, NULL),
        STATUS_OK);
    assert_int_equal(changed.count, 2);
    assert_non_null(checkpoint_get(&changed, STR("table:1")));
    assert_non_null(checkpoint_get(&changed, STR("table:2")));
    checkpoint_done(&changed);
}

static void names_are_exchanged_and_given_back(void **context)
{
    (void)context;
    must_shape(1, "a");
    must_shape(2, "b");
    buf_reset(&calls);
    must_shape(1, "b");
    must_shape(2, "a");
    assert_calls("b>b_old1 a>b b_old1>a ");
    must_shape(1, "b"); // nothing new: for the sink to look at
    assert_calls("b>b ");
    must_shape(2, "c");
    must_shape(1, "a"); // free again
    must_shape(3, "b");
    assert_calls("a>c b>a >b ");
}

static void a_long_name_is_cut_at_a_character(void **context)
{
    (void)context;
    static const struct {
        const char *name;
        const char *aside;
    } cases[] = {
        {"a23456789b123456789c123456789d123456789e123456789f12345678",
         "a23456789b123456789c123456789d123456789e123456789f12345678_old1"},
        {"a23456789b123456789c123456789d123456789e123456789f123456789",
         "a23456789b123456789c123456789d123456789e123456789f12345678_old1"},
        {"a23456789b123456789c123456789d123456789e123456789f1234567\u00e4\u00e4\u00e4",
         "a23456789b123456789c123456789d123456789e123456789f1234567_old1"},
        {"a23456789b123456789c123456789d123456789e123456789f123456\U0001F30A\u00e4",
         "a23456789b123456789c123456789d123456789e123456789f123456_old1"},
    };
    for (uint32_t i = 0; i < ARRAY_LEN(cases); i++) {
        must_shape(10 * i + 1, cases[i].name);
        must_shape(10 * i + 2, cases[i].name);
        assert_target(10 * i + 2, cases[i].name);
        const Relation *aside = tables_find(&tables, 10 * i + 1)->target;
        assert_true(aside->name.len <= 63);
        char expected[80];
        (void)snprintf(expected, sizeof(expected), "%s", cases[i].aside);
        if (i == 1) {
            expected[strlen(expected) - 1] = '2'; // two names that differ in what is cut off
        }
        assert_true(str_is(aside->name, expected));
    }
}

static void what_cannot_be_done_changes_nothing(void **context)
{
    (void)context;
    Error err = {0};
    must_shape(1, "t");
    refused = "t_old1";
    assert_int_equal(shape(2, "t", &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_non_null(strstr(err.message, "\"t_old1\""));
    assert_target(1, "t");
    assert_null(tables_find(&tables, 2)->target);
    assert_int_equal(buf_view(&told).len, 0);
    refused = NULL;
    // Its copy writes into it at this moment, by name.
    tables_find(&tables, 1)->state = TABLE_COPYING;
    assert_int_equal(shape(2, "t", &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_TRANSIENT);
    assert_target(1, "t");
}

static void what_is_gone_is_not_in_the_way(void **context)
{
    (void)context;
    must_shape(1, "t");
    is_gone = true;
    must_shape(2, "t");
    assert_calls(">t >t ");
    assert_int_equal(buf_view(&told).len, 0);
    is_gone = false;
    must_shape(3, "t");
    assert_calls("t>t_old2 >t ");
}

// Dropped since, or renamed: what it is called now is not known until the source says so.
static void the_latest_of_a_name_is_copied(void **context)
{
    (void)context;
    static const char *const names[] = {"t", "t", "u", "t"};
    for (uint32_t i = 0; i < ARRAY_LEN(names); i++) {
        tables_get(&tables, i + 1)->prepared = named(i + 1, "public", names[i]);
        tables_find(&tables, i + 1)->described_at = (Position){0x20, i};
    }
    tables_find(&tables, 4)->state = TABLE_READY;
    // Told before the others, and only held back: what it says is old.
    tables_overtake(&tables, named(2, "public", "t"), (Position){0x10, 9});
    assert_non_null(tables_find(&tables, 1)->prepared);
    tables_overtake(&tables, tables_find(&tables, 2)->prepared, (Position){0x20, 1});
    assert_null(tables_find(&tables, 1)->prepared);
    for (uint32_t oid = 2; oid <= 4; oid++) {
        assert_non_null(tables_find(&tables, oid)->prepared);
    }
    tables_overtake(&tables, named(5, "shop", "u"), (Position){0x30, 0});
    assert_non_null(tables_find(&tables, 3)->prepared);
}

static void events_have_no_names_to_give_away(void **context)
{
    (void)context;
    sink.ops = &with_events;
    must_shape(1, "t");
    must_shape(2, "t");
    must_shape(1, "t");
    assert_calls(">t >t t>t ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_table_made_again_takes_the_name, setup, teardown),
        cmocka_unit_test_setup_teardown(both_are_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_stores_both, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_exchanged_and_given_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_name_is_cut_at_a_character, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_done_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_gone_is_not_in_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(the_latest_of_a_name_is_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(events_have_no_names_to_give_away, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
