// Connections of any bytes: they are taken or refused with a message, and a password that libpq
// would read out of one is in no text that is shown.
#include <libpq-fe.h>

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
static const Option no_options[] = {{0}};
static const EndpointKind kinds[] = {
    {"postgres", postgres_options}, {"duckdb", file_options}, {"stdout", no_options}};

// Shorter ones are found by chance.
static const char marker[] = "hunter22";

static void check_secret(const char *text, const char *shown)
{
    PQconninfoOption *options = PQconninfoParse(text, NULL);
    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        if (strcmp(option->keyword, "password") == 0 && option->val != NULL &&
            strcmp(option->val, marker) == 0) {
            // Named once, so it is the password that is shown.
            const char *first = strstr(text, marker);
            bool once = first != NULL && strstr(first + 1, marker) == NULL;
            FUZZ_CHECK(!once || strstr(shown, marker) == NULL);
        }
    }
    PQconninfoFree(options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena arena = {0};
    Endpoint endpoint = {0};
    Error err = {0};
    Str text = str_copy(&arena, (Str){size == 0 ? "" : (const char *)data, size});
    const char *word = str_to_cstr(&arena, text);
    if (endpoint_parse(text, kinds, sizeof(kinds) / sizeof(kinds[0]), &arena, &endpoint, &err) ==
        STATUS_OK) {
        FUZZ_CHECK(endpoint.kind < sizeof(kinds) / sizeof(kinds[0]));
        check_secret(word, str_to_cstr(&arena, endpoint.id));
        check_secret(word, str_to_cstr(&arena, endpoint.name));
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
        check_secret(word, err.message);
        check_secret(word, err.hint);
    }
    arena_done(&arena);
    return 0;
}
