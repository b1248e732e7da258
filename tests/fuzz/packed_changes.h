// Whether changes that were packed and unpacked again are the same.
#pragma once

#include "change/pack.h"

static inline bool row_is_same(const Value *a, const Value *b, uint16_t count)
{
    for (uint16_t i = 0; a != NULL && b != NULL && i < count; i++) {
        if (!value_equal(a[i], b[i])) {
            return false;
        }
    }
    return (a == NULL) == (b == NULL);
}

static inline bool change_is_same(const Change *a, const Change *b)
{
    uint16_t columns = a->relation == NULL ? 0 : a->relation->column_count;
    return a->op == b->op && a->ordinal == b->ordinal &&
           a->transaction->commit_lsn == b->transaction->commit_lsn &&
           str_equal(a->transaction->origin, b->transaction->origin) &&
           (a->relation == NULL) == (b->relation == NULL) &&
           (a->relation == NULL || relation_is_same(a->relation, b->relation)) &&
           row_is_same(a->old_row, b->old_row, columns) &&
           row_is_same(a->new_row, b->new_row, columns) &&
           (a->message == NULL || str_equal(a->message->content, b->message->content));
}
