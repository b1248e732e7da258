#include "io/cancel.h"

#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

Status cancel_init(Cancel *cancel, Error *err)
{
    atomic_init(&cancel->is_set, false);
    cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cancel->fd < 0) {
        return error_set_errno(err, ERROR_TRANSIENT, errno, "create an event descriptor");
    }
    return STATUS_OK;
}

void cancel_done(Cancel *cancel)
{
    if (cancel->fd >= 0) {
        (void)close(cancel->fd);
        cancel->fd = -1;
    }
}

void cancel_set(Cancel *cancel)
{
    atomic_store(&cancel->is_set, true);
    uint64_t one = 1;
    // A full counter is as readable as it needs to be.
    ssize_t wrote = write(cancel->fd, &one, sizeof(one));
    (void)wrote;
}

void cancel_wait(const Cancel *cancel, int timeout_ms)
{
    struct pollfd wait = {.fd = cancel_fd(cancel), .events = POLLIN};
    (void)poll(&wait, 1, timeout_ms);
}

void cancel_reset(Cancel *cancel)
{
    uint64_t count;
    ssize_t got = read(cancel->fd, &count, sizeof(count));
    (void)got;
    atomic_store(&cancel->is_set, false);
}
