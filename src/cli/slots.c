#include "cli/command.h"

static int slots_run(Invocation *invocation)
{
    (void)invocation;
    return EXIT_FAILED;
}

const Command slots_command = {.name = "slots", .arguments = "", .summary = "-", .run = slots_run};
