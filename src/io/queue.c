#include "io/queue.h"

#include <assert.h>
#include <errno.h>

void queue_init(Queue *queue, size_t weight_max, Wake *room)
{
    *queue = (Queue){.weight_max = weight_max, .room = room};
    (void)pthread_mutex_init(&queue->lock, NULL);
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&queue->filled, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

void queue_done(Queue *queue)
{
    assert(queue->count == 0);
    (void)pthread_cond_destroy(&queue->filled);
    (void)pthread_mutex_destroy(&queue->lock);
}

bool queue_push(Queue *queue, void *item, size_t weight)
{
    assert(item != NULL);
    (void)pthread_mutex_lock(&queue->lock);
    bool full = queue->count == QUEUE_SLOTS ||
                (queue->count > 0 && queue->weight + weight > queue->weight_max);
    bool taken = !full && !queue->closed;
    if (taken) {
        size_t slot = (queue->first + queue->count) % QUEUE_SLOTS;
        queue->items[slot] = item;
        queue->weights[slot] = weight;
        queue->count++;
        queue->weight += weight;
        (void)pthread_cond_signal(&queue->filled);
    }
    queue->is_waited_for = full;
    (void)pthread_mutex_unlock(&queue->lock);
    return taken;
}

static void wait_filled(Queue *queue, int64_t timeout_us)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanos = until.tv_nsec + timeout_us % 1000000 * 1000;
    until.tv_sec += timeout_us / 1000000 + nanos / 1000000000;
    until.tv_nsec = nanos % 1000000000;
    while (queue->count == 0 && !queue->closed) {
        if (pthread_cond_timedwait(&queue->filled, &queue->lock, &until) == ETIMEDOUT) {
            return;
        }
    }
}

void *queue_pop(Queue *queue, int64_t timeout_us)
{
    (void)pthread_mutex_lock(&queue->lock);
    if (queue->count == 0 && timeout_us > 0) {
        wait_filled(queue, timeout_us);
    }
    void *item = NULL;
    if (queue->count > 0) {
        item = queue->items[queue->first];
        queue->weight -= queue->weights[queue->first];
        queue->first = (queue->first + 1) % QUEUE_SLOTS;
        queue->count--;
    }
    bool rings = item != NULL && queue->is_waited_for && queue->room != NULL;
    queue->is_waited_for = queue->is_waited_for && !rings;
    (void)pthread_mutex_unlock(&queue->lock);
    if (rings) {
        wake_set(queue->room);
    }
    return item;
}

bool queue_is_empty(Queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    bool empty = queue->count == 0;
    (void)pthread_mutex_unlock(&queue->lock);
    return empty;
}

bool queue_is_closed(Queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    bool closed = queue->closed;
    (void)pthread_mutex_unlock(&queue->lock);
    return closed;
}

void queue_close(Queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    (void)pthread_cond_broadcast(&queue->filled);
    (void)pthread_mutex_unlock(&queue->lock);
}
