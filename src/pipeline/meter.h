// Live figures of one route, written by its threads and read by whoever shows them.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/str.h"
#include "change/position.h"

/** What a route's thread has called its sink for. */
typedef enum Activity { ACTIVITY_NONE, ACTIVITY_WRITE, ACTIVITY_COMMIT } Activity;

typedef struct Meter {
    atomic_int_fast64_t tables_total;
    atomic_int_fast64_t tables_done;
    atomic_int_fast64_t copy_rows;
    atomic_int_fast64_t copy_rows_estimate;
    atomic_int_fast64_t copy_bytes;
    atomic_int_fast64_t changes;
    atomic_int_fast64_t transactions;
    atomic_int_fast64_t bytes;
    atomic_int_fast64_t commits;
    atomic_int_fast64_t dead_letters;
    atomic_uint_fast64_t delivered; // Lsn: handed to the sink
    atomic_uint_fast64_t durable;   // Lsn
    atomic_int_fast64_t
        waiting_us;         // when the oldest change that is not durable was taken in; 0: none
    atomic_bool is_copying; // the route's thread waits for the copy of a table
    atomic_int activity;    // Activity
    atomic_uint_fast64_t activities; // that have begun, or got on: it moves
    atomic_int copies_ending;        // tables whose rows are there: an index is built behind them
    atomic_uint_fast64_t at_work;    // how often the target was seen at work on a long call
    pthread_mutex_t name_lock;
    char copy_table[256];
} Meter;

void meter_init(Meter *meter);
void meter_done(Meter *meter);

/** A call of the sink begins, and has come back. Thread: the route's. */
void meter_begin(Meter *meter, Activity activity);
void meter_end(Meter *meter);

/** The target was seen at work. @meter: a Meter. Thread: any. */
void meter_note_work(void *meter);

/** A call that has not come back has got on. @meter: a Meter. Thread: any. */
void meter_note_move(void *meter);

/** Name the table that is being copied. Thread: any. */
void meter_set_table(Meter *meter, Str schema, Str name);
