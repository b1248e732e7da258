#include "control/wal_guard.h"

#include "base/macros.h"

enum {
    WINDOW_MS = 30000,
    FIRST_WINDOW_MS = 4000,
    SOON_MS = 60 * 60 * 1000,
    VERY_SOON_MS = 10 * 60 * 1000,
    QUIET_MS = 10000, // for so long it has to be well before it is said to be over
    SOON_PARTS = 4,
    VERY_SOON_PARTS = 20,
};

void wal_guard_init(WalGuard *guard, int64_t warning_bytes)
{
    *guard = (WalGuard){
        .warning_bytes = warning_bytes,
        .written_per_second = -1,
        .freed_per_second = -1,
    };
}

int64_t wal_retained(const WalFigures *figures)
{
    return figures->retained_from != 0 && figures->head > figures->retained_from
               ? (int64_t)(figures->head - figures->retained_from)
               : 0;
}

void wal_figures_limit(WalFigures *figures, int64_t disk_bytes)
{
    int64_t left = MAX(disk_bytes - wal_retained(figures), (int64_t)0);
    bool is_first = figures->safe_bytes < 0 || left < figures->safe_bytes;
    if (disk_bytes > 0 && is_first && !figures->is_unreserved && !figures->is_lost) {
        figures->safe_bytes = left;
        figures->is_disk = true;
    }
}

static double rate_between(uint64_t before, uint64_t now, int64_t elapsed_ms)
{
    return now <= before ? 0 : (double)(now - before) * 1000 / (double)elapsed_ms;
}

static void measure(WalGuard *guard, const WalFigures *figures)
{
    const WalFigures *before = &guard->before;
    int64_t elapsed_ms = figures->now_ms - before->now_ms;
    int64_t window_ms = guard->written_per_second < 0 ? FIRST_WINDOW_MS : WINDOW_MS;
    if (before->now_ms != 0 && elapsed_ms < window_ms) {
        return;
    }
    if (before->now_ms != 0) {
        guard->written_per_second = rate_between(before->head, figures->head, elapsed_ms);
        guard->freed_per_second =
            rate_between(before->retained_from, figures->retained_from, elapsed_ms);
    }
    guard->before = *figures;
}

int64_t wal_left_ms(const WalGuard *guard, const WalFigures *figures)
{
    double loses = guard->written_per_second - guard->freed_per_second;
    if (figures->safe_bytes < 0 || guard->written_per_second < 0 || loses < 1) {
        return -1;
    }
    double left_ms = (double)figures->safe_bytes / loses * 1000;
    return left_ms < (double)INT64_MAX / 2 ? (int64_t)left_ms : -1;
}

// How it is, whatever was said before. A slot that holds next to nothing is in no danger, however
// fast WAL is written at the moment.
static WalVerdict judge(const WalGuard *guard, const WalFigures *figures)
{
    int64_t retained = wal_retained(figures);
    int64_t left_ms = wal_left_ms(guard, figures);
    if (figures->is_lost) {
        return WAL_LOST;
    }
    if (figures->safe_bytes >= 0 || figures->is_unreserved) {
        int64_t allowed = retained + MAX(figures->safe_bytes, (int64_t)0);
        int64_t parts = allowed / MAX(figures->safe_bytes, (int64_t)1);
        bool is_held = retained >= allowed / SOON_PARTS;
        bool is_very_soon = left_ms >= 0 && left_ms < VERY_SOON_MS && is_held;
        bool is_soon = left_ms >= 0 && left_ms < SOON_MS && is_held;
        if (figures->is_unreserved || parts >= VERY_SOON_PARTS || (is_very_soon && parts >= 2)) {
            return WAL_NEARLY_LOST;
        }
        if (parts >= SOON_PARTS || is_soon) {
            return WAL_MAY_BE_LOST;
        }
    }
    return guard->warning_bytes > 0 && retained >= guard->warning_bytes ? WAL_MUCH_HELD
                                                                        : WAL_NOTHING_NEW;
}

static WalVerdict say(WalGuard *guard, WalVerdict verdict, int64_t retained)
{
    guard->said = verdict;
    guard->said_bytes = retained;
    return verdict;
}

WalVerdict wal_guard_look(WalGuard *guard, const WalFigures *figures)
{
    measure(guard, figures);
    WalVerdict now = judge(guard, figures);
    int64_t retained = wal_retained(figures);
    bool is_worse = now > guard->said;
    bool is_twice = now == guard->said && now == WAL_MUCH_HELD && retained / 2 >= guard->said_bytes;
    if (is_worse || is_twice) {
        guard->better_since_ms = 0;
        return say(guard, now, retained);
    }
    // Around the threshold it comes and goes.
    bool is_well = now == WAL_NOTHING_NEW &&
                   (guard->said != WAL_MUCH_HELD || retained <= guard->warning_bytes / 4 * 3);
    if (guard->said == WAL_NOTHING_NEW || !is_well) {
        guard->better_since_ms = 0;
        return WAL_NOTHING_NEW;
    }
    if (guard->better_since_ms == 0) {
        guard->better_since_ms = figures->now_ms;
    }
    if (figures->now_ms - guard->better_since_ms < QUIET_MS) {
        return WAL_NOTHING_NEW;
    }
    guard->better_since_ms = 0;
    (void)say(guard, WAL_NOTHING_NEW, 0);
    return WAL_OVER;
}

const char *wal_verdict_name(WalVerdict verdict, bool is_disk)
{
    static const char *const names[][2] = {
        [WAL_NOTHING_NEW] = {"fine", "fine"},
        [WAL_MUCH_HELD] = {"much_held", "much_held"},
        [WAL_MAY_BE_LOST] = {"may_be_lost", "disk_may_fill"},
        [WAL_NEARLY_LOST] = {"nearly_lost", "disk_nearly_full"},
        [WAL_LOST] = {"lost", "lost"},
        [WAL_OVER] = {"fine", "fine"},
    };
    return names[verdict][is_disk];
}
