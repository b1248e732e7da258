// What `weir check` collects: facts and problems, each problem with what mends it.
#pragma once

#include "base/arena.h"
#include "base/macros.h"
#include "base/str.h"

typedef enum ProblemLevel {
    PROBLEM_MUST, // it will not work: exit code 2
    PROBLEM_NOTE, // it will work; somebody should know
    PROBLEM_FACT, // nothing is wrong: what was found, and what will be made
} ProblemLevel;

typedef struct Problem {
    ProblemLevel level;
    Str what; // one sentence
    Str mend; // the exact SQL or setting; may be empty
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

void report_done(Report *report);
