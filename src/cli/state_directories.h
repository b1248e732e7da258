// The state directories that are there: what commands find that are given the name of a pipeline,
// or none.
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

typedef struct StateDirectories {
    const char *root; // the directory that they are in
    bool is_there;    // it is
    Str *names;       // "shop", "shop.lake": each of one route; in their order
    size_t count;
} StateDirectories;

/**
 * Those of @pipeline, which is a pipeline's name or that of one of its routes; empty: all. @state:
 * the directory they are in, empty: the default. In @arena.
 */
MUST_CHECK Status state_directories(Str state, Str pipeline, Arena *arena, StateDirectories *ret,
                                    Error *err);
