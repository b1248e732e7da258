#include "hub/listener.h"

#include "base/mem.h"
#include "base/percent.h"
#include "hub/inbox.h"
#include "io/http_server.h"

enum { OK = 200, NOT_FOUND = 404 };

#define NOTHING_HERE "{\"error\":\"the requested resource could not be found\"}\n"
#define JSON_TYPE    "application/json"

struct Listener {
    HttpServer *server;
    const HubEnd *ends;
    size_t count;
};

static unsigned handle(void *context, Str path, Buf *body, const char **ret_type)
{
    (void)context;
    *ret_type = JSON_TYPE;
    if (str_is(path, "/v1/healthcheck")) {
        buf_cstr(body,
                 "{\"status\":\"available\",\"system_info\":{\"version\":\"" WEIR_VERSION "\"}}\n");
        return OK;
    }
    buf_cstr(body, NOTHING_HERE);
    return NOT_FOUND;
}

// Of a system that hears of things in another way there is nothing to post to.
static Inbox *find_inbox(const Listener *listener, Str path)
{
    if (path.len == 0 || path.ptr[0] != '/') {
        return NULL;
    }
    Str name = {path.ptr + 1, path.len - 1};
    for (size_t i = 0; i < listener->count; i++) {
        const HubEnd *end = &listener->ends[i];
        if (end->inbox != NULL && str_equal(end->system->name, name)) {
            return end->inbox;
        }
    }
    return NULL;
}

static void take(void *context, HttpPost *post)
{
    Inbox *inbox = find_inbox(context, http_post_path(post));
    if (inbox != NULL) {
        inbox_put(inbox, post);
    } else {
        http_post_answer(post, NOT_FOUND, JSON_TYPE, STR(NOTHING_HERE));
    }
}

Status listener_start(Str address, const HubEnd *ends, size_t count, Listener **ret, Error *err)
{
    Listener *listener = mem_alloc_zero(sizeof(*listener));
    *listener = (Listener){.ends = ends, .count = count};
    HttpService service = {.handler = handle, .poster = take, .context = listener};
    if (http_start(address, &service, &listener->server, err) != STATUS_OK) {
        mem_free(listener);
        return error_wrap(err, "the hub's listener");
    }
    *ret = listener;
    return STATUS_OK;
}

char *listener_url(Str address, Str name, Arena *arena)
{
    size_t colon = address.len;
    while (colon > 0 && address.ptr[colon - 1] != ':') {
        colon--;
    }
    Str host = {address.ptr, colon == 0 ? 0 : colon - 1};
    Str port = {address.ptr + colon, address.len - colon};
    if (host.len == 0 || str_is(host, "0.0.0.0")) {
        host = STR("127.0.0.1");
    } else if (str_is(host, "[::]")) {
        host = STR("[::1]");
    }
    CLEANUP(buf_done) Buf url;
    buf_init(&url, SIZE_MAX);
    buf_printf(&url, "http://%" STR_FMT ":%" STR_FMT "/", STR_ARG(host), STR_ARG(port));
    percent_encode(&url, name);
    return str_to_cstr(arena, buf_view(&url));
}

void listener_stop(Listener *listener)
{
    if (listener != NULL) {
        http_stop(listener->server);
        mem_free(listener);
    }
}
