// What the pipeline needs of the rest of the program, and the simulation does not.
#include "base/log.h"
#include "pipeline/dead.h"
#include "sim.h"

void log_write(LogLevel level, const LogScope *scope, const char *message, const LogField *fields)
{
    (void)level;
    (void)scope;
    (void)fields;
    sim_trace("log: %s", message);
}

void log_failure(LogLevel level, const LogScope *scope, const char *message, const Error *err)
{
    (void)level;
    (void)scope;
    sim_trace("log: %s: %s", message, err->message);
}

bool log_repeat_is_due(LogRepeat *repeat, Str text, int64_t now_ms, int64_t *ret_times)
{
    (void)repeat;
    (void)now_ms;
    char message[200];
    *ret_times = 1;
    if (str_equal(text, DEAD_SET_ASIDE)) {
        return true; // no failure of an attempt
    }
    (void)snprintf(message, sizeof(message), "%" STR_FMT, STR_ARG(text));
    sim_trace("log: retrying after %s", message);
    sim_check_retry(message);
    return false;
}

const SinkOps *const sink_registry[] = {NULL};
const SourceOps *const source_registry[] = {&sim_source, NULL};

Status runner_look(const Pipeline *pipeline, Source *open, Cancel *cancel, Error *err)
{
    (void)pipeline;
    (void)open;
    (void)cancel;
    (void)err;
    return STATUS_OK;
}
