// The push sink for Postgres, inside: shared by its files.
//
//   push_postgres.c        the session: opened, closed while there is nothing to do, its origin
//   push_postgres_rows.c   changes become rows, a chunk at a time
//   push_postgres_table.c  the tables of rules, as they are found
//   push_postgres_sql.c    a row becomes a statement
#pragma once

#include "hub/hub_end.h"
#include "hub/push_conflicts.h"
#include "hub/push_postgres.h"
#include "hub/rate_limit.h"
#include "sinks/postgres_session.h"

typedef struct PushSink {
    Sink base;
    const HubSystem *system;

    Arena arena;   // as long as the instance
    Arena scratch; // a chunk
    PgSession session;
    RateLimit limit;
    int64_t tokens_taken;    // of it, ever
    bool receives;           // the system is received from, too
    PushConflicts conflicts; // only of a system that is received from
    bool knows_mark;         // what is stored of that has been read, and counts
    bool has_mark;           // the checkpoint says where the system was at the last push
    Arena bound;             // what targets are made of
    Map targets;             // MixerRule -> PushTarget
    Buf sql;
    Buf about; // the row that is written: for messages
    // The session is closed and opened again.
    char position[POSITION_TEXT_SIZE]; // as it was stored last; "": none
    int64_t used_at_ms;
    const char *origin;
    bool has_origin; // the session writes under it
} PushSink;

// push_postgres_table.c

/** Where a rule goes. */
typedef struct PushTarget {
    MixerBinding binding;
    SqlTable table;
    Str name;                      // quoted
    const PgFoundColumn **columns; // of the binding's relation, by their index there
    bool tells;                    // keys that the database gives a new row are told
} PushTarget;

/** The target of @rule, found at its first use. */
MUST_CHECK Status push_target(PushSink *sink, const MixerRule *rule, const PushTarget **ret,
                              Error *err);

/** Somebody may have altered the tables: they are found again. */
void push_forget_targets(PushSink *sink);

// push_postgres_sql.c

/** A statement with text parameters (NULL: SQL NULL). */
typedef struct PushStatement {
    Buf *sql;
    const char **parameters;
    int count;
} PushStatement;

/**
 * What pushes @row, whose values are @values, as mixer_push_values() has them. A parameter for each
 * cell, in their order. Text of parameters may be in @arena.
 *
 * A key that is null is one that who says it does not know, or not yet: where the column takes no
 * NULL, it is the table's to give. So there may be nothing to do, and no statement.
 *
 * An upsert gives a row for each row that it has written, with the search key by which that was
 * found ("": it is new); a delete, and an insert without a search key, give none. It tells which
 * keys a new row was given, and which a row has that are said to be null: hub_given.h.
 */
void push_statement(const PushTarget *target, const PushedRow *row, const Value *values,
                    Arena *arena, PushStatement *ret);

/**
 * What gives the row that had @key before, its new value. Where there is one that has it already,
 * the other one is nothing any more, and is deleted.
 */
MUST_CHECK Status push_key_statement(const PushTarget *target, const PushedKey *key, Arena *arena,
                                     PushStatement *ret, Error *err);

/** Which row @row is, for messages. */
void push_describe(const PushTarget *target, const PushedRow *row, const Value *values, Buf *text);

// push_postgres_rows.c

/** Push @changes in the open transaction, or in one that this begins. */
MUST_CHECK Status push_changes(PushSink *sink, const Change *changes, size_t count, Error *err);

/** SinkOps.make_room: what is written does not wait for tokens with its rows locked. */
MUST_CHECK Status push_make_room(Sink *base, const Change *changes, size_t count, size_t *ret,
                                 Error *err);

/** Undo what came behind a savepoint, and the savepoint. */
MUST_CHECK Status push_undo(PushSink *sink, const char *savepoint, Error *err);
