#include "pipeline/report.h"

#include <stdarg.h>

#include "base/buf.h"
#include "base/mem.h"

void report_problem(Report *report, ProblemLevel level, const char *mend, const char *format, ...)
{
    char what[4096];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (len < 0) {
        what[0] = '\0';
    }
    if (report->count == report->capacity) {
        report->capacity = MAX(report->capacity * 2, (size_t)8);
        report->problems = mem_resize(report->problems, report->capacity * sizeof(Problem));
    }
    report->problems[report->count++] = (Problem){
        .level = level,
        .what = str_copy(&report->arena, str_from(what)),
        .mend = str_copy(&report->arena, str_from(mend)),
    };
}

void report_done(Report *report)
{
    arena_done(&report->arena);
    mem_free(report->problems);
    *report = (Report){0};
}
