#include "config/url.h"

#include <assert.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/percent.h"
#include "base/secret.h"
#include "config/conninfo.h"

enum { QUERY_MAX = 64 };

typedef struct Parser {
    Arena *arena;
    Error *err;
    const EndpointKind *kind;
    Settings *settings;
} Parser;

static void add_setting(Parser *parser, Str key, Str value)
{
    assert(parser->settings->count < QUERY_MAX + 1);
    parser->settings->items[parser->settings->count++] = (Setting){
        .key = str_copy(parser->arena, key),
        .value = str_copy(parser->arena, value),
        .origin = parser->settings->origin,
    };
}

static Str path_option(const EndpointKind *kind)
{
    for (const Option *option = kind->options; option->type != OPTION_END; option++) {
        if (option->is_path) {
            return str_from(option->name);
        }
    }
    return (Str){NULL, 0};
}

// Split `a=b&c=d`. What @rest_for_libpq is given takes the parameters that are no options of ours.
static Status parse_query(Parser *parser, Str query, Buf *rest_for_libpq)
{
    Str rest = query.len == 0 ? (Str){NULL, 0} : query;
    Str pair;
    size_t count = 0;
    while (str_split(&rest, '&', &pair)) {
        if (++count > QUERY_MAX) {
            return error_set(parser->err, ERROR_CONFIG, "a URL with more than %d parameters",
                             QUERY_MAX);
        }
        Str value = pair;
        Str key;
        (void)str_split(&value, '=', &key);
        Str name = percent_decode(key, parser->arena);
        bool ours = option_find(parser->kind->options, name) != NULL &&
                    !str_equal(name, path_option(parser->kind));
        if (rest_for_libpq != NULL && !ours) {
            buf_char(rest_for_libpq, rest_for_libpq->len == 0 ? '?' : '&');
            buf_str(rest_for_libpq, pair);
        } else if (pair.len > 0) {
            Str text = value.ptr == NULL ? STR("true") : percent_decode(value, parser->arena);
            add_setting(parser, name, text);
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Postgres
// ---------------------------------------------------------------------------------------------

static Str last_path_part(Str text)
{
    for (size_t i = text.len; i > 0; i--) {
        if (text.ptr[i - 1] == '/') {
            return (Str){text.ptr + i, text.len - i};
        }
    }
    return text;
}

static Str database_from_environment(void)
{
    const char *name = getenv("PGDATABASE");
    if (name == NULL) {
        name = getenv("PGUSER");
    }
    return name == NULL ? STR("postgres") : str_from(name);
}

// postgres://user:password@host:port/db -> postgres://user@host:port/db
static Str without_password(Str url, Arena *arena)
{
    Str secret;
    if (!secret_find(url, &secret)) {
        return str_copy(arena, url);
    }
    Str before = {url.ptr, (size_t)(secret.ptr - url.ptr) - 1}; // not the colon either
    Str behind = {secret.ptr + secret.len, url.len - before.len - 1 - secret.len};
    return str_from(arena_printf(arena, "%" STR_FMT "%" STR_FMT, STR_ARG(before), STR_ARG(behind)));
}

static Status parse_postgres_url(Parser *parser, Str text, Endpoint *ret)
{
    Str query;
    Str base;
    conninfo_split(text, &base, &query);
    CLEANUP(buf_done) Buf libpq_query;
    buf_init(&libpq_query, LIMIT_URL_BYTES);
    if (query.ptr != NULL && parse_query(parser, query, &libpq_query) != STATUS_OK) {
        return STATUS_FAIL;
    }
    char *url = arena_printf(parser->arena, "%" STR_FMT "%" STR_FMT, STR_ARG(base),
                             STR_ARG(buf_view(&libpq_query)));
    if (conninfo_check(str_from(url), parser->kind->options, parser->err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    add_setting(parser, STR("url"), str_from(url));
    ret->id = without_password(base, parser->arena);
    Str name = last_path_part(base);
    bool named = name.len > 0 && str_find(name, ':') < 0 && str_find(name, '@') < 0;
    ret->name = named ? percent_decode(name, parser->arena) : database_from_environment();
    return STATUS_OK;
}

// The keywords of a libpq string but passwords; quoting is left as it is.
static Status parse_keywords(Parser *parser, Str text, Endpoint *ret)
{
    if (conninfo_check(text, parser->kind->options, parser->err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    add_setting(parser, STR("url"), text);
    CLEANUP(buf_done) Buf id;
    buf_init(&id, LIMIT_URL_BYTES);
    ret->name = database_from_environment();
    Str rest = text;
    Str key;
    Str value;
    bool valid;
    while (conninfo_next(&rest, &key, &value, &valid)) {
        if (str_is(key, "password") || str_is(key, "sslpassword")) {
            continue;
        }
        value = without_password(value, parser->arena); // a URL in the wrong place
        if (str_is(key, "dbname") && value.len > 0) {
            bool quoted = value.len > 1 && value.ptr[0] == '\'';
            Str name = quoted ? (Str){value.ptr + 1, value.len - 2} : value;
            ret->name = str_copy(parser->arena, name);
        }
        buf_printf(&id, "%s%" STR_FMT "=%" STR_FMT, id.len == 0 ? "" : " ", STR_ARG(key),
                   STR_ARG(value));
    }
    ret->id = str_copy(parser->arena, buf_view(&id));
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// NAME:PATH?OPTION=VALUE
// ---------------------------------------------------------------------------------------------

static Str absolute_path(Str path, Arena *arena)
{
    char here[4096];
    if (path.len == 0 || path.ptr[0] == '/' || path.ptr[0] == ':' ||
        getcwd(here, sizeof(here)) == NULL) {
        return path;
    }
    return str_from(arena_printf(arena, "%s/%" STR_FMT, here, STR_ARG(path)));
}

Str endpoint_path_id(const char *kind, Str path, Arena *arena)
{
    return str_from(arena_printf(arena, "%s:%" STR_FMT, kind, STR_ARG(absolute_path(path, arena))));
}

static Str file_stem(Str path)
{
    Str name = last_path_part(path);
    ptrdiff_t dot = str_find(name, '.');
    return dot > 0 ? (Str){name.ptr, (size_t)dot} : name;
}

static Status parse_path(Parser *parser, Str rest, Endpoint *ret)
{
    Str query = rest;
    Str coded = {"", 0};
    (void)str_split(&query, '?', &coded);
    if (query.ptr != NULL && parse_query(parser, query, NULL) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Str path = percent_decode(coded, parser->arena);
    Str row = path_option(parser->kind);
    if (path.len > 0 && row.ptr == NULL) {
        return error_set(parser->err, ERROR_CONFIG, "\"%s:\" takes nothing behind the colon",
                         parser->kind->name);
    }
    if (path.len > 0) {
        add_setting(parser, row, path);
    }
    ret->id = endpoint_path_id(parser->kind->name, path, parser->arena);
    ret->name = path.len > 0 ? file_stem(path) : str_from(parser->kind->name);
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// http://host/path?OPTION=VALUE&whatever=that&host=wants
// ---------------------------------------------------------------------------------------------

static bool is_http_url(Str text)
{
    return str_starts_with(text, STR("http://")) || str_starts_with(text, STR("https://"));
}

// A parameter that is nearly an option of ours would be sent to somebody who does not want it.
static Status check_foreign(Parser *parser, Str key)
{
    const char *names[QUERY_MAX];
    size_t count = 0;
    for (const Option *option = parser->kind->options;
         option->type != OPTION_END && count < QUERY_MAX - 1; option++) {
        names[count] = option->name;
        count += strcmp(option->name, "url") != 0; // it is what this stands in
    }
    names[count] = NULL;
    const char *nearest = str_find(key, '%') >= 0 ? NULL : nearest_name(key, names);
    if (nearest == NULL) {
        return STATUS_OK;
    }
    error_set(parser->err, ERROR_CONFIG, "there is no option \"%" STR_FMT "\" of an http sink",
              STR_ARG(key));
    return error_hint(parser->err,
                      "Did you mean \"%s\"? If it is a parameter of the receiver's, write one of "
                      "its letters as a percent code: %%%02X%" STR_FMT ".",
                      nearest, (unsigned)(unsigned char)key.ptr[0],
                      STR_ARG(((Str){key.ptr + 1, key.len - 1})));
}

// What is no option of ours is part of the URL. The names of those that are, are compared as they
// are written: one in another spelling is the receiver's.
static Status split_http_query(Parser *parser, Str query, Buf *url)
{
    char before = '?';
    Str pair;
    size_t count = 0;
    while (str_split(&query, '&', &pair)) {
        Str value = pair;
        Str key;
        bool is_file;
        (void)str_split(&value, '=', &key);
        if (option_find_for(parser->kind->options, key, &is_file) != NULL && !str_is(key, "url")) {
            if (++count > QUERY_MAX) {
                return error_set(parser->err, ERROR_CONFIG, "a URL with more than %d options",
                                 QUERY_MAX);
            }
            add_setting(parser, key,
                        value.ptr == NULL ? STR("true") : percent_decode(value, parser->arena));
            continue;
        }
        if (check_foreign(parser, key) != STATUS_OK) {
            return STATUS_FAIL;
        }
        buf_char(url, before);
        buf_str(url, pair);
        before = '&';
    }
    return STATUS_OK;
}

// Behind the host anything may be a secret: a token in a path, a key in a query.
static Status parse_http_url(Parser *parser, Str text, Endpoint *ret)
{
    CLEANUP(buf_done) Buf url;
    buf_init(&url, LIMIT_URL_BYTES);
    Str query = text;
    Str base;
    (void)str_split(&query, '?', &base);
    buf_str(&url, base);
    if (query.len > 0 && split_http_query(parser, query, &url) != STATUS_OK) {
        return STATUS_FAIL;
    }
    add_setting(parser, STR("url"), buf_view(&url));
    size_t start = (size_t)str_find(base, '/') + 2;
    size_t end = start;
    while (end < base.len && base.ptr[end] != '/') {
        start = base.ptr[end] == '@' ? end + 1 : start;
        end++;
    }
    Str host = {base.ptr + start, end - start};
    ret->name = str_copy(parser->arena, host);
    ret->id = str_from(arena_printf(parser->arena, "http://%" STR_FMT "/…%08" PRIx32, STR_ARG(host),
                                    (uint32_t)hash_bytes(url.ptr, url.len)));
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Which connector
// ---------------------------------------------------------------------------------------------

static bool find_kind(Str name, const EndpointKind *kinds, size_t count, size_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (str_is(name, kinds[i].name)) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static const char *scheme_for_file(Str text)
{
    static const struct {
        const char *ending;
        const char *scheme;
    } endings[] = {
        {".duckdb", "duckdb"}, {".db", "sqlite"},   {".sqlite", "sqlite"}, {".sqlite3", "sqlite"},
        {".json", "file"},     {".ndjson", "file"}, {".jsonl", "file"},
    };
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        Str ending = str_from(endings[i].ending);
        if (text.len > ending.len &&
            str_equal((Str){text.ptr + text.len - ending.len, ending.len}, ending)) {
            return endings[i].scheme;
        }
    }
    return NULL;
}

static Status unknown_scheme(Str text, Str scheme, const EndpointKind *kinds, size_t count,
                             Error *err)
{
    const char *names[32];
    size_t named = 0;
    CLEANUP(buf_done) Buf list;
    buf_init(&list, 4096);
    for (size_t i = 0; i < count && named < ARRAY_LEN(names) - 1; i++) {
        names[named++] = kinds[i].name;
        buf_printf(&list, "%s%s:", i == 0 ? "" : ", ", kinds[i].name);
    }
    names[named] = NULL;
    const char *guess = scheme_for_file(text);
    if (scheme.len == 0 && guess != NULL) {
        error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" does not say what it is", STR_ARG(text));
        return error_hint(err, "Did you mean \"%s:%" STR_FMT "\"?", guess, STR_ARG(text));
    }
    const char *nearest = scheme.len == 0 ? NULL : nearest_name(scheme, names);
    // Without a scheme that is known, nothing says that the rest holds no password: it is not
    // shown.
    Str shown = scheme.len == 0 ? text : scheme;
    if (str_find(shown, '=') >= 0 || str_find(shown, '@') >= 0) {
        error_set(err, ERROR_CONFIG, "a connection of an unknown kind");
    } else {
        error_set(err, ERROR_CONFIG, "unknown kind of connection \"%" STR_FMT "\"", STR_ARG(shown));
    }
    if (nearest != NULL) {
        return error_hint(err, "Did you mean \"%s:\"?", nearest);
    }
    return error_hint(err, "Known here: %" STR_FMT ".", STR_ARG(buf_view(&list)));
}

Status endpoint_parse(Str text, const EndpointKind *kinds, size_t count, Arena *arena,
                      Endpoint *ret, Error *err)
{
    if (text.len > LIMIT_URL_BYTES) {
        return error_set(err, ERROR_CONFIG, "a connection is longer than %d bytes",
                         LIMIT_URL_BYTES);
    }
    if (str_is(text, "-")) {
        text = STR("stdout:");
    }
    ptrdiff_t colon = str_find(text, ':');
    bool postgres = conninfo_is_url(text) || conninfo_is_keywords(text);
    Str scheme = {text.ptr, colon > 0 ? (size_t)colon : 0};
    bool http = is_http_url(text);
    Str name = postgres ? STR("postgres") : http ? STR("http") : scheme.len == 0 ? text : scheme;
    Endpoint endpoint = {0};
    if (!find_kind(name, kinds, count, &endpoint.kind)) {
        return unknown_scheme(text, postgres ? name : scheme, kinds, count, err);
    }
    if (!postgres && str_is(name, "postgres")) {
        // "postgres:/user:password@host/db": nothing of it may be shown.
        error_set(err, ERROR_CONFIG, "a Postgres connection begins with \"postgres://\"");
        return error_hint(err, "postgres://user@host:port/database, or host=… dbname=….");
    }
    if (!http && str_is(name, "http")) {
        error_set(err, ERROR_CONFIG,
                  "the address of a request begins with \"http://\" or "
                  "\"https://\"");
        return error_hint(err, "For example https://example.com/hooks/orders.");
    }
    endpoint.settings = (Settings){
        .items = ARENA_ARRAY(arena, Setting, QUERY_MAX + 2),
        .origin = str_from(arena_printf(arena, "the %s connection", kinds[endpoint.kind].name)),
    };
    Parser parser = {arena, err, &kinds[endpoint.kind], &endpoint.settings};
    Status status;
    if (conninfo_is_url(text)) {
        status = parse_postgres_url(&parser, text, &endpoint);
    } else if (postgres) {
        status = parse_keywords(&parser, text, &endpoint);
    } else if (http) {
        status = parse_http_url(&parser, text, &endpoint);
    } else {
        Str rest = scheme.len == 0 ? (Str){"", 0}
                                   : (Str){text.ptr + colon + 1, text.len - (size_t)colon - 1};
        status = parse_path(&parser, rest, &endpoint);
    }
    if (status != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = endpoint;
    return STATUS_OK;
}
