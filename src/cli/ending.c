#include "cli/ending.h"

#include <signal.h>

#include "cli/command.h"
#include "cli/interrupt.h"

void tell_start(const Pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->route_count; i++) {
        const PipelineRoute *route = &pipeline->routes[i];
        if (pipeline->until == UNTIL_COPY) {
            log_info(NULL, "copying", LOG_STR("source", pipeline->source_id),
                     LOG_STR("sink", route->id));
            continue;
        }
        LogScope named = {NULL, "route", route->name};
        log_info(route->name.len > 0 ? &named : NULL, "starting",
                 LOG_STR("pipeline", pipeline->name), LOG_STR("source", pipeline->source_id),
                 LOG_STR("sink", route->id),
                 LOG_CSTR("guarantee", sink_guarantee_name(route->sink->guarantee)),
                 LOG_STR("state", pipeline->state_dir));
    }
}

bool is_reader_gone(Status status, const Error *err)
{
    return status != STATUS_OK && err->kind == ERROR_FATAL && err->os_errno == EPIPE;
}

int ending_code(Status status, const Error *err)
{
    if (interrupt_signal() == SIGINT) {
        return EXIT_INTERRUPTED;
    }
    if (is_reader_gone(status, err)) {
        return EXIT_PIPE;
    }
    return status == STATUS_OK ? EXIT_DONE : error_exit_code(err);
}
