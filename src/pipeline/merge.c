#include "pipeline/merge.h"

static Status read_position(const Checkpoint *checkpoint, Str key, bool *ret_has, Position *ret,
                            Error *err)
{
    const CheckpointEntry *entry = checkpoint_get(checkpoint, key);
    *ret_has = entry != NULL;
    if (entry != NULL && !position_parse(entry->value, ret)) {
        return error_set(err, ERROR_FATAL, "the stored position \"%" STR_FMT "\" is damaged",
                         STR_ARG(entry->value));
    }
    return STATUS_OK;
}

Status checkpoint_position(const Checkpoint *checkpoint, bool *ret_has, Position *ret, Error *err)
{
    return read_position(checkpoint, CHECKPOINT_POSITION, ret_has, ret, err);
}

Status checkpoint_furthest(const Checkpoint *checkpoint, Position *ret, Error *err)
{
    bool is_merged = checkpoint_get(checkpoint, CHECKPOINT_FURTHEST) != NULL;
    bool has_one;
    *ret = (Position){0};
    return read_position(checkpoint, is_merged ? CHECKPOINT_FURTHEST : CHECKPOINT_POSITION,
                         &has_one, ret, err);
}

static bool has(const StoredRoute *route, Str key)
{
    return checkpoint_get(route->checkpoint, key) != NULL;
}

static Status check_same(const StoredRoute *one, const StoredRoute *other, Str key,
                         const char *what, Error *err)
{
    const CheckpointEntry *a = checkpoint_get(one->checkpoint, key);
    const CheckpointEntry *b = checkpoint_get(other->checkpoint, key);
    if (a == NULL || b == NULL || str_equal(a->value, b->value)) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG,
              "routes \"%" STR_FMT "\" and \"%" STR_FMT "\" were filled from different %s",
              STR_ARG(one->key), STR_ARG(other->key), what);
    return error_hint(err, "Give the pipeline another name, so that both start anew.");
}

static Status check_same_source(const StoredRoute *one, const StoredRoute *other, Error *err)
{
    return check_same(one, other, CHECKPOINT_SOURCE, "sources", err) == STATUS_OK
               ? check_same(one, other, CHECKPOINT_PUBLICATION, "publications", err)
               : STATUS_FAIL;
}

static Status find_slowest(const StoredRoute *routes, size_t count, const StoredRoute **ret,
                           Position *ret_furthest, Error *err)
{
    Position least = {0};
    *ret = NULL;
    *ret_furthest = (Position){0};
    for (size_t i = 0; i < count; i++) {
        bool has_position;
        Position position = {0};
        if (checkpoint_position(routes[i].checkpoint, &has_position, &position, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (!has_position) {
            continue;
        }
        if (*ret != NULL && check_same_source(*ret, &routes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        bool is_slower = *ret == NULL || position_compare(position, least) < 0;
        *ret = is_slower ? &routes[i] : *ret;
        least = is_slower ? position : least;
        *ret_furthest = position_max(*ret_furthest, position);
    }
    return STATUS_OK;
}

// What one of them does not know, or knows otherwise as a crash came between the stores of two, is
// to be told to it. Tables and positions are each route's own.
static bool all_have(const StoredRoute *routes, size_t count, const CheckpointEntry *entry)
{
    bool is_one = str_equal(entry->key, CHECKPOINT_TIMELINE) ||
                  str_equal(entry->key, CHECKPOINT_PUBLICATION_NAME);
    for (size_t i = 0; i < count; i++) {
        const CheckpointEntry *other = checkpoint_get(routes[i].checkpoint, entry->key);
        if (has(&routes[i], CHECKPOINT_POSITION) &&
            (other == NULL || (is_one && !str_equal(other->value, entry->value)))) {
            return false;
        }
    }
    return true;
}

Status checkpoint_merge(const StoredRoute *routes, size_t count, Checkpoint *ret, Error *err)
{
    const StoredRoute *slowest;
    Position furthest;
    if (find_slowest(routes, count, &slowest, &furthest, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (slowest != NULL) {
        char text[POSITION_TEXT_SIZE];
        position_format(furthest, text);
        checkpoint_set(ret, CHECKPOINT_FURTHEST, str_from(text));
    }
    const Checkpoint *base = slowest == NULL ? NULL : slowest->checkpoint;
    for (size_t i = 0; base != NULL && i < base->count; i++) {
        const CheckpointEntry *entry = &base->entries[i];
        if (entry->value.ptr != NULL && all_have(routes, count, entry)) {
            checkpoint_set(ret, entry->key, entry->value);
        }
    }
    return STATUS_OK;
}
