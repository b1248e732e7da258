// An arena for all that the tests of a program make, which is freed behind the last of them.
#pragma once

#include "base/arena.h"
#include "unit.h"

static Arena arena;

/** The teardown of the group. */
static inline int free_arena(void **context)
{
    (void)context;
    arena_done(&arena);
    return 0;
}
