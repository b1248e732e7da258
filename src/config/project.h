// A project file (weir.yml): connections, and pipelines between them.
//
//   connections:
//     shop: { type: postgres, url: postgres://weir@db/shop }
//     lake: { type: duckdb, path: shop.duckdb }
//   pipelines:
//     shop-to-lake:
//       from: { connection: shop, tables: [public.orders, public.customers] }
//       to:   { connection: lake }
//       jobs: 4
//       buffer: disk
//       on_error: dead-letter
//
// `to` may be a list: every change goes to all of them. `buffer` may be a mapping, with `type` and
// the buffer's own settings.
#pragma once

#include "config/option.h"

typedef struct ProjectEnd {
    Str name; // of one in a list: `name`, otherwise its connection's; empty: the only one
    Str type;
    Settings settings;
} ProjectEnd;

typedef struct ProjectPipeline {
    Str name;
    ProjectEnd source;
    ProjectEnd *sinks;
    size_t sink_count;
    Setting jobs;     // as written; its value is empty: not given
    Setting on_error; // the same
    Settings guards;  // watchdog, wal_warning, wal_disk: those that are given
    Str buffer;       // its type; empty: not given
    Settings buffer_settings;
    Str origin; // "weir.yml:12"
} ProjectPipeline;

typedef struct Project {
    Str file;
    Str state; // directory for the state; empty: not given
    ProjectPipeline *pipelines;
    size_t count;
} Project;

/**
 * Read @path: a file, or a directory with a weir.yml in it. ${NAME}, ${NAME:-default} and
 * ${file:PATH} inside values are replaced. Everything is in @arena. Every complaint names file and
 * line; none shows a replaced value.
 */
MUST_CHECK Status project_load(Str path, Arena *arena, Project *ret, Error *err);

/** The same from text; @file is for messages. */
MUST_CHECK Status project_parse(Str text, Str file, Arena *arena, Project *ret, Error *err);
