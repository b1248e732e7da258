#include "pipeline/report.h"

#include <stdarg.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/secret.h"

static Problem *add(Report *report)
{
    if (report->count == report->capacity) {
        report->capacity = MAX(report->capacity * 2, (size_t)8);
        report->problems = mem_resize(report->problems, report->capacity * sizeof(Problem));
    }
    return &report->problems[report->count++];
}

static void append(Report *report, const Problem *problem)
{
    Problem copy = *problem;
    copy.what = str_copy(&report->arena, copy.what);
    copy.mend = str_copy(&report->arena, copy.mend);
    *add(report) = copy;
}

void report_problem(Report *report, ProblemLevel level, const char *mend, const char *format, ...)
{
    char what[SECRET_TEXT_MAX];
    va_list args;
    va_start(args, format);
    secret_format(what, sizeof(what), format, args);
    va_end(args);
    append(report, &(Problem){.level = level,
                              .kind = ERROR_CONFIG,
                              .what = str_from(what),
                              .mend = str_from(mend)});
}

void report_failure(Report *report, const char *end, const Error *err)
{
    char what[SECRET_TEXT_MAX];
    (void)snprintf(what, sizeof(what), "%s%s%s", end == NULL ? "" : end, end == NULL ? "" : ": ",
                   err->message);
    append(report, &(Problem){.level = PROBLEM_MUST,
                              .kind = err->kind,
                              .what = str_from(what),
                              .mend = str_from(err->hint[0] == '\0' ? NULL : err->hint)});
}

void report_add(Report *report, const Report *more)
{
    for (size_t i = 0; i < more->count; i++) {
        append(report, &more->problems[i]);
    }
}

void report_claim(Report *report, const Claim *claim)
{
    if (report->claim_count == report->claim_capacity) {
        report->claim_capacity = MAX(report->claim_capacity * 2, (size_t)8);
        report->claims = mem_resize(report->claims, report->claim_capacity * sizeof(Claim));
    }
    report->claims[report->claim_count++] = (Claim){
        .key = str_copy(&report->arena, claim->key),
        .what = str_copy(&report->arena, claim->what),
        .mend = str_copy(&report->arena, claim->mend),
    };
}

size_t report_count(const Report *report, ProblemLevel level)
{
    size_t count = 0;
    for (size_t i = 0; i < report->count; i++) {
        count += report->problems[i].level == level;
    }
    return count;
}

Status report_first(const Report *report, Error *err)
{
    for (size_t i = 0; i < report->count; i++) {
        const Problem *problem = &report->problems[i];
        if (problem->level == PROBLEM_MUST) {
            error_set(err, problem->kind, "%" STR_FMT, STR_ARG(problem->what));
            return error_hint(err, "%" STR_FMT, STR_ARG(problem->mend));
        }
    }
    return STATUS_OK;
}

void report_done(Report *report)
{
    arena_done(&report->arena);
    mem_free(report->problems);
    mem_free(report->claims);
    *report = (Report){0};
}

// ---------------------------------------------------------------------------------------------
// Claims
// ---------------------------------------------------------------------------------------------

typedef struct Claimed {
    Str key;
    size_t route;
    Str by;
} Claimed;

void claims_take(Claims *claims, Str by, Report *report)
{
    Str owner = str_copy(&claims->arena, by);
    for (size_t i = 0; i < report->claim_count; i++) {
        const Claim *claim = &report->claims[i];
        const Claimed *earlier = map_get(&claims->by_key, claim->key);
        if (earlier == NULL) {
            Claimed *claimed = arena_alloc_zero(&claims->arena, sizeof(*claimed));
            *claimed = (Claimed){str_copy(&claims->arena, claim->key), claims->routes, owner};
            (void)map_put(&claims->by_key, claimed->key, claimed);
        } else if (earlier->route != claims->routes) {
            report_problem(report, PROBLEM_MUST, str_to_cstr(&claims->arena, claim->mend),
                           "%" STR_FMT " is filled by \"%" STR_FMT "\", too", STR_ARG(claim->what),
                           STR_ARG(earlier->by));
        }
    }
    claims->routes++;
}

void claims_done(Claims *claims)
{
    map_done(&claims->by_key);
    arena_done(&claims->arena);
}
