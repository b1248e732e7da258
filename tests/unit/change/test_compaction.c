// Compaction against a model: a run applied change by change and the compacted run must leave the
// same table. Random runs with small keys, so that everything happens to the same rows.
#include "change/compaction.h"
#include "unit.h"

enum { COLUMNS = 5, KEYS = 6, TABLES = 2, RUN_MAX = 24, CASES = 20000, NULL_VALUE = -1 };

// The key is (second, first); key number k is the columns (k % 2, k / 2).
static Column columns[COLUMNS];
static uint16_t key_columns[] = {1, 0};
static Relation keyed = {
    .oid = 1, .column_count = COLUMNS, .columns = columns, .key_count = 2, .key = key_columns};
static Relation keyed_later = { // the same table, another version
    .oid = 1,
    .column_count = COLUMNS,
    .columns = columns,
    .key_count = 2,
    .key = key_columns};
static Relation full = {.oid = 3,
                        .identity = IDENTITY_FULL,
                        .column_count = COLUMNS,
                        .columns = columns,
                        .key_count = 2,
                        .key = key_columns};
static Relation keyless = {.oid = 2, .column_count = COLUMNS, .columns = columns};
static const Transaction transaction = {.commit_lsn = 1};

typedef struct ModelTable {
    bool present[KEYS];
    int values[KEYS][COLUMNS];
} ModelTable;

typedef struct Model {
    ModelTable tables[TABLES];
    int keyless_rows;
} Model;

static uint64_t state;
static uint64_t last_seed;

static unsigned roll(unsigned sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % sides);
}

static Value number(Arena *arena, int value)
{
    char *text = arena_printf(arena, "%d", value);
    return (Value){.state = VALUE_TEXT, .ptr = text, .len = (uint32_t)strlen(text)};
}

static int parse(Value value)
{
    if (value.state == VALUE_NULL) {
        return NULL_VALUE;
    }
    int64_t number_value;
    assert_true(value_to_int64(value, &number_value));
    return (int)number_value;
}

static int key_of(const Value *values)
{
    int key = parse(values[0]) + 2 * parse(values[1]);
    assert_in_range(key, 0, KEYS - 1);
    return key;
}

static ModelTable *table_of(Model *model, const Relation *relation)
{
    return &model->tables[relation == &full ? 1 : 0];
}

static Value *key_row(Arena *arena, int key)
{
    Value *values = ARENA_ARRAY(arena, Value, COLUMNS);
    values[0] = number(arena, key % 2);
    values[1] = number(arena, key / 2);
    return values;
}

static Value *row(Arena *arena, int key)
{
    Value *values = key_row(arena, key);
    for (int i = 2; i < COLUMNS; i++) {
        values[i] = roll(8) == 0 ? (Value){.state = VALUE_NULL} : number(arena, (int)roll(1000));
    }
    return values;
}

// The old row of an update or delete: the key, or with identity FULL all of it.
static Value *old_row_of(Arena *arena, const Relation *relation, const ModelTable *table, int key)
{
    Value *values = key_row(arena, key);
    for (int i = 2; relation == &full && i < COLUMNS; i++) {
        int value = table->values[key][i];
        values[i] = value == NULL_VALUE ? (Value){.state = VALUE_NULL} : number(arena, value);
    }
    return values;
}

static void apply_row(ModelTable *table, int key, const Value *values)
{
    table->present[key] = true;
    for (int i = 0; i < COLUMNS; i++) {
        if (value_is_known(values[i])) {
            table->values[key][i] = parse(values[i]);
        }
    }
}

static void apply_update(ModelTable *table, const Change *change)
{
    if (change->old_row == NULL) {
        apply_row(table, key_of(change->new_row), change->new_row);
        return;
    }
    int from = key_of(change->old_row);
    Value now[2];
    for (int i = 0; i < 2; i++) {
        now[i] = value_is_known(change->new_row[i]) ? change->new_row[i] : change->old_row[i];
    }
    int to = key_of(now);
    table->present[from] = false;
    memmove(table->values[to], table->values[from], sizeof(table->values[to]));
    apply_row(table, to, change->new_row);
}

// One change as Postgres would send it, applied to the model as the truth.
static void apply(Model *model, const Change *change)
{
    ModelTable *table = table_of(model, change->relation);
    if (change->op == CHANGE_TRUNCATE) {
        memset(table->present, 0, sizeof(table->present));
    } else if (change->relation == &keyless) {
        model->keyless_rows++;
    } else if (change->op == CHANGE_UPDATE) {
        apply_update(table, change);
    } else if (change->op == CHANGE_DELETE) {
        table->present[key_of(change->old_row)] = false;
    } else {
        apply_row(table, key_of(change->new_row), change->new_row);
    }
}

static int pick(const ModelTable *table, bool present)
{
    int start = (int)roll(KEYS);
    for (int i = 0; i < KEYS; i++) {
        int key = (start + i) % KEYS;
        if (table->present[key] == present) {
            return key;
        }
    }
    return -1;
}

static void random_update(Change *change, const ModelTable *table, int from, int to, Arena *arena)
{
    static const Value unchanged = {.state = VALUE_UNCHANGED};
    Value *values = row(arena, to);
    bool toasted_key = from == to && roll(8) == 0;
    for (int i = 2; i < COLUMNS; i++) {
        values[i] = roll(4) == 0 ? unchanged : values[i];
    }
    if (toasted_key) {
        values[roll(2)] = unchanged;
    }
    bool has_old = from != to || toasted_key || change->relation == &full;
    change->op = CHANGE_UPDATE;
    change->new_row = values;
    change->old_row = has_old ? old_row_of(arena, change->relation, table, from) : NULL;
}

static Change random_change(Model *model, bool later, Arena *arena)
{
    Change change = {.transaction = &transaction};
    change.relation = roll(2) == 0 ? &full : later ? &keyed_later : &keyed;
    const ModelTable *table = table_of(model, change.relation);
    unsigned kind = roll(40);
    int there = pick(table, true);
    int free_key = pick(table, false);
    if (kind == 0) {
        change.op = CHANGE_TRUNCATE;
    } else if (kind == 1) {
        change.op = CHANGE_INSERT;
        change.relation = &keyless;
        change.new_row = row(arena, 0);
    } else if (there < 0 || (kind < 14 && free_key >= 0)) {
        change.op = CHANGE_INSERT;
        change.new_row = row(arena, free_key);
    } else if (kind < 22) {
        change.op = CHANGE_DELETE;
        change.old_row = old_row_of(arena, change.relation, table, there);
    } else {
        bool moves = kind > 32 && free_key >= 0;
        random_update(&change, table, there, moves ? free_key : there, arena);
    }
    return change;
}

static void apply_compacted_row(ModelTable *table, const CompactedRow *compacted)
{
    int key = key_of(compacted->row);
    assert_int_equal(table->present[key], compacted->op != COMPACTED_INSERT);
    if (compacted->op == COMPACTED_DELETE) {
        table->present[key] = false;
        return;
    }
    bool knows_all = true;
    for (int i = 0; i < COLUMNS; i++) {
        knows_all = knows_all && value_is_known(compacted->row[i]);
    }
    assert_int_equal(compacted->is_full, knows_all);
    assert_true(knows_all || compacted->op == COMPACTED_UPDATE);
    assert_ptr_equal(compacted->from, compacted->row);
    apply_row(table, key, compacted->row);
}

// All at once: what a row does not know is where it was before any of them.
static void apply_moves(Model *model, const CompactedTable *compacted)
{
    ModelTable *table = table_of(model, compacted->relation);
    ModelTable before = *table;
    for (size_t i = 0; i < compacted->row_count; i++) {
        if (compacted->rows[i].op == COMPACTED_MOVE) {
            int from = key_of(compacted->rows[i].from);
            assert_true(table->present[from]);
            table->present[from] = false;
        }
    }
    for (size_t i = 0; i < compacted->row_count; i++) {
        const CompactedRow *row = &compacted->rows[i];
        if (row->op == COMPACTED_MOVE) {
            int from = key_of(row->from);
            int to = key_of(row->row);
            assert_int_not_equal(from, to);
            assert_false(table->present[to]);
            memcpy(table->values[to], before.values[from], sizeof(table->values[to]));
            apply_row(table, to, row->row);
        }
    }
}

// Deletes, moves, inserts, updates; each must find what it expects.
static void apply_compacted(Model *model, const CompactedTable *table)
{
    static const CompactedOp order[] = {COMPACTED_DELETE, COMPACTED_MOVE, COMPACTED_INSERT,
                                        COMPACTED_UPDATE};
    size_t counted = 0;
    for (size_t at = 0; at < ARRAY_LEN(order); at++) {
        counted += table->count_by_op[order[at]];
        if (order[at] == COMPACTED_MOVE) {
            apply_moves(model, table);
            continue;
        }
        for (size_t i = 0; i < table->row_count; i++) {
            if (table->rows[i].op != order[at]) {
                continue;
            }
            if (table->relation == &keyless) {
                model->keyless_rows++;
            } else {
                apply_compacted_row(table_of(model, table->relation), &table->rows[i]);
            }
        }
    }
    assert_int_equal(counted, table->row_count);
}

static void assert_same(const Model *a, const Model *b)
{
    assert_int_equal(a->keyless_rows, b->keyless_rows);
    for (int table = 0; table < TABLES; table++) {
        const ModelTable *left = &a->tables[table];
        const ModelTable *right = &b->tables[table];
        for (int key = 0; key < KEYS; key++) {
            assert_int_equal(left->present[key], right->present[key]);
            if (left->present[key]) {
                assert_memory_equal(left->values[key], right->values[key],
                                    sizeof(left->values[key]));
            }
        }
    }
}

// The changes are only borrowed: after a failed set they are applied one by one as they came.
static const Value *copy_of(Arena *arena, const Value *values)
{
    size_t size = COLUMNS * sizeof(Value);
    return values == NULL ? NULL : memcpy(arena_alloc(arena, size), values, size);
}

static void assert_untouched(const Value *now, const Value *was)
{
    for (int i = 0; was != NULL && i < COLUMNS; i++) {
        assert_true(value_equal(now[i], was[i]));
    }
}

static void assert_barrier(const Compacted *compacted, CompactedMoves moves)
{
    const Change *barrier = compacted->barrier;
    bool moved = barrier->op == CHANGE_UPDATE && barrier->old_row != NULL;
    assert_true(barrier->op == CHANGE_TRUNCATE || barrier->relation == &keyed_later ||
                (moved && moves == MOVES_ARE_BARRIERS));
}

static void run_case(uint64_t seed, CompactedMoves moves)
{
    state = seed * 0x9e3779b97f4a7c15ULL + 1;
    Arena arena = {0};
    Model start = {0};
    for (int i = 0; i < KEYS * TABLES; i++) {
        if (roll(2) == 0) {
            apply_row(&start.tables[i % TABLES], i / TABLES, row(&arena, i / TABLES));
        }
    }
    Model expected = start;
    Change run[RUN_MAX];
    const Value *rows[RUN_MAX][2];
    size_t count = 1 + roll(RUN_MAX);
    size_t later_from = roll(RUN_MAX * 4);
    for (size_t i = 0; i < count; i++) {
        run[i] = random_change(&expected, i >= later_from, &arena);
        apply(&expected, &run[i]);
        rows[i][0] = copy_of(&arena, run[i].old_row);
        rows[i][1] = copy_of(&arena, run[i].new_row);
    }
    Model got = start;
    for (size_t at = 0; at < count;) {
        Compacted compacted;
        compact(run + at, count - at, moves, &arena, &compacted);
        for (size_t i = 0; i < compacted.table_count; i++) {
            apply_compacted(&got, &compacted.tables[i]);
        }
        at += compacted.consumed;
        if (compacted.barrier != NULL) {
            assert_ptr_equal(compacted.barrier, &run[at]);
            assert_barrier(&compacted, moves);
            apply(&got, compacted.barrier);
            at++;
        }
    }
    assert_same(&expected, &got);
    for (size_t i = 0; i < count; i++) {
        assert_untouched(run[i].old_row, rows[i][0]);
        assert_untouched(run[i].new_row, rows[i][1]);
    }
    arena_done(&arena);
}

static void compacted_runs_equal_the_changes(void **context)
{
    (void)context;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        last_seed = seed;
        run_case(seed, MOVES_ARE_BARRIERS);
        run_case(seed, MOVES_ARE_FOLDED);
    }
}

static Change change_of(ChangeOp op, const Value *old_row, const Value *new_row)
{
    return (Change){.op = op,
                    .relation = &keyed,
                    .old_row = old_row,
                    .new_row = new_row,
                    .transaction = &transaction};
}

// The complaint of every peer's users: INSERT and UPDATE in one batch, the large column unchanged.
static void unchanged_folds_to_the_inserted_value(void **context)
{
    (void)context;
    Arena arena = {0};
    Value *inserted = row(&arena, 1);
    Value *updated = row(&arena, 1);
    updated[3] = (Value){.state = VALUE_UNCHANGED};
    const Change run[] = {change_of(CHANGE_INSERT, NULL, inserted),
                          change_of(CHANGE_UPDATE, NULL, updated)};
    Compacted compacted;
    compact(run, 2, MOVES_ARE_BARRIERS, &arena, &compacted);
    assert_null(compacted.barrier);
    assert_int_equal(compacted.tables[0].row_count, 1);
    const CompactedRow *folded = &compacted.tables[0].rows[0];
    assert_int_equal(folded->op, COMPACTED_INSERT);
    assert_true(folded->is_full);
    assert_true(value_equal(folded->row[2], updated[2]));
    assert_true(value_equal(folded->row[3], inserted[3]));
    arena_done(&arena);
}

static void a_moved_row_with_unknown_columns_is_a_barrier(void **context)
{
    (void)context;
    Arena arena = {0};
    Value *moved = row(&arena, 2);
    moved[2] = (Value){.state = VALUE_UNCHANGED};
    const Change run[] = {change_of(CHANGE_UPDATE, key_row(&arena, 1), moved)};
    Compacted compacted;
    compact(run, 1, MOVES_ARE_BARRIERS, &arena, &compacted);
    assert_ptr_equal(compacted.barrier, &run[0]);
    assert_int_equal(compacted.consumed, 0);
    assert_int_equal(compacted.table_count, 0);
    arena_done(&arena);
}

// A row that goes, and one that comes in its place from where a third one then is.
static void moves_are_one_set(void **context)
{
    (void)context;
    Arena arena = {0};
    Value *moved = row(&arena, 2);
    moved[2] = (Value){.state = VALUE_UNCHANGED};
    const Value *home = key_row(&arena, 1);
    const Change run[] = {change_of(CHANGE_DELETE, key_row(&arena, 2), NULL),
                          change_of(CHANGE_UPDATE, home, moved),
                          change_of(CHANGE_INSERT, NULL, row(&arena, 1))};
    Compacted compacted;
    compact(run, ARRAY_LEN(run), MOVES_ARE_FOLDED, &arena, &compacted);
    assert_null(compacted.barrier);
    const CompactedTable *table = &compacted.tables[0];
    assert_int_equal(table->row_count, 3);
    assert_int_equal(table->rows[0].op, COMPACTED_DELETE);
    assert_int_equal(table->rows[1].op, COMPACTED_MOVE);
    assert_ptr_equal(table->rows[1].from, home);
    assert_false(table->rows[1].is_full);
    assert_int_equal(table->rows[2].op, COMPACTED_INSERT);
    arena_done(&arena);
}

static void a_full_old_row_fills_what_is_unchanged(void **context)
{
    (void)context;
    Arena arena = {0};
    Value *moved = row(&arena, 2);
    moved[4] = (Value){.state = VALUE_UNCHANGED};
    Value *old = row(&arena, 1);
    Change run[] = {change_of(CHANGE_UPDATE, old, moved)};
    run[0].relation = &full;
    Compacted compacted;
    compact(run, 1, MOVES_ARE_BARRIERS, &arena, &compacted);
    assert_null(compacted.barrier);
    assert_int_equal(compacted.tables[0].count_by_op[COMPACTED_DELETE], 1);
    assert_int_equal(compacted.tables[0].count_by_op[COMPACTED_INSERT], 1);
    const CompactedRow *rows = compacted.tables[0].rows;
    const Value *inserted = rows[rows[0].op == COMPACTED_INSERT ? 0 : 1].row;
    assert_true(value_equal(inserted[2], moved[2]));
    assert_true(value_equal(inserted[4], old[4]));
    arena_done(&arena);
}

static void another_version_of_a_table_is_a_barrier(void **context)
{
    (void)context;
    Arena arena = {0};
    Change run[] = {change_of(CHANGE_INSERT, NULL, row(&arena, 1)),
                    {.op = CHANGE_SCHEMA, .relation = &keyed_later, .transaction = &transaction},
                    change_of(CHANGE_INSERT, NULL, row(&arena, 2))};
    run[2].relation = &keyed_later;
    Compacted compacted;
    compact(run, 3, MOVES_ARE_BARRIERS, &arena, &compacted);
    assert_ptr_equal(compacted.barrier, &run[2]);
    assert_int_equal(compacted.consumed, 2);
    compact(run + 1, 2, MOVES_ARE_BARRIERS, &arena, &compacted);
    assert_null(compacted.barrier);
    arena_done(&arena);
}

// More keys than the first hash table has room for, in the order of their first change.
static void many_keys_keep_their_order(void **context)
{
    enum { MANY = 5000 };
    (void)context;
    Arena arena = {0};
    Change *run = ARENA_ARRAY(&arena, Change, (size_t)MANY * 2);
    for (int i = 0; i < MANY; i++) {
        Value *values = row(&arena, 0);
        values[0] = number(&arena, i);
        run[i] = change_of(CHANGE_INSERT, NULL, values);
        run[MANY + i] = change_of(CHANGE_UPDATE, NULL, values);
    }
    Compacted compacted;
    compact(run, (size_t)MANY * 2, MOVES_ARE_BARRIERS, &arena, &compacted);
    assert_null(compacted.barrier);
    assert_int_equal(compacted.tables[0].row_count, MANY);
    assert_int_equal(compacted.tables[0].count_by_op[COMPACTED_INSERT], MANY);
    for (int i = 0; i < MANY; i++) {
        assert_ptr_equal(compacted.tables[0].rows[i].row, run[i].new_row);
        assert_ptr_equal(compacted.tables[0].rows[i].last, &run[MANY + i]);
    }
    arena_done(&arena);
}

static void what_cannot_be_is_a_barrier(void **context)
{
    (void)context;
    Arena arena = {0};
    const Change twice[] = {change_of(CHANGE_INSERT, NULL, row(&arena, 1)),
                            change_of(CHANGE_INSERT, NULL, row(&arena, 1))};
    Compacted compacted;
    compact(twice, 2, MOVES_ARE_BARRIERS, &arena, &compacted);
    assert_ptr_equal(compacted.barrier, &twice[1]);
    const Change gone[] = {change_of(CHANGE_DELETE, key_row(&arena, 1), NULL),
                           change_of(CHANGE_DELETE, key_row(&arena, 1), NULL)};
    compact(gone, 2, MOVES_ARE_BARRIERS, &arena, &compacted);
    assert_ptr_equal(compacted.barrier, &gone[1]);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compacted_runs_equal_the_changes),
        cmocka_unit_test(unchanged_folds_to_the_inserted_value),
        cmocka_unit_test(a_moved_row_with_unknown_columns_is_a_barrier),
        cmocka_unit_test(moves_are_one_set),
        cmocka_unit_test(a_full_old_row_fills_what_is_unchanged),
        cmocka_unit_test(another_version_of_a_table_is_a_barrier),
        cmocka_unit_test(many_keys_keep_their_order),
        cmocka_unit_test(what_cannot_be_is_a_barrier),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed > 0) {
        print_message("the last seed was %llu\n", (unsigned long long)last_seed);
    }
    return failed;
}
