// A bounded queue of pointers between two threads. Full is back-pressure, never growth: the
// producer is told, and its bell rings when there is room again.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/wake.h"

enum { QUEUE_SLOTS = 256 };

typedef struct Queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    void *items[QUEUE_SLOTS];
    size_t weights[QUEUE_SLOTS];
    size_t first;
    size_t count;
    size_t weight;     // of the items inside
    size_t weight_max; // full at or above it
    bool closed;
    bool is_waited_for; // by the producer, whose last item was refused
    Wake *room;         // rung when an item was taken out and the producer waits; borrowed
} Queue;

void queue_init(Queue *queue, size_t weight_max, Wake *room);
void queue_done(Queue *queue);

/** False when it is full or closed: @item still belongs to the caller. One item always fits an
 * empty queue, however heavy. Thread: the producer. */
bool queue_push(Queue *queue, void *item, size_t weight);

/** The next item, waiting up to @timeout_us (0: not at all); NULL when there is none. After
 *  queue_close() what is inside can still be taken. Thread: the consumer. */
void *queue_pop(Queue *queue, int64_t timeout_us);

bool queue_is_empty(Queue *queue);
bool queue_is_closed(Queue *queue);

/** No more pushes; a waiting consumer returns. Thread: any. */
void queue_close(Queue *queue);
