// `buffer: disk`. It is no machinery of its own, but a sink and a source over one log:
//
//   postgres source ─► disk sink ─► log ─► disk source ─► a route's sink
//                                      └─► disk source ─► another route's sink
//
// The first pipeline confirms to Postgres what the log has made durable; each of the others has its
// own pace, its own errors and its own position, which its sink keeps as ever.
#pragma once

#include "pipeline/runner.h"

/** The name of the first one's route: no other may have it. */
#define DISK_BUFFER_ROUTE STR("buffer")

/** Where the log of @pipeline is, which has Pipeline.buffer: the setting `dir`, or a directory with
 *  its state. In @arena. */
Str disk_buffer_directory(const Pipeline *pipeline, Arena *arena);

/** ERROR_CONFIG when @pipeline has no buffer, but has been run with one: its source was told that
 * it may forget what only that has. */
MUST_CHECK Status disk_buffer_check_named(const Pipeline *pipeline, Error *err);

/** For `weir check`: what would stop the buffer, and what may fill the disk; and where the source
 *  is to continue. Changes nothing. */
void disk_buffer_check(const Pipeline *pipeline, Report *report, Checkpoint *ret_stored);

/** @pipeline, which gives no route up however far behind that is. In @arena. */
Pipeline disk_buffer_patient(const Pipeline *pipeline, Arena *arena);

/**
 * The pipelines that @pipeline is made of, one more than it has routes: the first fills the log,
 * each of the others takes it to one route. They are to run side by side. Names, states and
 * checkpoints of the routes are those of @pipeline without a buffer. In @arena.
 */
Pipeline *disk_buffer_pipelines(const Pipeline *pipeline, Arena *arena);

/**
 * Have a route of a pipeline that does not run take everything behind @from once more. @part: what
 * disk_buffer_pipelines() made of it; afterwards its run ends where the route was before.
 * ERROR_CONFIG when the log in @directory does not have it any more.
 */
MUST_CHECK Status disk_buffer_rewind(Str directory, Lsn from, Pipeline *part, Error *err);

/** What the sink has stored in @directory as @pipeline, without changing anything. */
MUST_CHECK Status disk_sink_look(Str directory, const char *pipeline, Checkpoint *ret, Error *err);

/** Options: dir, segment, keep, max_size, max_age, patience, full, readers. */
extern const SinkOps disk_sink;

/** Among what a log's writer has it remember: with the name behind it, a reader that was there when
 *  the log began. Where some were named, any other begins with what comes from now on; otherwise
 *  every reader begins with all that there is. */
#define DISK_FIRST_READERS "reader:"

/** Options: dir, reader, source. */
extern const SourceOps disk_source;

/**
 * Settings of a disk source that reads the log in @directory as @reader, one of the sink's
 * `readers`, and copies tables from the source that the log is filled from: @ops with @settings.
 * They are copied to @arena.
 */
void disk_source_settings(Str directory, Str reader, const SourceOps *ops, const Settings *settings,
                          Arena *arena, Settings *ret);
