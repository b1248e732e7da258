// Open addressing with linear probing; at most three quarters full. A removal moves the followers
// of the hole back instead of leaving a mark, so that a map that lives for ever does not fill up.
#include "base/map.h"

#include <assert.h>

#include "base/mem.h"

struct MapSlot {
    Str key;       // of a text key; ptr NULL otherwise
    uint64_t hash; // of a text key; the key itself otherwise
    void *value;   // NULL: the slot is free
};

uint64_t hash_bytes(const void *data, size_t len)
{
    // FNV-1a with a final mix: keys are short names, and an attacker owns none of them.
    const unsigned char *bytes = data;
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
    }
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15ULL;
    return hash ^ (hash >> 29);
}

static size_t home(const Map *map, uint64_t hash)
{
    uint64_t mixed = hash * 0x9e3779b97f4a7c15ULL;
    return (size_t)(mixed >> 20) & (map->capacity - 1);
}

static bool same_key(const MapSlot *slot, Str key, uint64_t hash)
{
    return slot->hash == hash && str_equal(slot->key, key);
}

// The slot of the key, or the free slot where it would go.
static size_t find(const Map *map, Str key, uint64_t hash)
{
    size_t at = home(map, hash);
    while (map->slots[at].value != NULL && !same_key(&map->slots[at], key, hash)) {
        at = (at + 1) & (map->capacity - 1);
    }
    return at;
}

static void grow(Map *map)
{
    Map bigger = {.capacity = map->capacity == 0 ? 16 : map->capacity * 2, .count = map->count};
    bigger.slots = mem_alloc_zero(bigger.capacity * sizeof(MapSlot));
    for (size_t i = 0; i < map->capacity; i++) {
        const MapSlot *slot = &map->slots[i];
        if (slot->value != NULL) {
            bigger.slots[find(&bigger, slot->key, slot->hash)] = *slot;
        }
    }
    mem_free(map->slots);
    *map = bigger;
}

static void *get(const Map *map, Str key, uint64_t hash)
{
    return map->capacity == 0 ? NULL : map->slots[find(map, key, hash)].value;
}

static void *put(Map *map, Str key, uint64_t hash, void *value)
{
    assert(value != NULL);
    if ((map->count + 1) * 4 > map->capacity * 3) {
        grow(map);
    }
    MapSlot *slot = &map->slots[find(map, key, hash)];
    void *replaced = slot->value;
    *slot = (MapSlot){key, hash, value};
    map->count += replaced == NULL ? 1 : 0;
    return replaced;
}

static void *take(Map *map, Str key, uint64_t hash)
{
    if (map->capacity == 0) {
        return NULL;
    }
    size_t hole = find(map, key, hash);
    void *removed = map->slots[hole].value;
    if (removed == NULL) {
        return NULL;
    }
    size_t mask = map->capacity - 1;
    for (size_t at = (hole + 1) & mask; map->slots[at].value != NULL; at = (at + 1) & mask) {
        size_t distance = (at - home(map, map->slots[at].hash)) & mask;
        if (distance >= ((at - hole) & mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole] = (MapSlot){0};
    map->count--;
    return removed;
}

void *map_get(const Map *map, Str key)
{
    return get(map, key, hash_bytes(key.ptr, key.len));
}

void *map_get_u64(const Map *map, uint64_t key)
{
    return get(map, (Str){0}, key);
}

void *map_put(Map *map, Str key, void *value)
{
    return put(map, key, hash_bytes(key.ptr, key.len), value);
}

void *map_put_u64(Map *map, uint64_t key, void *value)
{
    return put(map, (Str){0}, key, value);
}

void *map_remove(Map *map, Str key)
{
    return take(map, key, hash_bytes(key.ptr, key.len));
}

void *map_remove_u64(Map *map, uint64_t key)
{
    return take(map, (Str){0}, key);
}

bool map_next(const Map *map, size_t *cursor, void **ret_value)
{
    while (*cursor < map->capacity) {
        void *value = map->slots[(*cursor)++].value;
        if (value != NULL) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

void map_reset(Map *map)
{
    if (map->slots != NULL) {
        memset(map->slots, 0, map->capacity * sizeof(MapSlot));
    }
    map->count = 0;
}

void map_done(Map *map)
{
    if (map == NULL) {
        return;
    }
    mem_free(map->slots);
    *map = (Map){0};
}
