// Connections of any bytes: they are taken or refused with a message, and a password that libpq
// would read out of one is in no text that is shown.
#include <libpq-fe.h>

#include "config/conninfo.h"
#include "config/url.h"
#include "fuzz.h"

static const Option postgres_options[] = {
    {.name = "url", .type = OPTION_TYPE_STRING, .is_path = true},
    {.name = "schema", .type = OPTION_TYPE_STRING},
    {0},
};
static const Option file_options[] = {
    {.name = "path", .type = OPTION_TYPE_STRING, .is_path = true},
    {.name = "mode", .type = OPTION_TYPE_STRING},
    {0},
};
static const Option http_options[] = {
    {.name = "url", .type = OPTION_TYPE_STRING},
    {.name = "secret", .type = OPTION_TYPE_STRING, .secret = true},
    {0},
};
static const Option no_options[] = {{0}};
static const EndpointKind kinds[] = {{"postgres", postgres_options},
                                     {"duckdb", file_options},
                                     {"stdout", no_options},
                                     {"http", http_options}};

// Shorter ones are found by chance.
static const char marker[] = "hunter22";

static bool is_named_once(Str text)
{
    const size_t len = sizeof(marker) - 1;
    const char *end = text.ptr + text.len;
    const char *first = memmem(text.ptr, text.len, marker, len);
    return first != NULL && memmem(first + 1, (size_t)(end - first - 1), marker, len) == NULL;
}

// @text: all of it, though libpq reads it up to a NUL only.
static void check_secret(Str text, const char *shown)
{
    PQconninfoOption *options = PQconninfoParse(text.ptr, NULL);
    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        if (strcmp(option->keyword, "password") == 0 && option->val != NULL &&
            strcmp(option->val, marker) == 0) {
            // Named once, so it is the password that is shown.
            FUZZ_CHECK(!is_named_once(text) || strstr(shown, marker) == NULL);
        }
    }
    PQconninfoFree(options);
}

// What was meant as a password is not taken for a host, a port or a database: libpq would try it
// and quote it. Meant is what stands between the first colon and the last @ of the part before the
// parameters.
static void check_meaning(const Setting *url)
{
    if (url == NULL || !conninfo_is_url(url->value) || !is_named_once(url->value)) {
        return;
    }
    const char *text = url->value.ptr;
    const char *secret = strstr(text, marker);
    const char *colon = strchr(strstr(text, "://") + 3, ':');
    const char *at = memrchr(text, '@', strcspn(text, "?"));
    bool meant = colon != NULL && at != NULL && colon < secret && secret < at;
    PQconninfoOption *options = meant ? PQconninfoParse(text, NULL) : NULL;
    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        FUZZ_CHECK(strcmp(option->keyword, "password") == 0 || option->val == NULL ||
                   strstr(option->val, marker) == NULL);
    }
    PQconninfoFree(options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena arena = {0};
    Endpoint endpoint = {0};
    Error err = {0};
    Str text = {str_to_cstr(&arena, (Str){(const char *)data, size}), size};
    if (endpoint_parse(text, kinds, sizeof(kinds) / sizeof(kinds[0]), &arena, &endpoint, &err) ==
        STATUS_OK) {
        FUZZ_CHECK(endpoint.kind < sizeof(kinds) / sizeof(kinds[0]));
        check_secret(text, str_to_cstr(&arena, endpoint.id));
        check_secret(text, str_to_cstr(&arena, endpoint.name));
        check_meaning(settings_find(&endpoint.settings, "url"));
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
        check_secret(text, err.message);
        check_secret(text, err.hint);
    }
    arena_done(&arena);
    return 0;
}
