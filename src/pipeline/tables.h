// What a route knows of each table: whether it was copied, at which snapshot, and how the target's
// table looks now. Kept in the checkpoint, so that a rename is still a rename after a restart.
#pragma once

#include <pthread.h>

#include "base/error.h"
#include "base/map.h"
#include "base/notice.h"
#include "change/position.h"
#include "change/relation.h"
#include "pipeline/checkpoint.h"

typedef enum TableState {
    TABLE_PENDING, // to be copied; its changes are dropped: the copy will have them
    TABLE_COPYING, // being copied beside the stream; its changes are held
    TABLE_READY,   // its changes at or behind `copied_at` are delivered
} TableState;

typedef struct Table {
    uint32_t oid;
    TableState state;
    bool copy_begun; // the target's table may have rows of an unfinished copy of ours
    Lsn copied_at;   // LSN of the last finished copy's snapshot; LSN_NONE: only followed, or new
    const Relation *target;   // shape that prepare() last gave the target; NULL: none
    const Relation *prepared; // the relation version prepared since open(), by pointer; or NULL
    Position described_at;    // where the stream told `prepared`
    uint32_t vain_copies;     // snapshots in a row that it was rewritten behind
    int64_t copy_not_before_ms;
    Str place;     // the target's key in Tables.by_place
    bool is_dirty; // differs from the stored checkpoint
} Table;

/** Owns its tables. A Table belongs to the thread that copies it or, otherwise, to the route. */
typedef struct Tables {
    Arena arena;
    Map by_oid;
    Map by_place;         // "schema\0name" of the target -> Table
    pthread_mutex_t lock; // of the arena: copies in several threads set targets
} Tables;

void tables_init(Tables *tables);
void tables_done(Tables *tables);

/** NULL when it is not known. */
Table *tables_find(const Tables *tables, uint32_t oid);

/** Find or add (TABLE_PENDING). */
Table *tables_get(Tables *tables, uint32_t oid);

/** The target now looks like @relation, which is copied. Thread: the owner of @table. */
void tables_set_target(Tables *tables, Table *table, const Relation *relation);

/** The table other than that of @relation whose target has @relation's name, or NULL. */
Table *tables_rival(const Tables *tables, const Relation *relation);

/**
 * What the target of @table is to look like when it steps aside: the same under a name that no
 * target has, "<name>_old<N>". Lives as long as @tables. Thread: the route's.
 */
const Relation *tables_aside(Tables *tables, const Table *table);

/** The stream tells @relation at @position: pending tables that were said to have its name before
 *  wait for news. */
void tables_overtake(Tables *tables, const Relation *relation, Position position);

/** Some table is to be copied, and the target has nothing of it. */
bool tables_are_missing(const Tables *tables);

/** The sink has prepared other shapes since: the next change of each table brings its own. */
void tables_forget_prepared(Tables *tables);

/** Read the "table:" entries. ERROR_FATAL when one is damaged. */
MUST_CHECK Status tables_load(Tables *tables, const Checkpoint *checkpoint, Error *err);

/** Put the entries of the dirty tables into @changed and mark them clean. A crash between this and
 *  the commit is harmless: the attempt ends, and the next one loads what was stored. */
void tables_save(Tables *tables, Checkpoint *changed);

/** It is to be copied anew, over what the target has of it, which stands at @durable. */
void table_copy_again(Table *table, Lsn durable);

/** Whether changes of what the target has were not told before @now was: the table was not
 * published for a while. If so, @notice is told, and what that means when there are (@copies)
 * copies. */
bool table_tell_gap(const Table *table, const Relation *now, bool copies, const Notice *notice);

/** Only @table's entry. */
void table_save(Table *table, Checkpoint *changed);
