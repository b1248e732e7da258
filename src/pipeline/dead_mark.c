#include "pipeline/dead_mark.h"

#include <inttypes.h>

static bool parse(Str text, DeadSaid *ret)
{
    Str identity;
    Str changes;
    Str letters;
    return str_split(&text, ':', &identity) && str_split(&text, ':', &changes) &&
           str_split(&text, ':', &letters) && text.ptr == NULL &&
           str_to_uint64(identity, &ret->identity) && str_to_int64(changes, &ret->changes) &&
           str_to_int64(letters, &ret->letters) && ret->identity != 0 && ret->changes >= 0 &&
           ret->changes < INT64_MAX && ret->letters >= 0;
}

Status dead_said_read(const Checkpoint *stored, DeadSaid *ret, Error *err)
{
    const CheckpointEntry *entry =
        stored == NULL ? NULL : checkpoint_get(stored, CHECKPOINT_DEAD_STORE);
    *ret = (DeadSaid){0};
    if (entry == NULL || parse(entry->value, ret)) {
        return STATUS_OK;
    }
    return error_set(err, ERROR_FATAL,
                     "what the checkpoint says of the dead letters is damaged: \"%" STR_FMT "\"",
                     STR_ARG(entry->value));
}

void dead_said_write(const DeadSaid *said, Checkpoint *changed)
{
    char text[80];
    int len = snprintf(text, sizeof(text), "%" PRIu64 ":%" PRId64 ":%" PRId64, said->identity,
                       said->changes, said->letters);
    checkpoint_set(changed, CHECKPOINT_DEAD_STORE, (Str){text, (size_t)len});
}

bool dead_said_is_same(const DeadSaid *a, const DeadSaid *b)
{
    return a->identity == b->identity && a->changes == b->changes && a->letters == b->letters;
}

// The last two parts of @directory are what commands know it by: --state, and the pipeline.
static Status what_to_do(const char *directory, Error *err)
{
    const char *slash = strrchr(directory, '/');
    int root = slash == NULL ? 1 : (int)(slash - directory);
    return error_hint(err,
                      "Put back the state directory that belongs to the target as it is. If there "
                      "is none any more, weir dead reset %s --state %.*s goes on without these "
                      "letters; weir verify --repair --on-error dead-letter then makes the rows "
                      "right.",
                      slash == NULL ? directory : slash + 1, root, slash == NULL ? "." : directory);
}

Status dead_said_check(const DeadSaid *said, const char *directory, const DeadMark *mark,
                       Error *err)
{
    bool is_made = mark != NULL && (mark->identity != 0 || mark->has_letters);
    if (said->identity == 0 || (mark != NULL && mark->is_reset) ||
        (!is_made && said->letters == 0)) {
        return STATUS_OK;
    }
    if (!is_made) {
        error_set(err, ERROR_CONFIG,
                  "dead letters are lost: when the target was last written there were %" PRId64
                  ", and \"%s/dead.db\" %s",
                  said->letters, directory, mark == NULL ? "is not there" : "is empty");
        return what_to_do(directory, err);
    }
    if (mark->identity != said->identity) {
        error_set(err, ERROR_CONFIG,
                  "the dead letters in \"%s/dead.db\" are not this target's: it was written with "
                  "another store of them",
                  directory);
        return what_to_do(directory, err);
    }
    if (mark->changes < said->changes) {
        error_set(err, ERROR_CONFIG,
                  "the dead letters in \"%s/dead.db\" are older than the target, which may have "
                  "some of them, and lack others: it was put back to an earlier state",
                  directory);
        return what_to_do(directory, err);
    }
    return STATUS_OK;
}
