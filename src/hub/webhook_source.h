// The source of a pipeline that receives from a system of type webhook: what is posted to it. A
// change for each object (hub_event.h).
#pragma once

#include "pipeline/source.h"

/** SourceContext.subject: a HubEnd (hub_end.h) with an inbox. No options. */
extern const SourceOps hub_webhook_source;
