// `weir check`, and what a first start does before it makes anything: look at both ends.
#include "pipeline/dead_mark.h"
#include "pipeline/merge.h"
#include "pipeline/runner.h"
#include "pipeline/tables.h"

/** One route's end. */
typedef struct Place {
    const PipelineRoute *route;
    Str key;
    Sink *sink;        // NULL: it could not be made
    Checkpoint stored; // what the pipeline has put there
    Status status;     // of opening it and of what is stored
    Error error;
    bool is_local; // the error is of the local state
} Place;

// ---------------------------------------------------------------------------------------------
// The target
// ---------------------------------------------------------------------------------------------

// What route_open() would find damaged.
static Status check_stored(const Checkpoint *stored, Error *err)
{
    bool has_position;
    Position position;
    Tables tables;
    if (checkpoint_position(stored, &has_position, &position, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    tables_init(&tables);
    Status status = tables_load(&tables, stored, err);
    tables_done(&tables);
    return status;
}

static Status open_place(const Pipeline *pipeline, Place *place, Cancel *cancel, Error *err)
{
    const SinkOps *ops = place->route->sink;
    StateOwner owner = pipeline_route_owner(pipeline, place->route, place->key);
    bool is_owned;
    SinkContext context = {
        .pipeline = place->key.ptr, .cancel = cancel, .subject = place->route->subject};
    if (state_look(&owner, &is_owned, ops->stores_checkpoint ? NULL : &place->stored, err) !=
        STATUS_OK) {
        place->is_local = true;
        return STATUS_FAIL;
    }
    if (sink_new(ops, place->route->settings, &context, &place->sink, err) != STATUS_OK ||
        ops->open(place->sink, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (ops->look != NULL && ops->look(place->sink, &place->stored, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return check_stored(&place->stored, err);
}

// What dead_begin() would refuse. The checkpoint was read before: a pipeline that runs meanwhile
// only makes the store newer.
static Status check_letters(const Pipeline *pipeline, const Place *place, Error *err)
{
    DeadSaid said;
    DeadMark mark;
    bool is_there;
    if (place->route->sink->try_write == NULL || pipeline->until == UNTIL_COPY) {
        return STATUS_OK;
    }
    Arena scratch = {0};
    const char *directory = pipeline_route_directory(pipeline, place->route, &scratch);
    Status status = dead_said_read(&place->stored, &said, err);
    if (status == STATUS_OK) {
        status = dead_store_look(directory, &is_there, &mark, err);
    }
    if (status == STATUS_OK) {
        status = dead_said_check(&said, directory, is_there ? &mark : NULL, err);
    }
    arena_done(&scratch);
    return status;
}

static Str target_type(Sink *sink, const Column *column, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 64 * 1024);
    if (sink->ops->describe_column != NULL) {
        sink->ops->describe_column(sink, column, &text);
    }
    return str_copy(arena, buf_view(&text));
}

static Str target_name(Sink *sink, const Relation *relation, Arena *arena)
{
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 64 * 1024);
    if (sink->ops->describe_table != NULL) {
        sink->ops->describe_table(sink, relation, &text);
    }
    return str_copy(arena, buf_view(&text));
}

static void describe_target(CheckResult *result, Sink *sink)
{
    for (size_t i = 0; i < result->table_count; i++) {
        CheckTable *table = &result->tables[i];
        const Relation *relation = table->source.relation;
        table->target = target_name(sink, relation, &result->arena);
        table->column_types = ARENA_ARRAY(&result->arena, Str, relation->column_count);
        for (uint16_t c = 0; c < relation->column_count; c++) {
            table->column_types[c] = target_type(sink, &relation->columns[c], &result->arena);
        }
    }
}

static void check_options(Sink *sink, CheckResult *result)
{
    Arena scratch = {0};
    const Relation **relations = ARENA_ARRAY(&scratch, const Relation *, result->table_count);
    for (size_t i = 0; i < result->table_count; i++) {
        relations[i] = result->tables[i].source.relation;
    }
    if (sink->ops->check_options != NULL && result->table_count > 0) {
        sink->ops->check_options(sink, relations, result->table_count, &result->report);
    }
    arena_done(&scratch);
}

static Status check_tables(Sink *sink, CheckResult *result, Error *err)
{
    check_options(sink, result);
    for (size_t i = 0; sink->ops->check != NULL && i < result->table_count; i++) {
        const Relation *relation = result->tables[i].source.relation;
        if (sink->ops->check(sink, relation, &result->report, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static void check_place(const Pipeline *pipeline, Place *place, CheckResult *result)
{
    if (place->status == STATUS_OK) {
        place->status = check_letters(pipeline, place, &place->error);
    }
    if (place->sink != NULL) {
        describe_target(result, place->sink); // also when it could not be opened
        if (place->status == STATUS_OK) {
            place->status = check_tables(place->sink, result, &place->error);
        }
    }
    if (place->status != STATUS_OK) {
        report_failure(&result->report,
                       place->is_local ? NULL : pipeline_route_called(place->route), &place->error);
    }
}

// ---------------------------------------------------------------------------------------------
// The source
// ---------------------------------------------------------------------------------------------

static void add_tables(CheckResult *result, const SourceTable *tables, size_t count)
{
    result->tables = ARENA_ARRAY(&result->arena, CheckTable, count);
    result->table_count = count;
    for (size_t i = 0; i < count; i++) {
        // The source's relations go with the source.
        result->tables[i].source = tables[i];
        result->tables[i].source.relation = relation_copy(&result->arena, tables[i].relation);
    }
}

static Status open_source(const Pipeline *pipeline, Cancel *cancel, Source **ret, Error *err)
{
    SourceContext context = {
        .pipeline = pipeline->name.ptr, .cancel = cancel, .subject = pipeline->source_subject};
    return source_new(pipeline->source, pipeline->source_settings, &context, ret, err) == STATUS_OK
               ? (*ret)->ops->open(*ret, err)
               : STATUS_FAIL;
}

static Status look_at_source(Source *source, const Checkpoint *stored, CheckResult *result,
                             Error *err)
{
    const SourceTables *tables;
    if (source->ops->check(source, stored, &result->report, &tables, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    add_tables(result, tables->items, tables->count);
    return STATUS_OK;
}

// It stays open until the targets have been looked at: see Source.mark.
static void check_source(const Pipeline *pipeline, const Checkpoint *stored, Cancel *cancel,
                         Source **source, CheckResult *result)
{
    Error err = {0};
    if ((*source == NULL && open_source(pipeline, cancel, source, &err) != STATUS_OK) ||
        look_at_source(*source, stored, result, &err) != STATUS_OK) {
        report_failure(&result->report, pipeline_source_called(pipeline), &err);
    }
}

// The same source feeds all routes.
static void copy_result(const CheckResult *from, CheckResult *to)
{
    SourceTable *tables = ARENA_ARRAY(&to->arena, SourceTable, from->table_count);
    for (size_t i = 0; i < from->table_count; i++) {
        tables[i] = from->tables[i].source;
    }
    add_tables(to, tables, from->table_count);
    report_add(&to->report, &from->report);
}

// ---------------------------------------------------------------------------------------------
// Both
// ---------------------------------------------------------------------------------------------

// What the source has to continue from. Of a place that could not be looked at nothing is known.
static Status merge(const Place *places, size_t count, Checkpoint *ret, Error *err)
{
    Arena scratch = {0};
    StoredRoute *routes = ARENA_ARRAY(&scratch, StoredRoute, count);
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        if (places[i].status == STATUS_OK) {
            routes[known++] = (StoredRoute){places[i].key, &places[i].stored};
        }
    }
    Status status = checkpoint_merge(routes, known, ret, err);
    arena_done(&scratch);
    return status;
}

static void check_both(const Pipeline *pipeline, Source *open, const Checkpoint *stored,
                       Place *places, Cancel *cancel, CheckResult *results)
{
    size_t count = pipeline->route_count;
    Checkpoint merged = {0};
    Error err = {0};
    for (size_t i = 0; i < count; i++) {
        places[i].status = open_place(pipeline, &places[i], cancel, &places[i].error);
    }
    if (stored == NULL && merge(places, count, &merged, &err) != STATUS_OK) {
        report_failure(&results[0].report, NULL, &err);
    }
    Source *source = open;
    check_source(pipeline, stored == NULL ? &merged : stored, cancel, &source, &results[0]);
    for (size_t i = 1; i < count; i++) {
        copy_result(&results[0], &results[i]);
    }
    for (size_t i = 0; i < count; i++) {
        results[i].shared_problems = results[i].report.count;
        if (places[i].sink != NULL && source != NULL) {
            places[i].sink->context.source_mark = source->mark;
        }
        check_place(pipeline, &places[i], &results[i]);
    }
    if (source != open) {
        source_free(source);
    }
    checkpoint_done(&merged);
}

Status runner_has_begun(const Pipeline *pipeline, size_t route, Cancel *cancel, bool *ret,
                        Error *err)
{
    Arena arena = {0};
    Place place = {.route = &pipeline->routes[route]};
    place.key = pipeline_route_key(pipeline, place.route, &arena);
    Status status = open_place(pipeline, &place, cancel, err);
    *ret = status == STATUS_OK && checkpoint_get(&place.stored, CHECKPOINT_POSITION) != NULL;
    if (status != STATUS_OK && !place.is_local) {
        status = error_wrap(err, "%s", pipeline_route_called(place.route));
    }
    sink_free(place.sink);
    checkpoint_done(&place.stored);
    arena_done(&arena);
    return status;
}

void runner_check(const Pipeline *pipeline, Source *open, const Checkpoint *stored, Cancel *cancel,
                  CheckResult *results)
{
    Arena arena = {0};
    Place *places = ARENA_ARRAY(&arena, Place, pipeline->route_count);
    results[0] = (CheckResult){0};
    for (size_t i = 0; i < pipeline->route_count; i++) {
        const PipelineRoute *route = &pipeline->routes[i];
        results[i] = (CheckResult){0};
        places[i].route = route;
        places[i].key = pipeline_route_key(pipeline, route, &arena);
    }
    check_both(pipeline, open, stored, places, cancel, results);
    for (size_t i = 0; i < pipeline->route_count; i++) {
        sink_free(places[i].sink);
        checkpoint_done(&places[i].stored);
    }
    arena_done(&arena);
}

// What is refused first is not the source's, which all routes share.
static bool is_of_route(const CheckResult *result)
{
    for (size_t i = 0; i < result->shared_problems; i++) {
        if (result->report.problems[i].level == PROBLEM_MUST) {
            return false;
        }
    }
    return true;
}

Status runner_look(const Pipeline *pipeline, Source *open, Cancel *cancel, Error *err)
{
    Arena arena = {0};
    CheckResult *results = ARENA_ARRAY(&arena, CheckResult, pipeline->route_count);
    Claims claims = {0};
    Status status = STATUS_OK;
    runner_check(pipeline, open, NULL, cancel, results);
    for (size_t i = 0; status == STATUS_OK && i < pipeline->route_count; i++) {
        Str key = pipeline_route_key(pipeline, &pipeline->routes[i], &arena);
        claims_take(&claims, key, &results[i].report);
        status = report_first(&results[i].report, err);
        if (status != STATUS_OK && pipeline->route_count > 1 && is_of_route(&results[i])) {
            (void)error_wrap(err, "route \"%" STR_FMT "\"", STR_ARG(pipeline->routes[i].name));
        }
    }
    claims_done(&claims);
    check_results_done(results, pipeline->route_count);
    arena_done(&arena);
    return status;
}

void check_results_done(CheckResult *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        report_done(&results[i].report);
        arena_done(&results[i].arena);
    }
}
