#include "io/wake.h"

#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

Status wake_init(Wake *wake, Error *err)
{
    wake->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake->fd < 0) {
        return error_set_errno(err, ERROR_TRANSIENT, errno, "create an event descriptor");
    }
    return STATUS_OK;
}

void wake_done(Wake *wake)
{
    if (wake->fd >= 0) {
        (void)close(wake->fd);
        wake->fd = -1;
    }
}

// Both ignore the result: a counter that is full is as readable as one that is not, and an empty
// one is as clear as it gets.
void wake_set(Wake *wake)
{
    uint64_t one = 1;
    ssize_t wrote = write(wake->fd, &one, sizeof(one));
    (void)wrote;
}

void wake_clear(Wake *wake)
{
    uint64_t count;
    ssize_t got = read(wake->fd, &count, sizeof(count));
    (void)got;
}

void wake_wait(Wake *wake, int timeout_ms)
{
    struct pollfd wait = {.fd = wake->fd, .events = POLLIN};
    if (poll(&wait, 1, timeout_ms) > 0) {
        wake_clear(wake);
    }
}
