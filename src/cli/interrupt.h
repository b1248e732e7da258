// SIGINT and SIGTERM: the first asks the running pipelines to drain, the second to stop at once.
#pragma once

#include "pipeline/runner.h"

/** Route the signals to @count runners, which must live until interrupt_clear(). Also ignores
 *  SIGPIPE and SIGXFSZ. */
void interrupt_watch(Runner *const *runners, size_t count);
void interrupt_clear(void);

/** Have them set @cancel, too, from interrupt_watch() on; NULL: no more. */
void interrupt_cancels(Cancel *cancel);

/** The last signal, or 0. */
int interrupt_signal(void);
