// weir check of a hub: what goes where, and what is missing.
#pragma once

#include "model/hub.h"
#include "pipeline/report.h"

typedef enum HubFormat { HUB_TEXT, HUB_JSON, HUB_DOT } HubFormat;

/** What check knows of a hub. */
typedef struct HubCheck {
    Str directory;
    const Hub *hub;
    bool asks; // its databases, too
    Arena arena;
    Map field_types; // by MixerField: the type's name in the system (const char *), as far as known
    Report report;
} HubCheck;

/** Check the hub in @directory and print the result; @connect: also by its databases. Returns an
 *  exit code. */
int check_hub(Str directory, HubFormat format, bool connect);

// check_hub_tables.c

/** Connect to a system of SYSTEM_POSTGRESQL, which is only read, and look up the types of its
 *  fields. What is wrong goes into the report. */
void hub_check_tables(HubCheck *check, const HubSystem *system);

// check_hub_print.c

void hub_print_text(const HubCheck *check);
void hub_print_json(const HubCheck *check);

/** A picture for Graphviz. */
void hub_print_dot(const HubCheck *check);
