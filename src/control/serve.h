// A running process answers questions: over HTTP where it was asked to, and for `weir status` on a
// UNIX socket in the state directory of each route, where it also leaves word of how it was.
#pragma once

#include "control/monitor.h"

/** In a state directory: the socket, and what was last known. */
#define SERVE_SOCKET "status.sock"
#define SERVE_STATUS "status"

typedef struct Serving Serving;

/**
 * Watch what runs until serve_stop(), from a thread of its own. @address (empty: none) serves
 *
 *   /metrics   for Prometheus
 *   /health    200 when every pipeline copies or streams, 503 when one waits to retry or has ended
 *   /status    JSON, as `weir status` has it
 *
 * see http_start(). Sockets come as soon as a route has its state. @watched is borrowed.
 */
MUST_CHECK Status serve_start(Str address, const Watched *watched, size_t count, Serving **ret,
                              Error *err);

/** When everything has ended, and how is known. Accepts NULL. */
void serve_stop(Serving *serving);
