// Objects of a hub are pushed to a system that is a Stripe account. Each request can be repeated
// and is done once: it has a key that is derived from where the change is in the log.
//
// SinkContext.subject is a HubEnd with a memory, whose system is a SYSTEM_STRIPE. There are no
// options. Changes are as push_postgres.h has them.
//
// The id that Stripe gives a new object is told to the hub, as if Stripe had told it: the log gets
// an object that has it and all that others find the object by.
#pragma once

#include "pipeline/sink.h"

extern const SinkOps hub_push_stripe;
