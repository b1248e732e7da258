// What two databases have to agree on to compare their rows without sending them: how a value is
// written down, how a row is, and what a question for digests is and gives.
//
// Every value has a form (below), which has no comma and is never empty; NULL is the empty one. A
// row is written as the forms of its columns with a comma behind each. The digest of a text is the
// number that its MD5 begins with (16 hexadecimal digits). A row has two: that of its key, and that
// of all of it. A bucket has all rows whose key's digest begins with the same digits.
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "change/relation.h"
#include "change/value.h"

/** How a value is written down so that both sides write the same. */
typedef enum DigestForm {
    DIGEST_TEXT,  // MD5 (32 digits) of what the type's output function writes
    DIGEST_WORD,  // that text itself: of types where it is short and has no comma
    DIGEST_BYTES, // MD5 of a bytea's bytes
    // A float4's or float8's bits as hexadecimal digits; "NaN" for any NaN, "0" for any zero: there
    // are databases that lose its sign.
    DIGEST_FLOAT,
    DIGEST_DAYS, // a date as days since 2000-01-01, or "infinity", "-infinity"
    // The bytes that the type's send function gives, as hexadecimal digits: microseconds since
    // 2000-01-01; of an interval microseconds, days, months.
    DIGEST_TIMESTAMP,
    DIGEST_INTERVAL,
} DigestForm;

/** A column that is compared. */
typedef struct DigestColumn {
    uint16_t index; // in DigestQuery.relation
    DigestForm form;
    // In Postgres only: the value is brought to this type first, by its text, as the other side has
    // done. ptr NULL: it is taken as it is.
    Str type;
} DigestColumn;

typedef enum DigestKind {
    DIGEST_BUCKETS, // of each bucket that has rows: how many, and the sum of their digests
    DIGEST_PAIRS,   // the two digests of each row, in their order
    DIGEST_ROWS,    // the same with the values
} DigestKind;

/** A bucket's number has up to that many hexadecimal digits. */
enum { DIGEST_DIGITS_MAX = 5, DIGEST_HEX_SIZE = 16 };

/** One question about one table. Everything is borrowed until the reader is closed. */
typedef struct DigestQuery {
    DigestKind kind;
    const Relation *relation;
    const DigestColumn *columns;
    size_t column_count;
    size_t key_count; // the first of them are the key; all of them where there is none
    unsigned digits;  // that a bucket's number has
    // Pairs: of these buckets only; rows: with these digests of the key only. In ascending order.
    // NULL: all.
    const uint64_t *wanted;
    size_t wanted_count;
} DigestQuery;

typedef struct DigestRow {
    uint64_t key;    // its digest; of a bucket: its number
    uint64_t digest; // of a bucket: the sum, modulo 2^64
    uint64_t count;  // of a bucket
    // Of DIGEST_ROWS, valid until the next row: the row written down; and the values in the order
    // of the columns, in Postgres's text form as near as the database has it.
    Str text;
    const Value *values;
} DigestRow;

/** The answer. Each kind of database has its own behind this. */
typedef struct DigestReader DigestReader;
struct DigestReader {
    /** The next row; STATUS_AGAIN: there is none. */
    Status (*next)(DigestReader *reader, DigestRow *ret, Error *err);
    /** Also in the middle. */
    void (*close)(DigestReader *reader);
};

static inline void digest_close(DigestReader *reader)
{
    if (reader != NULL) {
        reader->close(reader);
    }
}

/** The @at-th value's form in a row as it is written down; empty: NULL, or there is none. */
Str digest_field(Str text, size_t at);

/** Hexadecimal digits, 16 at the most, and nothing else. */
MUST_CHECK bool digest_parse_hex(Str text, uint64_t *ret);

/** The wanted numbers as hexadecimal digits, each as many as the query's kind has, with commas. */
void digest_list(Buf *sql, const DigestQuery *query);
