// When to warn of the WAL that a slot holds: pure, from figures and a clock.
//
// With a limit on the server (max_slot_wal_keep_size) the slot is lost when too much is written
// before it moves; without one the server's disk fills. Each is told when it comes near, told again
// when it gets worse, and told to be over.
#pragma once

#include <stdbool.h>
#include <stdint.h>

/** What is known of a slot at one moment. */
typedef struct WalFigures {
    int64_t now_ms;
    uint64_t head;          // end of the server's WAL
    uint64_t retained_from; // the slot holds everything from here on
    int64_t safe_bytes;     // that can be written before it may be lost; -1: there is no limit
    bool is_disk;           // that limit is the server's disk, which comes first
    bool is_unreserved;     // it may be lost at any moment
    bool is_lost;
} WalFigures;

typedef enum WalVerdict {
    WAL_NOTHING_NEW,
    WAL_MUCH_HELD,   // more than the threshold, or again twice as much
    WAL_MAY_BE_LOST, // soon: less than an hour, or a quarter of what was allowed is left
    WAL_NEARLY_LOST, // less than ten minutes or a twentieth, or the server says so
    WAL_LOST,
    WAL_OVER,
} WalVerdict;

/** What is remembered. Zero-initialised: nothing yet. */
typedef struct WalGuard {
    int64_t warning_bytes; // of what is held; 0: only what the server's limit leaves counts
    // Rates in bytes a second, over the last half minute; -1: not known yet.
    double written_per_second;
    double freed_per_second; // how fast the slot lets go
    WalFigures before;       // where the rates are measured from
    WalVerdict said;         // the worst that was said; WAL_NOTHING_NEW: all is well
    int64_t said_bytes;      // held, when that was last said
    int64_t better_since_ms; // 0: it is not
} WalGuard;

void wal_guard_init(WalGuard *guard, int64_t warning_bytes);

/** The server's disk is a limit, too, if somebody has told (@disk_bytes, 0: nobody) how much WAL it
 *  has room for: Postgres does not know. */
void wal_figures_limit(WalFigures *figures, int64_t disk_bytes);

/** Look at @figures, which are never of an earlier moment. */
WalVerdict wal_guard_look(WalGuard *guard, const WalFigures *figures);

/** Bytes that the slot holds. */
int64_t wal_retained(const WalFigures *figures);

/** How long the slot will be there yet if it goes on like this; -1: for ever, or not known. */
int64_t wal_left_ms(const WalGuard *guard, const WalFigures *figures);

/** "much_held", …: what the state of things is called; @is_disk as in WalFigures. */
const char *wal_verdict_name(WalVerdict verdict, bool is_disk);
