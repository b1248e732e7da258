// One change, and the transaction it belongs to.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "change/position.h"
#include "change/relation.h"
#include "change/value.h"

typedef enum ChangeOp {
    CHANGE_READ, // a row as the copy found it
    CHANGE_INSERT,
    CHANGE_UPDATE,
    CHANGE_DELETE,
    CHANGE_TRUNCATE,
    CHANGE_MESSAGE, // pg_logical_emit_message()
    CHANGE_SCHEMA,  // from here on the table looks like `relation`
} ChangeOp;

/** "read", "insert", … */
const char *change_op_name(ChangeOp op);

typedef struct Transaction {
    Lsn commit_lsn;         // of a copy: the LSN of its snapshot
    uint32_t xid;           // 0: none (copy, non-transactional message)
    int64_t commit_time_us; // since 1970; 0: not known (copy)
    Str origin;             // replication origin's name; empty: none
    Lsn origin_lsn;         // of its commit at the origin; LSN_NONE: not known
} Transaction;

typedef struct LogicalMessage {
    Str prefix;
    Str content; // any bytes
    Lsn lsn;
    bool transactional;
} LogicalMessage;

enum {
    TRUNCATE_CASCADE = 1,          // TRUNCATE … CASCADE
    TRUNCATE_RESTART_IDENTITY = 2, // TRUNCATE … RESTART IDENTITY
};

typedef struct Change {
    ChangeOp op;
    uint32_t truncate_flags;
    const Relation *relation; // NULL for a message
    // Row images: relation->column_count values each, borrowed from the batch.
    const Value *old_row; // update, delete; NULL when the server sent none (the key did not change)
    const Value *new_row; // read, insert, update
    const LogicalMessage *message;
    const Transaction *transaction;
    uint64_t ordinal; // in the transaction, from 1
} Change;

static inline Position change_position(const Change *change)
{
    return (Position){change->transaction->commit_lsn, change->ordinal};
}
