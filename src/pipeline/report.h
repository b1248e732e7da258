// What `weir check` collects: facts and problems, each problem with what mends it.
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/str.h"

typedef enum ProblemLevel {
    PROBLEM_MUST, // it will not work: exit code 2
    PROBLEM_NOTE, // it will work; somebody should know
    PROBLEM_FACT, // nothing is wrong: what was found, and what will be made
} ProblemLevel;

typedef struct Problem {
    ProblemLevel level;
    ErrorKind kind; // of PROBLEM_MUST: ERROR_TRANSIENT when it may pass by itself
    Str what;       // one sentence
    Str mend;       // the exact SQL or setting; may be empty
} Problem;

typedef struct Report {
    Arena arena;
    Problem *problems;
    size_t count;
    size_t capacity;
} Report;

/** @mend: the exact SQL, command or setting, or NULL. */
void report_problem(Report *report, ProblemLevel level, const char *mend, const char *format, ...)
    PRINTF_LIKE(4, 5);

/** What failed is a PROBLEM_MUST, and @err's hint mends it. @end, in front: "source"; may be NULL.
 */
void report_failure(Report *report, const char *end, const Error *err);

/** All of @more behind what is there. */
void report_add(Report *report, const Report *more);

size_t report_count(const Report *report, ProblemLevel level);

/** The first PROBLEM_MUST as an error: STATUS_OK when there is none. */
MUST_CHECK Status report_first(const Report *report, Error *err);

void report_done(Report *report);
