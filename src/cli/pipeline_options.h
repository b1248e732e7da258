// From two connections and a few options to a Pipeline: shared by the commands that run one.
#pragma once

#include "config/url.h"
#include "pipeline/runner.h"

typedef struct PipelineOptions {
    StrList tables;
    StrList exclude_tables;
    Str publication;
    Str slot;
    bool copy;
    Str until;
    int64_t patience_ms;
    Str state;
    Str name;
    int64_t jobs;
    Str metrics;
    int progress; // ProgressMode
    int buffer;   // BufferKind
    int on_error; // OnError
    PipelineGuards guards;
} PipelineOptions;

typedef enum BufferKind { BUFFER_MEMORY, BUFFER_DISK } BufferKind;

extern const char *const buffer_choices[]; // NULL-terminated

#define ON_ERROR_OPTION(type)                                                                  \
    {                                                                                          \
        "on-error", OPTION_CHOICE(type, on_error, on_error_choices),                           \
            .fallback = "stop", .value_name = "POLICY",                                        \
            .help = "What to do with a change that the target refuses: stop, or dead-letter, " \
                    "which sets it aside (weir dead) and goes on."                             \
    }

// A server that is started again should be there by then.
#define PATIENCE_OPTION(type, field)                                                          \
    {                                                                                         \
        "patience", OPTION_MS(type, field),                                                   \
            .fallback = "60s", .max = 604800000,                                              \
            .help = "A run that has an end gives up when no attempt, of three at least, has " \
                    "got anywhere for so long; 0: never, as one that has none."               \
    }

#define EXCLUDE_TABLE_OPTION(type, field)                                                   \
    {                                                                                       \
        "exclude-table", OPTION_LIST(type, field),                                          \
            .value_name = "PATTERN",                                                        \
            .help = "Leave these tables out, also where --table names them: schema.table, " \
                    "schema.* or table. Can be repeated."                                   \
    }

#define METRICS_OPTION(type)                                                                 \
    {                                                                                        \
        "metrics", OPTION_STRING(type, metrics),                                             \
            .value_name = "HOST:PORT",                                                       \
            .help = "Serve /metrics for Prometheus and /health. :PORT is this machine only." \
    }

#define WATCHDOG_HELP                                                                         \
    "Warn, and name the stage, when something that has to move stands still for so long; 0: " \
    "never."
#define WAL_DISK_HELP \
    "The room that the server's disk has for WAL: warnings tell the time until it is full."
#define WAL_WARNING_HELP                                                                       \
    "Warn when the slot holds so much WAL on the server, and again at each doubling; 0: only " \
    "when max_slot_wal_keep_size comes near."

/** Keys of a pipeline in a project file, into PipelineGuards. */
extern const Option guard_options[];

/** A source as it stands on the command line. */
MUST_CHECK Status source_endpoint(Str text, Arena *arena, Endpoint *ret, Error *err);
MUST_CHECK Status sink_endpoint(Str text, Arena *arena, Endpoint *ret, Error *err);

/** $XDG_STATE_HOME/weir or ~/.local/state/weir. */
Str default_state_dir(Arena *arena);

/** Fill @ret; everything in it is in @arena. @copy_only: `weir copy`. */
MUST_CHECK Status pipeline_from_options(Str source, Str sink, const PipelineOptions *options,
                                        bool copy_only, Arena *arena, Pipeline *ret, Error *err);

/** Whether both ends take their settings: before anything is connected to or made. */
MUST_CHECK Status pipeline_validate(const Pipeline *pipeline, Error *err);

/** "now", an LSN, or empty, into @ret. */
MUST_CHECK Status pipeline_parse_until(Str text, Pipeline *ret, Error *err);

/** Letters, digits, _, - and ., 100 at the most. */
MUST_CHECK Status pipeline_check_name(Str name, Error *err);
