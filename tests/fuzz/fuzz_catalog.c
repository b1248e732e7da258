// Catalogs of any contents, for a table that a message of any contents describes: what comes out is
// a relation that fits itself.
//
// The input is the length of the message, the message, and the answers to what is asked about it.
#include "base/limits.h"
#include "catalog_answers.h"
#include "pg/catalog.h"

static void check_relation(const Relation *relation)
{
    FUZZ_CHECK(relation->schema.len > 0 && relation->name.len > 0);
    FUZZ_CHECK(relation->column_count <= LIMIT_COLUMNS);
    FUZZ_CHECK(relation->key_count <= relation->column_count);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        FUZZ_CHECK(relation->key[i] < relation->column_count);
    }
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Column *column = &relation->columns[i];
        FUZZ_CHECK(column->name.len > 0);
        FUZZ_CHECK(column->type == type_class(column->base_type_oid));
    }
}

static void check_tables(const Catalog *catalog, Arena *arena)
{
    const uint32_t oid = 1;
    CatalogTables tables;
    Error err = {0};
    if (catalog_load(catalog, &oid, 1, arena, &tables, &err) != STATUS_OK) {
        FUZZ_CHECK(err.message[0] != '\0');
        return;
    }
    for (size_t i = 0; i < tables.count; i++) {
        Relation *relation;
        const Str published[] = {STR("a"), STR("id")};
        (void)catalog_has_identity(&tables.items[i]);
        for (size_t count = 0; count <= ARRAY_LEN(published); count++) {
            if (catalog_relation(&tables.items[i], published, count, arena, &relation, &err) ==
                STATUS_OK) {
                check_relation(relation);
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const Catalog catalog = {0};
    Arena arena = {0};
    Error err = {0};
    Str text = {"", 0};
    uint8_t len = 0;
    answers = reader_from(data, size);
    (void)(reader_u8(&answers, &len) &&
           reader_bytes(&answers, MIN(len, reader_left(&answers)), &text));
    PgoutputMessage message;
    const PgoutputContext context = {.protocol_version = PGOUTPUT_VERSION_MIN};
    if (text.len == 0) {
        check_tables(&catalog, &arena);
    } else if (text.ptr[0] == PGOUTPUT_RELATION &&
               pgoutput_decode(&context, text, &arena, &message, &err) == STATUS_OK) {
        Relation *relation;
        if (catalog_describe(&catalog, &message.relation, &arena, &relation, &err) == STATUS_OK) {
            check_relation(relation);
            FUZZ_CHECK(relation->column_count == message.relation.column_count);
        }
    }
    arena_done(&arena);
    return 0;
}
