// A codec turns changes into bytes. It does no I/O and never reads a clock: the same changes give
// the same bytes. What it remembers between two changes is in an Encoder, which belongs to the
// caller.
//
// Changes come in commit order. A format may have something to say where a transaction starts and
// ends. It starts with its first change; where it ends only the caller knows, as a large one
// arrives in several parts: encoder_finish() says that the last change so far completed its
// transaction.
//
// To add a format: write one `const Codec`, list it in codec/registry.c, describe it in
// docs/formats.md.
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "change/change.h"
#include "config/option.h"

/** What the user can say about formats: part of a sink's options, see CODEC_OPTIONS. */
typedef struct CodecOptions {
    int format;      // index into codec_format_names
    int64_t version; // 0: the format's default
    bool include_xids;
    bool include_timestamp;
    bool include_pk;
    bool include_transaction;
} CodecOptions;

typedef struct Codec {
    const char *name; // of the format, its version included
    size_t state_size;

    /** @state is zeroed. @options are valid as long as the state is. */
    void (*init)(void *state, const CodecOptions *options);

    /**
     * Append @change to @out, and before it what ends the transaction before. ERROR_DATA when the
     * change cannot be said in this format; then what was appended is to be thrown away, and the
     * state is only good for done().
     */
    Status (*encode)(void *state, const Change *change, Buf *out, Error *err);

    /** The last transaction is complete. */
    void (*finish)(void *state, Buf *out);

    /** What a value of @column becomes: for `weir check`. */
    void (*describe_column)(const Column *column, Buf *out);

    void (*done)(void *state);
} Codec;

typedef struct Encoder {
    const Codec *codec;
    void *state; // NULL: not initialised
} Encoder;

/** The values of `format=`; NULL-terminated. */
extern const char *const codec_format_names[];

/** Rows of a sink's option table. @field: its member of type CodecOptions. */
#define CODEC_OPTIONS(instance, field)                                                             \
    {"format", OPTION_CHOICE(instance, field.format, codec_format_names), .fallback = "weir",      \
     .help =                                                                                       \
         "weir: one JSON object a change, with everything that is known about it. wal2json: as "   \
         "the Postgres plugin of that name writes."},                                              \
        {"version", OPTION_INT(instance, field.version), .min = 1, .max = 2,                       \
         .help =                                                                                   \
             "Version of the format, of wal2json: 1 (default), one object a transaction, or 2, "   \
             "one a change."},                                                                     \
        {"include_xids", OPTION_BOOL(instance, field.include_xids), .fallback = "false",           \
         .help = "wal2json: add the transaction id."},                                             \
        {"include_timestamp", OPTION_BOOL(instance, field.include_timestamp), .fallback = "false", \
         .help = "wal2json: add the time of the commit, in UTC."},                                 \
        {"include_pk", OPTION_BOOL(instance, field.include_pk), .fallback = "false",               \
         .help = "wal2json: add the columns of the primary key."},                                 \
    {                                                                                              \
        "include_transaction", OPTION_BOOL(instance, field.include_transaction),                   \
            .fallback = "true",                                                                    \
            .help = "wal2json 2: add a line where a transaction begins and one where it ends."     \
    }

/** Options that contradict each other are ERROR_CONFIG. */
MUST_CHECK Status codec_options_check(const CodecOptions *options, Error *err);

/** The codec that @options ask for; they passed codec_options_check(). */
const Codec *codec_find(const CodecOptions *options);

/** @options and @arena live as long as the encoder. Release with encoder_done(). */
void encoder_init(Encoder *encoder, const CodecOptions *options, Arena *arena);

/** Accepts one that was never initialised (zeroed). */
void encoder_done(Encoder *encoder);

MUST_CHECK static inline Status encoder_encode(Encoder *encoder, const Change *change, Buf *out,
                                               Error *err)
{
    return encoder->codec->encode(encoder->state, change, out, err);
}

static inline void encoder_finish(Encoder *encoder, Buf *out)
{
    encoder->codec->finish(encoder->state, out);
}

// For codecs.

/** Both are one transaction. By contents: two copies of it may be at different addresses, and two
 *  transactions one after the other at the same. */
static inline bool transaction_is_same(const Transaction *a, const Transaction *b)
{
    return a->commit_lsn == b->commit_lsn && a->xid == b->xid &&
           a->commit_time_us == b->commit_time_us;
}

/** ERROR_DATA or, for a value in binary form, ERROR_FATAL: @value of @column cannot be encoded. */
Status codec_bad_value(const Relation *relation, const Column *column, Value value, Error *err);
