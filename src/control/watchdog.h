// Whether something stands still that should not: pure, from figures and a clock.
//
// What has nothing to do does not stand still, nor does what waits to try again, which says so
// itself.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

typedef enum Stage {
    STAGE_NONE,
    STAGE_OPEN,    // both ends are being opened
    STAGE_COPY,    // a table is being copied
    STAGE_INDEX,   // its rows are there, and an index is being built behind them
    STAGE_SERVER,  // the server has something that it does not send
    STAGE_QUEUE,   // what was received waits for the routes
    STAGE_DELIVER, // something is there for the sink, which is not called
    STAGE_WRITE,   // the sink has been called to write
    STAGE_COMMIT,  // the sink has been called to commit
} Stage;

/** "server", … */
const char *stage_name(Stage stage);

/** By its name; STAGE_NONE: there is none of that name. */
Stage stage_find(Str name);

/** A sentence on it, without its end. */
const char *stage_text(Stage stage);

/** What has something to do at one moment, and whether anything moves. */
typedef struct WatchdogFigures {
    int64_t now_ms;
    Stage stage;       // that has something to do; STAGE_NONE: none has
    uint64_t progress; // any other number than before: it moves
} WatchdogFigures;

typedef enum WatchdogVerdict {
    WATCHDOG_NOTHING_NEW,
    WATCHDOG_STALLED, // told once
    WATCHDOG_MOVES,   // and then this, once
} WatchdogVerdict;

/** What is remembered. Zero-initialised but for the limit. */
typedef struct Watchdog {
    int64_t limit_ms; // 0: never says anything
    uint64_t progress;
    int64_t since_ms; // nothing has moved; 0: nothing has to
    Stage stage;      // that stands still, as it was told; STAGE_NONE: none
    Stage was;        // the one before
    int64_t for_ms;   // how long it stands still, or has stood still
} Watchdog;

WatchdogVerdict watchdog_look(Watchdog *watchdog, const WatchdogFigures *figures);

/** Another number when any of @values is another one. */
uint64_t progress_of(const uint64_t *values, int count);
