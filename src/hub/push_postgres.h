// Objects of a hub are pushed to a system that is a Postgres database, exactly once: the checkpoint
// is a table of the database, written in the transaction that writes the rows.
//
// SinkContext.subject is a HubEnd, whose system is a SYSTEM_POSTGRESQL. There are no options. Each
// change is an object (model/object.h), whose transaction's origin is the name of the system that
// it came from: what came from this one is passed over.
#pragma once

#include "pipeline/sink.h"

extern const SinkOps hub_push_postgres;
