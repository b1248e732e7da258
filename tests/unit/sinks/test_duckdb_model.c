// Random changes in random batches, compared with a table kept by hand after every commit. What the
// sink does depends on how changes fall into writes (they are compacted, joined, summed up), and no
// list of examples covers that.
#include <stdio.h>
#include <stdlib.h>

#include "sinks/duckdb_fixture.h"

enum { KEYS = 12, COLUMNS = 4, STEPS = 1500, KEYLESS_ROWS = 64 };

// A row of the model: its key is its index, the other columns are numbers written as text.
typedef struct ModelRow {
    bool exists;
    Value values[COLUMNS]; // [0] is the key
} ModelRow;

typedef struct Model {
    Fixture *f;
    const Relation *relation;
    ModelRow rows[KEYLESS_ROWS];
    size_t row_limit;
} Model;

static Value number(Fixture *f, int value)
{
    char *text = arena_printf(&f->arena, "%d", value);
    return (Value){.ptr = text, .len = (uint32_t)strlen(text), .state = VALUE_TEXT};
}

static Value any_value(Fixture *f)
{
    return rand() % 5 == 0 ? NIL : number(f, rand() % 3);
}

static void new_values(Model *model, ModelRow *row, int key)
{
    row->exists = true;
    row->values[0] = number(model->f, key);
    for (int i = 1; i < COLUMNS; i++) {
        row->values[i] = any_value(model->f);
    }
}

static char *model_text(const Model *model)
{
    Buf text = {.max = 1 << 20};
    for (size_t r = 0; r < model->row_limit; r++) {
        const ModelRow *row = &model->rows[r];
        for (int i = 0; row->exists && i < COLUMNS; i++) {
            buf_cstr(&text, i > 0 ? "|" : text.len > 0 ? "\n" : "");
            buf_str(&text,
                    row->values[i].state == VALUE_NULL ? STR("NULL") : value_str(row->values[i]));
        }
    }
    char *copy = arena_copy(&model->f->arena, buf_cstring(&text), text.len);
    buf_done(&text);
    return copy;
}

// An update of the row under @key; it may move to a key that is free, and leave columns out.
static void update_row(Model *model, int key)
{
    ModelRow *row = &model->rows[key];
    ModelRow before = *row;
    Value sent[COLUMNS];
    int target = rand() % 6 == 0 ? rand() % KEYS : key;
    target = target != key && model->rows[target].exists ? key : target;
    bool moves = target != key;
    row->exists = false;
    model->rows[target] = before;
    model->rows[target].values[0] = number(model->f, target);
    for (int i = 0; i < COLUMNS; i++) {
        bool out = i > 0 && rand() % 3 == 0;
        if (i > 0 && !out) {
            model->rows[target].values[i] = any_value(model->f);
        }
        sent[i] = out ? SAME : model->rows[target].values[i];
    }
    add_change(model->f, CHANGE_UPDATE, model->relation,
               moves ? ROW(before.values[0], NONE, NONE, NONE) : NULL, sent);
}

static void change_keyed(Model *model)
{
    int key = rand() % KEYS;
    ModelRow *row = &model->rows[key];
    if (rand() % 60 == 0) {
        memset(model->rows, 0, sizeof(model->rows));
        add_change(model->f, CHANGE_TRUNCATE, model->relation, NULL, NULL);
    } else if (!row->exists) {
        new_values(model, row, key);
        add_change(model->f, CHANGE_INSERT, model->relation, NULL, row->values);
    } else if (rand() % 4 == 0) {
        row->exists = false;
        add_change(model->f, CHANGE_DELETE, model->relation, ROW(row->values[0], NONE, NONE, NONE),
                   NULL);
    } else {
        update_row(model, key);
    }
}

static void change_keyless(Model *model)
{
    ModelRow *row = &model->rows[rand() % KEYLESS_ROWS];
    if (!row->exists) {
        new_values(model, row, rand() % 2);
        add_change(model->f, CHANGE_INSERT, model->relation, NULL, row->values);
        return;
    }
    ModelRow before = *row;
    if (rand() % 2 == 0) {
        row->exists = false;
        add_change(model->f, CHANGE_DELETE, model->relation, before.values, NULL);
        return;
    }
    Value sent[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) {
        bool out = rand() % 4 == 0;
        row->values[i] = out ? row->values[i] : any_value(model->f);
        sent[i] = out ? SAME : row->values[i];
    }
    add_change(model->f, CHANGE_UPDATE, model->relation, before.values, sent);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The lines in an order of their own: a table without a key has none.
static char *sorted(Fixture *f, char *text)
{
    char *lines[KEYLESS_ROWS + 1];
    size_t count = 0;
    Buf out = {.max = 1 << 20};
    Str rest = str_from(text);
    Str line;
    while (count < ARRAY_LEN(lines) && str_split(&rest, '\n', &line)) {
        lines[count++] = str_to_cstr(&f->arena, line);
    }
    qsort(lines, count, sizeof(lines[0]), by_text);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&out, "%s\n", lines[i]);
    }
    char *copy = arena_copy(&f->arena, buf_cstring(&out), out.len);
    buf_done(&out);
    return copy;
}

static void play(Model *model, void (*change)(Model *), unsigned seed)
{
    Fixture *f = model->f;
    srand(seed);
    model->row_limit = KEYLESS_ROWS;
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, model->relation));
    for (int step = 0; step < STEPS;) {
        int batch = 1 + rand() % 40;
        for (int i = 0; i < batch; i++) {
            change(model);
        }
        step += batch;
        assert_ok(f, write_batch(f));
        if (rand() % 3 > 0) {
            continue;
        }
        assert_ok(f, sink_commit(f, NULL, NULL));
        char *there = sorted(f, look(f, "SELECT * FROM t"));
        char *expected = sorted(f, model_text(model));
        if (strcmp(there, expected) != 0) {
            fail_msg("seed %u, step %d:\n%s\ninstead of\n%s", seed, step, there, expected);
        }
    }
}

static void keyed(void **state)
{
    for (unsigned seed = 1; seed <= 3; seed++) {
        Fixture *f = *state;
        Model model = {.f = f};
        model.relation = TABLE(f, seed, "public", "t", "a", INT4("k", 1), INT4("a", 2),
                               TEXT("b", 3), INT8("c", 4));
        play(&model, change_keyed, seed);
        execute(f, "DROP TABLE t");
    }
}

static void keyless(void **state)
{
    for (unsigned seed = 1; seed <= 3; seed++) {
        Fixture *f = *state;
        Model model = {.f = f};
        model.relation = TABLE(f, seed, "public", "t", "", INT4("k", 1), INT4("a", 2), TEXT("b", 3),
                               INT8("c", 4));
        play(&model, change_keyless, seed);
        execute(f, "DROP TABLE t");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(keyed),
        sink_test(keyless),
    };
    int skip = skip_without_library("duckdb_model");
    return skip != 0 ? skip : cmocka_run_group_tests(tests, NULL, NULL);
}
