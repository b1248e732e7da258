// Which columns of a table those of a RELATION message are.
//
// The message has names, of the moment when it was written, in the order of the columns' numbers.
// The catalog has names and numbers, of now. Names alone would deceive: a column may have been
// renamed since, or dropped and another one have its name. But numbers are given in order and never
// again, so:
//
//   - a column that is alive now was alive ever since its number was given: when the message knows
//     a later one, it has this one, too;
//   - in between two columns whose numbers are known there is only so much room.
//
// What does not follow from that is not guessed.
#pragma once

#include "pg/catalog.h"

typedef struct TableMatch {
    // As many as the message has, in its order. NULL: it is dropped by now, or not known.
    const CatalogColumn **columns;
    // No column that is alive can be another one of the message than said here, short of one that
    // came, went and came again under its name: see Relation.highest.
    bool is_clear;
    int16_t highest; // see Relation
} TableMatch;

/** In @arena. @table NULL: it is gone, and so are its columns. */
TableMatch catalog_match(const CatalogTable *table, const PgoutputRelation *message, Arena *arena);
