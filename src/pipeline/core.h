// The runner's decisions as a state machine without I/O, threads or clocks: events go in, what to
// do comes out. Everything that could lose or double a change is decided here, so that it can be
// driven through any order of completions and failures by a test.
//
//            OPENED                    FAILED / until reached / stop
//   OPENING ────────► RUNNING ───────────────────────────────► CLOSING
//      ▲                 │ SEALED, DURABLE: what to confirm        │ CLOSED
//      │      delay over │                                         ▼
//      ├──────────── WAITING ◄──────────── transient ───────── (decide) ──► DONE
//      │       RETURN                                              │
//      └──────────── LENT ◄─────────────── LEND ───────────────────┘
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/limits.h"
#include "change/position.h"

typedef enum CoreState {
    CORE_OPENING, // the shell opens both ends and copies
    CORE_RUNNING,
    CORE_CLOSING, // waiting for every thread to end
    CORE_WAITING, // until `retry_at_ms`
    CORE_LENT,    // somebody else has both ends until CORE_RETURN
    CORE_DONE,
} CoreState;

typedef enum CoreStop {
    CORE_STOP_NONE,
    CORE_STOP_DRAIN, // deliver and confirm what was received, then end well
    CORE_STOP_NOW,
} CoreStop;

typedef struct CoreOptions {
    uint32_t route_count;
    bool has_until; // it is to reach something, which may not be known before it has opened
    Position until; // end well when every route is durable here; lsn LSN_NONE: not known
    bool never_retries;
    int64_t retry_ms_min;
    int64_t retry_ms_max;
    int64_t patience_ms; // no attempt gets anywhere for so long: give up; 0: never
} CoreOptions;

typedef enum CoreEventKind {
    CORE_OPENED,  // position: where the source continues; routes: what each of them has
    CORE_SEALED,  // position: the end of a batch taken in; ends_transaction
    CORE_DURABLE, // route, position: durable at that route
    CORE_FAILED,  // error: something broke (also while opening)
    CORE_CLOSED,  // everything is down after CORE_CLOSING; tables_left, rows_copied, others
    CORE_STOP,    // stop
    CORE_LEND,    // end this attempt as a drain does, and stay away from both ends
    CORE_GO,      // position: while lent, bring every route exactly there, and stay away again
    CORE_RETURN,  // that is over, or not wanted any more
    CORE_GIVE_UP, // a drain cannot go on: its route waits for something that may take hours
    CORE_TICK,    // time passes
} CoreEventKind;

typedef struct CoreEvent {
    CoreEventKind kind;
    int64_t now_ms; // of a clock that never goes back
    uint32_t route;
    Position position;
    const Position
        *routes; // CORE_OPENED: where each route is, at or behind `position`; NULL: all there
    bool ends_transaction;
    ErrorKind error;
    CoreStop stop;
    int64_t tables_left; // that the attempt has not come to copy, or not to the end
    int64_t rows_copied; // by it
    int64_t others;      // another number than before: other parts of the pipeline get on
} CoreEvent;

typedef struct Core {
    CoreOptions options;
    CoreState state;
    CoreStop stop;
    // The last end of a whole transaction taken in: what routes can become durable up to.
    Position received;
    Position durable[LIMIT_ROUTES];
    Position confirmed;  // what the source may be told; moves forward only
    bool failed;         // the outcome of the attempt
    bool finished;       // `until` was reached, or a drain is complete
    bool is_lending;     // CORE_LEND, and no CORE_RETURN since
    bool is_cut_short;   // the attempt ends because of CORE_LEND, also when that is taken back
    Position loan_until; // the attempt is for CORE_GO, and ends there; lsn LSN_NONE: it is not
    ErrorKind error;     // of the first failure of the attempt
    bool progressed;     // something became durable since the last (re)start
    int64_t retries;     // in a row, without progress
    int64_t restarts;    // in all
    int64_t at_once;     // of ERROR_AGAIN, in a row, without progress
    int64_t retry_at_ms;
    // Attempts that got nowhere, since one did: nothing became durable, no table was copied whole,
    // no copy came further than before, and there is nobody to be waited for who gets on.
    int64_t vain_attempts;
    int64_t vain_since_ms; // when the first of them ended
    int64_t tables_left;
    int64_t rows_copied; // the most, with so many tables left
    int64_t others;
    int64_t gave_up_after_ms; // of such attempts; 0: it has not
} Core;

void core_init(Core *core, const CoreOptions *options);

/**
 * Take one event. The decision is in the state afterwards:
 * - `state` CORE_OPENING: open and copy, then send CORE_OPENED or CORE_FAILED;
 * - `confirmed`: tell the source;
 * - `state` CORE_CLOSING: stop every thread, close both ends, send CORE_CLOSED;
 * - `state` CORE_WAITING: send CORE_TICK at retry_at_ms;
 * - `state` CORE_LENT: touch nothing, send CORE_RETURN when it is over;
 * - `state` CORE_DONE: the end; core_succeeded() says how.
 */
void core_step(Core *core, const CoreEvent *event);

/** Nothing more is to be taken in from the source. */
bool core_is_draining(const Core *core);

/** In CORE_DONE: it ended as it was asked to. A first request to stop is followed well also when it
 *  cut opening or a copy short: nothing is lost, and the next start continues. */
bool core_succeeded(const Core *core);
