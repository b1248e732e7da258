// A folder for the files of all tests of a program, and an arena, which go behind the last of them.
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "arena_fixture.h"

static char folder[] = "/tmp/weir-test-XXXXXX";

/** The setup of the group. */
static inline int make_folder(void **context)
{
    (void)context;
    return mkdtemp(folder) == NULL;
}

/** Its teardown. */
static inline int remove_folder(void **context)
{
    char command[64];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command) == 0 ? free_arena(context) : 1;
}

/** A path in it that no test has had, in @ret. */
static inline void new_path(char ret[static 64])
{
    static int number;
    (void)snprintf(ret, 64, "%s/%d", folder, number++);
}
