// What hints of several connectors say in one way. How a pipeline gets its name depends on what
// runs it, so that is said once, at the start.
#pragma once

typedef struct Advice {
    // Under which a pipeline is another one: "another name (…)".
    const char *another_name;
    // To who cannot go on from the stored position. A sentence.
    const char *start_anew;
    // To who cannot have what a disk buffer has dropped. A sentence.
    const char *fill_anew;
} Advice;

/** What to advise; by default, of pipelines that commands and project files name. Thread: any. */
const Advice *advice(void);

/** From here on advise that. It outlives all. Before anything is run. */
void advice_set(const Advice *given);

/** To who finds rows in a target, behind what else can be done about them. A default name comes
 * from both addresses. */
#define NAME_OF_BEFORE                                                                         \
    "If a pipeline of yours has filled it, perhaps with another address or user in its URLs, " \
    "--name with that one's name goes on (weir slots list tells names)."
