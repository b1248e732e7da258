// Gives a target its tables: the shape that the source's have, and their names.
//
// Names move from table to table: orders is dropped and made again, or orders becomes orders_old
// and orders_new becomes orders. A rename is told only with the next row of its table, of a dropped
// one nothing is told at all. So when a table takes a name that the target still has for another
// one, that other one steps aside, as orders_old1, with its rows. Should it live on under a new
// name, its next change says so, and is an ordinary rename.
#pragma once

#include "pipeline/sink.h"
#include "pipeline/tables.h"

/**
 * prepare() at @sink for @table, so that its target is @relation's. With it, in the same
 * transaction of the target, another table may step aside: the caller has to store every dirty
 * table.
 */
MUST_CHECK Status shape_table(Tables *tables, Sink *sink, Table *table, const Relation *relation,
                              Error *err);
