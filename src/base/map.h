// A hash map from text or from a number to a pointer. Keys of text are borrowed: they must live as
// long as the map, usually inside the value. Iteration is in no particular order.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef struct MapSlot MapSlot;

/** Zero-initialised is an empty map. Not thread-safe. One map has keys of one kind only. */
typedef struct Map {
    MapSlot *slots;
    size_t capacity; // a power of two, or 0
    size_t count;
} Map;

/** NULL when the key is not there. */
void *map_get(const Map *map, Str key);
void *map_get_u64(const Map *map, uint64_t key);

/** Insert or replace. @value must not be NULL. Returns the value replaced, or NULL. */
void *map_put(Map *map, Str key, void *value);
void *map_put_u64(Map *map, uint64_t key, void *value);

/** Returns the value removed, or NULL. */
void *map_remove(Map *map, Str key);
void *map_remove_u64(Map *map, uint64_t key);

/** Walk: start with *cursor = 0; false at the end. The map must not change meanwhile. */
bool map_next(const Map *map, size_t *cursor, void **ret_value);

void map_reset(Map *map);
void map_done(Map *map);

/** The hash the maps use: for those who build their own table on it. */
uint64_t hash_bytes(const void *data, size_t len);
