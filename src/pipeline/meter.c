#include "pipeline/meter.h"

void meter_init(Meter *meter)
{
    memset(meter, 0, sizeof(*meter));
    (void)pthread_mutex_init(&meter->name_lock, NULL);
}

void meter_done(Meter *meter)
{
    (void)pthread_mutex_destroy(&meter->name_lock);
}

void meter_begin(Meter *meter, Activity activity)
{
    atomic_store(&meter->activity, (int)activity);
    atomic_fetch_add(&meter->activities, 1);
}

void meter_end(Meter *meter)
{
    atomic_store(&meter->activity, ACTIVITY_NONE);
}

void meter_note_work(void *meter)
{
    atomic_fetch_add(&((Meter *)meter)->at_work, 1);
}

void meter_note_move(void *meter)
{
    atomic_fetch_add(&((Meter *)meter)->activities, 1);
}

void meter_set_table(Meter *meter, Str schema, Str name)
{
    (void)pthread_mutex_lock(&meter->name_lock);
    (void)snprintf(meter->copy_table, sizeof(meter->copy_table), "%" STR_FMT ".%" STR_FMT,
                   STR_ARG(schema), STR_ARG(name));
    (void)pthread_mutex_unlock(&meter->name_lock);
}
