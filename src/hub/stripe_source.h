// The source of a pipeline that receives from Stripe: events, by webhooks, and by a list of those
// that were missed. One change an event (stripe_event.h).
//
//   at the start    events since the last one are listed and told, the oldest first
//   then            what comes into the inbox is told, and answered when it is durable
//
// Its positions are numbers of its own: microseconds of our clock, each larger than the one before.
#pragma once

#include "pipeline/source.h"

/** SourceContext.subject: a HubEnd (hub_end.h) with an inbox. No options. */
extern const SourceOps hub_stripe_source;
