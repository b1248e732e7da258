// Where a hub hears of its systems over HTTP:
//
//   POST /SYSTEM             to that system's inbox (inbox.h)
//   GET  /v1/healthcheck     {"status":"available",…}
//
// Whatever else is asked for is refused, in JSON.
#pragma once

#include "hub/hub_end.h"

/** Where it listens when nobody says anything else. */
#define LISTENER_ADDRESS "127.0.0.1:4000"

typedef struct Listener Listener;

/** Listen on @address for the systems among @ends that have an inbox. @ends outlive it. */
MUST_CHECK Status listener_start(Str address, const HubEnd *ends, size_t count, Listener **ret,
                                 Error *err);

/**
 * Where programs of this machine reach the system @name of a hub that listens on @address: a URL,
 * in
 * @arena.
 */
RETURNS_NONNULL char *listener_url(Str address, Str name, Arena *arena);

/** The inboxes are closed. Accepts NULL. */
void listener_stop(Listener *listener);
