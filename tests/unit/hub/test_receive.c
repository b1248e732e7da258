// What of a system's events gets into the log, where something else happens in between.
#include "codec/json_read.h"
#include "folder_fixture.h"
#include "hub/hub_echo.h"
#include "hub/hub_end.h"
#include "hub/hub_event.h"
#include "hub/hub_pipelines.h"
#include "hub/receive.h"
#include "model/object.h"

static const char model[] =
    "{\"title\":\"product\",\"properties\":{\"id\":{},\"stripe_id\":{},\"name\":{}}}";

static const char systems[] =
    "gateway:\n  type: stripe\n  api_key: k\n  endpoint_secret: s\n"
    "  receive_mixer:\n    product:\n      product:\n        id: { field: stripe_id }\n"
    "        metadata.id: { field: id }\n        name: { field: name }\n"
    "  push_mixer:\n    product:\n      products:\n"
    "        stripe_id: { field: id, search_key: true }\n"
    "        id: { field: 'metadata[id]' }\n        name: { field: name }\n";

static Hub *hub;
static HubPipelines *pipelines;
static const HubEnd *end;
static HubEcho pushed;
static Cancel cancel;
static Sink *sink;
static Batch *told;
static Error err;

static void ok(Status status)
{
    if (status != STATUS_OK) {
        fail_msg("%s", err.message);
    }
}

static void open_sink(void)
{
    Settings nothing = {0};
    const SinkContext of_sink = {.pipeline = "hub.from.gateway", .cancel = &cancel, .subject = end};
    ok(sink_new(&hub_receive, &nothing, &of_sink, &sink, &err));
    Checkpoint checkpoint = {0};
    ok(sink->ops->open(sink, &err));
    ok(sink->ops->resume(sink, &checkpoint, &err));
    checkpoint_done(&checkpoint);
}

static int set_up(void **context)
{
    (void)context;
    char path[64];
    HubFile of_model = {STR("p"), STR("models/p.json"), str_from(model)};
    HubFile of_systems = {STR("s.yml"), STR("s.yml"), str_from(systems)};
    const HubFiles files = {
        .models = &of_model, .model_count = 1, .systems = &of_systems, .system_count = 1};
    ok(hub_compile(&files, &hub, &err));
    hub->keep_duplicates_ms = 3600000;
    new_path(path);
    const Pipeline like = {.state_dir = str_copy(&arena, str_from(path))};
    ok(hub_pipelines_new(hub, STR("hub"), STR(""), &like, &pipelines, &err));
    end = &pipelines->ends[0];
    pushed = (HubEcho){hub, end->system, hub_recall_new(end->memory, STR("gateway"))};
    ok(cancel_init(&cancel, &err));
    open_sink();
    told = batch_new();
    return 0;
}

static int tear_down(void **context)
{
    (void)context;
    sink_free(sink);
    batch_unref(told);
    hub_recall_free(pushed.recall);
    hub_pipelines_free(pipelines);
    hub_free(hub);
    cancel_done(&cancel);
    return 0;
}

static JsonValue read_json(const char *text)
{
    JsonValue value;
    ok(json_read(&arena, str_from(text), &value, &err));
    return value;
}

static void tell(const char *json)
{
    static const Transaction transaction = {.commit_lsn = 1};
    JsonValue object = read_json(json);
    const HubEvent event = {
        .id = STR("evt"), .type = STR("product.updated"), .object = &object, .op = CHANGE_UPDATE};
    hub_event_put(told, hub_event_relation(&stripe_relation, STR("gateway"), &arena), &event,
                  &transaction, 1);
}

static void write_told(void)
{
    bool is_intact;
    ok(sink->ops->try_write(sink, told->changes, told->count, &is_intact, &err));
}

// Whether the log has got anything by it.
static bool commit(void)
{
    const Checkpoint nothing = {0};
    Checkpoint changed = {0};
    const HubWriter writer = {.log = end->log, .system = end->system->name, .cancel = &cancel};
    Lsn before = hub_log_tail(end->log);
    ok(sink->ops->commit(sink, &changed, &err));
    checkpoint_done(&changed);
    bool has_grown = hub_log_tail(end->log) > before;
    Lsn lsn;
    ok(hub_log_begin(&writer, &lsn, &err)); // nobody kept the turn
    ok(hub_log_commit(&writer, &nothing, &err));
    return has_grown;
}

static void delete_pushed(const char *json)
{
    Object object = {.model = hub_find_model(hub, STR("product")),
                     .op = OBJECT_DELETE,
                     .is_partial = true,
                     .value = read_json(json)};
    ok(hub_echo_push(&pushed, &object, STR(""), &err));
    ok(hub_echo_pushed(&pushed, &object, 1, &err));
    ok(hub_recall_save(pushed.recall, LSN_NONE, &err));
}

#define FIRST \
    "{\"object\":\"product\",\"id\":\"prod_1\",\"name\":\"a\",\"metadata\":{\"id\":\"1\"}}"
#define SECOND \
    "{\"object\":\"product\",\"id\":\"prod_2\",\"name\":\"b\",\"metadata\":{\"id\":\"2\"}}"

static void what_is_told_of_what_is_there_gets_in(void **context)
{
    (void)context;
    tell(FIRST);
    write_told();
    assert_true(commit());
}

static void what_is_gone_before_it_is_told_does_not(void **context)
{
    (void)context;
    delete_pushed("{\"id\":1,\"stripe_id\":\"prod_1\"}");
    tell(FIRST);
    write_told();
    assert_false(commit());
}

// A newer object of its keys may have been told in between.
static void nor_what_is_gone_before_it_is_in_the_log(void **context)
{
    (void)context;
    tell(FIRST);
    write_told();
    delete_pushed("{\"id\":1,\"stripe_id\":\"prod_1\"}");
    assert_false(commit());
}

static void others_of_the_run_get_in(void **context)
{
    (void)context;
    tell(FIRST);
    tell(SECOND);
    write_told();
    delete_pushed("{\"id\":1,\"stripe_id\":\"prod_1\"}");
    assert_true(commit());
}

// What others have to say has the LSN that it was to have.
static void write_other(Lsn lsn)
{
    const HubWriter writer = {.log = end->log, .system = STR("other"), .cancel = &cancel};
    const Checkpoint nothing = {0};
    Transaction transaction = {.commit_lsn = lsn, .origin = writer.system};
    Object object = {.model = hub_find_model(hub, STR("product")), .value = read_json("{}")};
    Batch *batch = batch_new();
    Change *made;
    Lsn got;
    ok(object_put(batch, &object, &made, &err));
    made->transaction = &transaction;
    ok(hub_log_begin(&writer, &got, &err));
    assert_int_equal(got, lsn);
    ok(hub_log_write(&writer, batch->changes, batch->count, &err));
    ok(hub_log_commit(&writer, &nothing, &err));
    batch_unref(batch);
}

static void what_was_remembered_and_did_not_get_in_is_no_echo(void **context)
{
    (void)context;
    const HubWriter writer = {.log = end->log, .system = end->system->name, .cancel = &cancel};
    HubEcho received = {hub, end->system, hub_recall_new(end->memory, STR("gateway"))};
    Object object = {.model = hub_find_model(hub, STR("product")),
                     .value = read_json("{\"stripe_id\":\"prod_1\",\"id\":\"1\",\"name\":\"a\"}")};
    Lsn lsn;
    bool is_echo;
    ok(hub_log_begin(&writer, &lsn, &err));
    ok(hub_echo_receive(&received, &object, STR(""), &arena, &is_echo, &err));
    ok(hub_recall_save(received.recall, lsn, &err));
    hub_log_end(&writer); // it fails between the two
    hub_recall_free(received.recall);
    write_other(lsn);
    sink_free(sink);
    open_sink();
    tell(FIRST);
    write_told();
    assert_true(commit());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_remembered_and_did_not_get_in_is_no_echo, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_told_of_what_is_there_gets_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_gone_before_it_is_told_does_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nor_what_is_gone_before_it_is_in_the_log, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(others_of_the_run_get_in, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
