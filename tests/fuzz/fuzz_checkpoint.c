// What a checkpoint has, of any bytes: a table's entry and a position are read or refused, and what
// was read is the same after it was written and read again.
#include "fuzz.h"
#include "pipeline/tables.h"

static void check_position(Str text)
{
    Position position;
    Position again;
    if (position_parse(text, &position)) {
        char written[POSITION_TEXT_SIZE];
        position_format(position, written);
        FUZZ_CHECK(position_parse(str_from(written), &again));
        FUZZ_CHECK(position_compare(position, again) == 0);
    }
}

static bool load(Tables *tables, Str text)
{
    Checkpoint stored = {0};
    Error err = {0};
    tables_init(tables);
    checkpoint_set(&stored, STR("table:1"), text);
    Status status = tables_load(tables, &stored, &err);
    FUZZ_CHECK(status == STATUS_OK || (err.kind == ERROR_FATAL && err.message[0] != '\0'));
    checkpoint_done(&stored);
    return status == STATUS_OK;
}

static Table *only_table(const Tables *tables)
{
    size_t cursor = 0;
    void *table = NULL;
    FUZZ_CHECK(map_next(&tables->by_oid, &cursor, &table));
    return table;
}

static void save(const Tables *tables, Checkpoint *ret)
{
    table_save(only_table(tables), ret);
    FUZZ_CHECK(ret->count == 1);
}

static void check_relation(const Relation *relation)
{
    FUZZ_CHECK(relation->column_count > 0 && relation->key_count <= relation->column_count);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        FUZZ_CHECK(relation->key[i] < relation->column_count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Str text = {(const char *)data, size};
    Tables tables;
    Tables again;
    Checkpoint written = {0};
    Checkpoint written_again = {0};
    check_position(text);
    if (load(&tables, text)) {
        check_relation(only_table(&tables)->target);
        save(&tables, &written);
        FUZZ_CHECK(load(&again, written.entries[0].value));
        FUZZ_CHECK(relation_is_same(only_table(&tables)->target, only_table(&again)->target));
        save(&again, &written_again);
        FUZZ_CHECK(str_equal(written.entries[0].value, written_again.entries[0].value));
        tables_done(&again);
    }
    tables_done(&tables);
    checkpoint_done(&written);
    checkpoint_done(&written_again);
    return 0;
}
