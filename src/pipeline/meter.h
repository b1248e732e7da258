// Live figures of one route, written by its threads and read by whoever shows them.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/str.h"
#include "change/position.h"

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
        waiting_us; // when the oldest change that is not durable was taken in; 0: none
    pthread_mutex_t name_lock;
    char copy_table[256];
} Meter;

void meter_init(Meter *meter);
void meter_done(Meter *meter);

/** Name the table that is being copied. Thread: any. */
void meter_set_table(Meter *meter, Str schema, Str name);
