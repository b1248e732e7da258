// How a hub runs: pipelines of the usual kind around one log.
//
//   source of A ─► receive sink A ─┐            ┌─► disk source "B" ─► push sink B
//   source of B ─► receive sink B ─┴─► the log ─┴─► disk source "A" ─► push sink A
//
// Nobody waits for anybody else: a system that is down, or slow, holds up what is pushed to it
// alone.
#pragma once

#include "hub/hub_end.h"
#include "pipeline/runner.h"

/** A hub that is to be run. */
typedef struct HubPipelines {
    Arena arena;
    HubLog *log;
    HubMemory *memory;
    HubEnd *ends; // by system
    size_t end_count;
    Str listen;          // where what is posted to them is listened for (listener.h),
    bool has_inbox;      // if anything is
    Pipeline *receiving; // "HUB.from.SYSTEM"
    size_t receiving_count;
    Pipeline *pushing; // "HUB.to.SYSTEM"
    size_t pushing_count;
} HubPipelines;

/**
 * The pipelines of @hub, which outlives them. @name: what they are named after. @like: what they
 * have in common, from the state directory to the end. @listen: an address in place of the one that
 * the hub says; empty: none. ERROR_CONFIG: there are too many. Free
 * with hub_pipelines_free(), when they have ended.
 */
MUST_CHECK Status hub_pipelines_new(const Hub *hub, Str name, Str listen, const Pipeline *like,
                                    HubPipelines **ret, Error *err);

/** The replication origin under which the hub of that name pushes to @system. In @arena. */
const char *hub_system_origin(Str name, const HubSystem *system, Arena *arena);

/** Accepts NULL. */
void hub_pipelines_free(HubPipelines *pipelines);
