// `buffer: disk`. It is no machinery of its own, but a sink and a source over one log:
//
//   postgres source ─► disk sink ─► log ─► disk source ─► a route's sink
//                                      └─► disk source ─► another route's sink
//
// The first pipeline confirms to Postgres what the log has made durable; each of the others has its
// own pace, its own errors and its own position, which its sink keeps as ever.
#pragma once

#include "pipeline/sink.h"
#include "pipeline/source.h"

/** Options: path, segment, keep, readers. */
extern const SinkOps disk_sink;

/** Options: path, reader, source. */
extern const SourceOps disk_source;

/**
 * Settings of a disk source that reads the log in @path as @reader, one of the sink's `readers`,
 * and copies tables from the source that the log is filled from: @ops with @settings. They are
 * copied to @arena.
 */
void disk_source_settings(Str path, Str reader, const SourceOps *ops, const Settings *settings,
                          Arena *arena, Settings *ret);
