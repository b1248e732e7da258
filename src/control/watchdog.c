#include "control/watchdog.h"

const char *stage_name(Stage stage)
{
    static const char *const names[] = {"none",  "open",    "copy",  "index", "server",
                                        "queue", "deliver", "write", "commit"};
    return names[stage];
}

Stage stage_find(Str name)
{
    for (int stage = STAGE_NONE; stage <= STAGE_COMMIT; stage++) {
        if (str_is(name, stage_name((Stage)stage))) {
            return (Stage)stage;
        }
    }
    return STAGE_NONE;
}

const char *stage_text(Stage stage)
{
    static const char *const texts[] = {
        "nothing",
        "opening both ends has not come to its end",
        "the copy of a table does not go on",
        "an index is to be built behind a copy, and the target is not seen at work on it",
        "the server has WAL that it does not send",
        "what was received waits, as the routes take nothing",
        "something is there for the sink, which neither writes nor commits",
        "the sink has not come back from a write",
        "the sink has not come back from a commit",
    };
    return texts[stage];
}

static WatchdogVerdict moves(Watchdog *watchdog)
{
    if (watchdog->stage == STAGE_NONE) {
        return WATCHDOG_NOTHING_NEW;
    }
    watchdog->was = watchdog->stage;
    watchdog->stage = STAGE_NONE;
    return WATCHDOG_MOVES;
}

WatchdogVerdict watchdog_look(Watchdog *watchdog, const WatchdogFigures *figures)
{
    bool is_idle = figures->stage == STAGE_NONE;
    if (is_idle || watchdog->since_ms == 0 || figures->progress != watchdog->progress) {
        watchdog->progress = figures->progress;
        watchdog->since_ms = is_idle ? 0 : figures->now_ms;
        return moves(watchdog);
    }
    int64_t stands_ms = figures->now_ms - watchdog->since_ms;
    if (watchdog->limit_ms == 0 || stands_ms < watchdog->limit_ms) {
        return WATCHDOG_NOTHING_NEW;
    }
    watchdog->for_ms = stands_ms;
    if (watchdog->stage != STAGE_NONE) {
        watchdog->stage = figures->stage;
        return WATCHDOG_NOTHING_NEW;
    }
    watchdog->stage = figures->stage;
    return WATCHDOG_STALLED;
}

uint64_t progress_of(const uint64_t *values, int count)
{
    uint64_t mixed = 0xcbf29ce484222325ULL;
    for (int i = 0; i < count; i++) {
        mixed = (mixed ^ values[i]) * 0x100000001b3ULL;
        mixed ^= mixed >> 29;
    }
    return mixed;
}
