// Whether the server's history is still the one that the target was filled from.
//
// A server that is restored to an earlier time, or a standby that is promoted, goes on with a new
// timeline: what was written behind the place where it left the old one never happened there. The
// WAL's positions go on from that place, and soon look as if nothing had been.
#include "pipeline/advice.h"
#include "sources/postgres.h"

static Status ask_history(Postgres *postgres, PGresult **ret, Error *err)
{
    Arena scratch = {0};
    PgWait wait = postgres_wait(postgres);
    const char *sql =
        arena_printf(&scratch, "TIMELINE_HISTORY %" STR_FMT, STR_ARG(postgres->timeline));
    Status status = pg_run_result(postgres->walsender, &wait, sql, ret, err);
    arena_done(&scratch);
    if (status == STATUS_OK && (PQntuples(*ret) != 1 || PQnfields(*ret) < 2)) {
        return error_set(err, ERROR_DATA, "the server did not tell the history of its timeline");
    }
    return status;
}

static Str next_word(Str *line)
{
    *line = str_trim(*line);
    size_t len = 0;
    while (len < line->len && line->ptr[len] != '\t' && line->ptr[len] != ' ') {
        len++;
    }
    Str word = {line->ptr, len};
    *line = (Str){line->ptr + len, line->len - len};
    return word;
}

// "1<tab>0/3000060<tab>why"; see timeline.c.
bool postgres_timeline_end(Str history, Str timeline, Lsn *ret)
{
    Str line;
    while (str_split(&history, '\n', &line)) {
        Str number = next_word(&line);
        Str end = next_word(&line);
        if (str_equal(number, timeline) && lsn_parse(end, ret)) {
            return true;
        }
    }
    return false;
}

static Status advise(Error *err)
{
    return error_hint(
        err,
        "It was restored to an earlier time, or it is a standby that was promoted "
        "before it had received everything: the target has changes that it has not. %s"
        " Set synchronized_standby_slots (PostgreSQL 17 and later), and "
        "no standby can lag behind what is streamed.",
        advice()->start_anew);
}

Status postgres_check_timeline(Postgres *postgres, const Checkpoint *checkpoint, Lsn furthest,
                               Error *err)
{
    const CheckpointEntry *stored = checkpoint_get(checkpoint, CHECKPOINT_TIMELINE);
    if (stored == NULL || str_equal(stored->value, postgres->timeline)) {
        return STATUS_OK;
    }
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    // The first has no history to ask for.
    bool has_history = !str_is(postgres->timeline, "1");
    if (has_history && ask_history(postgres, &result, err) != STATUS_OK) {
        return error_wrap(err, "ask for timelines");
    }
    Lsn left;
    Str history = has_history ? str_from(pg_value(result, 0, 1)) : STR("");
    if (!postgres_timeline_end(history, stored->value, &left)) {
        error_set(err, ERROR_CONFIG,
                  "the target was filled from timeline %" STR_FMT
                  ", which is not in the history of the server's timeline %" STR_FMT,
                  STR_ARG(stored->value), STR_ARG(postgres->timeline));
        return advise(err);
    }
    if (furthest > left) {
        error_set(
            err, ERROR_CONFIG,
            "the server left timeline %" STR_FMT " at " LSN_FMT
            ", before the position of the target, " LSN_FMT ", and is on timeline %" STR_FMT " now",
            STR_ARG(stored->value), LSN_ARG(left), LSN_ARG(furthest), STR_ARG(postgres->timeline));
        return advise(err);
    }
    return STATUS_OK;
}
