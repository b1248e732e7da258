// What push sinks have in common: a change becomes an object of a model.
#pragma once

#include "hub/hub_end.h"
#include "pipeline/sink.h"

/**
 * The object that @change is, in @arena, which it may borrow from the change, and what @end's
 * system does with it. *ret_group NULL: nothing, as it goes elsewhere. ERROR_DATA: its model or a
 * property of it is gone.
 */
MUST_CHECK Status hub_push_take(const HubEnd *end, const Change *change, Arena *arena, Object *ret,
                                const MixerGroup **ret_group, Error *err);

/** SinkOps.row_key of a push sink: a name for each property by which some system finds the object
 *  that @change is. */
void hub_push_row_key(Sink *sink, const Change *change, Arena *arena, RowKey *ret);
