// The sink of a pipeline that receives from a system of a hub: what the source tells is mixed into
// objects of models, checked, and appended to the hub's log (hub_log.h), together with how far the
// source was read.
//
// A change is taken whole or refused whole (ERROR_DATA): when one of its objects is invalid, the
// dead letters have the change, with path and reason.
#pragma once

#include "pipeline/sink.h"

/** SinkContext.subject: a HubEnd (hub_end.h). No options. */
extern const SinkOps hub_receive;
