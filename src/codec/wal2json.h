// What both versions of format wal2json share. The behaviour is that of release 2.6 of the plugin
// with its default options; docs/formats.md lists where and why this differs.
#pragma once

#include "base/map.h"
#include "codec/codec.h"

/** Of one version of a relation. */
typedef struct Wal2jsonShape {
    const Relation *relation;
    Str table;  // "schema":"public","table":"orders"
    Str *names; // by column: "id"
    Str *types; // by column: "integer"
} Wal2jsonShape;

typedef struct Wal2json {
    const CodecOptions *options;
    Arena arena; // shapes
    Map shapes;  // address of the relation -> Wal2jsonShape
    const Wal2jsonShape *last;
    bool is_open;            // a transaction was begun and not ended
    Transaction transaction; // the open one; its origin is not to be used
    bool has_changes;        // in the open transaction
    Buf stamp;               // of the open transaction: "xid":742,"timestamp":"…", or empty
} Wal2json;

/** Which columns of which image a list has. */
typedef enum Wal2jsonRow {
    WAL2JSON_NEW,      // the new image, but for unchanged TOASTed columns
    WAL2JSON_IDENTITY, // the old image or, when the key did not change, the new one's key
    WAL2JSON_PK,       // the primary key's columns
} Wal2jsonRow;

void wal2json_init(void *state, const CodecOptions *options);
void wal2json_done(void *state);
void wal2json_describe_column(const Column *column, Buf *out);

MUST_CHECK Status wal2json_shape(Wal2json *codec, const Relation *relation,
                                 const Wal2jsonShape **ret, Error *err);

/** Part of a transaction of the stream; a row of a copy and some messages stand by themselves. */
bool wal2json_is_transactional(const Change *change);

/** Note that @transaction is open, and make its stamp. */
void wal2json_open(Wal2json *codec, const Transaction *transaction);

/** Column @i belongs into the list. */
bool wal2json_has_column(const Change *change, Wal2jsonRow row, uint16_t i);

/** The value that the list says column @i has. */
Value wal2json_column(const Change *change, Wal2jsonRow row, uint16_t i);

/** The plugin writes a "pk" member for the table. */
bool wal2json_has_pk(const Relation *relation);

MUST_CHECK Status wal2json_value(const Relation *relation, uint16_t i, Value value, Buf *out,
                                 Error *err);

/** "prefix":"…","content":"…" */
MUST_CHECK Status wal2json_message(const LogicalMessage *message, Buf *out, Error *err);
