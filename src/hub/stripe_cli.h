// The Stripe CLI, which has the account's events sent to it and forwards them to the listener: for
// machines that Stripe cannot reach. A process of ours: it is started again when it ends, and ends
// when we do.
#pragma once

#include "base/notice.h"
#include "base/str.h"
#include "io/cancel.h"

typedef struct StripeCli StripeCli;

/** What it signs what it forwards with, in @arena. ERROR_CONFIG: there is no CLI, or it does not
 * know the key. */
MUST_CHECK Status stripe_cli_secret(Str api_key, const Cancel *cancel, Arena *arena, Str *ret,
                                    Error *err);

/** Have it forward to @url. Everything is copied. Nothing is started yet. */
RETURNS_NONNULL StripeCli *stripe_cli_new(Str api_key, const char *url);

/** Start it when it is time for that, and see how it is. *ret_is_ready: it has just begun to
 *  forward. It ends with the thread that this was called by. */
MUST_CHECK Status stripe_cli_look(StripeCli *cli, int64_t now_ms, const Notice *notice,
                                  bool *ret_is_ready, Error *err);

/** Readable when there is something to look at; -1: it does not run. */
int stripe_cli_fd(const StripeCli *cli);

/** End it. Accepts NULL. */
void stripe_cli_free(StripeCli *cli);
