// The postgres sink against a real server: tables made, found, altered; rights; weir check.
#include "sinks/postgres_fixture.h"

static const char columns_sql[] =
    "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef"
    " FROM pg_attribute a WHERE a.attrelid = 'app.t'::regclass AND a.attnum > 0"
    " AND NOT a.attisdropped ORDER BY a.attnum";

static const char key_sql[] =
    "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'app.t'::regclass"
    " AND contype = 'p'";

static Column not_null(Column column)
{
    column.not_null = true;
    return column;
}

static Column with_missing(Column column, const char *value)
{
    column.has_default = true;
    column.missing_value = str_from(value);
    return column;
}

static Column varying(const char *name, int16_t attnum, int32_t length)
{
    Column made = column(name, attnum, OID_VARCHAR,
                         length == 3 ? "character varying(3)" : "character varying(30)");
    made.typmod = made.base_typmod = length + 4;
    return made;
}

static Column user_type(const char *name, int16_t attnum, const char *type, TypeKind kind)
{
    Column made = column(name, attnum, 70000, type);
    made.kind = kind;
    return made;
}

static Relation *simple(Fixture *f)
{
    return TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)), TEXT("a", 2), TEXT("b", 3));
}

static void evolve(Fixture *f, const Relation *was, const Relation *now)
{
    assert_ok(f, sink_prepare(f, was, now));
    assert_ok(f, sink_commit(f, NULL, NULL));
}

static void one_row(Fixture *f, const Relation *relation, const Value *row)
{
    assert_ok(f, write_change(f, CHANGE_INSERT, relation, NULL, row));
    assert_ok(f, sink_commit(f, NULL, NULL));
}

static void tables_are_made_with_types_keys_and_not_null(void **state)
{
    Fixture *f = *state;
    Relation *relation =
        TABLE(f, 1, "app", "t", "ba", not_null(INT4("id", 1)), not_null(varying("v", 2, 30)),
              column("n", 3, OID_NUMERIC, "numeric(10,2)"), column("arr", 4, 1007, "integer[]"),
              column("r", 5, 3904, "int4range"), user_type("mood", 6, "app.mood", TYPE_KIND_ENUM),
              user_type("point", 7, "app.\"a point\"", TYPE_KIND_COMPOSITE));
    execute(f, "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('ok')");
    begin_with(f, relation);
    assert_look(f, columns_sql,
                "id|integer|t|f\nv|character varying(30)|t|f\nn|numeric(10,2)|f|f\n"
                "arr|integer[]|f|f\nr|int4range|f|f\nmood|app.mood|f|f\npoint|text|f|f");
    assert_look(f, key_sql, "PRIMARY KEY (v, id)");
}

static void an_unknown_domain_becomes_its_base(void **state)
{
    Fixture *f = *state;
    Column domain = user_type("d", 2, "app.amount", TYPE_KIND_BASE);
    domain.base_type_oid = OID_NUMERIC;
    domain.base_type_name = STR("numeric(8,3)");
    begin_with(f, TABLE(f, 1, "app", "t", "a", INT4("id", 1), domain));
    assert_look(f,
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = 'app.t'::regclass AND attname = 'd'",
                "numeric(8,3)");
}

// So format_type() names what is not in the catalog any more.
static void a_type_that_is_gone_becomes_text(void **state)
{
    Fixture *f = *state;
    Relation *was = TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)));
    Relation *now = TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)),
                          user_type("m", 2, "???", TYPE_KIND_OTHER));
    begin_with(f, was);
    assert_ok(f, sink_prepare(f, was, now));
    assert_ok(f, write_change(f, CHANGE_INSERT, now, NULL, ROW(T("1"), T("x"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT m, pg_typeof(m) FROM app.t", "x|text");
}

static void names_need_no_mercy(void **state)
{
    Fixture *f = *state;
    Relation *relation =
        TABLE(f, 1, "a \"b\".c", "Tä'b$1", "a", INT4("se;lect", 1), TEXT("\"; DROP --", 2));
    begin_with(f, relation);
    one_row(f, relation, ROW(T("1"), T("x")));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("y")));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("2"), T("z")));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("3"), T("z")));
    assert_ok(f, write_batch(f));
    assert_ok(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("3"), T("w"))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM \"a \"\"b\"\".c\".\"Tä'b$1\" ORDER BY 1", "1|y\n2|z\n3|w");
}

static void schemas_are_mapped(void **state)
{
    Fixture *f = *state;
    set_option(f, "schema", "app:one,other:two");
    begin_with(f, TABLE(f, 1, "app", "t", "a", INT4("id", 1)));
    assert_ok(f, sink_prepare(f, NULL, TABLE(f, 2, "third", "t", "a", INT4("id", 1))));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT to_regclass('one.t'), to_regclass('third.t')", "one.t|third.t");
    f->settings[1].value = STR("all");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, TABLE(f, 1, "app", "t", "a", INT4("id", 1))));
    assert_fails(f, sink_prepare(f, NULL, TABLE(f, 2, "third", "t", "a", INT4("id", 1))),
                 ERROR_CONFIG, "would both go to");
    f->settings[1].value = STR("app:");
    assert_fails(f, sink_start(f, NULL), ERROR_CONFIG, "empty name");
    f->settings[1].value = STR("a,b");
    assert_fails(f, sink_start(f, NULL), ERROR_CONFIG, "several schemas");
}

static void the_checkpoint_is_no_target(void **state)
{
    Fixture *f = *state;
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, sink_prepare(f, NULL, TABLE(f, 1, "weir", "checkpoint", "a", TEXT("key", 1))),
                 ERROR_CONFIG, "schema=weir:other");
}

// ---------------------------------------------------------------------------------------------
// Tables that are there
// ---------------------------------------------------------------------------------------------

static void refused(Fixture *f, const char *definition, const char *part)
{
    char *sql =
        arena_printf(&f->arena, "DROP TABLE IF EXISTS app.t; CREATE TABLE app.t (%s)", definition);
    execute(f, sql);
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, sink_prepare(f, NULL, simple(f)), ERROR_CONFIG, part);
}

static void tables_that_do_not_fit_are_refused(void **state)
{
    Fixture *f = *state;
    execute(f, "CREATE SCHEMA app");
    refused(f, "id int, a text", "ALTER TABLE \"app\".\"t\" ADD COLUMN \"b\" text;");
    refused(f, "id int, a text, b text, c int NOT NULL",
            "ALTER TABLE \"app\".\"t\" ALTER COLUMN \"c\" DROP NOT NULL;");
    refused(f, "id int, a text, b char(9)", "TYPE text;");
    refused(f, "id int, a text, b date", "is date, which does not hold every text as it is");
    refused(f, "id date, a text, b text", "TYPE integer;");
    refused(f, "id int, a text, b text GENERATED ALWAYS AS (a) STORED", "DROP EXPRESSION;");
    execute(f, "DROP TABLE app.t; CREATE VIEW app.t AS SELECT 1 AS id, 'a' AS a, 'b' AS b");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, sink_prepare(f, NULL, simple(f)), ERROR_CONFIG, "it is not a table");
}

static void tables_that_fit_are_taken(void **state)
{
    Fixture *f = *state;
    execute(f, "CREATE SCHEMA app; CREATE TABLE app.t (extra int DEFAULT 7, b varchar, id bigint"
               " GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text NOT NULL,"
               " twice text GENERATED ALWAYS AS (a || a) STORED)");
    Relation *relation = simple(f);
    begin_with(f, relation);
    one_row(f, relation, ROW(T("5"), T("x"), NIL));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("5"), T("y"), SAME));
    add_change(f, CHANGE_READ, relation, NULL, ROW(T("6"), T("z"), T("w")));
    assert_ok(f, write_batch(f));
    assert_ok(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("6"), T("zz"), SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, a, b, extra, twice FROM app.t ORDER BY id",
                "5|y|~|7|yy\n6|zz|w|7|zzzz");
}

static void values_are_never_cut(void **state)
{
    Fixture *f = *state;
    Relation *relation = TABLE(f, 1, "app", "t", "a", INT4("id", 1), TEXT("v", 2));
    execute(f, "CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, v varchar(3))");
    begin_with(f, relation);
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("1"), T("abc")));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("2"), T("def")));
    add_change(f, CHANGE_INSERT, relation, NULL, ROW(T("3"), T("ghi")));
    assert_ok(f, write_batch(f));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("abcd")));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("2"), T("x")));
    add_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("3"), T("y")));
    assert_fails(f, settled(f, write_batch(f)), ERROR_DATA,
                 "too long for type character varying(3)");
}

static void numerics_must_not_round(void **state)
{
    Fixture *f = *state;
    Column scaled = column("n", 2, OID_NUMERIC, "numeric(10,2)");
    scaled.typmod = scaled.base_typmod = ((10 << 16) | 2) + 4;
    execute(f, "CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, n numeric(12,2))");
    begin_with(f, TABLE(f, 1, "app", "t", "a", INT4("id", 1), scaled));
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f,
                 sink_prepare(f, NULL,
                              TABLE(f, 1, "app", "t", "a", INT4("id", 1),
                                    column("n", 2, OID_NUMERIC, "numeric"))),
                 ERROR_CONFIG, "TYPE numeric;");
}

static void rows_that_are_there_are_not_touched(void **state)
{
    Fixture *f = *state;
    Relation *relation = simple(f);
    execute(f, "CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, a text, b text);"
               "INSERT INTO app.t VALUES (99)");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, sink_prepare(f, NULL, relation), ERROR_CONFIG, "existing=truncate");
    set_option(f, "existing", "keep");
    begin_with(f, relation);
    assert_true(f->sink->ops->keeps_rows(f->sink, relation));
    assert_ok(f, f->sink->ops->clear(f->sink, relation, LSN_NONE, &f->error));
    assert_look(f, "SELECT id FROM app.t", "99");
    assert_fails(f, f->sink->ops->clear(f->sink, relation, 1, &f->error), ERROR_CONFIG,
                 "DELETE FROM \"weir\".\"checkpoint\"");
    f->settings[1].value = STR("truncate");
    begin_with(f, relation);
    assert_look(f, "SELECT id FROM app.t", "");
}

static void a_table_without_an_index_on_the_key_is_told(void **state)
{
    Fixture *f = *state;
    execute(f,
            "CREATE SCHEMA app; CREATE TABLE app.t (id int, a text, b text);"
            "CREATE UNIQUE INDEX ON app.t (id, a); CREATE UNIQUE INDEX ON app.t (id) WHERE id > 9");
    begin_with(f, simple(f));
    assert_non_null(strstr(f->notice, "ALTER TABLE \"app\".\"t\" ADD PRIMARY KEY (\"id\");"));
    f->notice[0] = '\0';
    execute(f, "CREATE UNIQUE INDEX ON app.t (id) INCLUDE (b)");
    begin_with(f, simple(f));
    assert_string_equal(f->notice, "");
}

static void clear_leaves_nothing(void **state)
{
    Fixture *f = *state;
    Relation *relation = simple(f);
    begin_with(f, relation);
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("1"), T("x"), NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_ok(f, f->sink->ops->clear(f->sink, relation, LSN_NONE, &f->error));
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("2"), T("y"), NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id FROM app.t", "2");
}

static void a_table_that_was_dropped_is_missed(void **state)
{
    Fixture *f = *state;
    Relation *relation = simple(f);
    begin_with(f, relation);
    execute(f, "DROP TABLE app.t");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, sink_prepare(f, relation, relation), ERROR_CONFIG, "is gone");
}

// ---------------------------------------------------------------------------------------------
// Altering
// ---------------------------------------------------------------------------------------------

static void columns_come_and_go(void **state)
{
    Fixture *f = *state;
    Relation *was = simple(f);
    begin_with(f, was);
    one_row(f, was, ROW(T("1"), T("x"), T("y")));
    Relation *now = TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)), TEXT("b", 3),
                          with_missing(TEXT("c", 4), "it's"), not_null(INT4("d", 5)));
    now->columns[3].not_null = false;
    evolve(f, was, now);
    assert_look(f, columns_sql, "id|integer|t|f\nb|text|f|f\nc|text|f|f\nd|integer|f|f");
    assert_look(f, "SELECT * FROM app.t", "1|y|it's|~");
    one_row(f, now, ROW(T("2"), T("z"), NIL, T("4")));
    assert_look(f, "SELECT * FROM app.t WHERE id = 2", "2|z|~|4");
}

static void a_column_that_the_target_had_first_is_taken(void **state)
{
    Fixture *f = *state;
    Relation *was = simple(f);
    begin_with(f, was);
    one_row(f, was, ROW(T("1"), T("x"), T("y")));
    execute(f, "ALTER TABLE app.t ADD c text");
    Relation *now = TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)), TEXT("a", 2),
                          TEXT("b", 3), with_missing(TEXT("c", 4), "new"));
    evolve(f, was, now);
    assert_look(f, "SELECT * FROM app.t", "1|x|y|new");
}

static void names_are_exchanged(void **state)
{
    Fixture *f = *state;
    Relation *was = simple(f);
    begin_with(f, was);
    one_row(f, was, ROW(T("1"), T("x"), T("y")));
    Relation *now =
        TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)), TEXT("b", 2), TEXT("a", 3));
    evolve(f, was, now);
    assert_look(f, "SELECT b, a FROM app.t", "x|y");
    // And a name that a dropped column had, beside a new column of the old name.
    Relation *then =
        TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)), TEXT("a", 2), TEXT("b", 9));
    evolve(f, now, then);
    assert_look(f, "SELECT a, b FROM app.t", "x|~");
}

static void tables_move(void **state)
{
    Fixture *f = *state;
    Relation *was = simple(f);
    begin_with(f, was);
    one_row(f, was, ROW(T("1"), T("x"), T("y")));
    Relation *now =
        TABLE(f, 1, "else where", "T2", "a", not_null(INT4("id", 1)), TEXT("a2", 2), TEXT("b", 3));
    evolve(f, was, now);
    one_row(f, now, ROW(T("2"), T("x"), T("y")));
    assert_look(f, "SELECT id, a2 FROM \"else where\".\"T2\" ORDER BY id", "1|x\n2|x");
}

// Their names are one namespace with those of tables, and they move along.
static void indexes_make_way(void **state)
{
    Fixture *f = *state;
    Relation *was = simple(f);
    begin_with(f, was);
    one_row(f, was, ROW(T("1"), T("x"), T("y")));
    execute(f, "CREATE INDEX t_a ON app.t (a); CREATE SCHEMA b;"
               "CREATE TABLE b.last (id int CONSTRAINT t_pkey PRIMARY KEY, a int);"
               "CREATE INDEX t_a ON b.last (a); CREATE INDEX moved ON b.last (a);"
               "CREATE TABLE b.t (id int); CREATE TABLE app.moved (id int);"
               "CREATE TABLE b.t_a_1 (id int)");
    Relation *now =
        TABLE(f, 1, "b", "moved", "a", not_null(INT4("id", 1)), TEXT("a", 2), TEXT("b", 3));
    evolve(f, was, now);
    one_row(f, now, ROW(T("2"), T("x"), T("y")));
    assert_look(f, "SELECT id FROM b.moved ORDER BY id", "1\n2");
    assert_look(f,
                "SELECT string_agg(indexname, ' ' ORDER BY indexname) FROM pg_indexes "
                "WHERE schemaname = 'b' GROUP BY tablename ORDER BY tablename",
                "moved_1 t_a t_pkey\nt_a_2 t_pkey_1");
    Relation *back =
        TABLE(f, 1, "b", "t_a", "a", not_null(INT4("id", 1)), TEXT("a", 2), TEXT("b", 3));
    evolve(f, now, back);
    assert_look(f, "SELECT count(*) FROM b.t_a", "2");
}

// With a name of 63 bytes, which are fewer characters.
static void a_long_name_of_an_index_makes_way(void **state)
{
    Fixture *f = *state;
    Relation *was = simple(f);
    begin_with(f, was);
    execute(f, "DO $$ DECLARE long text := repeat('\u00fc', 31) || 'x'; BEGIN "
               "EXECUTE format('CREATE INDEX %I ON app.t (a)', long);"
               "EXECUTE 'CREATE SCHEMA b; CREATE TABLE b.u (a int)';"
               "EXECUTE format('CREATE INDEX %I ON b.u (a)', long); END $$");
    Relation *now = TABLE(f, 1, "b", "t", "a", not_null(INT4("id", 1)), TEXT("a", 2), TEXT("b", 3));
    evolve(f, was, now);
    assert_look(f,
                "SELECT count(*) FROM pg_indexes WHERE schemaname = 'b' AND indexname = "
                "repeat('\u00fc', 29) || '_1'",
                "1");
}

static void types_change(void **state)
{
    Fixture *f = *state;
    Relation *was = TABLE(f, 1, "app", "t", "a", INT4("id", 1), TEXT("a", 2), varying("v", 3, 3));
    begin_with(f, was);
    one_row(f, was, ROW(T("1"), T("12"), T("abc")));
    Relation *now = TABLE(f, 1, "app", "t", "a", INT4("id", 1), INT4("a", 2), varying("v", 3, 30));
    evolve(f, was, now);
    assert_look(f, columns_sql, "id|integer|t|f\na|integer|f|f\nv|character varying(30)|f|f");
    assert_look(f, "SELECT * FROM app.t", "1|12|abc");
}

static void keys_change(void **state)
{
    Fixture *f = *state;
    Relation *was = simple(f);
    begin_with(f, was);
    Relation *full = simple(f);
    full->identity = IDENTITY_FULL;
    char *before = look(f, "SELECT conindid FROM pg_constraint WHERE conrelid = 'app.t'::regclass");
    evolve(f, was, full); // the same key: its index is not built again
    assert_look(f, "SELECT conindid FROM pg_constraint WHERE conrelid = 'app.t'::regclass", before);
    Relation *other = TABLE(f, 1, "app", "t", "cb", not_null(INT4("id", 1)), not_null(TEXT("a", 2)),
                            not_null(TEXT("b", 3)));
    evolve(f, full, other);
    assert_look(f, key_sql, "PRIMARY KEY (b, a)");
    Relation *none = TABLE(f, 1, "app", "t", "", INT4("id", 1), TEXT("a", 2), TEXT("b", 3));
    evolve(f, other, none);
    assert_look(f, key_sql, "");
    // Nothing keeps NULL out any more.
    one_row(f, none, ROW(NIL, NIL, NIL));
}

static void a_failed_alter_leaves_the_table(void **state)
{
    Fixture *f = *state;
    Relation *was = simple(f);
    begin_with(f, was);
    execute(f, "CREATE VIEW app.v AS SELECT b FROM app.t");
    Relation *now = TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)), TEXT("a2", 2));
    assert_fails(f, sink_prepare(f, was, now), ERROR_CONFIG, "depends on");
    assert_ok(f, sink_start(f, NULL));
    assert_look(f, columns_sql, "id|integer|t|f\na|text|f|f\nb|text|f|f");
}

// ---------------------------------------------------------------------------------------------
// Rights
// ---------------------------------------------------------------------------------------------

static void with_user(Fixture *f)
{
    execute(f, "DO $$BEGIN CREATE ROLE \"some one\" LOGIN;"
               "EXCEPTION WHEN duplicate_object THEN NULL; END$$;"
               "REVOKE ALL ON SCHEMA public FROM PUBLIC");
    as_user(f, "'some one'");
}

static void a_label_that_is_missing_is_named(void **state)
{
    Fixture *f = *state;
    execute(f, "CREATE SCHEMA app; CREATE TYPE app.\"my mood\" AS ENUM ('a')");
    Relation *relation = TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)),
                               user_type("m", 2, "app.\"my mood\"", TYPE_KIND_ENUM));
    const char *mend = "ALTER TYPE app.\"my mood\" ADD VALUE 'it''s \"new\"';";
    begin_with(f, relation);
    one_row(f, relation, ROW(T("1"), T("a")));
    assert_ok(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("2"), T("it's \"new\""))));
    assert_fails(f, sink_commit(f, NULL, NULL), ERROR_DATA, mend);
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, relation, relation));
    assert_fails(
        f,
        settled(f, write_change(f, CHANGE_UPDATE, relation, NULL, ROW(T("1"), T("it's \"new\"")))),
        ERROR_DATA, mend);
}

static void missing_rights_are_named(void **state)
{
    Fixture *f = *state;
    Relation *relation = simple(f);
    with_user(f);
    assert_fails(f, sink_start(f, NULL), ERROR_CONFIG, "GRANT CREATE ON DATABASE \"test");
    assert_non_null(strstr(f->error.hint, "TO \"some one\";"));
    execute(f, "CREATE SCHEMA weir AUTHORIZATION \"some one\"; CREATE SCHEMA app;"
               "GRANT USAGE ON SCHEMA app TO \"some one\"");
    assert_ok(f, sink_start(f, NULL));
    assert_non_null(strstr(f->notice, "session_replication_role"));
    assert_fails(f, sink_prepare(f, NULL, relation), ERROR_CONFIG,
                 "GRANT USAGE, CREATE ON SCHEMA \"app\" TO \"some one\";");
    execute(f, "CREATE TABLE app.t (id int PRIMARY KEY, a text, b text)");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(
        f, sink_prepare(f, NULL, relation), ERROR_CONFIG,
        "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON \"app\".\"t\" TO \"some one\";");
    execute(f, "GRANT SELECT ON app.t TO \"some one\"");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, NULL, relation));
    assert_fails(f, write_change(f, CHANGE_READ, relation, NULL, ROW(T("1"), NIL, NIL)),
                 ERROR_CONFIG, "UPDATE, DELETE, TRUNCATE ON \"app\".\"t\"");
    execute(f, "GRANT INSERT, DELETE ON app.t TO \"some one\"");
    begin_with(f, relation);
    one_row(f, relation, ROW(T("1"), NIL, NIL));
    // No TRUNCATE: the rows are deleted.
    assert_ok(f, write_change(f, CHANGE_TRUNCATE, relation, NULL, NULL));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT count(*) FROM app.t", "0");
    Relation *now = TABLE(f, 1, "app", "t", "a", not_null(INT4("id", 1)), TEXT("a", 2));
    assert_fails(f, sink_prepare(f, relation, now), ERROR_CONFIG,
                 "ALTER TABLE \"app\".\"t\" OWNER TO \"some one\";");
}

static void check_says_what_is_missing(void **state)
{
    Fixture *f = *state;
    Report report = {0};
    Relation *relation = simple(f);
    with_user(f);
    execute(f, "CREATE SCHEMA weir AUTHORIZATION \"some one\"; CREATE SCHEMA app");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, f->sink->ops->check(f->sink, relation, &report, &f->error));
    assert_int_equal(report.count, 1);
    assert_true(
        str_is(report.problems[0].mend, "GRANT USAGE, CREATE ON SCHEMA \"app\" TO \"some one\";"));
    execute(f, "GRANT USAGE, CREATE ON SCHEMA app TO \"some one\"");
    assert_ok(f, f->sink->ops->check(f->sink, relation, &report, &f->error));
    assert_int_equal(report.count, 1);
    execute(f, "CREATE TABLE app.t (id int primary key, a text, b text);"
               "GRANT SELECT ON app.t TO \"some one\"");
    assert_ok(f, f->sink->ops->check(f->sink, relation, &report, &f->error));
    assert_int_equal(report.count, 2);
    assert_true(str_is(report.problems[1].mend, "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON "
                                                "\"app\".\"t\" TO \"some one\";"));
    report.count = 1;
    execute(f, "ALTER TABLE app.t DROP a, DROP b; GRANT ALL ON app.t TO \"some one\"");
    assert_ok(f, f->sink->ops->check(f->sink, relation, &report, &f->error));
    assert_int_equal(report.count, 2);
    assert_true(str_is(report.problems[1].mend,
                       "ALTER TABLE \"app\".\"t\" ADD COLUMN \"a\" text, ADD COLUMN \"b\" text;"));
    report_done(&report);
}

// Binary where both sides have the same stock types; text where a number of a catalog row, a locale
// or another type would be in the way.
static void copied_rows_pass_in_the_form_that_both_sides_know(void **state)
{
    Fixture *f = *state;
    execute(f, "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad');"
               "CREATE TABLE app.wider (id bigint PRIMARY KEY, a text)");
    assert_ok(f, sink_start(f, NULL));
    const Relation *same = simple(f);
    assert_ok(f, sink_prepare(f, NULL, same));
    assert_int_equal(f->sink->ops->copy_form(f->sink, same), COPY_FORM_BINARY);
    const Relation *with_enum = TABLE(f, 2, "app", "e", "a", not_null(INT4("id", 1)),
                                      user_type("m", 2, "app.mood", TYPE_KIND_ENUM));
    assert_ok(f, sink_prepare(f, NULL, with_enum));
    assert_int_equal(f->sink->ops->copy_form(f->sink, with_enum), COPY_FORM_TEXT);
    const Relation *wider = TABLE(f, 3, "app", "wider", "a", not_null(INT4("id", 1)), TEXT("a", 2));
    assert_ok(f, sink_prepare(f, NULL, wider));
    assert_int_equal(f->sink->ops->copy_form(f->sink, wider), COPY_FORM_TEXT);
}

static const Relation *with_two_keys(Fixture *f)
{
    execute(f, "CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad')");
    return TABLE(f, 2, "app", "t", "ba", not_null(INT4("id", 1)), not_null(TEXT("k", 2)),
                 TEXT("v", 3), user_type("m", 4, "app.mood", TYPE_KIND_ENUM));
}

// Rows of 1 kB each, in COPY's text format.
static void copy_megabytes(Fixture *f, const Relation *relation, int megabytes)
{
    static int id;
    Buf rows = {.max = 2 << 20};
    char filler[1001];
    memset(filler, 'x', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    for (int i = 0; i < megabytes; i++) {
        buf_reset(&rows);
        for (int row = 0; row < 1024; row++) {
            buf_printf(&rows, "%d\tk\t%s\tsad\n", ++id, filler);
        }
        assert_ok(f, f->sink->ops->write_rows(f->sink, relation, buf_view(&rows), 1024, &f->error));
    }
    buf_done(&rows);
    assert_ok(f, sink_commit(f, NULL, NULL));
}

static const char *key_of(Fixture *f)
{
    return look(f, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND "
                   "conrelid = 'app.t'::regclass");
}

static const char *marks_of(Fixture *f)
{
    return look(f, "SELECT key FROM weir.checkpoint ORDER BY key");
}

static void the_key_of_a_new_table_comes_behind_many_rows(void **state)
{
    Fixture *f = *state;
    const Relation *relation = with_two_keys(f);
    begin_with(f, relation);
    assert_string_equal(key_of(f), "PRIMARY KEY (k, id)");
    copy_megabytes(f, relation, 1);
    assert_string_equal(key_of(f), "PRIMARY KEY (k, id)");
    copy_megabytes(f, relation, 8);
    assert_string_equal(key_of(f), "");
    // Killed, and once more: it is known that the key is missing.
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_prepare(f, relation, relation));
    assert_ok(f, f->sink->ops->clear(f->sink, relation, LSN_NONE, &f->error));
    copy_megabytes(f, relation, 1);
    assert_ok(f, f->sink->ops->end_copy(f->sink, relation, &f->error));
    assert_string_equal(marks_of(f), "sink:filling:2\nsink:new:2");
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_string_equal(key_of(f), "PRIMARY KEY (k, id)");
    assert_string_equal(marks_of(f), "");
    // From then on it is somebody's who may have said more about it.
    copy_megabytes(f, relation, 10);
    assert_string_equal(key_of(f), "PRIMARY KEY (k, id)");
}

static void a_key_that_something_needs_stays(void **state)
{
    Fixture *f = *state;
    const Relation *relation = with_two_keys(f);
    begin_with(f, relation);
    execute(f, "CREATE TABLE child (k text, id int, FOREIGN KEY (k, id) REFERENCES app.t (k, id))");
    copy_megabytes(f, relation, 10);
    assert_string_equal(key_of(f), "PRIMARY KEY (k, id)");
    assert_ok(f, f->sink->ops->end_copy(f->sink, relation, &f->error));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_string_equal(look(f, "SELECT count(*) FROM app.t"), "10240");
}

static void the_key_of_a_table_that_was_there_stays(void **state)
{
    Fixture *f = *state;
    const Relation *relation = with_two_keys(f);
    execute(f, "CREATE TABLE app.t (id int, k text, v text, m app.mood, PRIMARY KEY (k, id) "
               "INCLUDE (v))");
    begin_with(f, relation);
    copy_megabytes(f, relation, 10);
    assert_string_equal(key_of(f), "PRIMARY KEY (k, id) INCLUDE (v)");
    assert_ok(f, f->sink->ops->end_copy(f->sink, relation, &f->error));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_string_equal(key_of(f), "PRIMARY KEY (k, id) INCLUDE (v)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(tables_are_made_with_types_keys_and_not_null),
        sink_test(an_unknown_domain_becomes_its_base),
        sink_test(a_type_that_is_gone_becomes_text),
        sink_test(names_need_no_mercy),
        sink_test(schemas_are_mapped),
        sink_test(the_checkpoint_is_no_target),
        sink_test(tables_that_do_not_fit_are_refused),
        sink_test(tables_that_fit_are_taken),
        sink_test(values_are_never_cut),
        sink_test(numerics_must_not_round),
        sink_test(rows_that_are_there_are_not_touched),
        sink_test(a_table_without_an_index_on_the_key_is_told),
        sink_test(clear_leaves_nothing),
        sink_test(copied_rows_pass_in_the_form_that_both_sides_know),
        sink_test(the_key_of_a_new_table_comes_behind_many_rows),
        sink_test(a_key_that_something_needs_stays),
        sink_test(the_key_of_a_table_that_was_there_stays),
        sink_test(a_table_that_was_dropped_is_missed),
        sink_test(columns_come_and_go),
        sink_test(a_column_that_the_target_had_first_is_taken),
        sink_test(names_are_exchanged),
        sink_test(tables_move),
        sink_test(indexes_make_way),
        sink_test(a_long_name_of_an_index_makes_way),
        sink_test(types_change),
        sink_test(keys_change),
        sink_test(a_failed_alter_leaves_the_table),
        sink_test(a_label_that_is_missing_is_named),
        sink_test(missing_rights_are_named),
        sink_test(check_says_what_is_missing),
    };
    return run_on_server(tests, "sinks/test_postgres_schema");
}
