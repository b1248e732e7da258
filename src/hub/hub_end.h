// What the connectors of a hub are handed: SinkContext.subject, SourceContext.subject.
#pragma once

#include "hub/hub_log.h"
#include "hub/hub_memory.h"
#include "hub/inbox.h"
#include "model/hub.h"

/** One system of a hub. Outlives the pipelines that it is given to; may be shared by threads. */
typedef struct HubEnd {
    const Hub *hub;
    const HubSystem *system;
    HubLog *log;       // where what is received goes; NULL: it is not received from
    const char *stage; // a directory, for what is too much to be kept until its commit; likewise
    // The replication origin under which Postgres is pushed to: changes that have it are ours.
    const char *origin;
    HubMemory *memory; // of a system whose echoes are known by their contents; NULL: of others
    // Where what is posted to the system comes in, and the URL of that; NULL: nothing is.
    Inbox *inbox;
    const char *url;
} HubEnd;
