// The store of dead letters. Targets refuse nothing here, so there are none.
#include "pipeline/dead_store.h"
#include "sim.h"

Status dead_store_open(const char *directory, bool make, DeadStore **ret, Error *err)
{
    (void)directory;
    (void)err;
    sim_check(!make, "a dead letter");
    *ret = NULL;
    return STATUS_OK;
}

static Status nothing_there(void)
{
    sim_check(false, "a dead letter");
    return STATUS_OK;
}

Status dead_store_list(DeadStore *store, Arena *arena, DeadLetters *ret, Error *err)
{
    (void)store;
    (void)arena;
    (void)ret;
    (void)err;
    return nothing_there();
}

Status dead_store_get(DeadStore *store, int64_t id, Arena *arena, DeadLetter *ret, bool *ret_found,
                      Error *err)
{
    (void)store;
    (void)id;
    (void)arena;
    (void)ret;
    (void)ret_found;
    (void)err;
    return nothing_there();
}

Status dead_store_add(DeadStore *store, DeadLetter *letter, Error *err)
{
    (void)store;
    (void)letter;
    (void)err;
    return nothing_there();
}

Status dead_store_refused(DeadStore *store, int64_t id, Str why, int64_t now_us, Error *err)
{
    (void)store;
    (void)id;
    (void)why;
    (void)now_us;
    (void)err;
    return nothing_there();
}

Status dead_store_remove(DeadStore *store, int64_t id, bool *ret_found, Error *err)
{
    (void)store;
    (void)id;
    (void)ret_found;
    (void)err;
    return nothing_there();
}

Status dead_store_save(DeadStore *store, Error *err)
{
    (void)store;
    (void)err;
    return nothing_there();
}

Status dead_store_has_changed(DeadStore *store, bool *ret, Error *err)
{
    (void)store;
    (void)ret;
    (void)err;
    return nothing_there();
}

void dead_store_close(DeadStore *store)
{
    (void)store;
}
