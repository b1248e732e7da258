// What hints of several connectors say in one way.
#pragma once

/** Under which a pipeline is another one: wherever it gets its name from. */
#define ANOTHER_NAME "another name (--name NAME; in weir.yml, the key of the pipeline)"

/** To who finds rows in a target, behind what else can be done about them. A default name comes
 * from both addresses. */
#define NAME_OF_BEFORE                                                                         \
    "If a pipeline of yours has filled it, perhaps with another address or user in its URLs, " \
    "--name with that one's name goes on (weir slots list tells names)."

/** To who cannot go on from the stored position. */
#define START_ANEW                                                                              \
    "Start again under " ANOTHER_NAME ", which copies the tables anew; with existing=truncate " \
    "(…?existing=truncate behind the sink's URL; in weir.yml, a key of its connection) into " \
    "tables that have rows."

/** To who cannot have what a disk buffer has dropped. */
#define FILL_ANEW                                                                           \
    "Fill this target anew under another name: in weir.yml { connection: …, name: NAME, " \
    "existing: truncate }; with weir stream, --name NAME and …?existing=truncate."
