#include <strings.h>

#include "base/ascii.h"
#include "base/limits.h"
#include "sinks/http_sink.h"

static const char *const batch_choices[] = {"none", "array", "ndjson", NULL};
static const char *const method_names[] = {"POST", "PUT", "PATCH", "DELETE", NULL};

const Option http_options[] = {
    {"url", OPTION_STRING(HttpSink, url_option), .required = true,
     .help = "Where events go: http://… or https://…, with {{names}} behind the host."},
    {"method", OPTION_LIST(HttpSink, method_option), .fallback = "POST",
     .help = "POST, PUT, PATCH or DELETE. For one kind of event, with its name: "
             "PUT,delete:DELETE."},
    {"header", OPTION_LIST(HttpSink, header_option), .secret = true,
     .help = "Further headers: \"Name: value\". A value may have {{names}}."},
    {"body", OPTION_STRING(HttpSink, body_option),
     .help = "What is sent for an event in place of it: JSON with {{names}}."},
    {"ops", OPTION_LIST(HttpSink, ops_option),
     .help = "Which events are sent: read, insert, update, delete, truncate, message, schema. "
             "Default: all, or those of rows where a name is about a row."},
    {"batch", OPTION_CHOICE(HttpSink, batch, batch_choices), .fallback = "none",
     .help = "Several events of a transaction in one request: as a JSON array, or as lines."},
    {"batch_events", OPTION_INT(HttpSink, batch_events), .fallback = "100", .min = 1, .max = 100000,
     .help = "Events in a request, at the most."},
    {"batch_bytes", OPTION_SIZE(HttpSink, batch_bytes), .fallback = "1MB", .min = 1, .max = 1 << 30,
     .help = "Bytes of a request with several events, at the most. A larger event goes alone."},
    {"signature", OPTION_CHOICE(HttpSink, scheme, webhook_scheme_names), .fallback = "none",
     .help = "How requests are signed, by the secret."},
    {"secret", OPTION_STRING(HttpSink, secret), .secret = true,
     .help = "What requests are signed by; of standard-webhooks whsec_ and base64."},
    {"signature_header", OPTION_STRING(HttpSink, signature_header), .fallback = WEBHOOK_HMAC_HEADER,
     .help = "The header of the signature hmac-sha256."},
    {"ca_file", OPTION_STRING(HttpSink, ca_file),
     .help = "Certificates to trust, in a PEM file, in place of this machine's."},
    {"timeout", OPTION_MS(HttpSink, timeout_ms), .fallback = "30s", .min = 100, .max = 240000,
     .help = "How long an answer may take."},
    CODEC_OPTIONS(HttpSink, codec),
    {0},
};

// ---------------------------------------------------------------------------------------------
// The URL
// ---------------------------------------------------------------------------------------------

// "https://" and the like; *ret_rest: what is behind it.
static bool has_scheme(Str url, Str *ret_rest)
{
    static const Str schemes[] = {{"https://", 8}, {"http://", 7}};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (str_starts_with(url, schemes[i])) {
            *ret_rest = (Str){url.ptr + schemes[i].len, url.len - schemes[i].len};
            return true;
        }
    }
    return false;
}

// Whoever is asked must not depend on what is in a row.
static Status check_host(Str host, Error *err)
{
    if (host.len > 0 && str_find(host, '{') < 0) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG,
              host.len == 0 ? "the url has no host" : "the host of the url has a name in it");
    return error_hint(err, "Names stand behind the host: https://example.com/{{table}}.");
}

static Status read_url(HttpSink *sink, Arena *arena, Error *err)
{
    Str rest;
    if (!has_scheme(sink->url_option, &rest) || sink->url_option.len > LIMIT_URL_BYTES) {
        error_set(err, ERROR_CONFIG, "the url is no address");
        return error_hint(err, "It begins with https:// or http://.");
    }
    size_t end = 0;
    while (end < rest.len && rest.ptr[end] != '/' && rest.ptr[end] != '?' && rest.ptr[end] != '#') {
        end++;
    }
    Str authority = {rest.ptr, end};
    Str host = authority;
    for (ptrdiff_t at = str_find(host, '@'); at >= 0; at = str_find(host, '@')) {
        host = (Str){host.ptr + at + 1, host.len - (size_t)at - 1};
    }
    Str scheme = {sink->url_option.ptr, (size_t)(rest.ptr - sink->url_option.ptr)};
    sink->shown = arena_printf(arena, "%" STR_FMT "%" STR_FMT "/…", STR_ARG(scheme), STR_ARG(host));
    if (check_host(host, err) != STATUS_OK || check_host(authority, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return http_template_parse(HTTP_TEMPLATE_URL, sink->url_option, arena, &sink->url, err) ==
                   STATUS_OK
               ? STATUS_OK
               : error_wrap(err, "url");
}

// ---------------------------------------------------------------------------------------------
// Methods and events
// ---------------------------------------------------------------------------------------------

static Status read_op(Str word, ChangeOp *ret, Error *err)
{
    const char *names[HTTP_OPS + 1] = {0};
    for (ChangeOp op = CHANGE_READ; op <= CHANGE_SCHEMA; op++) {
        names[op] = change_op_name(op);
        if (str_is(word, names[op])) {
            *ret = op;
            return STATUS_OK;
        }
    }
    error_set(err, ERROR_CONFIG, "there is no event \"%" STR_FMT "\"", STR_ARG(word));
    return suggest_name(word, names, "There are", err);
}

static Status read_method(HttpSink *sink, Str item, Error *err)
{
    Str name = item;
    Str op_name = {0};
    ChangeOp op = CHANGE_READ;
    bool is_for_one = str_find(item, ':') >= 0;
    if (is_for_one) {
        (void)str_split(&name, ':', &op_name);
        if (read_op(op_name, &op, err) != STATUS_OK) {
            return error_wrap(err, "method");
        }
    }
    for (size_t i = 0; method_names[i] != NULL; i++) {
        if (str_is(name, method_names[i])) {
            for (ChangeOp each = CHANGE_READ; each <= CHANGE_SCHEMA; each++) {
                bool is_meant = is_for_one ? each == op : true;
                sink->methods[each] = is_meant ? method_names[i] : sink->methods[each];
            }
            return STATUS_OK;
        }
    }
    error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" is no method that can be asked by",
              STR_ARG(name));
    return suggest_name(name, method_names, "There are", err);
}

// Those for all events first, wherever they stand.
static Status read_methods(HttpSink *sink, Error *err)
{
    for (ChangeOp op = CHANGE_READ; op <= CHANGE_SCHEMA; op++) {
        sink->methods[op] = "POST";
    }
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < sink->method_option.count; i++) {
            Str item = sink->method_option.items[i];
            bool is_for_one = str_find(item, ':') >= 0;
            if (is_for_one == (pass == 1) && read_method(sink, item, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
    }
    return STATUS_OK;
}

static bool is_about_rows(const HttpSink *sink)
{
    bool has_rows = sink->url.has_rows || (sink->has_body && sink->body_template.has_rows);
    for (size_t i = 0; i < sink->header_count; i++) {
        has_rows = has_rows || sink->headers[i].has_rows;
    }
    return has_rows;
}

static Status read_ops(HttpSink *sink, Error *err)
{
    bool all = sink->ops_option.count == 0;
    for (ChangeOp op = CHANGE_READ; op <= CHANGE_SCHEMA; op++) {
        sink->is_wanted[op] = all && (op <= CHANGE_DELETE || !is_about_rows(sink));
    }
    for (size_t i = 0; i < sink->ops_option.count; i++) {
        ChangeOp op;
        if (read_op(sink->ops_option.items[i], &op, err) != STATUS_OK) {
            return error_wrap(err, "ops");
        }
        sink->is_wanted[op] = true;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Headers and the body
// ---------------------------------------------------------------------------------------------

static bool is_token(Str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!ascii_is_alphanumeric(c) && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return name.len > 0;
}

static bool is_called(Str name, const char *other)
{
    return name.len == strlen(other) && strncasecmp(name.ptr, other, name.len) == 0;
}

static bool is_ours(const HttpSink *sink, Str name)
{
    static const char *const ours[] = {"Idempotency-Key",   "Content-Length",
                                       "webhook-id",        "Transfer-Encoding",
                                       "webhook-timestamp", "webhook-signature"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (is_called(name, ours[i])) {
            return true;
        }
    }
    return sink->scheme == WEBHOOK_HMAC_SHA256 && str_equal(name, sink->signature_header);
}

// "a, b" on a command line is one item of a list, with its quotes.
static Str without_quotes(Str item)
{
    bool is_quoted = item.len >= 2 && item.ptr[0] == '"' && item.ptr[item.len - 1] == '"';
    return is_quoted ? (Str){item.ptr + 1, item.len - 2} : item;
}

static Status read_header(HttpSink *sink, Str item, Arena *arena, Error *err)
{
    Str line = without_quotes(item);
    Str value = line;
    Str name;
    (void)str_split(&value, ':', &name);
    if (value.ptr == NULL || !is_token(name) || str_trim(value).len == 0 ||
        str_find(line, '\n') >= 0 || str_find(line, '\r') >= 0 || str_find(line, '\0') >= 0) {
        error_set(err, ERROR_CONFIG, "a header is none"); // it may be a secret
        return error_hint(err, "It is a name, a colon and a value: \"Accept-Language: en\".");
    }
    if (is_ours(sink, name)) {
        error_set(err, ERROR_CONFIG, "the header \"%" STR_FMT "\" is set by weir", STR_ARG(name));
        return error_hint(err, "Leave it out.");
    }
    sink->has_type = sink->has_type || is_called(name, "Content-Type");
    HttpTemplate *template = &sink->headers[sink->header_count++];
    return http_template_parse(HTTP_TEMPLATE_HEADER, line, arena, template, err);
}

static Status read_headers(HttpSink *sink, Arena *arena, Error *err)
{
    sink->headers = ARENA_ARRAY(arena, HttpTemplate, sink->header_option.count + 1);
    for (size_t i = 0; i < sink->header_option.count; i++) {
        if (read_header(sink, sink->header_option.items[i], arena, err) != STATUS_OK) {
            return error_wrap(err, "header");
        }
    }
    return STATUS_OK;
}

static Status read_body(HttpSink *sink, Arena *arena, Error *err)
{
    sink->has_body = sink->body_option.len > 0;
    if (!sink->has_body) {
        return STATUS_OK;
    }
    if (http_template_parse(HTTP_TEMPLATE_BODY, sink->body_option, arena, &sink->body_template,
                            err) != STATUS_OK) {
        return error_wrap(err, "body");
    }
    if (sink->batch == BATCH_NDJSON && str_find(sink->body_option, '\n') >= 0) {
        return error_set(err, ERROR_CONFIG,
                         "the body has several lines, and batch=ndjson has one "
                         "for each event");
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// All of it
// ---------------------------------------------------------------------------------------------

static Status read_secret(HttpSink *sink, Arena *arena, Error *err)
{
    if (sink->scheme == WEBHOOK_NONE && sink->secret.len == 0) {
        return STATUS_OK;
    }
    if (sink->scheme == WEBHOOK_NONE || sink->secret.len == 0) {
        error_set(err, ERROR_CONFIG,
                  sink->scheme == WEBHOOK_NONE ? "there is a secret, and nothing is signed by it"
                                               : "there is no secret to sign by");
        return error_hint(err, "\"signature\" is hmac-sha256 or standard-webhooks, \"secret\" what "
                               "the receiver has, too; \"secret_file\" names a file with it.");
    }
    if (!is_token(sink->signature_header)) {
        return error_set(err, ERROR_CONFIG, "the signature_header is no name of a header");
    }
    return webhook_key((WebhookScheme)sink->scheme, sink->secret, arena, &sink->key, err);
}

// What is not of one change has nothing to fill in a name with.
static Status check_lines(HttpSink *sink, Error *err)
{
    bool has_names = sink->url.has_names || sink->has_body || sink->method_option.count > 1;
    for (size_t i = 0; i < sink->header_count; i++) {
        has_names = has_names || sink->headers[i].has_names;
    }
    sink->has_lines = !str_is(str_from(codec_find(&sink->codec)->name), "weir");
    if (!sink->has_lines || !has_names) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "a template needs the format weir");
    return error_hint(err, "The lines of wal2json are not of one event each: leave out \"format\", "
                           "or names, \"body\" and methods for kinds of events.");
}

Status http_validate(Sink *base, Error *err)
{
    HttpSink *sink = (HttpSink *)base;
    Arena *arena = &base->options_arena;
    if (codec_options_check(&sink->codec, err) != STATUS_OK ||
        read_url(sink, arena, err) != STATUS_OK || read_methods(sink, err) != STATUS_OK ||
        read_headers(sink, arena, err) != STATUS_OK || read_body(sink, arena, err) != STATUS_OK ||
        read_ops(sink, err) != STATUS_OK || read_secret(sink, arena, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return check_lines(sink, err);
}
