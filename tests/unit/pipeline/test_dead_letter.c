// Which later change of a row says all that an earlier one did, and which undoes nothing of it.
#include "arena_fixture.h"
#include "pipeline/dead_letter.h"
#include "relations.h"

static Change change(ChangeOp op, const Value *row)
{
    const Column columns[] = {INT4("id", 1), TEXT("v", 2), TEXT("w", 3)};
    const Relation *relation = relation_of(&arena, 7, "s", "t", "a", columns, ARRAY_LEN(columns));
    return (Change){.op = op,
                    .relation = relation,
                    .old_row = op == CHANGE_DELETE ? row : NULL,
                    .new_row = op == CHANGE_DELETE ? NULL : row};
}

static bool is_covered(Change was, Change later)
{
    return dead_standing(&was, &later) == DEAD_COVERED;
}

static DeadStanding standing(Change was, Change later)
{
    return dead_standing(&was, &later);
}

static void a_whole_row_covers_all(void **context)
{
    (void)context;
    const Change whole = change(CHANGE_UPDATE, ROW(T("1"), T("x"), NIL));
    assert_true(is_covered(change(CHANGE_INSERT, ROW(T("1"), T("a"), T("b"))), whole));
    assert_true(is_covered(change(CHANGE_UPDATE, ROW(T("1"), SAME, T("b"))), whole));
    assert_true(is_covered(change(CHANGE_DELETE, ROW(T("1"), NONE, NONE)), whole));
}

static void what_is_not_said_again_is_not_covered(void **context)
{
    (void)context;
    const Change part = change(CHANGE_UPDATE, ROW(T("1"), T("x"), SAME));
    assert_false(is_covered(change(CHANGE_INSERT, ROW(T("1"), T("a"), T("b"))), part));
    assert_false(is_covered(change(CHANGE_UPDATE, ROW(T("1"), SAME, NIL)), part));
    assert_true(is_covered(change(CHANGE_UPDATE, ROW(T("1"), T("a"), SAME)), part));
    assert_true(is_covered(change(CHANGE_UPDATE, ROW(T("1"), NIL, NONE)), part));
    // The row was to be gone, and with it what this one leaves as it is.
    assert_false(is_covered(change(CHANGE_DELETE, ROW(T("1"), NONE, NONE)), part));
}

static void a_delete_covers_all(void **context)
{
    (void)context;
    const Change gone = change(CHANGE_DELETE, ROW(T("1"), NONE, NONE));
    assert_true(is_covered(change(CHANGE_INSERT, ROW(T("1"), T("a"), T("b"))), gone));
    assert_true(is_covered(change(CHANGE_UPDATE, ROW(T("1"), SAME, T("b"))), gone));
    assert_true(is_covered(gone, gone));
}

static void what_says_nothing_else_is_apart(void **context)
{
    (void)context;
    const Change was = change(CHANGE_UPDATE, ROW(T("1"), T("a"), SAME));
    assert_int_equal(standing(was, change(CHANGE_UPDATE, ROW(T("1"), SAME, T("b")))), DEAD_APART);
    assert_int_equal(standing(was, change(CHANGE_UPDATE, ROW(SAME, SAME, T("b")))), DEAD_APART);
    assert_int_equal(standing(was, change(CHANGE_UPDATE, ROW(T("1"), SAME, SAME))), DEAD_APART);
    // What both say is the same, or it matters which comes last.
    const Change two = change(CHANGE_INSERT, ROW(T("1"), T("a"), T("b")));
    assert_int_equal(standing(two, change(CHANGE_UPDATE, ROW(T("1"), T("a"), SAME))), DEAD_APART);
    assert_int_equal(standing(two, change(CHANGE_UPDATE, ROW(T("1"), T("x"), SAME))), DEAD_AGAINST);
    assert_int_equal(standing(two, change(CHANGE_UPDATE, ROW(T("1"), NIL, SAME))), DEAD_AGAINST);
    assert_int_equal(standing(two, change(CHANGE_UPDATE, ROW(T("2"), T("a"), SAME))), DEAD_AGAINST);
    const Change gone = change(CHANGE_DELETE, ROW(T("1"), NONE, NONE));
    assert_int_equal(standing(gone, change(CHANGE_UPDATE, ROW(T("1"), SAME, SAME))), DEAD_AGAINST);
}

static void columns_are_found_in_another_shape(void **context)
{
    (void)context;
    const Column later[] = {INT4("id", 1), TEXT("renamed", 3)};
    const Relation *relation = relation_of(&arena, 7, "s", "t", "a", later, ARRAY_LEN(later));
    const Change part = {.op = CHANGE_UPDATE, .relation = relation, .new_row = ROW(T("1"), SAME)};
    const Change whole = {
        .op = CHANGE_UPDATE, .relation = relation, .new_row = ROW(T("1"), T("x"))};
    // The second column was dropped, so that nobody can say it.
    assert_false(is_covered(change(CHANGE_UPDATE, ROW(T("1"), SAME, T("b"))), part));
    assert_true(is_covered(change(CHANGE_UPDATE, ROW(T("1"), T("a"), SAME)), part));
    assert_true(is_covered(change(CHANGE_UPDATE, ROW(T("1"), T("a"), T("b"))), whole));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_row_covers_all),
        cmocka_unit_test(what_is_not_said_again_is_not_covered),
        cmocka_unit_test(a_delete_covers_all),
        cmocka_unit_test(what_says_nothing_else_is_apart),
        cmocka_unit_test(columns_are_found_in_another_shape),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
