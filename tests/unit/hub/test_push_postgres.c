// The push sink for Postgres against a real server: objects become rows.
#include <pthread.h>

#include "base/clock.h"
#include "hub/hub_end.h"
#include "hub/hub_origin.h"
#include "hub/push_postgres.h"
#include "sinks/postgres_fixture.h"

#define TABLE_SQL                                                                  \
    "CREATE TABLE products (id bigserial PRIMARY KEY, code text UNIQUE, "          \
    "product_name varchar(20), price numeric(10,2) CHECK (price > 0), data jsonb," \
    " note text DEFAULT 'its own')"

#define MODEL                                                          \
    "{\"title\": \"product\", \"type\": \"object\", \"properties\": {" \
    "\"id\": {\"type\": [\"integer\", \"null\"]}, "                    \
    "\"code\": {\"type\": [\"string\", \"null\"]}, "                   \
    "\"name\": {\"type\": [\"string\", \"null\"]}, "                   \
    "\"price\": {\"type\": [\"number\", \"null\"]}, "                  \
    "\"data\": {}}}"

// The properties, in their order.
#define OBJECT(id, code, name, price, data) ROW(id, code, name, price, data)

#define RECEIVED "  receive_mixer:\n    public.products: {product: {id: {field: id}}}\n"

#define PUSHED                                                             \
    "  push_mixer:\n    product:\n      public.products:\n"                \
    "        id: {field: id, search_key: true}\n"                          \
    "        code: {field: code, search_key: true}\n"                      \
    "        name: {field: product_name}\n        price: {field: price}\n" \
    "        data: {field: data}\n"

static HubEnd end;

static Hub *load_hub(const char *keys)
{
    static char text[4096];
    Error err = {0};
    Hub *hub = NULL;
    (void)snprintf(text, sizeof(text), "shop:\n  type: postgresql\n  dsn: '%s'\n%s", server.url,
                   keys);
    HubFile model = {STR("models/product.json"), STR("models/product.json"), STR(MODEL)};
    HubFile system = {STR("systems/shop.yml"), STR(""), str_from(text)};
    const HubFiles files = {
        .models = &model, .model_count = 1, .systems = &system, .system_count = 1};
    if (hub_compile(&files, &hub, &err) != STATUS_OK) {
        fail_msg("%s (%s)", err.message, err.hint);
    }
    return hub;
}

// The system has @keys from the next sink_start() on.
static void set_hub(const char *keys)
{
    Hub *hub = load_hub(keys);
    hub_free((Hub *)(uintptr_t)end.hub);
    end = (HubEnd){hub, hub_find_system(hub, STR("shop"))};
}

static int push_setup(void **state)
{
    if (fixture_setup(state) != 0) {
        return 1;
    }
    Fixture *f = *state;
    f->ops = &hub_push_postgres;
    f->subject = &end;
    f->setting_count = 0;
    f->transaction.origin = STR("gateway");
    f->transaction.origin_lsn = UINT64_MAX - 1; // made after all that is pushed
    set_hub(RECEIVED PUSHED);
    execute(f, TABLE_SQL);
    return 0;
}

static int push_teardown(void **state)
{
    int result = fixture_teardown(state);
    hub_free((Hub *)(uintptr_t)end.hub);
    end = (HubEnd){0};
    return result;
}

static const Relation *carrier(void)
{
    return hub_find_model(end.hub, STR("product"))->relation;
}

static void add_upsert(Fixture *f, const Value *row)
{
    add_change(f, CHANGE_UPDATE, carrier(), NULL, row);
}

static Status upsert(Fixture *f, const Value *row)
{
    add_upsert(f, row);
    return write_batch(f);
}

static void add_delete(Fixture *f, const Value *row)
{
    add_change(f, CHANGE_DELETE, carrier(), row, NULL);
}

static Status try_batch(Fixture *f, bool *ret_is_intact)
{
    size_t count = f->batch_count;
    f->batch_count = 0;
    *ret_is_intact = false;
    return f->sink->ops->try_write(f->sink, f->batch, count, ret_is_intact, &f->error);
}

static Status try_upsert(Fixture *f, const Value *row, bool *ret_is_intact)
{
    add_upsert(f, row);
    return try_batch(f, ret_is_intact);
}

static Value number(Fixture *f, int64_t value)
{
    const char *text = arena_printf(&f->arena, "%lld", (long long)value);
    return (Value){.ptr = text, .len = (uint32_t)strlen(text), .state = VALUE_TEXT};
}

#define PRODUCTS "SELECT id, code, product_name, price, data FROM products ORDER BY id"

// ---------------------------------------------------------------------------------------------
// Rows
// ---------------------------------------------------------------------------------------------

static void objects_are_made_changed_and_deleted(void **state)
{
    Fixture *f = *state;
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("1"), T("a"), T("One"), T("1.5"), T("{\"x\": [1, null]}"))));
    assert_ok(f, upsert(f, OBJECT(T("2"), T("b"), NIL, NIL, NIL)));
    assert_look(f, PRODUCTS, "");
    assert_ok(f, sink_commit(f, "position", "0/1:0"));
    assert_look(f, PRODUCTS, "1|a|One|1.50|{\"x\": [1, null]}\n2|b|~|~|~");
    // What an object does not say stays.
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, T("Uno"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(T("2"), SAME, SAME, T("3"), SAME)));
    assert_ok(f, upsert(f, OBJECT(T("2"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, "position", "0/2:0"));
    assert_look(f, PRODUCTS, "1|a|Uno|1.50|{\"x\": [1, null]}\n2|b|~|3.00|~");
    assert_look(f, "SELECT DISTINCT note FROM products", "its own");
    add_delete(f, OBJECT(T("1"), T("a"), NONE, NONE, NONE));
    add_delete(f, OBJECT(T("7"), T("z"), NONE, NONE, NONE)); // is not there: fine
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, "position", "0/3:0"));
    assert_look(f, "SELECT id FROM products", "2");
    assert_look(f, "SELECT value FROM weir.checkpoint WHERE key = 'position'", "0/3:0");
}

static void search_keys_are_tried_in_their_order(void **state)
{
    Fixture *f = *state;
    execute(f, "INSERT INTO products (code) VALUES ('a'), ('b'), (NULL)");
    assert_ok(f, sink_start(f, NULL));
    // Found by the first, which sets the second.
    assert_ok(f, upsert(f, OBJECT(T("3"), T("c"), T("third"), SAME, SAME)));
    // The first finds nothing, the second does, and the first is set.
    assert_ok(f, upsert(f, OBJECT(T("20"), T("b"), T("second"), SAME, SAME)));
    // One that is null, or not said, finds nothing.
    assert_ok(f, upsert(f, OBJECT(SAME, T("a"), T("first"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(SAME, T("new"), T("fourth"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(T("20"), NIL, SAME, T("5"), SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT code, product_name, price FROM products ORDER BY product_name",
                "a|first|~\nnew|fourth|~\n~|second|5.00\nc|third|~");
    assert_look(f, "SELECT id FROM products WHERE product_name = 'second'", "20");
}

// Who gives an object an id does not bring back a row that is gone.
static void keys_alone_make_no_row(void **state)
{
    Fixture *f = *state;
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, T("a"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(T("1"), T("x"), SAME, SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(T("2"), T("y"), SAME, SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, code, product_name FROM products", "1|x|a");
}

// What neither key says cannot be found: it is new.
static void without_a_search_key_it_is_inserted(void **state)
{
    Fixture *f = *state;
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(SAME, SAME, T("x"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(SAME, NIL, T("x"), SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, code, product_name FROM products ORDER BY id", "1|~|x\n2|~|x");
}

static void two_rows_of_one_key_are_refused(void **state)
{
    Fixture *f = *state;
    bool is_intact;
    execute(f, "ALTER TABLE products DROP CONSTRAINT products_code_key;"
               "INSERT INTO products (code) VALUES ('a'), ('a')");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, try_upsert(f, OBJECT(SAME, T("a"), T("x"), SAME, SAME), &is_intact), ERROR_DATA,
                 "2 rows have that \"code\"");
    assert_non_null(strstr(f->error.message, "\"public\".\"products\" where \"code\" = a"));
    assert_non_null(strstr(f->error.hint, "give \"code\" a unique index"));
    assert_true(is_intact);
    // By the first key alone there is no doubt.
    assert_ok(f, try_upsert(f, OBJECT(T("1"), T("a"), T("x"), SAME, SAME), &is_intact));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, product_name FROM products ORDER BY id", "1|x\n2|~");
    set_hub("  push_mixer:\n    product:\n      public.products:\n"
            "        code: {field: code, search_key: true}\n");
    assert_ok(f, sink_start(f, NULL));
    add_delete(f, OBJECT(NONE, T("a"), NONE, NONE, NONE));
    assert_fails(f, try_batch(f, &is_intact), ERROR_DATA, "2 rows have that");
    assert_true(is_intact);
    assert_look(f, "SELECT count(*) FROM products", "2");
}

static void what_came_from_there_is_passed_over(void **state)
{
    Fixture *f = *state;
    assert_ok(f, sink_start(f, NULL));
    f->transaction.origin = STR("shop");
    assert_ok(f, upsert(f, OBJECT(T("1"), T("a"), NIL, SAME, SAME)));
    add_delete(f, OBJECT(T("7"), NONE, NONE, NONE, NONE)); // whose code it does not say
    assert_ok(f, write_batch(f));
    f->transaction.origin = STR("");
    assert_ok(f, upsert(f, OBJECT(T("2"), T("b"), NIL, SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id FROM products", "2");
}

static void what_is_pushed_elsewhere_is_not_pushed(void **state)
{
    Fixture *f = *state;
    set_hub(RECEIVED);
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("1"), T("a"), NIL, SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id FROM products", "");
    // Nor is what a model looks like.
    set_hub(PUSHED);
    assert_ok(f, sink_start(f, NULL));
    add_change(f, CHANGE_SCHEMA, carrier(), NULL, NULL);
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id FROM products", "");
}

static void an_object_of_no_model_is_refused(void **state)
{
    Fixture *f = *state;
    Relation *other = relation_copy(&f->arena, carrier());
    other->name = STR("gone");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, write_change(f, CHANGE_UPDATE, other, NULL, OBJECT(T("1"), NIL, NIL, NIL, NIL)),
                 ERROR_DATA, "the hub has no model \"gone\"");
    assert_fails(f, write_change(f, CHANGE_TRUNCATE, carrier(), NULL, NULL), ERROR_DATA,
                 "(truncate) is no object");
    assert_fails(f, write_change(f, CHANGE_MESSAGE, NULL, NULL, NULL), ERROR_DATA, "no model");
}

// More than are sent at once, and all of a few rows: their order is what counts.
static void many_objects_keep_their_order(void **state)
{
    Fixture *f = *state;
    assert_ok(f, sink_start(f, NULL));
    for (int i = 0; i < BATCH_MAX; i++) {
        add_upsert(f, OBJECT(number(f, i % 7 + 1), SAME, number(f, i), SAME, SAME));
    }
    assert_ok(f, write_batch(f));
    for (int i = 0; i < 3; i++) {
        add_delete(f, OBJECT(number(f, i + 1), T("none"), NONE, NONE, NONE));
        add_upsert(f, OBJECT(number(f, i + 1), T("again"), SAME, SAME, SAME));
        add_upsert(f, OBJECT(number(f, i + 1), NIL, SAME, SAME, SAME));
    }
    assert_ok(f, write_batch(f));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, product_name FROM products ORDER BY id",
                "1|252\n2|253\n3|254\n4|255\n5|249\n6|250\n7|251");
}

// An object can be a row in several tables.
static void a_model_goes_to_several_tables(void **state)
{
    Fixture *f = *state;
    execute(f, "CREATE SCHEMA \"o'ther\"; CREATE TYPE mood AS ENUM ('good', 'bad');"
               "CREATE DOMAIN small AS int CHECK (VALUE < 100);"
               "CREATE TABLE \"o'ther\".\"a \"\"b\"\" c\" (\"No\" small UNIQUE, m mood, c char(3),"
               " bits bit(3), b boolean, \"Select\" text[])");
    set_hub("  push_mixer:\n    product:\n"
            "      public.products:\n        id: {field: id, search_key: true}\n"
            "      '\"o''ther\".\"a \"\"b\"\" c\"':\n"
            "        id: {field: No, search_key: true}\n        code: {field: m}\n"
            "        name: {field: Select}\n        x: {field: c, hardcode: ab}\n"
            "        y: {field: b, hardcode: true}\n        z: {field: bits, hardcode: '101'}\n");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("1"), T("good"), T("{a,\"b c\"}"), NIL, NIL)));
    assert_ok(f, upsert(f, OBJECT(T("1"), T("bad"), SAME, NIL, NIL)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT * FROM \"o'ther\".\"a \"\"b\"\" c\"", "1|bad|ab |101|t|{a,\"b c\"}");
    assert_look(f, "SELECT id FROM products", "1");
    assert_fails(f, upsert(f, OBJECT(T("100"), SAME, SAME, SAME, SAME)), ERROR_DATA, "small");
}

// The database insists on giving the number: it can be inserted, and never be changed.
static void numbers_that_the_database_gives_are_not_changed(void **state)
{
    Fixture *f = *state;
    bool is_intact;
    execute(f, "DROP TABLE products; CREATE TABLE products (id bigint GENERATED ALWAYS AS IDENTITY"
               " PRIMARY KEY, code text UNIQUE, product_name text, price numeric, data jsonb)");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("5"), T("a"), T("x"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(T("5"), T("b"), T("y"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(SAME, T("b"), T("z"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(SAME, T("c"), T("new"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(T("5"), SAME, SAME, SAME, SAME)));
    assert_fails(f, try_upsert(f, OBJECT(T("6"), T("b"), T("x"), SAME, SAME), &is_intact),
                 ERROR_DATA, "products_code_key");
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, PRODUCTS, "1|c|new|~|~\n5|b|z|~|~");
}

// ---------------------------------------------------------------------------------------------
// Refusals
// ---------------------------------------------------------------------------------------------

static void what_the_table_refuses_is_told_with_its_key(void **state)
{
    Fixture *f = *state;
    bool is_intact;
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, try_upsert(f, OBJECT(T("1"), T("a"), NIL, SAME, SAME), &is_intact));
    assert_fails(f, try_upsert(f, OBJECT(T("2"), T("b"), SAME, T("-1"), SAME), &is_intact),
                 ERROR_DATA, "upsert in \"public\".\"products\" where \"id\" = 2, \"code\" = b");
    assert_non_null(strstr(f->error.message, "products_price_check"));
    assert_true(is_intact);
    assert_fails(
        f,
        try_upsert(f, OBJECT(T("2"), T("b"), T("123456789012345678901"), SAME, SAME), &is_intact),
        ERROR_DATA, "character varying(20)");
    assert_true(is_intact);
    assert_fails(f, try_upsert(f, OBJECT(T("2"), SAME, SAME, T("1e400000"), SAME), &is_intact),
                 ERROR_DATA, "overflows");
    add_upsert(f, OBJECT(T("3"), T("c"), NIL, SAME, SAME));
    add_delete(f, OBJECT(T("1"), NONE, NONE, NONE, NONE));
    assert_fails(f, try_batch(f, &is_intact), ERROR_DATA, "its \"code\" is not known");
    assert_true(is_intact);
    assert_ok(f, try_upsert(f, OBJECT(T("4"), T("d"), NIL, SAME, SAME), &is_intact));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id FROM products ORDER BY id", "1\n4");
}

// A value that is there already, under a key by which nobody searches.
static void a_value_that_is_there_is_refused(void **state)
{
    Fixture *f = *state;
    bool is_intact;
    execute(f, "CREATE UNIQUE INDEX only_one ON products (product_name)");
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, try_upsert(f, OBJECT(T("1"), SAME, T("x"), SAME, SAME), &is_intact));
    assert_fails(f, try_upsert(f, OBJECT(T("2"), SAME, T("x"), SAME, SAME), &is_intact), ERROR_DATA,
                 "only_one");
    assert_non_null(strstr(f->error.hint, "search_key: true"));
    assert_true(is_intact);
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id FROM products", "1");
}

static void what_is_checked_at_the_end_is_refused_before(void **state)
{
    Fixture *f = *state;
    bool is_intact;
    execute(f, "CREATE TABLE makers (code text PRIMARY KEY); ALTER TABLE products ADD FOREIGN KEY"
               " (code) REFERENCES makers DEFERRABLE INITIALLY DEFERRED");
    set_hub("  push_mixer:\n    product:\n      public.products:\n"
            "        id: {field: id, search_key: true}\n        code: {field: code}\n"
            "      public.makers:\n        name: {field: code, search_key: true}\n");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, try_upsert(f, OBJECT(T("1"), T("m"), SAME, SAME, SAME), &is_intact), ERROR_DATA,
                 "is not present in table \"makers\"");
    assert_true(is_intact);
    // In one run the maker may come last.
    add_upsert(f, OBJECT(T("1"), T("m"), SAME, SAME, SAME));
    add_upsert(f, OBJECT(T("2"), SAME, T("m"), SAME, SAME));
    assert_ok(f, try_batch(f, &is_intact));
    add_upsert(f, OBJECT(T("3"), T("n"), SAME, SAME, SAME));
    add_upsert(f, OBJECT(T("4"), SAME, T("n"), SAME, SAME));
    assert_ok(f, try_batch(f, &is_intact));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, code FROM products ORDER BY id", "1|m\n2|~\n3|n\n4|~");
}

static void a_trigger_that_keeps_a_row_out_is_told(void **state)
{
    Fixture *f = *state;
    execute(f, "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
               "CREATE TRIGGER no BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION no()");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)), ERROR_DATA,
                 "no row was written");
}

static void a_missing_right_is_told_with_its_grant(void **state)
{
    Fixture *f = *state;
    execute(f, "DROP ROLE IF EXISTS pusher; CREATE ROLE pusher LOGIN;"
               "GRANT SELECT ON products TO pusher");
    execute(f, "CREATE SCHEMA weir; CREATE TABLE weir.checkpoint (pipeline text NOT NULL, key text"
               " NOT NULL, value text NOT NULL, PRIMARY KEY (pipeline, key));"
               "GRANT USAGE ON SCHEMA weir TO pusher;"
               "GRANT SELECT, INSERT, UPDATE, DELETE ON weir.checkpoint TO pusher");
    f->setting_count = 1;
    as_user(f, "pusher");
    f->setting_count = 0;
    set_hub(PUSHED);
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)), ERROR_CONFIG,
                 "GRANT SELECT, INSERT, UPDATE, DELETE ON \"public\".\"products\" TO \"pusher\";");
}

// ---------------------------------------------------------------------------------------------
// Tables that change
// ---------------------------------------------------------------------------------------------

static void a_table_that_was_altered_is_looked_at_again(void **state)
{
    Fixture *f = *state;
    bool is_intact;
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("1"), T("7"), T("x"), SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    execute(f, "ALTER TABLE products ALTER code TYPE bigint USING code::bigint");
    assert_ok(f, upsert(f, OBJECT(T("1"), T("8"), SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT code + 1 FROM products", "9");
    execute(f, "ALTER TABLE products ALTER code TYPE text, ALTER product_name TYPE text");
    assert_ok(
        f,
        try_upsert(f, OBJECT(T("1"), T("word"), T("a name that is longer than it was"), SAME, SAME),
                   &is_intact));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT code, product_name FROM products",
                "word|a name that is longer than it was");
    execute(f, "ALTER TABLE products DROP COLUMN product_name");
    assert_fails(f, try_upsert(f, OBJECT(T("1"), SAME, T("x"), SAME, SAME), &is_intact),
                 ERROR_CONFIG, "systems/shop.yml:11: the table \"public.products\" has no column");
    assert_false(is_intact); // that is no object's fault
}

static void what_the_rules_need_has_to_be_there(void **state)
{
    Fixture *f = *state;
    execute(f, "ALTER TABLE products DROP COLUMN price, ADD price numeric GENERATED ALWAYS AS"
               " (id * 2) STORED");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)), ERROR_CONFIG,
                 "\"price\" is generated, and cannot be pushed");
    execute(f, "DROP TABLE products");
    assert_ok(f, sink_start(f, NULL));
    assert_fails(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)), ERROR_CONFIG,
                 "there is no table \"public\".\"products\" in system shop");
}

// ---------------------------------------------------------------------------------------------
// Others
// ---------------------------------------------------------------------------------------------

typedef struct Other {
    PGconn *conn; // has a transaction open
} Other;

static void run_on(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    }
}

// Commits when the sink waits for it.
static void *commit_when_waited_for(void *argument)
{
    Other *other = argument;
    for (int i = 0; i < 1000; i++) {
        PGresult *result = PQexec(other->conn, "SELECT 1 FROM pg_stat_activity WHERE"
                                               " application_name LIKE 'weir/%'"
                                               " AND wait_event_type = 'Lock'");
        bool waits = PQntuples(result) > 0;
        PQclear(result);
        if (waits) {
            break;
        }
        (void)usleep(5000);
    }
    run_on(other->conn, "COMMIT");
    return NULL;
}

// Upsert @row while somebody else's transaction has done @sql.
static Status upsert_beside(Fixture *f, const char *sql, const Value *row)
{
    Other other = {connect_as(server.database, "postgres")};
    pthread_t thread;
    run_on(other.conn, "BEGIN");
    run_on(other.conn, sql);
    assert_int_equal(pthread_create(&thread, NULL, commit_when_waited_for, &other), 0);
    Status status = upsert(f, row);
    (void)pthread_join(thread, NULL);
    PQfinish(other.conn);
    return status == STATUS_OK ? sink_commit(f, NULL, NULL) : STATUS_FAIL;
}

static void a_row_that_somebody_makes_meanwhile_is_found(void **state)
{
    Fixture *f = *state;
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert_beside(f, "INSERT INTO products (id, code, note) VALUES (1, 'a', 'theirs')",
                               OBJECT(T("1"), T("b"), T("x"), SAME, SAME)));
    assert_look(f, "SELECT id, code, product_name, note FROM products", "1|b|x|theirs");
    // By the second key, which the first has nothing to do with.
    assert_ok(f, upsert_beside(f, "INSERT INTO products (id, code, note) VALUES (5, 'e', 'theirs')",
                               OBJECT(T("6"), T("e"), T("y"), SAME, SAME)));
    assert_look(f, "SELECT id, product_name FROM products WHERE code = 'e'", "6|y");
}

static void a_row_that_somebody_changes_meanwhile_is_found(void **state)
{
    Fixture *f = *state;
    execute(f, "INSERT INTO products (id, code) VALUES (1, 'a')");
    execute(f, arena_printf(&f->arena,
                            "ALTER DATABASE %s SET default_transaction_isolation = serializable",
                            server.database));
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert_beside(f, "UPDATE products SET note = 'theirs', price = 1",
                               OBJECT(T("1"), SAME, T("x"), SAME, SAME)));
    assert_look(f, "SELECT product_name, note, price FROM products", "x|theirs|1.00");
    assert_ok(f, upsert_beside(f, "UPDATE products SET note = 'again'",
                               OBJECT(T("2"), T("a"), T("y"), SAME, SAME)));
    assert_look(f, "SELECT id, product_name, note, price FROM products", "2|y|again|1.00");
    // It is not the one any more, and there is none.
    assert_ok(f, upsert_beside(f, "UPDATE products SET id = 3, code = 'c'",
                               OBJECT(T("2"), T("a"), T("z"), SAME, SAME)));
    assert_look(f, "SELECT id, code, product_name FROM products ORDER BY id", "2|a|z\n3|c|y");
    assert_ok(f, upsert_beside(f, "DELETE FROM products WHERE id = 2",
                               OBJECT(T("2"), T("a"), T("w"), SAME, SAME)));
    assert_look(f, "SELECT product_name, price FROM products WHERE id = 2", "w|~");
}

// ---------------------------------------------------------------------------------------------
// The checkpoint
// ---------------------------------------------------------------------------------------------

static void what_was_not_committed_is_gone_after_a_kill(void **state)
{
    Fixture *f = *state;
    Checkpoint checkpoint = {0};
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, "position", "0/10:0"));
    assert_ok(f, upsert(f, OBJECT(T("2"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_make(f));
    assert_ok(f, f->sink->ops->open(f->sink, &f->error));
    assert_ok(f, f->sink->ops->look(f->sink, &checkpoint, &f->error));
    assert_true(checkpoint_says(&checkpoint, STR("position"), "0/10:0"));
    checkpoint_reset(&checkpoint);
    assert_ok(f, sink_start(f, &checkpoint));
    assert_true(checkpoint_says(&checkpoint, STR("position"), "0/10:0"));
    checkpoint_done(&checkpoint);
    assert_look(f, "SELECT id FROM products", "1");
}

static void two_processes_cannot_be_one_pipeline(void **state)
{
    Fixture *f = *state;
    Sink *other = NULL;
    Checkpoint checkpoint = {0};
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, sink_open_another(f, false, &other));
    assert_fails(f, other->ops->resume(other, &checkpoint, &f->error), ERROR_TRANSIENT,
                 "another session");
    sink_free(other);
    checkpoint_done(&checkpoint);
}

// ---------------------------------------------------------------------------------------------
// The origin
// ---------------------------------------------------------------------------------------------

// Commits under it move it on.
#define ORIGINS                                                                  \
    "SELECT external_id, local_lsn > '0/0' FROM pg_replication_origin_status s " \
    "WHERE external_id LIKE 'weir\\_%'"

static void drop_origins(Fixture *f)
{
    sink_free(f->sink);
    f->sink = NULL;
    for (int i = 0; i < 200; i++) {
        PGresult *result = PQexec(server.look, "SELECT pg_replication_origin_drop(roname)"
                                               " FROM pg_replication_origin");
        bool dropped = PQresultStatus(result) == PGRES_TUPLES_OK;
        PQclear(result);
        if (dropped) {
            return;
        }
        (void)usleep(10000); // a session that ends has it
    }
    fail_msg("%s", PQerrorMessage(server.look));
}

static void it_writes_under_an_origin(void **state)
{
    Fixture *f = *state;
    drop_origins(f);
    for (int i = 0; i < 2; i++) { // made, and found
        assert_ok(f, sink_start(f, NULL));
        assert_ok(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)));
        assert_ok(f, sink_commit(f, NULL, NULL));
        assert_look(f, ORIGINS, "weir_it's_a_\"pipeline\"|t");
        assert_string_equal(f->notice, "");
    }
    assert_string_equal(hub_origin_name("it's a \"pipeline\"", &f->arena).ptr,
                        "weir_it's_a_\"pipeline\"");
    char name[2000];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(hub_origin_name(name, &f->arena).len, 505);
    drop_origins(f);
}

static void what_is_not_received_needs_no_origin(void **state)
{
    Fixture *f = *state;
    drop_origins(f);
    set_hub(PUSHED);
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, ORIGINS, "");
}

static void an_origin_in_use_is_told(void **state)
{
    Fixture *f = *state;
    drop_origins(f);
    PGconn *other = connect_as(server.database, "postgres");
    run_on(other, "SELECT pg_replication_origin_create('weir_it''s_a_\"pipeline\"');"
                  "SELECT pg_replication_origin_session_setup('weir_it''s_a_\"pipeline\"')");
    assert_fails(f, sink_start(f, NULL), ERROR_TRANSIENT,
                 "another session writes under the replication origin \"weir_it's_a_");
    PQfinish(other);
    drop_origins(f);
}

static void without_the_right_it_says_what_is_missing(void **state)
{
    Fixture *f = *state;
    drop_origins(f);
    execute(f, "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN;"
               "GRANT ALL ON products TO plain; GRANT ALL ON SEQUENCE products_id_seq TO plain");
    execute(f, arena_printf(&f->arena, "GRANT CREATE ON DATABASE %s TO plain", server.database));
    as_user(f, "plain");
    set_hub(RECEIVED PUSHED);
    assert_fails(f, sink_start(f, NULL), ERROR_CONFIG,
                 "user \"plain\" of system \"shop\" may not write under");
    assert_int_equal(strncmp(f->error.hint, "GRANT", 5), 0);
    execute(f, f->error.hint); // what it says is what helps
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("2"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, ORIGINS, "weir_it's_a_\"pipeline\"|t");
    drop_origins(f);
    execute(f, "DROP OWNED BY plain");
}

// What was made there before something older was pushed over it.
static void what_was_overwritten_is_pushed_back(void **state)
{
    Fixture *f = *state;
    drop_origins(f);
    set_hub(RECEIVED PUSHED);
    assert_ok(f, sink_start(f, NULL));
    Lsn before;
    assert_true(lsn_parse(str_from(look(f, "SELECT pg_current_wal_insert_lsn()")), &before));
    f->transaction.origin = STR("gateway");
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, T("theirs"), SAME, SAME)));
    f->transaction.origin = STR("shop");
    f->transaction.origin_lsn = before; // made before that was pushed, and later in the log
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, T("ours"), SAME, SAME)));
    assert_ok(f, upsert(f, OBJECT(T("2"), SAME, T("another"), SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, product_name FROM products", "1|ours");
    // And once more, behind the commit.
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, T("ours, too"), SAME, SAME)));
    assert_true(lsn_parse(str_from(look(f, "SELECT pg_current_wal_insert_lsn()")),
                          &f->transaction.origin_lsn));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, product_name FROM products", "1|ours, too");
    f->transaction.origin_lsn += 1000000;
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, T("not again"), SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT id, product_name FROM products", "1|ours, too");
    drop_origins(f);
}

// ---------------------------------------------------------------------------------------------
// Limits
// ---------------------------------------------------------------------------------------------

static void count_work(void *context)
{
    ++*(int *)context;
}

static void a_limit_is_kept(void **state)
{
    Fixture *f = *state;
    int work = 0;
    set_hub("  rate_limit: 100\n  rate_bucket_size: 5\n" RECEIVED PUSHED);
    assert_ok(f, sink_start(f, NULL));
    int64_t began = clock_monotonic_ms();
    // None of these costs anything: from there, nothing to say here, no change of an object.
    f->transaction.origin = STR("shop");
    Transaction theirs = f->transaction;
    for (int i = 0; i < 100; i++) {
        add_upsert(f, OBJECT(number(f, i + 1), SAME, SAME, SAME, SAME));
        f->batch[f->batch_count - 1].transaction = &theirs;
    }
    f->transaction.origin = STR("gateway");
    for (int i = 0; i < 100; i++) {
        add_upsert(f, OBJECT(SAME, SAME, SAME, SAME, SAME));
    }
    for (int i = 0; i < 5; i++) {
        add_upsert(f, OBJECT(number(f, i + 1), SAME, SAME, SAME, SAME));
    }
    assert_ok(f, write_batch(f));
    assert_in_range(clock_monotonic_ms() - began, 0, 900);
    f->sink->context.at_work = count_work;
    f->sink->context.at_work_context = &work;
    for (int i = 0; i < 30; i++) {
        add_upsert(f, OBJECT(number(f, i + 1), SAME, SAME, SAME, SAME));
    }
    assert_ok(f, write_batch(f));
    assert_in_range(clock_monotonic_ms() - began, 300, 10000);
    assert_in_range(work, 20, 60);
    assert_ok(f, sink_commit(f, NULL, NULL));
    assert_look(f, "SELECT count(*) FROM products", "30");
}

static void *cancel_soon(void *argument)
{
    (void)usleep(50000);
    cancel_set(argument);
    return NULL;
}

static void waiting_can_be_cancelled(void **state)
{
    Fixture *f = *state;
    pthread_t thread;
    set_hub("  rate_limit: 1\n  rate_bucket_size: 1\n" RECEIVED PUSHED);
    assert_ok(f, sink_start(f, NULL));
    for (int i = 0; i < 30; i++) {
        add_upsert(f, OBJECT(number(f, i + 1), SAME, SAME, SAME, SAME));
    }
    int64_t began = clock_monotonic_ms();
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &f->cancel), 0);
    assert_fails(f, write_batch(f), ERROR_CANCELLED, "interrupted");
    (void)pthread_join(thread, NULL);
    assert_in_range(clock_monotonic_ms() - began, 40, 900);
    cancel_reset(&f->cancel);
}

#define SESSIONS "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'weir/%'"

static bool has_no_session(Fixture *f)
{
    for (int i = 0; i < 200; i++) {
        if (strcmp(look(f, SESSIONS), "0") == 0) {
            return true;
        }
        (void)usleep(10000);
    }
    return false;
}

static void a_connection_can_be_closed_when_idle(void **state)
{
    Fixture *f = *state;
    drop_origins(f);
    set_hub("  max_idle_connections: 0\n" RECEIVED PUSHED);
    assert_ok(f, sink_start(f, NULL));
    const char *origin_at = "";
    for (int i = 1; i <= 20; i++) {
        assert_ok(f, upsert(f, OBJECT(number(f, i), SAME, SAME, SAME, SAME)));
        assert_ok(f, sink_commit(f, "position", arena_printf(&f->arena, "0/%d:0", i)));
        const char *now = look(f, "SELECT local_lsn FROM pg_replication_origin_status");
        assert_string_not_equal(now, origin_at);
        origin_at = now;
    }
    assert_true(has_no_session(f));
    assert_look(f, "SELECT count(*), max(id) FROM products", "20|20");
    assert_ok(f, sink_commit(f, "position", "0/99:0"));
    assert_look(f, "SELECT value FROM weir.checkpoint WHERE key = 'position'", "0/99:0");
    // Meanwhile others may have the pipeline's place.
    assert_true(has_no_session(f));
    execute(f, "UPDATE weir.checkpoint SET value = '0/100:0'");
    assert_fails(f, upsert(f, OBJECT(T("99"), SAME, SAME, SAME, SAME)), ERROR_TRANSIENT,
                 "another session has written to system \"shop\" as pipeline");
    drop_origins(f);
}

static void a_connection_that_was_idle_for_long_is_replaced(void **state)
{
    Fixture *f = *state;
    set_hub("  max_connection_idle_time: 100ms\n" RECEIVED PUSHED);
    assert_ok(f, sink_start(f, NULL));
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, "position", "0/1:0"));
    assert_ok(f, sink_start(f, NULL));
    (void)usleep(300000);
    assert_ok(f, upsert(f, OBJECT(T("1"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, NULL, NULL));
    const char *first = look(f, "SELECT pid FROM pg_stat_activity"
                                " WHERE application_name LIKE 'weir/%'");
    assert_ok(f, upsert(f, OBJECT(T("2"), SAME, SAME, SAME, SAME)));
    (void)usleep(300000); // in a transaction it is not idle
    assert_ok(f, upsert(f, OBJECT(T("3"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, "position", "0/2:0"));
    (void)usleep(300000);
    assert_ok(f, upsert(f, OBJECT(T("4"), SAME, SAME, SAME, SAME)));
    assert_ok(f, sink_commit(f, "position", "0/3:0"));
    assert_look(f, "SELECT count(*) FROM products", "4");
    assert_look(f,
                arena_printf(&f->arena,
                             "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
                             " AND state = 'idle'",
                             first),
                "0");
}

#define push_test(function) cmocka_unit_test_setup_teardown(function, push_setup, push_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        push_test(objects_are_made_changed_and_deleted),
        push_test(search_keys_are_tried_in_their_order),
        push_test(keys_alone_make_no_row),
        push_test(without_a_search_key_it_is_inserted),
        push_test(two_rows_of_one_key_are_refused),
        push_test(what_came_from_there_is_passed_over),
        push_test(what_is_pushed_elsewhere_is_not_pushed),
        push_test(an_object_of_no_model_is_refused),
        push_test(many_objects_keep_their_order),
        push_test(a_model_goes_to_several_tables),
        push_test(numbers_that_the_database_gives_are_not_changed),
        push_test(what_the_table_refuses_is_told_with_its_key),
        push_test(a_value_that_is_there_is_refused),
        push_test(what_is_checked_at_the_end_is_refused_before),
        push_test(a_trigger_that_keeps_a_row_out_is_told),
        push_test(a_missing_right_is_told_with_its_grant),
        push_test(a_table_that_was_altered_is_looked_at_again),
        push_test(what_the_rules_need_has_to_be_there),
        push_test(a_row_that_somebody_makes_meanwhile_is_found),
        push_test(a_row_that_somebody_changes_meanwhile_is_found),
        push_test(what_was_not_committed_is_gone_after_a_kill),
        push_test(two_processes_cannot_be_one_pipeline),
        push_test(it_writes_under_an_origin),
        push_test(what_is_not_received_needs_no_origin),
        push_test(an_origin_in_use_is_told),
        push_test(without_the_right_it_says_what_is_missing),
        push_test(what_was_overwritten_is_pushed_back),
        push_test(a_limit_is_kept),
        push_test(waiting_can_be_cancelled),
        push_test(a_connection_can_be_closed_when_idle),
        push_test(a_connection_that_was_idle_for_long_is_replaced),
    };
    return run_on_server(tests, "the push sink for Postgres");
}
