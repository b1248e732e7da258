#include "pg/catalog_match.h"

// Columns of the message, one behind the other, that the catalog does not have by their names, and
// the numbers that they can have.
typedef struct Gap {
    const CatalogTable *table;
    const PgoutputColumn *sent;
    const CatalogColumn **columns;
    uint16_t count;
    int16_t from; // the first number
    int16_t end;  // behind the last
    bool is_open; // to columns that came behind the message
} Gap;

static const CatalogColumn *column_by_name(const CatalogTable *table, Str name)
{
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (str_equal(table->columns[i].column.name, name)) {
            return &table->columns[i];
        }
    }
    return NULL;
}

static const CatalogColumn *column_by_number(const CatalogTable *table, int16_t attnum)
{
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].column.attnum == attnum) {
            return &table->columns[i];
        }
    }
    return NULL;
}

// The next number from *at on that a column of the gap can have, of a living column or of a dropped
// one; false at the end. Generated columns are no part of a message, and always were generated.
static bool next_number(const Gap *gap, int16_t *at, const CatalogColumn **ret)
{
    for (; *at < gap->end; (*at)++) {
        *ret = column_by_number(gap->table, *at);
        if (*ret == NULL || !(*ret)->is_generated) {
            return true;
        }
    }
    return false;
}

// They are the gap's numbers in order: all, or those of living columns only. False when a type says
// otherwise, as it may when a column that is alive now was a generated one.
static bool take_numbers(const Gap *gap, bool only_alive)
{
    const CatalogColumn *column;
    bool fits = true;
    uint16_t taken = 0;
    for (int16_t at = gap->from; taken < gap->count && next_number(gap, &at, &column); at++) {
        if (column != NULL || !only_alive) {
            fits = fits && (column == NULL || column->column.type_oid == gap->sent[taken].type_oid);
            gap->columns[taken++] = column;
        }
    }
    return fits;
}

// Whether it is clear which they are. A living column cannot be passed over, except for those
// behind the last one that the message has.
static bool match_gap(const Gap *gap)
{
    const CatalogColumn *column;
    uint16_t alive = 0;
    uint16_t all = 0;
    uint16_t alive_first = 0; // before the first dropped one
    for (int16_t at = gap->from; next_number(gap, &at, &column); at++) {
        bool is_alive = column != NULL;
        if (is_alive && alive_first == all) {
            alive_first++;
        }
        if (is_alive) {
            alive++;
        }
        all++;
    }
    bool are_alive = gap->is_open ? gap->count <= alive_first : gap->count == alive;
    if (are_alive || gap->count == all) {
        return take_numbers(gap, are_alive);
    }
    return alive == 0 && gap->count < all; // dropped ones, whichever they are
}

static bool match_names(const CatalogTable *table, const PgoutputRelation *message,
                        const CatalogColumn **columns)
{
    int16_t last = 0;
    bool are_in_order = true;
    for (uint16_t i = 0; i < message->column_count; i++) {
        const CatalogColumn *column = column_by_name(table, message->columns[i].name);
        if (column != NULL) {
            columns[i] = column;
            are_in_order = are_in_order && column->column.attnum > last;
            last = column->column.attnum;
        }
    }
    return are_in_order;
}

static int16_t number_of(const CatalogColumn *column)
{
    return column->column.attnum;
}

static bool match_gaps(const CatalogTable *table, const PgoutputRelation *message,
                       const CatalogColumn **columns)
{
    uint16_t count = message->column_count;
    bool is_clear = true;
    int16_t from = 1;
    uint16_t first = 0;
    for (uint16_t i = 0; i <= count; i++) {
        if (i < count && columns[i] == NULL) {
            continue;
        }
        const CatalogColumn *next = i < count ? columns[i] : NULL;
        Gap gap = {.table = table,
                   .sent = &message->columns[first],
                   .columns = &columns[first],
                   .count = (uint16_t)(i - first),
                   .from = from,
                   .end = next == NULL ? (int16_t)(table->highest + 1) : number_of(next),
                   .is_open = next == NULL};
        is_clear = match_gap(&gap) && is_clear;
        if (next != NULL) {
            from = (int16_t)(number_of(next) + 1);
            first = (uint16_t)(i + 1);
        }
    }
    return is_clear;
}

// Of columns that are behind all of the message's, living ones came later; dropped ones may have
// been there.
static int16_t find_highest(const CatalogTable *table, const CatalogColumn **columns,
                            uint16_t count)
{
    int16_t last = 0;
    for (uint16_t i = 0; i < count; i++) {
        last = columns[i] == NULL ? last : MAX(last, number_of(columns[i]));
    }
    for (uint16_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].column.attnum > last && !table->columns[i].is_generated) {
            return last;
        }
    }
    return table->highest;
}

TableMatch catalog_match(const CatalogTable *table, const PgoutputRelation *message, Arena *arena)
{
    uint16_t count = message->column_count;
    TableMatch match = {.columns = ARENA_ARRAY(arena, const CatalogColumn *, count),
                        .is_clear = true};
    if (table == NULL) {
        return match;
    }
    bool are_in_order = match_names(table, message, match.columns);
    if (table->has_column_list) {
        // What it leaves out cannot be told from what was dropped.
        for (uint16_t i = 0; i < count; i++) {
            match.is_clear = match.is_clear && match.columns[i] != NULL;
        }
    } else {
        match.is_clear = are_in_order && match_gaps(table, message, match.columns);
    }
    match.is_clear = match.is_clear && are_in_order;
    match.highest = find_highest(table, match.columns, count);
    return match;
}
