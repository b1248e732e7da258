// What the connectors of a hub are handed: SinkContext.subject, SourceContext.subject.
#pragma once

#include "model/hub.h"

/** One system of a hub. Immutable, may be shared by threads. */
typedef struct HubEnd {
    const Hub *hub;
    const HubSystem *system;
} HubEnd;
