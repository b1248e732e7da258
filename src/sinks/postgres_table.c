// Tables: made from the source's relation, checked when they are there, emptied.
#include <assert.h>

#include "sinks/postgres_sink.h"

// Types below this id are the server's own and the same everywhere (FirstNormalObjectId).
enum { FIRST_USER_OID = 16384 };

enum { MISFIT_MAX = 1 << 20 };

static PostgresSink *self(Sink *sink)
{
    return (PostgresSink *)sink;
}

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

// Without a connection (`weir check` describes the target before it is reached) no type is there.
static bool target_has_type(PostgresSink *sink, Str name)
{
    static char yes, no;
    void *known = map_get(&sink->type_exists, name);
    if (known == NULL) {
        const char *parameters[] = {str_to_cstr(&sink->arena, name)};
        CLEANUP(pg_result_clear) PGresult *result = NULL;
        Error ignored = {0};
        // A failure here is one of the next statement too.
        bool there = sink->conn != NULL &&
                     postgres_query(sink, "SELECT to_regtype($1) IS NOT NULL", 1, parameters,
                                    &result, &ignored) == STATUS_OK &&
                     PQgetvalue(result, 0, 0)[0] == 't';
        if (sink->conn == NULL) {
            return false;
        }
        known = there ? &yes : &no;
        (void)map_put(&sink->type_exists, str_from(parameters[0]), known);
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
    .declares_not_null = true,
};

const PgTarget *postgres_target(PostgresSink *sink, const Relation *relation)
{
    const PgTarget *target = map_get_u64(&sink->targets, (uint64_t)(uintptr_t)relation);
    assert(target != NULL);
    sink->subject = target->table;
    return target;
}

// ---------------------------------------------------------------------------------------------
// What is there
// ---------------------------------------------------------------------------------------------

// Types whose "=" holds whenever two values have the same text.
#define WITH_EQUALITY                                                                          \
    "'{bool,int2,int4,int8,oid,float4,float8,numeric,money,text,varchar,bpchar,name,\"char\"," \
    "bytea,date,time,timetz,timestamp,timestamptz,interval,uuid,bit,varbit,inet,cidr,macaddr," \
    "macaddr8,pg_lsn,jsonb}'::regtype[]"

static const char find_sql[] =
    "SELECT c.relkind, a.attname, format_type(a.atttypid, a.atttypmod),"
    "       format_type(a.atttypid, -1),"
    "       CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END,"
    "       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,"
    "       a.attnotnull, a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',"
    "       a.attgenerated <> '', a.attidentity = 'a',"
    "       coalesce(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END"
    "                = ANY (" WITH_EQUALITY "), false),"
    // The search path is empty: an extension's operator is found through its type.
    "       coalesce((SELECT format('OPERATOR(%I.%s)', s.nspname, o.oprname)"
    "          FROM pg_opclass k JOIN pg_am m ON m.oid = k.opcmethod AND m.amname = 'btree'"
    "          JOIN pg_amop p ON p.amopfamily = k.opcfamily AND p.amopstrategy = 3"
    "           AND p.amoplefttype = k.opcintype AND p.amoprighttype = k.opcintype"
    "          JOIN pg_operator o ON o.oid = p.amopopr"
    "          JOIN pg_namespace s ON s.oid = o.oprnamespace"
    "         WHERE k.opcdefault"
    "           AND k.opcintype = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END"
    "         LIMIT 1), '=')"
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  LEFT JOIN pg_attribute a"
    "    ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    "  LEFT JOIN pg_type t ON t.oid = a.atttypid"
    " WHERE n.nspname = $1 AND c.relname = $2 ORDER BY a.attnum";

static bool is_true(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column)[0] == 't';
}

static Status take_column(const PGresult *result, int row, Arena *arena, PgFoundColumn *ret,
                          Error *err)
{
    uint64_t oid;
    int64_t typmod;
    if (!str_to_uint64(str_from(PQgetvalue(result, row, 4)), &oid) || oid > UINT32_MAX ||
        !str_to_int64(str_from(PQgetvalue(result, row, 5)), &typmod) || typmod < INT32_MIN ||
        typmod > INT32_MAX) {
        return error_set(err, ERROR_FATAL, "the target's catalog has a type that is no number");
    }
    *ret = (PgFoundColumn){
        .name = str_copy(arena, str_from(PQgetvalue(result, row, 1))),
        .type = str_copy(arena, str_from(PQgetvalue(result, row, 2))),
        .cast = str_copy(arena, str_from(PQgetvalue(result, row, 3))),
        .type_oid = (uint32_t)oid,
        .typmod = (int32_t)typmod,
        .not_null = is_true(result, row, 6),
        .must_be_given = is_true(result, row, 7),
        .is_generated = is_true(result, row, 8),
        .is_identity_always = is_true(result, row, 9),
        .has_equality = is_true(result, row, 10),
        .equals = str_copy(arena, str_from(PQgetvalue(result, row, 11))),
    };
    return STATUS_OK;
}

Status postgres_find_table(PostgresSink *sink, SqlTable table, Arena *arena, PgFoundTable *ret,
                           Error *err)
{
    const char *parameters[] = {str_to_cstr(arena, table.schema), str_to_cstr(arena, table.name)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (postgres_query(sink, find_sql, 2, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int rows = PQntuples(result);
    *ret = (PgFoundTable){.exists = rows > 0,
                          .columns = ARENA_ARRAY(arena, PgFoundColumn, (size_t)rows)};
    for (int i = 0; i < rows; i++) {
        ret->kind = PQgetvalue(result, i, 0)[0];
        // A table without columns is one row of the outer join.
        if (!PQgetisnull(result, i, 1) &&
            take_column(result, i, arena, &ret->columns[ret->count++], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

const PgFoundColumn *postgres_find_column(const PgFoundTable *found, Str name)
{
    for (size_t i = 0; i < found->count; i++) {
        if (str_equal(found->columns[i].name, name)) {
            return &found->columns[i];
        }
    }
    return NULL;
}

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

static Status check_fit(PostgresSink *sink, const Relation *relation, SqlTable table,
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

static Status has_rows(PostgresSink *sink, Str name, bool *ret, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    const char *sql =
        arena_printf(&sink->scratch, "SELECT EXISTS (SELECT 1 FROM %" STR_FMT ")", STR_ARG(name));
    if (postgres_query(sink, sql, 0, NULL, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = is_true(result, 0, 0);
    return STATUS_OK;
}

static Str table_text(PostgresSink *sink, SqlTable table)
{
    buf_reset(&sink->sql);
    sql_table_name(&sink->sql, table);
    return str_copy(&sink->arena, buf_view(&sink->sql));
}

// ---------------------------------------------------------------------------------------------
// Emptying
// ---------------------------------------------------------------------------------------------

// TRUNCATE may be refused where DELETE is not: it is a right of its own, and it is not possible for
// a table that a foreign key of another one points to, even if that key does not act.
static bool may_delete_instead(const Error *err)
{
    return strcmp(err->sqlstate, "42501") == 0 || strcmp(err->sqlstate, "0A000") == 0 ||
           strcmp(err->sqlstate, "42809") == 0;
}

Status postgres_empty(PostgresSink *sink, const Str *names, size_t count, Error *err)
{
    Error refusal = {0};
    buf_reset(&sink->sql);
    buf_cstr(&sink->sql, "SAVEPOINT weir_empty; TRUNCATE ");
    for (size_t i = 0; i < count; i++) {
        buf_cstr(&sink->sql, i == 0 ? "" : ", ");
        buf_str(&sink->sql, names[i]);
    }
    buf_cstr(&sink->sql, "; RELEASE weir_empty");
    if (postgres_run_buf(sink, &refusal) == STATUS_OK) {
        return STATUS_OK;
    }
    if (!may_delete_instead(&refusal)) {
        *err = refusal;
        return STATUS_FAIL;
    }
    if (postgres_run(sink, "ROLLBACK TO weir_empty; RELEASE weir_empty", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (size_t i = 0; i < count; i++) {
        buf_reset(&sink->sql);
        buf_cstr(&sink->sql, "DELETE FROM ");
        buf_str(&sink->sql, names[i]);
        if (postgres_run_buf(sink, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// A table with rows that this pipeline did not put there.
static Status settle_existing(PostgresSink *sink, Str name, Error *err)
{
    bool rows;
    if (sink->existing == SQL_EXISTING_KEEP) {
        return STATUS_OK;
    }
    if (has_rows(sink, name, &rows, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (rows && sink->existing == SQL_EXISTING_FAIL) {
        error_set(err, ERROR_CONFIG,
                  "target table %" STR_FMT " has rows that this pipeline did not copy",
                  STR_ARG(name));
        return error_hint(err, "Empty it, or say what to do with them: ?existing=truncate removes "
                               "them, ?existing=keep adds the source's rows beside them.");
    }
    return rows ? postgres_empty(sink, &name, 1, err) : STATUS_OK;
}

// An interrupted copy wrote the last rows, for no changes of a table are delivered during its copy.
// An earlier copy that came to its end is part of the history.
static Status clear_last_copy(PostgresSink *sink, const PgTarget *target, Error *err)
{
    buf_reset(&sink->sql);
    buf_cstr(&sink->sql, "DELETE FROM ");
    buf_str(&sink->sql, target->name);
    buf_cstr(&sink->sql, " WHERE \"_weir_op\" = 'read' AND \"_weir_lsn\" COLLATE \"C\" > coalesce("
                         "(SELECT max(\"_weir_lsn\" COLLATE \"C\") FROM ");
    buf_str(&sink->sql, target->name);
    buf_cstr(&sink->sql, " WHERE \"_weir_op\" <> 'read'), '')");
    return postgres_run_buf(sink, err);
}

Status postgres_clear(Sink *base, const Relation *relation, Error *err)
{
    PostgresSink *sink = self(base);
    const PgTarget *target = postgres_target(sink, relation);
    if (postgres_begin(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return sink->mode == SQL_HISTORY ? clear_last_copy(sink, target, err)
                                     : postgres_empty(sink, &target->name, 1, err);
}

// ---------------------------------------------------------------------------------------------
// Making
// ---------------------------------------------------------------------------------------------

Status postgres_make_schema(PostgresSink *sink, Str schema, Error *err)
{
    const char *parameters[] = {str_to_cstr(&sink->scratch, schema)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    // Looked for first: CREATE SCHEMA IF NOT EXISTS wants the right to create also when it exists.
    if (postgres_query(sink, "SELECT 1 FROM pg_namespace WHERE nspname = $1", 1, parameters,
                       &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQntuples(result) > 0) {
        return STATUS_OK;
    }
    buf_reset(&sink->sql);
    buf_cstr(&sink->sql, "CREATE SCHEMA IF NOT EXISTS ");
    sql_identifier(&sink->sql, schema);
    return postgres_run_buf(sink, err);
}

static Relation *with_target_types(PostgresSink *sink, const Relation *relation, Arena *arena)
{
    Relation *copy = relation_copy(arena, relation);
    for (uint16_t i = 0; i < copy->column_count; i++) {
        copy->columns[i].type_name = postgres_type_for(sink, &relation->columns[i]);
    }
    return copy;
}

static bool has_large_values(const Relation *relation)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        TypeClass type = relation->columns[i].type;
        if (type == TYPE_OTHER || type == TYPE_TEXT || type == TYPE_BYTEA || type == TYPE_NUMERIC ||
            type == TYPE_JSON || type == TYPE_JSONB || type == TYPE_BIT) {
            return true;
        }
    }
    return false;
}

static Status make_table(PostgresSink *sink, const Relation *relation, SqlTable table, Error *err)
{
    if (postgres_make_schema(sink, table.schema, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Relation *typed = with_target_types(sink, relation, &sink->scratch);
    buf_reset(&sink->sql);
    sql_create_table(&sink->sql, &postgres_dialect, table, typed, (SqlMode)sink->mode);
    // The last row of a key is looked up for what an update leaves unchanged.
    if (sink->mode == SQL_HISTORY && relation->key_count > 0 && relation->key_count < 30 &&
        has_large_values(relation)) {
        buf_cstr(&sink->sql, "; CREATE INDEX ON ");
        sql_table_name(&sink->sql, table);
        buf_cstr(&sink->sql, " (");
        sql_column_list(&sink->sql, relation, true);
        buf_cstr(&sink->sql, ", \"_weir_lsn\", \"_weir_ordinal\")");
    }
    return postgres_run_buf(sink, err);
}

static void remember(PostgresSink *sink, const Relation *relation, SqlTable table,
                     const PgFoundTable *found)
{
    PgTarget *target = arena_alloc_zero(&sink->arena, sizeof(*target));
    PgColumn *columns = ARENA_ARRAY(&sink->arena, PgColumn, relation->column_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const PgFoundColumn *column = postgres_find_column(found, relation->columns[i].name);
        assert(column != NULL);
        columns[i] = (PgColumn){.type = str_copy(&sink->arena, column->cast),
                                .equals = str_copy(&sink->arena, column->equals),
                                .has_equality = column->has_equality};
    }
    Str name = table_text(sink, table);
    buf_reset(&sink->sql);
    sql_column_list(&sink->sql, relation, false);
    *target = (PgTarget){
        .relation = relation,
        .table = {.schema = str_copy(&sink->arena, table.schema),
                  .name = str_copy(&sink->arena, table.name)},
        .columns = str_copy(&sink->arena, buf_view(&sink->sql)),
        .name = name,
        .column = columns,
    };
    (void)map_put_u64(&sink->targets, (uint64_t)(uintptr_t)relation, target);
}

// ---------------------------------------------------------------------------------------------
// All of it
// ---------------------------------------------------------------------------------------------

static bool is_checkpoint_table(SqlTable table)
{
    return str_equal(table.schema, postgres_checkpoint_table.schema) &&
           str_equal(table.name, postgres_checkpoint_table.name);
}

static Status claim(PostgresSink *sink, const Relation *relation, SqlTable table, Error *err)
{
    if (is_checkpoint_table(table)) {
        error_set(err, ERROR_CONFIG,
                  "table \"weir.checkpoint\" would go where the target keeps its own checkpoint");
        return error_hint(err,
                          "Leave the schema \"weir\" out of the pipeline, or send it elsewhere "
                          "with ?schema=weir:other.");
    }
    return sql_targets_claim(&sink->owners, &postgres_dialect, relation, table, err);
}

static Status bring_about(PostgresSink *sink, const Relation *was, const Relation *now,
                          SqlTable table, Error *err)
{
    PgFoundTable found;
    if (was != NULL) {
        return postgres_evolve(sink, was, now, err);
    }
    if (postgres_find_table(sink, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!found.exists) {
        return make_table(sink, now, table, err);
    }
    if (check_fit(sink, now, table, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return settle_existing(sink, table_text(sink, table), err);
}

Status postgres_prepare(Sink *base, const Relation *was, const Relation *now, Error *err)
{
    PostgresSink *sink = self(base);
    SqlTable table = postgres_place(sink, now);
    PgFoundTable found;
    arena_reset(&sink->scratch);
    if (sql_check_columns(&postgres_dialect, now, (SqlMode)sink->mode, err) != STATUS_OK ||
        claim(sink, now, table, err) != STATUS_OK || postgres_begin(sink, err) != STATUS_OK ||
        postgres_copy_end(sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sink->subject = table;
    if (bring_about(sink, was, now, table, err) != STATUS_OK ||
        postgres_find_table(sink, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!found.exists) {
        error_set(err, ERROR_CONFIG,
                  "target table \"%" STR_FMT "\".\"%" STR_FMT "\" is gone: it was made by this "
                  "pipeline, and dropped by somebody else",
                  STR_ARG(table.schema), STR_ARG(table.name));
        return error_hint(err, "Start again under another --name, which copies it anew.");
    }
    if (check_fit(sink, now, table, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    remember(sink, now, table, &found);
    sink->subject = postgres_target(sink, now)->table;
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// weir check
// ---------------------------------------------------------------------------------------------

static Status check_existing(PostgresSink *sink, const Relation *relation, SqlTable table,
                             const PgFoundTable *found, Report *report, Error *err)
{
    bool rows;
    Error problem = {0};
    if (check_fit(sink, relation, table, found, &problem) != STATUS_OK) {
        report_problem(report, PROBLEM_MUST, problem.hint, "%s", problem.message);
        return STATUS_OK;
    }
    Str name = table_text(sink, table);
    if (has_rows(sink, name, &rows, &problem) != STATUS_OK) {
        if (problem.kind != ERROR_CONFIG) {
            *err = problem;
            return STATUS_FAIL;
        }
        report_problem(report, PROBLEM_MUST, problem.hint, "%s", problem.message);
        return STATUS_OK;
    }
    if (rows && sink->existing == SQL_EXISTING_FAIL) {
        report_problem(report, PROBLEM_NOTE, NULL,
                       "target table %" STR_FMT " has rows: unless this pipeline copied them, it "
                       "will be refused (see existing= of the sink)",
                       STR_ARG(name));
    }
    return STATUS_OK;
}

// The rights that are needed where the table is to be made.
static Status check_rights(PostgresSink *sink, SqlTable table, Report *report, Error *err)
{
    const char *parameters[] = {str_to_cstr(&sink->scratch, table.schema)};
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    CLEANUP(buf_done) Buf mend;
    buf_init(&mend, ERROR_MESSAGE_MAX);
    if (postgres_query(sink,
                       "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),"
                       "       CASE WHEN EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
                       "            THEN has_schema_privilege($1, 'CREATE')"
                       "            ELSE has_database_privilege(current_database(), 'CREATE') END",
                       1, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_true(result, 0, 1)) {
        return STATUS_OK;
    }
    bool schema = is_true(result, 0, 0);
    buf_cstr(&mend, schema ? "GRANT USAGE, CREATE ON SCHEMA " : "GRANT CREATE ON DATABASE ");
    sql_identifier(&mend, schema ? table.schema : str_from(PQdb(sink->conn)));
    buf_cstr(&mend, " TO ");
    sql_identifier(&mend, str_from(PQuser(sink->conn)));
    buf_char(&mend, ';');
    report_problem(report, PROBLEM_MUST, buf_cstring(&mend),
                   "target table \"%" STR_FMT "\".\"%" STR_FMT "\" cannot be made: no right to "
                   "create in %s",
                   STR_ARG(table.schema), STR_ARG(table.name),
                   schema ? "its schema" : "the database");
    return STATUS_OK;
}

Status postgres_check_table(Sink *base, const Relation *relation, Report *report, Error *err)
{
    PostgresSink *sink = self(base);
    SqlTable table = postgres_place(sink, relation);
    PgFoundTable found;
    Error problem = {0};
    arena_reset(&sink->scratch);
    sink->subject = table;
    if (sql_check_columns(&postgres_dialect, relation, (SqlMode)sink->mode, &problem) !=
            STATUS_OK ||
        claim(sink, relation, table, &problem) != STATUS_OK) {
        report_problem(report, PROBLEM_MUST, problem.hint, "%s", problem.message);
        return STATUS_OK;
    }
    if (postgres_find_table(sink, table, &sink->scratch, &found, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return found.exists ? check_existing(sink, relation, table, &found, report, err)
                        : check_rights(sink, table, report, err);
}
