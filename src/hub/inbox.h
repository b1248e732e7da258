// Where the requests for one system wait: the listener puts them in, the system's source takes them
// out and answers them. Nothing is let in while no source is there, and never more than so many are
// unanswered: whoever sends a webhook sends it again. The Stripe CLI does not: then the source has
// to ask for what it was not let have (inbox_was_full()).
#pragma once

#include "io/http_server.h"
#include "io/wake.h"

typedef struct Inbox Inbox;

/** Whether @post may come in. It may be noted on (http_post_note()). ERROR_DATA: it may not, and
 * @err says whoever sent it why. Thread: the server's. */
typedef Status (*InboxGate)(void *context, HttpPost *post, Error *err);

RETURNS_NONNULL Inbox *inbox_new(void);

/** It is closed. Accepts NULL. */
void inbox_free(Inbox *inbox);

/** Let @post in, or answer it. Thread: the server's. */
void inbox_put(Inbox *inbox, HttpPost *post);

/** A source is there. @context outlives inbox_close(). */
MUST_CHECK Status inbox_open(Inbox *inbox, InboxGate gate, void *context, Error *err);

/** Readable when something was put in. -1: it is not open. */
int inbox_fd(const Inbox *inbox);

/** The next one, which is answered by inbox_answer(); NULL when there is none. */
HttpPost *inbox_take(Inbox *inbox);

/** Whether something was refused because too much waited, since this was true last, and no more
 * than half of that waits now. Thread: the source's. */
bool inbox_was_full(Inbox *inbox);

/** @error: what is wrong, in one sentence; NULL: nothing. */
void inbox_answer(Inbox *inbox, HttpPost *post, unsigned code, const char *error);

/** The source goes: what is left inside is answered. All that it took is answered. Also when it is
 *  not open. */
void inbox_close(Inbox *inbox);
