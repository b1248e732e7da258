#include "cli/interrupt.h"

#include <signal.h>
#include <stdatomic.h>

static Runner *const *volatile watched;
static volatile size_t watched_count;
static Cancel *volatile watched_cancel;
static volatile sig_atomic_t signals_seen;
static atomic_int last_signal; // of threads, too

static void on_signal(int number)
{
    int saved = errno;
    bool again = signals_seen > 0;
    signals_seen = 1;
    atomic_store(&last_signal, number);
    for (size_t i = 0; i < watched_count; i++) {
        runner_stop(watched[i], again);
    }
    Cancel *cancel = watched_cancel;
    if (cancel != NULL) {
        cancel_set(cancel);
    }
    errno = saved;
}

void interrupt_watch(Runner *const *runners, size_t count)
{
    watched = runners;
    watched_count = count;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGXFSZ, &ignore, NULL); // writing then fails with EFBIG, which is told
}

void interrupt_cancels(Cancel *cancel)
{
    watched_cancel = cancel;
}

void interrupt_clear(void)
{
    watched_count = 0;
}

int interrupt_signal(void)
{
    return atomic_load(&last_signal);
}
