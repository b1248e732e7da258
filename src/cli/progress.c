#include "cli/progress.h"

const char *const progress_choices[] = {"auto", "always", "never", NULL};

Progress *progress_start(ProgressMode mode, const Pipeline *pipeline, Runner *runner)
{
    (void)mode;
    (void)pipeline;
    (void)runner;
    return NULL;
}

void progress_stop(Progress *progress)
{
    (void)progress;
}
