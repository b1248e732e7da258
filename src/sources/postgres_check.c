// `weir check`: what resume() would find, without making anything.
#include "sources/postgres.h"

Status postgres_check(Source *source, Report *report, Error *err)
{
    (void)source;
    (void)report;
    (void)err;
    return STATUS_OK;
}
