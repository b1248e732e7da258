#include "hub/inbox.h"

#include <assert.h>
#include <pthread.h>

#include "base/mem.h"
#include "codec/json.h"

enum {
    UNANSWERED_MAX = 128, // each has a body of up to LIMIT_HTTP_BODY
    ANSWER_MAX = 65536,
    OK = 200,
    BAD_REQUEST = 400,
    UNAVAILABLE = 503,
};

struct Inbox {
    pthread_mutex_t lock;
    Wake wake; // fd -1: closed
    InboxGate gate;
    void *context;
    HttpPost *posts[UNANSWERED_MAX]; // a ring
    size_t first;
    size_t count;
    size_t unanswered; // with those that were taken out
    bool was_full;     // for one more
};

Inbox *inbox_new(void)
{
    Inbox *inbox = mem_alloc_zero(sizeof(*inbox));
    (void)pthread_mutex_init(&inbox->lock, NULL);
    inbox->wake.fd = -1;
    return inbox;
}

void inbox_free(Inbox *inbox)
{
    if (inbox == NULL) {
        return;
    }
    assert(inbox->wake.fd < 0);
    (void)pthread_mutex_destroy(&inbox->lock);
    mem_free(inbox);
}

static void answer(HttpPost *post, unsigned code, const char *error)
{
    CLEANUP(buf_done) Buf body;
    buf_init(&body, ANSWER_MAX);
    if (error == NULL) {
        buf_cstr(&body, "{\"received\":true}\n");
    } else {
        buf_cstr(&body, "{\"error\":");
        json_string_lossy(&body, str_from(error));
        buf_cstr(&body, "}\n");
    }
    http_post_answer(post, code, "application/json", buf_view(&body));
}

// Locked: the gate's context is there as long as the inbox is open.
static unsigned let_in(Inbox *inbox, HttpPost *post, Error *err)
{
    if (inbox->wake.fd < 0) {
        (void)error_set(err, ERROR_TRANSIENT, "it is not taken at the moment: try again later");
        return UNAVAILABLE;
    }
    if (inbox->gate(inbox->context, post, err) != STATUS_OK) {
        return BAD_REQUEST;
    }
    if (inbox->unanswered == UNANSWERED_MAX) {
        inbox->was_full = true;
        (void)error_set(err, ERROR_TRANSIENT, "too much waits already: try again later");
        return UNAVAILABLE;
    }
    inbox->posts[(inbox->first + inbox->count++) % UNANSWERED_MAX] = post;
    inbox->unanswered++;
    wake_set(&inbox->wake);
    return OK;
}

void inbox_put(Inbox *inbox, HttpPost *post)
{
    Error err = {0};
    (void)pthread_mutex_lock(&inbox->lock);
    unsigned code = let_in(inbox, post, &err);
    (void)pthread_mutex_unlock(&inbox->lock);
    if (code != OK) {
        answer(post, code, err.message);
    }
}

Status inbox_open(Inbox *inbox, InboxGate gate, void *context, Error *err)
{
    (void)pthread_mutex_lock(&inbox->lock);
    assert(inbox->wake.fd < 0);
    Status status = wake_init(&inbox->wake, err);
    inbox->gate = gate;
    inbox->context = context;
    (void)pthread_mutex_unlock(&inbox->lock);
    return status;
}

int inbox_fd(const Inbox *inbox)
{
    return inbox->wake.fd; // set and read by the source's threads, one at a time
}

HttpPost *inbox_take(Inbox *inbox)
{
    HttpPost *post = NULL;
    (void)pthread_mutex_lock(&inbox->lock);
    if (inbox->count > 0) {
        post = inbox->posts[inbox->first];
        inbox->first = (inbox->first + 1) % UNANSWERED_MAX;
        inbox->count--;
    } else if (inbox->wake.fd >= 0) {
        wake_clear(&inbox->wake);
    }
    (void)pthread_mutex_unlock(&inbox->lock);
    return post;
}

bool inbox_was_full(Inbox *inbox)
{
    (void)pthread_mutex_lock(&inbox->lock);
    bool was_full = inbox->was_full && inbox->unanswered <= UNANSWERED_MAX / 2;
    inbox->was_full = inbox->was_full && !was_full;
    (void)pthread_mutex_unlock(&inbox->lock);
    return was_full;
}

void inbox_answer(Inbox *inbox, HttpPost *post, unsigned code, const char *error)
{
    (void)pthread_mutex_lock(&inbox->lock);
    assert(inbox->unanswered > 0);
    inbox->unanswered--;
    (void)pthread_mutex_unlock(&inbox->lock);
    answer(post, code, error);
}

void inbox_close(Inbox *inbox)
{
    (void)pthread_mutex_lock(&inbox->lock);
    wake_done(&inbox->wake);
    inbox->wake.fd = -1;
    (void)pthread_mutex_unlock(&inbox->lock);
    for (HttpPost *post; (post = inbox_take(inbox)) != NULL;) {
        inbox_answer(inbox, post, UNAVAILABLE, "it is not taken at the moment: try again later");
    }
    assert(inbox->unanswered == 0);
}
