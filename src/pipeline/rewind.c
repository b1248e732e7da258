// `weir replay`: a route is told that it has less than it has.
#include "pipeline/route.h"
#include "pipeline/runner.h"

static Status refuse(const PipelineRoute *route, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "\"%" STR_FMT "\" has tables, in which a change cannot be made twice",
              STR_ARG(route->id));
    return error_hint(err, "Its position is stored with its rows: a target that is restored from a "
                           "backup gets by itself what it lacks. To fill it anew, give the place "
                           "another name, and existing: truncate.");
}

static Status rewind_route(Route *route, Position to, Position *ret_was, Error *err)
{
    char text[POSITION_TEXT_SIZE];
    *ret_was = route_durable(route);
    if (position_compare(*ret_was, to) <= 0) {
        position_format(*ret_was, text);
        error_set(err, ERROR_CONFIG, "there is nothing to send again: the target is at %s", text);
        return error_hint(err, "Give an earlier LSN.");
    }
    Checkpoint changed = {0};
    position_format(to, text);
    checkpoint_set(&changed, CHECKPOINT_POSITION, str_from(text));
    Status status = route_store(route, &changed, err);
    checkpoint_done(&changed);
    return status;
}

static Status rewind_in(const Pipeline *pipeline, State *state, Str key, Position to,
                        Position *ret_was, Error *err)
{
    const PipelineRoute *target = &pipeline->routes[0];
    Cancel cancel;
    Meter meter;
    Route *route;
    if (cancel_init(&cancel, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    meter_init(&meter);
    RouteOptions options = {
        .sink = {.ops = target->sink,
                 .settings = target->settings,
                 .context = {.pipeline = key.ptr, .cancel = &cancel, .subject = target->subject}},
        .state = state,
        .persistent = true,
        .cancel = &cancel,
        .meter = &meter,
    };
    Status status = route_open(&options, &route, err);
    if (status == STATUS_OK) {
        status = rewind_route(route, to, ret_was, err);
        route_close(route);
    }
    meter_done(&meter);
    cancel_done(&cancel);
    return status;
}

Status runner_rewind(const Pipeline *pipeline, Position to, Position *ret_was, Error *err)
{
    const PipelineRoute *target = &pipeline->routes[0];
    if (target->sink->has_tables) {
        return refuse(target, err);
    }
    Arena scratch = {0};
    State *state = NULL;
    Str key = pipeline_route_key(pipeline, target, &scratch);
    StateOwner owner = pipeline_route_owner(pipeline, target, key);
    Status status = state_open(&owner, &state, err);
    if (status == STATUS_OK) {
        status = rewind_in(pipeline, state, key, to, ret_was, err);
    }
    state_close(state);
    arena_done(&scratch);
    return status;
}
