// A stream without a server: messages of the tests' own encoder go in, changes come out.
#pragma once

#include "pg/pgoutput_encoder.h"
#include "relations.h"
#include "sources/postgres.h"

typedef struct Fixture {
    Postgres postgres;
    Arena arena;
    Error error;
    Buf text;
} Fixture;

/** One that has come to 0/20 and has no tables yet. */
static inline Fixture *fixture_new(int protocol_version)
{
    Fixture *f = mem_alloc_zero(sizeof(*f));
    f->text.max = 1 << 20;
    f->postgres.stream.context.protocol_version = protocol_version;
    f->postgres.stream.end = (Position){0x20, 0};
    return f;
}

static inline int fixture_teardown(void **state)
{
    Fixture *f = *state;
    postgres_stream_done(&f->postgres);
    assert_int_equal(spill_memory_used(), 0);
    arena_done(&f->postgres.arena);
    arena_done(&f->arena);
    buf_done(&f->text);
    mem_free(f);
    return 0;
}

static inline Status send(Fixture *f, const PgoutputMessage *message)
{
    Buf bytes = {.max = 1 << 20};
    encode_pgoutput(&bytes, &f->postgres.stream.context, message);
    Status status = postgres_message(&f->postgres, 0, buf_view(&bytes), &f->error);
    buf_done(&bytes); // what is kept is in the batch
    return status;
}

static inline void send_ok(Fixture *f, const PgoutputMessage *message)
{
    if (send(f, message) != STATUS_OK) {
        fail_msg("%s", f->error.message);
    }
}

/**
 * The changes so far: "+30.2" is the second change of the transaction that committed at 30, an
 * insert. ~ is an update, - a delete, r a row that was read, T, M and S (schema) the others.
 * @show writes what is to be seen of a change's rows behind it.
 */
static inline void assert_changes_as(Fixture *f, void (*show)(Buf *text, const Change *change),
                                     const char *expected)
{
    static const char marks[] = {'r', '+', '~', '-', 'T', 'M', 'S'};
    const Batch *batch = postgres_batch(&f->postgres.stream);
    buf_reset(&f->text);
    for (size_t i = 0; i < batch->count; i++) {
        const Change *change = &batch->changes[i];
        buf_printf(&f->text, "%s%c%" PRIX64 ".%" PRIu64, i > 0 ? " " : "", marks[change->op],
                   change->transaction->commit_lsn, change->ordinal);
        show(&f->text, change);
    }
    assert_string_equal(buf_cstring(&f->text), expected);
}
