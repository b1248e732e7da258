#include "config/conninfo.h"

#include <libpq-fe.h>

#include "base/ascii.h"
#include "base/buf.h"

enum { NAMES_MAX = 192, PORT_MAX = 65535 };

bool conninfo_is_url(Str text)
{
    return str_starts_with(text, STR("postgres://")) || str_starts_with(text, STR("postgresql://"));
}

bool conninfo_is_keywords(Str text)
{
    ptrdiff_t equals = str_find(text, '=');
    if (equals <= 0) {
        return false;
    }
    for (ptrdiff_t i = 0; i < equals; i++) {
        char c = text.ptr[i];
        if (!(ascii_is_lower(c) || c == '_' || c == ' ')) {
            return false;
        }
    }
    return true;
}

// ---------------------------------------------------------------------------------------------
// Names
// ---------------------------------------------------------------------------------------------

static bool is_word(Str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!(ascii_is_alphanumeric(c) || c == '_' || c == '-')) {
            return false;
        }
    }
    return name.len > 0;
}

// Whether libpq takes a parameter or keyword of that name.
static bool is_known(const PQconninfoOption *known, Str name)
{
    for (const PQconninfoOption *row = known; row != NULL && row->keyword != NULL; row++) {
        if (str_is(name, row->keyword)) {
            return true;
        }
    }
    return false;
}

static Status hint_known(const char *const *ours, Error *err)
{
    if (ours[0] == NULL) {
        return error_hint(err, "Known options are those of libpq.");
    }
    CLEANUP(buf_done) Buf list;
    buf_init(&list, ERROR_MESSAGE_MAX);
    names_join(&list, ours);
    return error_hint(err, "Known options: %" STR_FMT "; and those of libpq.",
                      STR_ARG(buf_view(&list)));
}

// @show: the name cannot be a piece of a password.
static Status unknown_name(const PQconninfoOption *known, const Option *ours, Str name, bool show,
                           Error *err)
{
    if (!show || !is_word(name)) {
        error_set(err, ERROR_CONFIG, "the connection has an option of an unknown name");
        return error_hint(err,
                          "It is not shown, as it may be a piece of a password. In a URL, write "
                          "%%26 for &, %%3F for ? and %%40 for @ inside the password; in a keyword "
                          "string, put it in quotes: password='…'.");
    }
    const char *names[NAMES_MAX + 1];
    size_t count = 0;
    for (const Option *row = ours; row != NULL && row->type != OPTION_END; row++) {
        if (!row->is_path && count < NAMES_MAX) {
            names[count++] = row->name;
        }
    }
    size_t ours_count = count;
    for (; known->keyword != NULL && count < NAMES_MAX; known++) {
        names[count++] = known->keyword;
    }
    names[count] = NULL;
    error_set(err, ERROR_CONFIG, "unknown option \"%" STR_FMT "\" in the connection",
              STR_ARG(name));
    if (suggest_nearest(name, names, "", err)) {
        return STATUS_FAIL;
    }
    names[ours_count] = NULL;
    return hint_known(names, err);
}

// ---------------------------------------------------------------------------------------------
// URLs
// ---------------------------------------------------------------------------------------------

typedef struct UrlParts {
    Str whole; // behind "://"
    bool has_user;
    Str hosts;    // host:port,host:port
    Str database; // with its slash
    Str query;    // behind the question mark; ptr NULL: none
} UrlParts;

static Str behind(Str text, size_t at)
{
    return (Str){text.ptr + at, text.len - at};
}

static size_t find_any(Str text, size_t from, const char *ends)
{
    while (from < text.len && (text.ptr[from] == '\0' || strchr(ends, text.ptr[from]) == NULL)) {
        from++;
    }
    return from;
}

// As libpq does it: a user and password end at the first @ that no slash stands before.
static UrlParts take_apart(Str url)
{
    UrlParts parts = {.whole = behind(url, (size_t)str_find(url, ':') + 3)};
    Str whole = parts.whole;
    size_t at = find_any(whole, 0, "@/");
    parts.has_user = at < whole.len && whole.ptr[at] == '@';
    size_t start = parts.has_user ? at + 1 : 0;
    size_t slash = find_any(whole, start, "/?");
    size_t mark = find_any(whole, slash, "?");
    parts.hosts = (Str){whole.ptr + start, slash - start};
    parts.database = (Str){whole.ptr + slash, mark - slash};
    parts.query = mark < whole.len ? behind(whole, mark + 1) : (Str){NULL, 0};
    return parts;
}

void conninfo_split(Str url, Str *ret_base, Str *ret_query)
{
    UrlParts parts = take_apart(url);
    const char *end = parts.database.ptr + parts.database.len;
    *ret_base = (Str){url.ptr, (size_t)(end - url.ptr)};
    *ret_query = parts.query;
}

static Status malformed(Error *err, const char *what)
{
    error_set(err, ERROR_CONFIG, "the connection URL %s", what);
    return error_hint(err, "Write it as postgres://user:password@host:port/database, with %%40 for "
                           "@, %%3A for :, %%2F for /, %%3F for ? and %%25 for %% inside the "
                           "password.");
}

static bool has_bad_code(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '%') {
            continue;
        }
        bool coded =
            i + 2 < text.len && ascii_is_hex(text.ptr[i + 1]) && ascii_is_hex(text.ptr[i + 2]);
        if (!coded || (text.ptr[i + 1] == '0' && text.ptr[i + 2] == '0')) {
            return true;
        }
    }
    return false;
}

static Status check_port(Str host, Error *err)
{
    bool brackets = host.len > 0 && host.ptr[0] == '[';
    size_t name_end = find_any(host, 0, brackets ? "]" : ":");
    if (brackets && name_end == host.len) {
        return malformed(err, "has a \"[\" without \"]\"");
    }
    Str rest = behind(host, name_end + (brackets ? 1 : 0));
    if (rest.len > 0 && rest.ptr[0] != ':') {
        return malformed(err, "has something between \"]\" and the port");
    }
    if (rest.len <= 1) {
        return STATUS_OK; // the default port
    }
    uint64_t port;
    if (!str_to_uint64(behind(rest, 1), &port)) {
        return malformed(err, "has a port that is not a number");
    }
    return port >= 1 && port <= PORT_MAX ? STATUS_OK
                                         : malformed(err, "has a port that is not from 1 to 65535");
}

static Status check_query(const UrlParts *parts, const PQconninfoOption *known, const Option *ours,
                          Error *err)
{
    Str rest = parts->query;
    Str pair;
    while (str_split(&rest, '&', &pair)) {
        Str value = pair;
        Str name;
        (void)str_split(&value, '=', &name);
        if (!is_known(known, name) && !str_is(pair, "ssl=true")) { // JDBC's, which libpq takes
            bool at_behind =
                str_find(behind(parts->query, (size_t)(name.ptr - parts->query.ptr)), '@') >= 0;
            return unknown_name(known, ours, name, !at_behind, err);
        }
        if (value.ptr == NULL) {
            return error_set(err, ERROR_CONFIG,
                             "option \"%" STR_FMT "\" in the connection needs a value",
                             STR_ARG(name));
        }
        if (str_find(value, '=') >= 0) {
            error_set(err, ERROR_CONFIG,
                      "option \"%" STR_FMT "\" in the connection has a \"=\" in its value",
                      STR_ARG(name));
            return error_hint(err, "Write it as %%3D.");
        }
    }
    return STATUS_OK;
}

static Status check_url(Str url, const PQconninfoOption *known, const Option *ours, Error *err)
{
    UrlParts parts = take_apart(url);
    if (str_find(parts.hosts, '@') >= 0 || (parts.has_user && str_find(parts.database, '@') >= 0)) {
        return malformed(err, "cannot be parsed: it has more than one \"@\"");
    }
    if (str_find(parts.database, '@') >= 0) {
        return malformed(err, "cannot be parsed: it has a \"/\" before the \"@\"");
    }
    if (has_bad_code(parts.whole)) {
        return malformed(err, "cannot be parsed: it has a \"%\" that is not followed by the code "
                              "of a character");
    }
    Str rest = parts.hosts;
    Str host;
    while (str_split(&rest, ',', &host)) {
        if (check_port(host, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return check_query(&parts, known, ours, err);
}

// ---------------------------------------------------------------------------------------------
// Keyword strings
// ---------------------------------------------------------------------------------------------

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static size_t skip_blanks(Str text, size_t at)
{
    while (at < text.len && is_blank(text.ptr[at])) {
        at++;
    }
    return at;
}

bool conninfo_next(Str *rest, Str *ret_key, Str *ret_value, bool *ret_valid)
{
    Str text = *rest;
    *ret_valid = true;
    size_t at = skip_blanks(text, 0);
    size_t start = at;
    while (at < text.len && text.ptr[at] != '=' && !is_blank(text.ptr[at])) {
        at++;
    }
    *ret_key = (Str){text.ptr + start, at - start};
    if (at == start) {
        *ret_valid = at == text.len;
        return false;
    }
    at = skip_blanks(text, at);
    if (at == text.len || text.ptr[at] != '=') {
        *ret_valid = false;
        return false;
    }
    start = at = skip_blanks(text, at + 1);
    bool quoted = at < text.len && text.ptr[at] == '\'';
    bool closed = !quoted;
    for (at += quoted ? 1 : 0; at < text.len; at++) {
        if (text.ptr[at] == '\\' && at + 1 < text.len) {
            at++;
        } else if (quoted ? text.ptr[at] == '\'' : is_blank(text.ptr[at])) {
            at += quoted ? 1 : 0;
            closed = true;
            break;
        }
    }
    *ret_value = (Str){text.ptr + start, at - start};
    *rest = behind(text, at);
    *ret_valid = closed;
    return closed;
}

void conninfo_add(Buf *out, const char *keyword, Str value)
{
    if (value.len > 0) {
        buf_printf(out, "%s%s=", out->len == 0 ? "" : " ", keyword);
        buf_quoted(out, value, "'\\", '\\');
    }
}

static Status check_keywords(Str text, const PQconninfoOption *known, const Option *ours,
                             Error *err)
{
    Str rest = text;
    Str key;
    Str value;
    bool valid;
    bool after_password = false;
    while (conninfo_next(&rest, &key, &value, &valid)) {
        if (!is_known(known, key)) {
            bool is_ours = ours != NULL && option_find(ours, key) != NULL && !after_password;
            (void)unknown_name(known, ours, key, !after_password, err);
            return is_ours ? error_hint(err,
                                        "In a keyword string only libpq's own can stand: "
                                        "write it as postgres://…?%" STR_FMT "=….",
                                        STR_ARG(key))
                           : STATUS_FAIL;
        }
        after_password = after_password || str_is(key, "password") || str_is(key, "sslpassword");
    }
    if (valid) {
        return STATUS_OK;
    }
    error_set(
        err, ERROR_CONFIG,
        "the connection cannot be parsed: a word without \"=\" or a quote that is not closed");
    return error_hint(err, "Write it as host=… dbname=… user=… password='…', with \\' for ' and "
                           "\\\\ for \\ inside the quotes.");
}

Status conninfo_check(Str text, const Option *ours, Error *err)
{
    PQconninfoOption *known = PQconndefaults();
    if (known == NULL) {
        return error_set(err, ERROR_TRANSIENT, "libpq is out of memory");
    }
    Status status = conninfo_is_url(text) ? check_url(text, known, ours, err)
                                          : check_keywords(text, known, ours, err);
    PQconninfoFree(known);
    return status;
}
