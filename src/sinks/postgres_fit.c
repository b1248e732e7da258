// What the target has: its types and tables, and whether a table takes what the source sends.
#include <assert.h>

#include "sinks/postgres_sink.h"

enum { MISFIT_MAX = 1 << 20 };

// ---------------------------------------------------------------------------------------------
// Names and types
// ---------------------------------------------------------------------------------------------

SqlTable postgres_place(const PostgresSink *sink, const Relation *relation)
{
    SqlTable table = {.schema = relation->schema, .name = relation->name};
    for (size_t i = 0; i < sink->schemas.count; i++) {
        Str to = sink->schemas.items[i];
        Str from = to;
        Str head;
        (void)str_split(&from, ':', &head);
        if (from.ptr == NULL) {
            table.schema = to; // one schema for all
        } else if (str_equal(head, relation->schema)) {
            table.schema = from;
            return table;
        }
    }
    return table;
}

// What is no type's name at all ("???" is one that the source has dropped) is an error, which must
// not end the transaction. Other failures are the next statement's, too.
static bool ask_for_type(PostgresSink *sink, const char *name)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    Error ignored = {0};
    bool guarded = sink->session.in_transaction;
    if (guarded && postgres_run(sink, "SAVEPOINT weir_type_name", &ignored) != STATUS_OK) {
        return false;
    }
    bool asked = postgres_query(sink, "SELECT to_regtype($1) IS NOT NULL", 1, &name, &result,
                                &ignored) == STATUS_OK;
    const char *end =
        asked ? "RELEASE weir_type_name" : "ROLLBACK TO weir_type_name; RELEASE weir_type_name";
    if (guarded && postgres_run(sink, end, &ignored) != STATUS_OK) {
        return false;
    }
    return asked && pg_value(result, 0, 0)[0] == 't';
}

// Without a connection (`weir check` describes the target before it is reached) no type is there.
static bool target_has_type(PostgresSink *sink, Str name)
{
    static char yes, no;
    if (sink->session.conn == NULL) {
        return false;
    }
    void *known = map_get(&sink->type_exists, name);
    if (known == NULL) {
        const char *copy = str_to_cstr(&sink->arena, name);
        known = ask_for_type(sink, copy) ? &yes : &no;
        (void)map_put(&sink->type_exists, str_from(copy), known);
    }
    return known == &yes;
}

// The source's own type where the target has it: always for the server's own types, by name for the
// user's; otherwise what is under a domain, otherwise text, which holds any value exactly.
Str postgres_type_for(PostgresSink *sink, const Column *column)
{
    bool own = column->type_oid < FIRST_USER_OID && column->type_oid != 0;
    if (own || target_has_type(sink, column->type_name)) {
        return column->type_name;
    }
    bool base_own = column->base_type_oid < FIRST_USER_OID && column->base_type_oid != 0;
    if (column->kind != TYPE_KIND_OTHER &&
        (base_own || target_has_type(sink, column->base_type_name))) {
        return column->base_type_name;
    }
    return STR("text");
}

static void print_type(const Column *column, Buf *sql)
{
    buf_str(sql, column->type_name);
}

// Types are resolved before: see with_target_types().
const SqlDialect postgres_dialect = {
    .name = "postgres",
    .type = print_type,
    .text_type = "text",
    .integer_type = "bigint",
    .time_type = "timestamp with time zone",
    .by_bytes = " COLLATE \"C\"",
    .declares_not_null = true,
};

// ---------------------------------------------------------------------------------------------
// Whether it fits
// ---------------------------------------------------------------------------------------------

static bool is_one_of(uint32_t oid, const uint32_t *list)
{
    while (*list != 0 && *list != oid) {
        list++;
    }
    return *list != 0;
}

// Another stock type that takes every value as it is, or refuses it aloud: a column that rounds,
// pads or cuts in silence makes a mirror that differs.
static bool is_wider(const Column *column, const PgFoundColumn *found)
{
    static const uint32_t integers[] = {OID_INT2, OID_INT4, OID_INT8, OID_OID, 0};
    static const uint32_t texts[] = {OID_JSON, OID_XML, 0};
    switch (column->type) {
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
        return is_one_of(found->type_oid, integers) ||
               (found->type_oid == OID_NUMERIC && found->typmod == -1);
    case TYPE_FLOAT4:
        return found->type_oid == OID_FLOAT8;
    case TYPE_TEXT:
        return is_one_of(found->type_oid, texts);
    case TYPE_JSONB:
        return found->type_oid == OID_JSON;
    case TYPE_BIT:
        return found->type_oid == OID_BIT || found->type_oid == OID_VARBIT;
    default:
        return false;
    }
}

static bool same_length_and_scale(const Column *column, const PgFoundColumn *found)
{
    if (found->typmod == -1 || found->typmod == column->base_typmod) {
        return true;
    }
    // Too long is an error; and of numerics, only the scale rounds.
    int precision, scale, found_precision, found_scale;
    return found->type_oid == OID_BIT || found->type_oid == OID_VARBIT ||
           (column->type == TYPE_NUMERIC &&
            numeric_typmod(column->base_typmod, &precision, &scale) &&
            numeric_typmod(found->typmod, &found_precision, &found_scale) && found_scale == scale);
}

bool postgres_type_fits(PostgresSink *sink, const Column *column, const PgFoundColumn *found)
{
    if (str_equal(found->type, postgres_type_for(sink, column)) || found->type_oid == OID_TEXT ||
        found->type_oid == OID_VARCHAR || found->type_oid >= FIRST_USER_OID) {
        return true; // text holds every value; what a user's type takes is for the type to say
    }
    if (found->type_oid == column->base_type_oid) {
        return same_length_and_scale(column, found);
    }
    return is_wider(column, found);
}

typedef struct Misfit {
    Buf what; // one sentence
    Buf mend; // the statement
} Misfit;

static void alter_column(Misfit *misfit, SqlTable table, const char *verb, Str column)
{
    buf_cstr(&misfit->mend, "ALTER TABLE ");
    sql_table_name(&misfit->mend, table);
    buf_cstr(&misfit->mend, verb);
    sql_identifier(&misfit->mend, column);
}

// All that are missing, for one ALTER TABLE.
static bool missing_columns(PostgresSink *sink, const Relation *relation, SqlTable table,
                            const PgFoundTable *found, Misfit *misfit)
{
    size_t count = 0;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Column *column = &relation->columns[i];
        if (postgres_find_column(found, column->name) != NULL) {
            continue;
        }
        if (count++ == 0) {
            alter_column(misfit, table, " ADD COLUMN ", column->name);
        } else {
            buf_cstr(&misfit->mend, ", ADD COLUMN ");
            sql_identifier(&misfit->mend, column->name);
            buf_cstr(&misfit->what, ", ");
        }
        Str type = postgres_type_for(sink, column);
        buf_printf(&misfit->mend, " %" STR_FMT, STR_ARG(type));
        buf_printf(&misfit->what, "\"%" STR_FMT "\"", STR_ARG(column->name));
    }
    if (count > 0) {
        buf_cstr(&misfit->what, count == 1 ? " is missing" : " are missing");
        buf_char(&misfit->mend, ';');
    }
    return count > 0;
}

// What keeps a column of the source out of the table, which has one of that name.
static bool column_misfit(PostgresSink *sink, const Relation *relation, uint16_t index,
                          SqlTable table, const PgFoundTable *found, Misfit *misfit)
{
    const Column *column = &relation->columns[index];
    const PgFoundColumn *there = postgres_find_column(found, column->name);
    Str type = postgres_type_for(sink, column);
    assert(there != NULL);
    buf_printf(&misfit->what, "column \"%" STR_FMT "\" ", STR_ARG(column->name));
    if (there->is_generated) {
        buf_cstr(&misfit->what, "is generated by the target");
        alter_column(misfit, table, " ALTER COLUMN ", column->name);
        buf_cstr(&misfit->mend, " DROP EXPRESSION;");
        return true;
    }
    // A COPY may write it, an UPDATE may not; keys are hardly ever updated.
    if (there->is_identity_always && sink->mode == SQL_MIRROR &&
        !relation_is_key(relation, index)) {
        buf_cstr(&misfit->what, "is always generated as identity by the target");
        alter_column(misfit, table, " ALTER COLUMN ", column->name);
        buf_cstr(&misfit->mend, " SET GENERATED BY DEFAULT;");
        return true;
    }
    if (!postgres_type_fits(sink, column, there)) {
        buf_printf(&misfit->what,
                   "is %" STR_FMT ", which does not hold every %" STR_FMT " as it is",
                   STR_ARG(there->type), STR_ARG(column->type_name));
        alter_column(misfit, table, " ALTER COLUMN ", column->name);
        buf_printf(&misfit->mend, " TYPE %" STR_FMT ";", STR_ARG(type));
        return true;
    }
    return false;
}

static bool is_history_column(const PostgresSink *sink, Str name)
{
    for (int i = 0; sink->mode == SQL_HISTORY && i < SQL_HISTORY_COLUMN_COUNT; i++) {
        if (str_is(name, sql_history_columns[i])) {
            return true;
        }
    }
    return false;
}

static bool extra_misfit(const PostgresSink *sink, const Relation *relation, SqlTable table,
                         const PgFoundTable *found, Misfit *misfit)
{
    for (size_t i = 0; i < found->count; i++) {
        const PgFoundColumn *extra = &found->columns[i];
        if (extra->must_be_given && relation_find_column(relation, extra->name) < 0 &&
            !is_history_column(sink, extra->name)) {
            buf_printf(&misfit->what,
                       "column \"%" STR_FMT "\" is not in the source, and has neither a default "
                       "nor room for NULL",
                       STR_ARG(extra->name));
            alter_column(misfit, table, " ALTER COLUMN ", extra->name);
            buf_cstr(&misfit->mend, " DROP NOT NULL;");
            return true;
        }
    }
    return false;
}

static bool history_misfit(const PostgresSink *sink, SqlTable table, const PgFoundTable *found,
                           Misfit *misfit)
{
    for (int i = 0; sink->mode == SQL_HISTORY && i < SQL_HISTORY_COLUMN_COUNT; i++) {
        Str name = str_from(sql_history_columns[i]);
        if (postgres_find_column(found, name) == NULL) {
            buf_printf(&misfit->what, "column \"%" STR_FMT "\" of a history is missing",
                       STR_ARG(name));
            alter_column(misfit, table, " ADD COLUMN ", name);
            buf_printf(&misfit->mend, " %s;", sql_history_type(&postgres_dialect, i));
            return true;
        }
    }
    return false;
}

// What keeps the table from taking the relation.
static bool find_misfit(PostgresSink *sink, const Relation *relation, SqlTable table,
                        const PgFoundTable *found, Misfit *misfit)
{
    if (strchr("rpf", found->kind) == NULL) {
        buf_cstr(&misfit->what, "it is not a table");
        buf_cstr(&misfit->mend, "Send the table to another schema, with ?schema=from:to.");
        return true;
    }
    if (missing_columns(sink, relation, table, found, misfit)) {
        return true;
    }
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (column_misfit(sink, relation, i, table, found, misfit)) {
            return true;
        }
        buf_reset(&misfit->what);
    }
    return extra_misfit(sink, relation, table, found, misfit) ||
           history_misfit(sink, table, found, misfit);
}

Status postgres_check_fit(PostgresSink *sink, const Relation *relation, SqlTable table,
                          const PgFoundTable *found, Error *err)
{
    Misfit misfit;
    CLEANUP(buf_done) Buf name;
    buf_init(&misfit.what, MISFIT_MAX);
    buf_init(&misfit.mend, MISFIT_MAX);
    buf_init(&name, ERROR_MESSAGE_MAX);
    Status status = STATUS_OK;
    if (find_misfit(sink, relation, table, found, &misfit)) {
        sql_table_name(&name, table);
        error_set(err, ERROR_CONFIG, "target table %s does not fit: %s", buf_cstring(&name),
                  buf_cstring(&misfit.what));
        status = error_hint(err, "%s", buf_cstring(&misfit.mend));
    }
    buf_done(&misfit.what);
    buf_done(&misfit.mend);
    return status;
}

// A row is named by the key alone: some unique index has to have no other columns than those.
Status postgres_has_key(PostgresSink *sink, const Relation *relation, SqlTable table, bool *ret,
                        Error *err)
{
    if (relation->key_count == 0 || sink->mode == SQL_HISTORY) {
        *ret = true;
        return STATUS_OK;
    }
    CLEANUP(buf_done) Buf names;
    buf_init(&names, MISFIT_MAX);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        postgres_array_add(&names, relation->columns[relation->key[i]].name, false);
    }
    buf_char(&names, '}');
    const char *parameters[] = {str_to_cstr(&sink->scratch, table.schema),
                                str_to_cstr(&sink->scratch, table.name), buf_cstring(&names)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_query(
            sink,
            "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            "   JOIN pg_namespace n ON n.oid = c.relnamespace"
            "  WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid"
            "    AND i.indpred IS NULL AND i.indexprs IS NULL"
            "    AND NOT EXISTS (SELECT FROM generate_series(0, i.indnkeyatts - 1) AS at"
            "      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[at]"
            "     WHERE a.attname <> ALL ($3::text[])))",
            3, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = pg_value(result, 0, 0)[0] == 't';
    return STATUS_OK;
}

const char *postgres_key_hint(PostgresSink *sink, const Relation *relation, SqlTable table)
{
    buf_reset(&sink->sql);
    buf_cstr(&sink->sql, "ALTER TABLE ");
    sql_table_name(&sink->sql, table);
    buf_cstr(&sink->sql, " ADD PRIMARY KEY (");
    sql_column_list(&sink->sql, relation, true);
    buf_cstr(&sink->sql, ");");
    return str_to_cstr(&sink->scratch, buf_view(&sink->sql));
}
