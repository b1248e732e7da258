// Whether the publications are still those that the target was filled from.
//
// Another one may lack tables, rows or kinds of changes that this one has, and nobody would ever
// tell what was passed over. So may one that was dropped and made again: up to version 17 the
// server refuses to decode what was changed in between, a later one passes over it with a warning
// in its own log. By which name a publication is read says nothing: it is known by its oid.
//
// What a publication consists of is its owner's matter, and compared table by table: see
// Relation.published.
#include "pipeline/advice.h"
#include "sources/postgres.h"

/** One of the two, as it was and as it is. */
typedef struct Seen {
    Str name;          // that it has to have
    uint32_t stored;   // oid; 0: there was none
    uint32_t now;      // oid of the one that has the name; 0: there is none
    const char *known; // what the stored one is called now; NULL: it is gone
} Seen;

// "16390", or "16390 16391" with the one of tables whose rows cannot be identified.
bool postgres_parse_publications(Str text, uint32_t ret[static 2])
{
    Str word;
    size_t count = 0;
    uint32_t oids[2] = {0, 0};
    while (str_split(&text, ' ', &word)) {
        uint64_t oid;
        if (count == 2 || !str_to_uint64(word, &oid) || oid == 0 || oid > UINT32_MAX) {
            return false;
        }
        oids[count++] = (uint32_t)oid;
    }
    ret[0] = oids[0];
    ret[1] = oids[1];
    return count > 0;
}

static uint32_t oid_of(const PGresult *result, int column)
{
    uint64_t oid;
    return !PQgetisnull(result, 0, column) &&
                   str_to_uint64(str_from(pg_value(result, 0, column)), &oid)
               ? (uint32_t)oid
               : 0;
}

// @stored of both are set. Text in @arena.
static Status look(Postgres *postgres, Arena *arena, Seen seen[static 2], Error *err)
{
    seen[0].name = postgres->publication_name;
    seen[1].name = postgres_append_name(postgres, arena);
    const char *parameters[4];
    for (size_t i = 0; i < 2; i++) {
        parameters[i] = str_to_cstr(arena, seen[i].name);
        parameters[2 + i] = arena_printf(arena, "%u", seen[i].stored);
    }
    PgWait wait = postgres_wait(postgres);
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    if (pg_query(postgres->sql, &wait,
                 "SELECT (SELECT oid FROM pg_publication WHERE pubname = $1),"
                 "       (SELECT oid FROM pg_publication WHERE pubname = $2),"
                 "       (SELECT pubname FROM pg_publication WHERE oid = $3::oid),"
                 "       (SELECT pubname FROM pg_publication WHERE oid = $4::oid)",
                 4, parameters, &result, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    for (int i = 0; i < 2; i++) {
        seen[i].now = oid_of(result, i);
        seen[i].known = PQgetisnull(result, 0, 2 + i)
                            ? NULL
                            : str_copy(arena, str_from(pg_value(result, 0, 2 + i))).ptr;
    }
    return STATUS_OK;
}

static Status advise_anew(Error *err)
{
    return error_hint(err,
                      "The publication was dropped for a while, and the server cannot tell "
                      "what was changed meanwhile. Nothing was skipped. %s",
                      advice()->start_anew);
}

Status postgres_publication_is_gone(Str name, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "publication \"%" STR_FMT
              "\" does not exist any more, and the target was filled from it",
              STR_ARG(name));
    return advise_anew(err);
}

static Status was_made_again(Str name, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "publication \"%" STR_FMT
              "\" was dropped and made again since the target was filled from it",
              STR_ARG(name));
    return advise_anew(err);
}

static Status is_another(Postgres *postgres, const char *known, Error *err)
{
    error_set(err, ERROR_CONFIG,
              "the target was filled from publication \"%s\", and not from \"%" STR_FMT "\"", known,
              STR_ARG(postgres->publication_name));
    return error_hint(
        err,
        "Changes that only one of them has would be missing. Go on with --publication "
        "%s (in weir.yml, publication: %s), or start again under %s.",
        known, known, advice()->another_name);
}

// @name: what it was called.
static Status main_differs(Postgres *postgres, const Seen *seen, Str name, Error *err)
{
    if (seen->known != NULL) {
        return is_another(postgres, seen->known, err);
    }
    if (!str_equal(name, seen->name)) {
        error_set(err, ERROR_CONFIG,
                  "the target was filled from publication \"%" STR_FMT
                  "\", which does not exist any more, and not from \"%" STR_FMT "\"",
                  STR_ARG(name), STR_ARG(seen->name));
        return advise_anew(err);
    }
    return seen->now == 0 ? postgres_publication_is_gone(name, err) : was_made_again(name, err);
}

static Status second_differs(Postgres *postgres, const Seen *seen, Error *err)
{
    if (seen->stored == 0) {
        error_set(err, ERROR_CONFIG,
                  "there is a publication \"%" STR_FMT "\" now: by its name \"%" STR_FMT
                  "\" would be one of ours, to be altered",
                  STR_ARG(seen->name), STR_ARG(postgres->publication_name));
        return error_hint(err, "DROP PUBLICATION \"%" STR_FMT "\"; or give it another name.",
                          STR_ARG(seen->name));
    }
    if (seen->known != NULL) {
        error_set(err, ERROR_CONFIG,
                  "publication \"%s\", which the target was filled from, is not called \"%" STR_FMT
                  "\"",
                  seen->known, STR_ARG(seen->name));
        return error_hint(err, "ALTER PUBLICATION \"%s\" RENAME TO \"%" STR_FMT "\";", seen->known,
                          STR_ARG(seen->name));
    }
    return seen->now == 0 ? postgres_publication_is_gone(seen->name, err)
                          : was_made_again(seen->name, err);
}

static Status compare(Postgres *postgres, const Checkpoint *checkpoint, const Seen seen[static 2],
                      Error *err)
{
    if (seen[0].now != seen[0].stored) {
        const CheckpointEntry *name = checkpoint_get(checkpoint, CHECKPOINT_PUBLICATION_NAME);
        return main_differs(postgres, &seen[0], name == NULL ? seen[0].name : name->value, err);
    }
    return seen[1].now == seen[1].stored ? STATUS_OK : second_differs(postgres, &seen[1], err);
}

Status postgres_check_publication(Postgres *postgres, const Checkpoint *checkpoint, Error *err)
{
    const CheckpointEntry *stored = checkpoint_get(checkpoint, CHECKPOINT_PUBLICATION);
    uint32_t oids[2];
    if (stored == NULL) {
        return STATUS_OK; // a first start, or the target was filled by a Weir that did not say it
    }
    if (!postgres_parse_publications(stored->value, oids)) {
        return error_set(err, ERROR_FATAL, "the stored publication \"%" STR_FMT "\" is damaged",
                         STR_ARG(stored->value));
    }
    Arena scratch = {0};
    Seen seen[2] = {{.stored = oids[0]}, {.stored = oids[1]}};
    Status status = look(postgres, &scratch, seen, err);
    if (status == STATUS_OK) {
        status = compare(postgres, checkpoint, seen, err);
    }
    arena_done(&scratch);
    return status;
}

static void note(const Checkpoint *checkpoint, Str key, Str value, Checkpoint *changed)
{
    const CheckpointEntry *stored = checkpoint_get(checkpoint, key);
    if (stored == NULL || !str_equal(stored->value, value)) {
        checkpoint_set(changed, key, value);
    }
}

Status postgres_note_publication(Postgres *postgres, const Checkpoint *checkpoint,
                                 Checkpoint *changed, Error *err)
{
    // Without an entry nothing says that the publication which this one was told of is the one that
    // the target was filled from.
    if (postgres->base.context.keeps_tables) {
        return STATUS_OK;
    }
    Arena scratch = {0};
    Seen seen[2] = {0};
    Status status = look(postgres, &scratch, seen, err);
    if (status == STATUS_OK && seen[0].now == 0) {
        status = postgres_publication_is_gone(seen[0].name, err); // since it was looked at
    }
    if (status == STATUS_OK) {
        char oids[32];
        (void)snprintf(oids, sizeof(oids), seen[1].now == 0 ? "%u" : "%u %u", seen[0].now,
                       seen[1].now);
        note(checkpoint, CHECKPOINT_PUBLICATION, str_from(oids), changed);
        note(checkpoint, CHECKPOINT_PUBLICATION_NAME, seen[0].name, changed);
    }
    arena_done(&scratch);
    return status;
}
