// Random histories of a table: it is described once, changes, writes a message, changes on, and is
// looked at. What is then said of the message's columns has to be so, or has to be said to be
// unclear. The numbers that the histories give are the truth; the code under test sees only names
// in the message.

#include "pg/catalog_match.h"
#include "unit.h"

enum { CASES = 200000, COLUMNS_MAX = 24, NAMES = 6 };

typedef struct History {
    Arena arena;
    uint64_t state;
    const char *names[COLUMNS_MAX]; // by number; NULL: dropped
    bool is_generated[COLUMNS_MAX];
    int highest;
    bool is_told; // the message is written
    bool reuses_names;
    int fresh;
} History;

static unsigned roll(History *history, unsigned sides)
{
    history->state ^= history->state << 13;
    history->state ^= history->state >> 7;
    history->state ^= history->state << 17;
    return (unsigned)(history->state % sides);
}

static bool has_name(const History *history, const char *name)
{
    for (int i = 1; i <= history->highest; i++) {
        if (history->names[i] != NULL && strcmp(history->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *free_name(History *history)
{
    for (;;) {
        int number = history->reuses_names ? (int)roll(history, NAMES) : NAMES + history->fresh++;
        const char *name = arena_printf(&history->arena, "c%d", number);
        if (!has_name(history, name)) {
            return name;
        }
    }
}

static int count_living(const History *history)
{
    int count = 0;
    for (int i = 1; i <= history->highest; i++) {
        count += history->names[i] != NULL;
    }
    return count;
}

static int pick(History *history)
{
    for (;;) {
        int number = 1 + (int)roll(history, (unsigned)history->highest);
        if (history->names[number] != NULL) {
            return number;
        }
    }
}

static void add_column(History *history)
{
    if (history->highest + 1 < COLUMNS_MAX && count_living(history) < NAMES - 1) {
        const char *name = free_name(history);
        history->names[++history->highest] = name;
        history->is_generated[history->highest] = !history->reuses_names && roll(history, 8) == 0;
    }
}

static void change(History *history)
{
    int number = pick(history);
    switch (roll(history, 4)) {
    case 0:
        add_column(history);
        break;
    case 1:
        if (number != 1) { // the key
            history->names[number] = NULL;
        }
        break;
    case 2:
        history->names[number] = free_name(history);
        break;
    default:
        // ALTER COLUMN … DROP EXPRESSION. When it comes behind the message together with others,
        // nobody can tell that the message could not have the column.
        history->is_generated[number] = history->is_generated[number] && history->is_told;
        break;
    }
}

static Relation *describe(History *history)
{
    Relation *relation = arena_alloc_zero(&history->arena, sizeof(*relation));
    relation->columns = ARENA_ARRAY(&history->arena, Column, COLUMNS_MAX);
    relation->highest = (int16_t)history->highest;
    for (int i = 1; i <= history->highest; i++) {
        if (history->names[i] != NULL && !history->is_generated[i]) {
            relation->columns[relation->column_count++] =
                (Column){.name = str_from(history->names[i]), .attnum = (int16_t)i};
        }
    }
    return relation;
}

static CatalogTable look(History *history)
{
    CatalogTable table = {.highest = (int16_t)history->highest};
    table.columns = ARENA_ARRAY(&history->arena, CatalogColumn, COLUMNS_MAX);
    for (int i = 1; i <= history->highest; i++) {
        if (history->names[i] != NULL) {
            table.columns[table.column_count++] = (CatalogColumn){
                .column = {.name = str_from(history->names[i]), .attnum = (int16_t)i},
                .is_generated = history->is_generated[i]};
        }
    }
    return table;
}

static Relation *match(History *history, const CatalogTable *table, const Relation *told)
{
    PgoutputRelation message = {.column_count = told->column_count};
    message.columns = ARENA_ARRAY(&history->arena, PgoutputColumn, told->column_count);
    for (uint16_t i = 0; i < told->column_count; i++) {
        message.columns[i].name = told->columns[i].name;
    }
    TableMatch found = catalog_match(table, &message, &history->arena);
    Relation *relation = relation_copy(&history->arena, told);
    relation->highest = found.highest;
    relation->is_unclear = !found.is_clear;
    for (uint16_t i = 0; i < told->column_count; i++) {
        relation->columns[i].attnum =
            found.columns[i] == NULL ? 0 : found.columns[i]->column.attnum;
    }
    return relation;
}

static bool is_alive(const CatalogTable *table, int16_t attnum)
{
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].column.attnum == attnum) {
            return true;
        }
    }
    return false;
}

typedef enum Outcome { UNCLEAR, RIGHT, WRONG } Outcome;

static Outcome run_case(uint64_t seed, bool reuses_names, unsigned before, unsigned after)
{
    History history = {.state = seed * 0x9e3779b97f4a7c15ULL + 1, .reuses_names = reuses_names};
    for (unsigned i = 2 + roll(&history, 3); i > 0; i--) {
        add_column(&history);
    }
    history.is_generated[1] = false;
    const Relation *was = describe(&history);
    for (unsigned i = roll(&history, before + 1); i > 0; i--) {
        change(&history);
    }
    const Relation *told = describe(&history);
    history.is_told = true;
    for (unsigned i = roll(&history, after + 1); i > 0; i--) {
        change(&history);
    }
    CatalogTable table = look(&history);
    const Relation *now = match(&history, &table, told);
    Outcome outcome = relation_is_uncertain(was, now) ? UNCLEAR : RIGHT;
    for (uint16_t i = 0; outcome != UNCLEAR && i < told->column_count; i++) {
        int16_t truth = told->columns[i].attnum;
        int16_t said = now->columns[i].attnum;
        outcome = said != (is_alive(&table, truth) ? truth : 0) ? WRONG : outcome;
    }
    arena_done(&history.arena);
    return outcome;
}

static void what_is_said_is_so(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        if (run_case(seed, false, 4, 4) == WRONG) {
            fail_msg("seed %llu", (unsigned long long)seed);
        }
    }
}

// What nobody can tell: b is renamed to c, a change is told, c is dropped and another c is added,
// all before the catalog is looked at. It looks like b dropped and c added. So names that are used
// twice may deceive, but the numbers leave little room for it.
static void names_used_twice_rarely_deceive(void **state)
{
    (void)state;
    int wrong = 0;
    for (uint64_t seed = 1; seed <= CASES; seed++) {
        wrong += run_case(seed, true, 4, 4) == WRONG ? 1 : 0;
    }
    print_message("%d of %d are wrong\n", wrong, CASES);
    assert_true(wrong < CASES / 200);
}

// A table that is copied again for no reason is costly, too.
static void single_changes_are_clear(void **state)
{
    (void)state;
    int clear = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        clear += run_case(seed, false, 0, 1) == RIGHT ? 1 : 0;
        clear += run_case(seed, false, 1, 0) == RIGHT ? 1 : 0;
    }
    print_message("%d of 2000 are clear\n", clear);
    assert_true(clear > 1900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_said_is_so),
        cmocka_unit_test(names_used_twice_rarely_deceive),
        cmocka_unit_test(single_changes_are_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
