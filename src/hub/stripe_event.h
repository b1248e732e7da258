// An event as Stripe tells it (docs.stripe.com/api/events/object), by a webhook or in a list. Pure.
#pragma once

#include "hub/hub_event.h"

/** Borrows from @value. ERROR_DATA: it is no event that has its object with it. */
MUST_CHECK Status stripe_event_read(const JsonValue *value, HubEvent *ret, Error *err);
