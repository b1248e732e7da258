// A running process lends its pipeline to `weir verify`, which brings the targets to one LSN and
// holds them there; and goes on when that has come to its end, however it has.
//
//   asks over the socket of a route  ──►  ends its attempt, gives its locks up
//   has all to itself                ◄──  "lent"
//   "at 0/5A1C3B8"                   ──►  brings its targets exactly there, gives its locks up
//                                    ◄──  "on", "fails …": every second, on the way
//                                    ◄──  "lent"
//   closes the connection            ──►  goes on from what is stored
//
// The connection is the loan: a borrower that is killed closes it, too. Of a pipeline with a disk
// buffer each route is lent by itself. Its borrower cannot open the buffer, which is filled all the
// while, and so has the lender bring the route to where it wants it.
#pragma once

#include "control/monitor.h"
#include "io/cancel.h"
#include "io/http_server.h"

/** Lends what one runner has, to one borrower at a time. */
typedef struct Lender Lender;

/** @watched: borrowed. */
Lender *lender_new(const Watched *watched);

/** Lend to who is at the other end of @stream, or say there why not. Thread: any; never waits. */
void lender_take(Lender *lender, const HttpStream *stream);

/** Nothing is lent from now on; a loan ends, for us. */
void lender_stop(Lender *lender);

/** After lender_stop(), and when nobody can call lender_take() any more. */
void lender_free(Lender *lender);

/** How long a borrower waits. */
typedef struct LoanPatience {
    const Cancel *cancel;
    int64_t ms; // for a lender that gets nowhere, which is ERROR_TRANSIENT then; 0: for ever
} LoanPatience;

/**
 * Ask the process that has the state @directory to lend its pipeline, and wait until it has given
 * it up. *ret_fd: the loan, until it is closed; -1: no process is there to be asked. ERROR_CONFIG
 * when it does not lend.
 */
MUST_CHECK Status loan_ask(const char *directory, const LoanPatience *patience, int *ret_fd,
                           Error *err);

/** Have the lender bring the targets of the loan @fd to exactly @lsn, which is not behind them. */
MUST_CHECK Status loan_bring(int fd, const char *directory, Lsn lsn, const LoanPatience *patience,
                             Error *err);
