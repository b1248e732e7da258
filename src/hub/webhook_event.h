// What a request to a webhook tells, by the settings of its system. Pure.
#pragma once

#include "hub/hub_event.h"
#include "model/hub.h"

typedef struct WebhookRequest {
    const JsonValue *body;
    Str id;         // the value of id_header; empty: there is none
    int64_t came_s; // seconds since 1970
} WebhookRequest;

/** The events of @request, which may be none: in @arena. ERROR_DATA: what the settings name is not
 *  there, or is of another kind. */
MUST_CHECK Status webhook_events_read(const WebhookSettings *settings,
                                      const WebhookRequest *request, Arena *arena, HubEvents *ret,
                                      Error *err);
