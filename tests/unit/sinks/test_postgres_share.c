// Several pipelines and one table: rows that one has confirmed never fall to another.
#include "sinks/postgres_fixture.h"

typedef struct Writer {
    Sink *sink;
    Relation *relation; // "app.t" of its source, where it has a number of its own
} Writer;

static Relation *app_t(Fixture *f, uint32_t oid)
{
    return TABLE(f, oid, "app", "t", "a", INT4("id", 1), TEXT("v", 2));
}

// A pipeline of that name; the option `existing` is the last setting.
static Writer writer(Fixture *f, const char *pipeline, uint32_t oid, const char *existing)
{
    Writer ret = {.relation = app_t(f, oid)};
    Checkpoint unused = {0};
    if (f->setting_count == 1) {
        set_option(f, "existing", existing);
    }
    f->settings[1].value = str_from(existing);
    assert_ok(f, sink_instance(f, false, &ret.sink));
    ret.sink->context.pipeline = pipeline;
    assert_ok(f, ret.sink->ops->open(ret.sink, &f->error));
    for (int i = 0; i < 200 && ret.sink->ops->resume(ret.sink, &unused, &f->error); i++) {
        (void)usleep(10000); // the session before has not ended
    }
    checkpoint_done(&unused);
    return ret;
}

static Status commit(Fixture *f, const Writer *w)
{
    Checkpoint nothing = {0};
    return w->sink->ops->commit(w->sink, &nothing, &f->error);
}

// Make the table, or take it.
static Status enter(Fixture *f, const Writer *w)
{
    return w->sink->ops->prepare(w->sink, NULL, w->relation, &f->error) == STATUS_OK ? commit(f, w)
                                                                                     : STATUS_FAIL;
}

static void copy_row(Fixture *f, const Writer *w, const char *id, bool ends)
{
    Value key = {.ptr = id, .len = (uint32_t)strlen(id), .state = VALUE_TEXT};
    add_change(f, CHANGE_READ, w->relation, NULL, ROW(key, T("x")));
    f->batch_count = 0;
    assert_ok(f, w->sink->ops->write(w->sink, f->batch, 1, &f->error));
    if (ends) {
        assert_ok(f, w->sink->ops->end_copy(w->sink, w->relation, &f->error));
    }
    assert_ok(f, commit(f, w));
}

static Writer killed_and_started(Fixture *f, Writer w, const char *existing)
{
    const char *pipeline = w.sink->context.pipeline;
    uint32_t oid = w.relation->oid;
    sink_free(w.sink);
    w = writer(f, pipeline, oid, existing);
    assert_ok(f, w.sink->ops->prepare(w.sink, w.relation, w.relation, &f->error));
    return w;
}

static Status clear(Fixture *f, const Writer *w, Lsn copied_at)
{
    return w->sink->ops->clear(w->sink, w->relation, copied_at, &f->error);
}

static void a_table_that_is_being_filled_is_not_added_to(void **state)
{
    Fixture *f = *state;
    Writer one = writer(f, "one", 1, "fail");
    assert_ok(f, enter(f, &one));
    Writer two = writer(f, "two", 70, "keep");
    assert_fails(f, enter(f, &two), ERROR_CONFIG, "is filled by pipeline \"one\"");
    sink_free(two.sink);
    copy_row(f, &one, "1", false);
    one = killed_and_started(f, one, "fail");
    two = writer(f, "two", 70, "keep");
    assert_fails(f, enter(f, &two), ERROR_CONFIG, "WHERE pipeline = 'one';");
    sink_free(two.sink);
    // Not by name: it has another one by now.
    execute(f, "ALTER TABLE app.t RENAME TO other");
    two = writer(f, "two", 70, "keep");
    two.relation->name = STR("other");
    assert_fails(f, enter(f, &two), ERROR_CONFIG, "is filled by pipeline \"one\"");
    sink_free(two.sink);
    sink_free(one.sink);
}

static void a_table_that_is_full_is_added_to(void **state)
{
    Fixture *f = *state;
    Writer one = writer(f, "one", 1, "fail");
    assert_ok(f, enter(f, &one));
    copy_row(f, &one, "1", true);
    Writer two = writer(f, "two", 70, "keep");
    assert_ok(f, enter(f, &two));
    assert_true(two.sink->ops->keeps_rows(two.sink, two.relation));
    copy_row(f, &two, "2", true);
    // Its table has to be copied again.
    assert_fails(f, clear(f, &one, 5), ERROR_CONFIG, "pipeline \"two\" has rows");
    one = killed_and_started(f, one, "truncate");
    assert_fails(f, clear(f, &one, 5), ERROR_CONFIG, "key = 'table:1'");
    assert_look(f, "SELECT id FROM app.t ORDER BY id", "1\n2");
    sink_free(one.sink);
    sink_free(two.sink);
}

static void a_table_is_added_to_while_it_is_copied_again_only_behind(void **state)
{
    Fixture *f = *state;
    Writer one = writer(f, "one", 1, "fail");
    assert_ok(f, enter(f, &one));
    copy_row(f, &one, "1", true);
    assert_ok(f, clear(f, &one, 5));
    copy_row(f, &one, "1", false);
    Writer two = writer(f, "two", 70, "keep");
    assert_fails(f, enter(f, &two), ERROR_CONFIG, "is filled by pipeline \"one\"");
    sink_free(two.sink);
    two = writer(f, "two", 70, "keep");
    copy_row(f, &one, "3", true);
    assert_ok(f, enter(f, &two));
    sink_free(two.sink);
    sink_free(one.sink);
}

// Nobody has copied it.
static void a_table_that_is_streamed_is_not_being_filled(void **state)
{
    Fixture *f = *state;
    Writer one = writer(f, "one", 1, "fail");
    assert_ok(f, enter(f, &one));
    add_change(f, CHANGE_INSERT, one.relation, NULL, ROW(T("1"), T("x")));
    f->batch_count = 0;
    assert_ok(f, one.sink->ops->write(one.sink, f->batch, 1, &f->error));
    assert_ok(f, commit(f, &one));
    Writer two = writer(f, "two", 70, "keep");
    assert_ok(f, enter(f, &two));
    sink_free(two.sink);
    sink_free(one.sink);
}

static void all_of_them_may_add_at_once(void **state)
{
    Fixture *f = *state;
    Writer one = writer(f, "one", 1, "keep");
    assert_ok(f, enter(f, &one));
    Writer two = writer(f, "two", 70, "keep");
    assert_ok(f, enter(f, &two));
    copy_row(f, &two, "2", true);
    // One that is interrupted has nothing to remove, and removes nothing.
    one = killed_and_started(f, one, "keep");
    assert_ok(f, clear(f, &one, LSN_NONE));
    copy_row(f, &one, "1", true);
    assert_look(f, "SELECT id FROM app.t ORDER BY id", "1\n2");
    assert_fails(f, clear(f, &one, 5), ERROR_CONFIG, "pipeline \"two\" has rows");
    sink_free(one.sink);
    // One that would have it for itself is refused, until the others are forgotten.
    Writer three = writer(f, "three", 1, "truncate");
    assert_fails(f, enter(f, &three), ERROR_CONFIG, "pipeline \"one\" adds rows");
    sink_free(three.sink);
    execute(f, "DELETE FROM weir.checkpoint WHERE pipeline IN ('one', 'two')");
    three = writer(f, "three", 1, "truncate");
    assert_ok(f, enter(f, &three));
    assert_look(f, "SELECT count(*) FROM app.t", "0");
    sink_free(three.sink);
    sink_free(two.sink);
}

// A session that has ended may have its locks a moment longer.
static void a_lock_that_goes_is_waited_for(void **state)
{
    Fixture *f = *state;
    const char *lock = "SELECT pg_advisory_lock(hashtextextended('weir \"app\".\"t\"', 0))";
    PGconn *other = connect_as(server.database, "postgres");
    PQclear(PQexec(other, lock));
    Writer one = writer(f, "one", 1, "fail");
    assert_fails(f, enter(f, &one), ERROR_CONFIG, "is another pipeline's, which runs now");
    sink_free(one.sink);
    one = writer(f, "one", 1, "fail");
    assert_true(PQsendQuery(other, "SELECT pg_sleep(0.3); SELECT pg_advisory_unlock_all()"));
    assert_ok(f, enter(f, &one));
    PQfinish(other);
    sink_free(one.sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        sink_test(a_table_that_is_being_filled_is_not_added_to),
        sink_test(a_table_that_is_full_is_added_to),
        sink_test(a_table_is_added_to_while_it_is_copied_again_only_behind),
        sink_test(a_table_that_is_streamed_is_not_being_filled),
        sink_test(all_of_them_may_add_at_once),
        sink_test(a_lock_that_goes_is_waited_for),
    };
    return run_on_server(tests, "sinks/test_postgres_share");
}
