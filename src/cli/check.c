#include "cli/command.h"

static int check_run(Invocation *invocation)
{
    (void)invocation;
    return EXIT_FAILED;
}

const Command check_command = {.name = "check", .arguments = "", .summary = "-", .run = check_run};
