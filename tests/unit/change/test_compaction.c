// Compaction against a model: a run applied change by change and the compacted run must leave the
// same table. Random runs with small keys, so that everything happens to the same rows.
#include "change/compaction.h"
#include "unit.h"

enum { COLUMNS = 3, KEYS = 6, RUN_MAX = 24, CASES = 20000 };

static Column columns[COLUMNS];
static uint16_t key_columns[] = {0};
static Relation keyed = {
    .oid = 1, .column_count = COLUMNS, .columns = columns, .key_count = 1, .key = key_columns};
static Relation keyless = {.oid = 2, .column_count = COLUMNS, .columns = columns};
static const Transaction transaction = {.commit_lsn = 1};

typedef struct Model {
    bool present[KEYS];
    int values[KEYS][COLUMNS]; // [0] is the key
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
    int64_t number_value;
    assert_true(value_to_int64(value, &number_value));
    return (int)number_value;
}

static Value *row(Arena *arena, int key)
{
    Value *values = ARENA_ARRAY(arena, Value, COLUMNS);
    values[0] = number(arena, key);
    for (int i = 1; i < COLUMNS; i++) {
        values[i] = number(arena, (int)roll(1000));
    }
    return values;
}

static Value *key_row(Arena *arena, int key)
{
    Value *values = ARENA_ARRAY(arena, Value, COLUMNS);
    values[0] = number(arena, key);
    return values;
}

static void apply_row(Model *model, const Value *values)
{
    int key = parse(values[0]);
    model->present[key] = true;
    for (int i = 0; i < COLUMNS; i++) {
        if (value_is_known(values[i])) {
            model->values[key][i] = parse(values[i]);
        }
    }
}

// One change as Postgres would send it, applied to the model as the truth.
static void apply(Model *model, const Change *change)
{
    if (change->op == CHANGE_TRUNCATE) {
        memset(model->present, 0, sizeof(model->present));
        return;
    }
    if (change->relation == &keyless) {
        model->keyless_rows++;
        return;
    }
    if (change->op == CHANGE_UPDATE && change->old_row != NULL) {
        int from = parse(change->old_row[0]);
        int to = parse(change->new_row[0]);
        model->present[from] = false;
        memcpy(model->values[to], model->values[from], sizeof(model->values[to]));
    }
    if (change->op == CHANGE_DELETE) {
        model->present[parse(change->old_row[0])] = false;
    } else {
        apply_row(model, change->new_row);
    }
}

static int pick(const Model *model, bool present)
{
    int start = (int)roll(KEYS);
    for (int i = 0; i < KEYS; i++) {
        int key = (start + i) % KEYS;
        if (model->present[key] == present) {
            return key;
        }
    }
    return -1;
}

static Change random_change(const Model *model, Arena *arena)
{
    Change change = {.relation = &keyed, .transaction = &transaction};
    unsigned kind = roll(20);
    int there = pick(model, true);
    int free_key = pick(model, false);
    if (kind == 0) {
        change.op = CHANGE_TRUNCATE;
    } else if (kind == 1) {
        change.op = CHANGE_INSERT;
        change.relation = &keyless;
        change.new_row = row(arena, 0);
    } else if (there < 0 || (kind < 7 && free_key >= 0)) {
        change.op = CHANGE_INSERT;
        change.new_row = row(arena, free_key);
    } else if (kind < 11) {
        change.op = CHANGE_DELETE;
        change.old_row = key_row(arena, there);
    } else {
        bool moves = kind > 16 && free_key >= 0;
        change.op = CHANGE_UPDATE;
        Value *values = row(arena, moves ? free_key : there);
        if (roll(2) == 0) {
            values[1 + roll(COLUMNS - 1)] = (Value){.state = VALUE_UNCHANGED};
        }
        change.new_row = values;
        change.old_row = moves ? key_row(arena, there) : NULL;
    }
    return change;
}

// Deletes, inserts, updates; each must find what it expects.
static void apply_compacted(Model *model, const CompactedTable *table)
{
    for (int op = COMPACTED_DELETE; op >= 0; op--) {
        static const CompactedOp order[] = {COMPACTED_UPDATE, COMPACTED_INSERT, COMPACTED_DELETE};
        for (size_t i = 0; i < table->row_count; i++) {
            const CompactedRow *compacted = &table->rows[i];
            if (compacted->op != order[op]) {
                continue;
            }
            if (table->relation == &keyless) {
                model->keyless_rows++;
                continue;
            }
            int key = parse(compacted->row[0]);
            assert_int_equal(model->present[key], compacted->op != COMPACTED_INSERT);
            model->present[key] = compacted->op != COMPACTED_DELETE;
            if (compacted->op != COMPACTED_DELETE) {
                apply_row(model, compacted->row);
            }
        }
    }
}

static void assert_same(const Model *a, const Model *b)
{
    assert_int_equal(a->keyless_rows, b->keyless_rows);
    for (int key = 0; key < KEYS; key++) {
        assert_int_equal(a->present[key], b->present[key]);
        for (int i = 0; a->present[key] && i < COLUMNS; i++) {
            assert_int_equal(a->values[key][i], b->values[key][i]);
        }
    }
}

static void run_case(uint64_t seed)
{
    state = seed * 0x9e3779b97f4a7c15ULL + 1;
    Arena arena = {0};
    Model start = {0};
    for (int key = 0; key < KEYS; key++) {
        if (roll(2) == 0) {
            apply_row(&start, row(&arena, key));
        }
    }
    Model expected = start;
    Change run[RUN_MAX];
    size_t count = 1 + roll(RUN_MAX);
    for (size_t i = 0; i < count; i++) {
        run[i] = random_change(&expected, &arena);
        apply(&expected, &run[i]);
    }
    Model got = start;
    for (size_t at = 0; at < count;) {
        Compacted compacted;
        compact(run + at, count - at, &arena, &compacted);
        for (size_t i = 0; i < compacted.table_count; i++) {
            apply_compacted(&got, &compacted.tables[i]);
        }
        at += compacted.consumed;
        if (compacted.barrier != NULL) {
            assert_ptr_equal(compacted.barrier, &run[at]);
            apply(&got, compacted.barrier);
            at++;
        }
    }
    assert_same(&expected, &got);
    arena_done(&arena);
}

static void compacted_runs_equal_the_changes(void **context)
{
    (void)context;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        last_seed = seed;
        run_case(seed);
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
    updated[2] = (Value){.state = VALUE_UNCHANGED};
    const Change run[] = {change_of(CHANGE_INSERT, NULL, inserted),
                          change_of(CHANGE_UPDATE, NULL, updated)};
    Compacted compacted;
    compact(run, 2, &arena, &compacted);
    assert_null(compacted.barrier);
    assert_int_equal(compacted.tables[0].row_count, 1);
    const CompactedRow *folded = &compacted.tables[0].rows[0];
    assert_int_equal(folded->op, COMPACTED_INSERT);
    assert_true(folded->is_full);
    assert_true(value_equal(folded->row[1], updated[1]));
    assert_true(value_equal(folded->row[2], inserted[2]));
    arena_done(&arena);
}

static void a_moved_row_with_unknown_columns_is_a_barrier(void **context)
{
    (void)context;
    Arena arena = {0};
    Value *moved = row(&arena, 2);
    moved[1] = (Value){.state = VALUE_UNCHANGED};
    const Change run[] = {change_of(CHANGE_UPDATE, key_row(&arena, 1), moved)};
    Compacted compacted;
    compact(run, 1, &arena, &compacted);
    assert_ptr_equal(compacted.barrier, &run[0]);
    assert_int_equal(compacted.consumed, 0);
    assert_int_equal(compacted.table_count, 0);
    arena_done(&arena);
}

static void what_cannot_be_is_a_barrier(void **context)
{
    (void)context;
    Arena arena = {0};
    const Change twice[] = {change_of(CHANGE_INSERT, NULL, row(&arena, 1)),
                            change_of(CHANGE_INSERT, NULL, row(&arena, 1))};
    Compacted compacted;
    compact(twice, 2, &arena, &compacted);
    assert_ptr_equal(compacted.barrier, &twice[1]);
    const Change gone[] = {change_of(CHANGE_DELETE, key_row(&arena, 1), NULL),
                           change_of(CHANGE_DELETE, key_row(&arena, 1), NULL)};
    compact(gone, 2, &arena, &compacted);
    assert_ptr_equal(compacted.barrier, &gone[1]);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compacted_runs_equal_the_changes),
        cmocka_unit_test(unchanged_folds_to_the_inserted_value),
        cmocka_unit_test(a_moved_row_with_unknown_columns_is_a_barrier),
        cmocka_unit_test(what_cannot_be_is_a_barrier),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed > 0) {
        print_message("the last seed was %llu\n", (unsigned long long)last_seed);
    }
    return failed;
}
