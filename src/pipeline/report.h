// What `weir check` collects: facts and problems, each problem with what mends it.
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/macros.h"
#include "base/map.h"
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

/** What nobody else may write to. */
typedef struct Claim {
    Str key;  // the same for all that lead there, however they name it
    Str what; // in a sentence
    Str mend;
} Claim;

typedef struct Report {
    Arena arena;
    Problem *problems;
    size_t count;
    size_t capacity;
    Claim *claims;
    size_t claim_count;
    size_t claim_capacity;
} Report;

/** @mend: the exact SQL, command or setting, or NULL. */
void report_problem(Report *report, ProblemLevel level, const char *mend, const char *format, ...)
    PRINTF_LIKE(4, 5);

/** What failed is a PROBLEM_MUST, and @err's hint mends it. @end, in front: "source"; may be NULL.
 */
void report_failure(Report *report, const char *end, const Error *err);

/** The route alone is to write to what @claim names, which is copied. */
void report_claim(Report *report, const Claim *claim);

/** All problems of @more behind those that are there. */
void report_add(Report *report, const Report *more);

size_t report_count(const Report *report, ProblemLevel level);

/** The first PROBLEM_MUST as an error: STATUS_OK when there is none. */
MUST_CHECK Status report_first(const Report *report, Error *err);

void report_done(Report *report);

/** What several routes claim. Zero-initialised is empty. */
typedef struct Claims {
    Arena arena;
    Map by_key;
    size_t routes; // taken so far
} Claims;

/** Take those of another route, called @by. One that an earlier route has is a problem of this. */
void claims_take(Claims *claims, Str by, Report *report);

void claims_done(Claims *claims);
