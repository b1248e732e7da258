// Compares the rows of a table on two sides that digest them by themselves: first buckets, then the
// digests of the rows of unequal ones, then the rows that differ.
#pragma once

#include "change/digest.h"

/** One side's table, and how it is asked. */
typedef struct CompareSide {
    DigestQuery query; // kind and wanted are set for each question
    Status (*open)(void *context, const DigestQuery *query, DigestReader **ret, Error *err);
    void *context;
} CompareSide;

typedef enum DifferenceKind {
    DIFFERENCE_MISSING, // the source has the row, the target does not
    DIFFERENCE_EXTRA,   // the other way round
    DIFFERENCE_VALUES,  // of one key, with other values
} DifferenceKind;

typedef struct Comparison {
    uint64_t source_rows;
    uint64_t target_rows;
    uint64_t counts[3]; // by DifferenceKind
    // Digests of the keys of rows that differ, ascending, each once: the first ones. To be freed.
    uint64_t *keys;
    size_t key_count;
} Comparison;

static inline uint64_t comparison_differences(const Comparison *comparison)
{
    return comparison->counts[DIFFERENCE_MISSING] + comparison->counts[DIFFERENCE_EXTRA] +
           comparison->counts[DIFFERENCE_VALUES];
}

/** How many digits the number of a bucket is to have. @row_estimate: -1: not known. */
unsigned compare_digits(int64_t row_estimate);

/** Both sides have the same columns in the same order, and the same digits. @keys_max: of
 *  Comparison.keys. */
MUST_CHECK Status compare_tables(CompareSide *source, CompareSide *target, size_t keys_max,
                                 Comparison *ret, Error *err);

/** A row that differs, on the sides that have it (NULL: it has not). */
typedef Status (*CompareVisit)(void *context, DifferenceKind kind, const DigestRow *source,
                               const DigestRow *target, Error *err);

/** The rows of @keys (ascending) that differ, as often as compare_tables() has counted them. */
MUST_CHECK Status compare_rows(CompareSide *source, CompareSide *target, const uint64_t *keys,
                               size_t key_count, CompareVisit visit, void *context, Error *err);
