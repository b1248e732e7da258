#include "pg/connection.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/conninfo.h"
#include "pg/probe.h"

enum { CONNECT_TIMEOUT_MS = 30000, STOP_PATIENCE_MS = 10000, MAX_KEYWORDS = 64 };

// Set for the session at connect time, so that no later statement can come before them. Rows must
// come out as text that means the same everywhere, and no timeout of the server may cut a long
// copy. A table whose policies hide rows from us is refused: they would be missing in silence.
static const char session_options[] =
    "-c client_encoding=UTF8 -c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC"
    " -c extra_float_digits=3 -c bytea_output=hex -c standard_conforming_strings=on"
    " -c lc_monetary=C -c xmloption=content -c quote_all_identifiers=off"
    " -c search_path= -c row_security=off"
    " -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0";

void pg_result_clear(PGresult **result)
{
    PQclear(*result);
    *result = NULL;
}

void pg_close(PGconn **conn)
{
    PQfinish(*conn);
    *conn = NULL;
}

void pg_identifier(Buf *sql, Str name)
{
    buf_quoted(sql, name, "\"", '\0');
}

void pg_literal(Buf *sql, Str text)
{
    buf_cstr(sql, str_find(text, '\\') >= 0 ? " E" : "");
    buf_quoted(sql, text, "'\\", '\0');
}

// ---------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------

static Str conn_value(const char *value)
{
    return str_from(value == NULL || value[0] == '\0' ? "?" : value);
}

Str pg_describe(const PGconn *conn, Arena *arena)
{
    Str host = conn_value(PQhost(conn));
    Str port = conn_value(PQport(conn));
    Str name = conn_value(PQdb(conn));
    Str user = conn_value(PQuser(conn));
    return str_from(arena_printf(
        arena, "database \"%" STR_FMT "\" on %" STR_FMT ":%" STR_FMT " as \"%" STR_FMT "\"",
        STR_ARG(name), STR_ARG(host), STR_ARG(port), STR_ARG(user)));
}

// libpq writes a line for every address that it tried, some with indented advice below: one line
// of them, and the first advice as *ret_advice (empty: none).
static Str one_line(const char *text, Arena *arena, Str *ret_advice)
{
    CLEANUP(buf_done) Buf out;
    buf_init(&out, ERROR_MESSAGE_MAX);
    *ret_advice = STR("");
    Str rest = str_from(text);
    Str line;
    size_t lines = 0;
    while (str_split(&rest, '\n', &line)) {
        bool is_advice = line.len > 0 && line.ptr[0] == '\t';
        line = str_trim(line);
        if (is_advice) {
            *ret_advice = ret_advice->len == 0 ? line : *ret_advice;
        } else if (line.len > 0) {
            buf_printf(&out, "%s%" STR_FMT, lines++ == 0 ? "" : "; ", STR_ARG(line));
        }
    }
    return str_copy(arena, buf_view(&out));
}

static bool in_class(const char *sqlstate, const char *class)
{
    return strncmp(sqlstate, class, strlen(class)) == 0;
}

// Appendix A of the manual, "PostgreSQL Error Codes".
ErrorKind pg_error_kind(const char *sqlstate)
{
    static const char *const transient[] = {
        "08",                               // connection
        "40001",                            // serialization failure
        "40P01",                            // deadlock
        "53000", "53100", "53200", "53300", // disk full, out of memory, too many connections
        "55006",                            // object in use
        "55P03",                            // lock not available
        "57P0",                             // shutdown, crash, cannot connect now
        "57014",                            // query cancelled by an administrator
        "58030",                            // I/O error
    };
    // P0: a trigger's RAISE; 54: a value that is too large for an index.
    static const char *const data[] = {"21", "22", "23", "44", "54", "P0"};
    static const char *const broken[] = {"XX"};
    for (size_t i = 0; i < ARRAY_LEN(transient); i++) {
        if (in_class(sqlstate, transient[i])) {
            return ERROR_TRANSIENT;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(data); i++) {
        if (in_class(sqlstate, data[i])) {
            return ERROR_DATA;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        if (in_class(sqlstate, broken[i])) {
            return ERROR_FATAL;
        }
    }
    return ERROR_CONFIG;
}

static Str result_field(const PGresult *result, int code)
{
    return str_trim(str_from(result == NULL ? NULL : PQresultErrorField(result, code)));
}

// A source and several targets may be connected to: it has to be said which one is gone.
static Status connection_lost(const PGconn *conn, const PGresult *result, const char *what,
                              Error *err)
{
    Arena scratch = {.chunk_size = 1024};
    Str advice;
    Str where = pg_describe(conn, &scratch);
    Str reason = result_field(result, PG_DIAG_MESSAGE_PRIMARY);
    Str detail = result_field(result, PG_DIAG_MESSAGE_DETAIL);
    Str hint = result_field(result, PG_DIAG_MESSAGE_HINT);
    Str text = reason.len > 0 ? reason : one_line(PQerrorMessage(conn), &scratch, &advice);
    error_set(err, ERROR_TRANSIENT,
              "%s: the connection to %" STR_FMT " was lost: %" STR_FMT "%s%" STR_FMT, what,
              STR_ARG(where), STR_ARG(text), detail.len > 0 ? " — " : "", STR_ARG(detail));
    arena_done(&scratch);
    return hint.len > 0 ? error_hint(err, "%" STR_FMT, STR_ARG(hint)) : STATUS_FAIL;
}

// With these the server ends the session; that it has hung up is seen later.
static bool is_last_word(const PGresult *result)
{
    Str severity = result_field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return str_is(severity, "FATAL") || str_is(severity, "PANIC");
}

void pg_bypass_row_security(const PGconn *conn, Buf *sql)
{
    buf_cstr(sql, "ALTER ROLE ");
    pg_identifier(sql, conn_value(PQuser(conn)));
    buf_cstr(sql, " BYPASSRLS;");
}

// Told by where the server says it, for the words are in its language.
static bool is_row_security(const PGresult *result)
{
    return str_is(result_field(result, PG_DIAG_SOURCE_FUNCTION), "check_enable_rls");
}

static Status hint_row_security(const PGconn *conn, Error *err)
{
    CLEANUP(buf_done) Buf mend;
    buf_init(&mend, ERROR_MESSAGE_MAX);
    pg_bypass_row_security(conn, &mend);
    return error_hint(err, "The table's policies may hide rows from this user: %" STR_FMT,
                      STR_ARG(buf_view(&mend)));
}

Status pg_result_error(PGconn *conn, const PGresult *result, const char *what, Error *err)
{
    Str primary = result_field(result, PG_DIAG_MESSAGE_PRIMARY);
    if (primary.len == 0 || PQstatus(conn) == CONNECTION_BAD || is_last_word(result)) {
        return connection_lost(conn, result, what, err);
    }
    Str detail = result_field(result, PG_DIAG_MESSAGE_DETAIL);
    Str hint = result_field(result, PG_DIAG_MESSAGE_HINT);
    Str sqlstate = result_field(result, PG_DIAG_SQLSTATE);
    char code[6] = "";
    memcpy(code, sqlstate.ptr, MIN(sqlstate.len, sizeof(code) - 1));
    error_set(err, pg_error_kind(code), "%s: %" STR_FMT "%s%" STR_FMT, what, STR_ARG(primary),
              detail.len > 0 ? " — " : "", STR_ARG(detail));
    if (err != NULL) {
        memcpy(err->sqlstate, code, sizeof(code));
    }
    if (is_row_security(result)) {
        return hint_row_security(conn, err);
    }
    return hint.len > 0 ? error_hint(err, "%" STR_FMT, STR_ARG(hint)) : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Waiting
// ---------------------------------------------------------------------------------------------

static Status cancelled(Error *err)
{
    return error_set(err, ERROR_CANCELLED, "interrupted");
}

static void close_end(int *end)
{
    if (*end >= 0) {
        (void)close(*end);
        *end = -1;
    }
}

/** A request to end a statement, on its way. */
typedef struct Asking {
    PGcancel *request;
    int told; // closed when the server has it; -1: nobody looks
} Asking;

static void *send_cancel(void *argument)
{
    char text[256];
    Asking *asking = argument;
    (void)PQcancel(asking->request, text, sizeof(text));
    PQfreeCancel(asking->request);
    close_end(&asking->told);
    mem_free(asking);
    return NULL;
}

// By a thread of its own, which may be left alone: libpq waits for the server to hang up, and one
// that is silent never does.
static void start_asking(PGconn *conn, int told)
{
    pthread_t thread;
    Asking *asking = mem_alloc_zero(sizeof(*asking));
    *asking = (Asking){PQgetCancel(conn), told};
    if (asking->request != NULL && pthread_create(&thread, NULL, send_cancel, asking) == 0) {
        (void)pthread_detach(thread);
        return;
    }
    PQfreeCancel(asking->request);
    close_end(&asking->told);
    mem_free(asking);
}

void pg_ask_to_stop(PGconn *conn)
{
    start_asking(conn, -1);
}

// Wait for @events; STATUS_AGAIN when @until_ms (0: never) has passed.
static Status wait_fd(int fd, const PgWait *wait, short events, int64_t until_ms, Error *err)
{
    Cancel *cancel = wait == NULL ? NULL : wait->cancel;
    bool ticks = wait != NULL && wait->tick != NULL;
    struct pollfd waits[] = {
        {.fd = fd, .events = events},
        {.fd = cancel_fd(cancel), .events = POLLIN},
    };
    for (;;) {
        int timeout_ms = ticks ? wait->tick_ms : 1000;
        if (until_ms > 0) {
            int64_t left = until_ms - clock_monotonic_ms();
            if (left <= 0) {
                return STATUS_AGAIN;
            }
            timeout_ms = (int)MIN(left, (int64_t)timeout_ms);
        }
        int ready = poll(waits, ARRAY_LEN(waits), timeout_ms);
        if (cancel_is_set(cancel)) {
            return cancelled(err);
        }
        if (ready < 0 && errno != EINTR) {
            return error_set_errno(err, ERROR_TRANSIENT, errno, "wait for the server");
        }
        if (ready > 0) {
            return STATUS_OK;
        }
        if (ticks) {
            wait->tick(wait->tick_context);
        }
    }
}

static Status server_is_silent(const PGconn *conn, int64_t ms, Error *err)
{
    Arena scratch = {.chunk_size = 1024};
    Str where = pg_describe(conn, &scratch);
    error_set(err, ERROR_TRANSIENT, "the server has been silent for %d seconds: %" STR_FMT,
              (int)(ms / 1000), STR_ARG(where));
    arena_done(&scratch);
    return STATUS_FAIL;
}

// Seen twice: an answer may be on its way when it is seen first.
static Status ask_probe(PGconn *conn, const PgWait *wait, int *times, Error *err)
{
    bool is_waiting;
    if (pg_probe_ask(wait->probe, *times > 0, wait->cancel, &is_waiting, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *times = is_waiting ? *times + 1 : 0;
    return *times < 2 ? STATUS_AGAIN : server_is_silent(conn, wait->probe->after_ms, err);
}

// Bytes of ours that nobody has acknowledged are TCP's to worry about.
static bool is_in_transit(const PGconn *conn)
{
    int unsent = 0;
    return ioctl(PQsocket(conn), SIOCOUTQ, &unsent) == 0 && unsent > 0;
}

static Status wait_for_server(PGconn *conn, const PgWait *wait, short events, Error *err)
{
    const PgProbe *probe = wait == NULL ? NULL : wait->probe;
    int64_t patience_ms = wait == NULL ? 0 : wait->patience_ms;
    int64_t silence_ms = probe == NULL ? patience_ms : probe->after_ms;
    for (int times = 0;;) {
        int64_t until_ms = silence_ms > 0 ? clock_monotonic_ms() + silence_ms : 0;
        Status status = wait_fd(PQsocket(conn), wait, events, until_ms, err);
        if (status == STATUS_AGAIN && probe == NULL) {
            return server_is_silent(conn, patience_ms, err);
        }
        if (status == STATUS_AGAIN && !is_in_transit(conn)) {
            status = ask_probe(conn, wait, &times, err);
        }
        if (status != STATUS_AGAIN) {
            return status;
        }
        silence_ms = times == 0 ? probe->after_ms : MAX(probe->after_ms / 4, (int64_t)1);
    }
}

Status pg_wait(PGconn *conn, const PgWait *wait, bool writing, Error *err)
{
    short events = (short)(POLLIN | (writing ? POLLOUT : 0));
    if (wait_for_server(conn, wait, events, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (PQconsumeInput(conn) != 1) {
        return pg_result_error(conn, NULL, "read from the server", err);
    }
    return STATUS_OK;
}

// Everything that was sent is on its way, and a result can be taken without blocking.
static Status wait_result(PGconn *conn, const PgWait *wait, Error *err)
{
    for (;;) {
        int unsent = PQflush(conn);
        if (unsent < 0) {
            return pg_result_error(conn, NULL, "write to the server", err);
        }
        if (unsent == 0 && PQisBusy(conn) == 0) {
            return STATUS_OK;
        }
        if (pg_wait(conn, wait, unsent > 0, err) != STATUS_OK) {
            if (wait != NULL && cancel_is_set(wait->cancel)) {
                pg_ask_to_stop(conn);
            }
            return STATUS_FAIL;
        }
    }
}

// Until the server has the request: it must not come to a later statement.
static Status ask_and_wait(PGconn *conn, const PgWait *wait)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return STATUS_FAIL;
    }
    CLEANUP(close_end) int told = ends[0];
    start_asking(conn, ends[1]);
    return wait_fd(told, wait, POLLIN, clock_monotonic_ms() + wait->patience_ms, NULL);
}

static Status drop_results(PGconn *conn, const PgWait *wait)
{
    for (;;) {
        CLEANUP(pg_result_clear) PGresult *result = NULL;
        if (wait_result(conn, wait, NULL) != STATUS_OK) {
            return STATUS_FAIL;
        }
        result = PQgetResult(conn);
        if (result == NULL) {
            return STATUS_OK;
        }
    }
}

void pg_stop(PGconn *conn, Cancel *cancel)
{
    PgWait wait = {.cancel = cancel, .patience_ms = STOP_PATIENCE_MS};
    if (PQtransactionStatus(conn) != PQTRANS_ACTIVE) {
        return;
    }
    if (cancel_is_set(cancel)) {
        pg_ask_to_stop(conn);
    } else if (ask_and_wait(conn, &wait) == STATUS_OK && drop_results(conn, &wait) == STATUS_OK) {
        return;
    }
    // Whoever uses it next finds that it is lost.
    (void)shutdown(PQsocket(conn), SHUT_RDWR);
}

// ---------------------------------------------------------------------------------------------
// Connecting
// ---------------------------------------------------------------------------------------------

typedef struct Keywords {
    const char *names[MAX_KEYWORDS + 8]; // NULL-terminated
    const char *values[MAX_KEYWORDS + 8];
    int count;
} Keywords;

static void keyword(Keywords *keywords, const char *name, const char *value)
{
    keywords->names[keywords->count] = name;
    keywords->values[keywords->count] = value;
    keywords->count++;
}

// The URL's own keywords come first, ours behind them: libpq lets the later one win.
static Status build_keywords(const PgConnect *options, const PQconninfoOption *parsed, Arena *arena,
                             Keywords *keywords, Error *err)
{
    const char *own = "";
    // A server that is gone without a word is noticed within two minutes, not two hours.
    keyword(keywords, "keepalives_idle", "30");
    keyword(keywords, "keepalives_interval", "10");
    keyword(keywords, "keepalives_count", "6");
    keyword(keywords, "tcp_user_timeout", "90000");
    for (const PQconninfoOption *option = parsed; option->keyword != NULL; option++) {
        if (option->val == NULL || option->val[0] == '\0') {
            continue;
        }
        if (keywords->count >= MAX_KEYWORDS) {
            return error_set(err, ERROR_CONFIG, "the connection has more than %d keywords",
                             MAX_KEYWORDS);
        }
        if (strcmp(option->keyword, "options") == 0) {
            own = option->val;
            continue;
        }
        keyword(keywords, option->keyword, option->val);
    }
    if (own[0] == '\0' && getenv("PGOPTIONS") != NULL) {
        own = getenv("PGOPTIONS");
    }
    keyword(keywords, "options", arena_printf(arena, "%s %s", own, session_options));
    keyword(keywords, "fallback_application_name", options->application_name);
    if (options->replication) {
        keyword(keywords, "replication", "database");
    }
    return STATUS_OK;
}

static int64_t connect_deadline(const Keywords *keywords)
{
    int64_t seconds = 0;
    for (int i = 0; i < keywords->count; i++) {
        if (strcmp(keywords->names[i], "connect_timeout") == 0 &&
            !str_to_int64(str_from(keywords->values[i]), &seconds)) {
            seconds = 0;
        }
    }
    return clock_monotonic_ms() + (seconds > 0 ? seconds * 1000 : CONNECT_TIMEOUT_MS);
}

static Status drive_connect(PGconn *conn, const PgWait *wait, int64_t until_ms, Error *err)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (next != PGRES_POLLING_OK) {
        if (next == PGRES_POLLING_FAILED) {
            return STATUS_FAIL;
        }
        short events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        Status status = wait_fd(PQsocket(conn), wait, events, until_ms, err);
        if (status != STATUS_OK) {
            return status;
        }
        next = PQconnectPoll(conn);
    }
    return STATUS_OK;
}

// libpq has no SQLSTATE for a failed connection. Its text is all there is: what only a person can
// mend is told apart from what time may mend.
static ErrorKind connect_error_kind(const char *text)
{
    static const char *const config[] = {
        "authentication failed",
        "does not exist",
        "no pg_hba.conf entry",
        "is not permitted",
        "permission denied",
        "no password",
        "could not translate",
        "invalid",
        "not supported",
        "must be",
        "certificate",
        "peer authentication",
        "unrecognized",
        "missing \"=\"",
        // What was asked for of the connection, and the server does not do.
        "does not support SSL",
        "channel binding required",
        "authentication method requirement",
        "private key",
    };
    // The resolver itself could not be reached: that passes.
    if (strstr(text, "Temporary failure") != NULL) {
        return ERROR_TRANSIENT;
    }
    for (size_t i = 0; i < ARRAY_LEN(config); i++) {
        if (strstr(text, config[i]) != NULL) {
            return ERROR_CONFIG;
        }
    }
    return ERROR_TRANSIENT;
}

static Status connect_failed(PGconn *conn, Status status, Arena *arena, Error *err)
{
    if (status == STATUS_FAIL && err != NULL && err->kind == ERROR_CANCELLED) {
        return STATUS_FAIL;
    }
    Str where = pg_describe(conn, arena);
    if (status == STATUS_AGAIN) {
        return error_set(err, ERROR_TRANSIENT, "connect to %" STR_FMT ": no answer in time",
                         STR_ARG(where));
    }
    Str advice;
    Str text = one_line(PQerrorMessage(conn), arena, &advice);
    error_set(err, connect_error_kind(PQerrorMessage(conn)), "connect to %" STR_FMT ": %" STR_FMT,
              STR_ARG(where), STR_ARG(text));
    return advice.len == 0 ? STATUS_FAIL : error_hint(err, "%" STR_FMT, STR_ARG(advice));
}

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

// Those that only some versions know cannot be set while connecting: the others would refuse. It is
// part of connecting, and takes no longer.
static Status forget_newer_timeouts(PGconn *conn, const PgWait *wait, int64_t until_ms, Error *err)
{
    PgWait hurried = wait == NULL ? (PgWait){0} : *wait;
    hurried.patience_ms = MAX(until_ms - clock_monotonic_ms(), (int64_t)1);
    int version = PQserverVersion(conn);
    if (version < 140000) {
        return STATUS_OK;
    }
    return pg_run(conn, &hurried,
                  version < 170000 ? "SET idle_session_timeout = 0"
                                   : "SET idle_session_timeout = 0; SET transaction_timeout = 0",
                  err);
}

static Status open_connection(const PgConnect *options, const PgWait *wait, Arena *arena,
                              const PQconninfoOption *parsed, PGconn **ret, Error *err)
{
    Keywords keywords = {0};
    if (build_keywords(options, parsed, arena, &keywords, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    PGconn *conn = PQconnectStartParams(keywords.names, keywords.values, 0);
    if (conn == NULL) {
        return error_set(err, ERROR_TRANSIENT, "libpq is out of memory");
    }
    Status status = STATUS_FAIL;
    int64_t until_ms = connect_deadline(&keywords);
    if (PQstatus(conn) != CONNECTION_BAD) {
        status = drive_connect(conn, wait, until_ms, err);
    }
    if (status != STATUS_OK) {
        status = connect_failed(conn, status, arena, err);
        PQfinish(conn);
        return status;
    }
    (void)PQsetNoticeReceiver(conn, ignore_notice, NULL);
    (void)PQsetnonblocking(conn, 1);
    if (forget_newer_timeouts(conn, wait, until_ms, err) != STATUS_OK) {
        PQfinish(conn);
        return STATUS_FAIL;
    }
    *ret = conn;
    return STATUS_OK;
}

Status pg_connect(const PgConnect *options, const PgWait *wait, PGconn **ret, Error *err)
{
    Arena arena = {0};
    Error failure = {0};
    PQconninfoOption *parsed = NULL;
    Status status = conninfo_check(options->url, NULL, &failure);
    if (status == STATUS_OK) {
        // libpq's own message quotes what it does not understand: it is not asked for.
        parsed = PQconninfoParse(str_to_cstr(&arena, options->url), NULL);
        status = parsed == NULL
                     ? error_set(&failure, ERROR_CONFIG, "libpq does not understand the connection")
                     : open_connection(options, wait, &arena, parsed, ret, &failure);
    }
    PQconninfoFree(parsed);
    arena_done(&arena);
    if (status != STATUS_OK && err != NULL) {
        *err = failure;
    }
    return status;
}

// ---------------------------------------------------------------------------------------------
// Statements
// ---------------------------------------------------------------------------------------------

static bool is_success(ExecStatusType status)
{
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
}

// Take every result of what was sent; the last good one is returned, the first bad one is the
// error.
static Status take_results(PGconn *conn, const PgWait *wait, PGresult **ret, Error *err)
{
    PGresult *last = NULL;
    Status status = STATUS_OK;
    for (;;) {
        if (wait_result(conn, wait, err) != STATUS_OK) {
            PQclear(last);
            return STATUS_FAIL;
        }
        PGresult *result = PQgetResult(conn);
        if (result == NULL) {
            break;
        }
        if (!is_success(PQresultStatus(result)) && status == STATUS_OK) {
            status = pg_result_error(conn, result, "the server refused a statement", err);
        }
        PQclear(last);
        last = result;
        ExecStatusType state = PQresultStatus(result);
        if (state == PGRES_COPY_IN || state == PGRES_COPY_OUT || state == PGRES_COPY_BOTH) {
            break;
        }
    }
    if (status == STATUS_OK && last == NULL) {
        status = pg_result_error(conn, NULL, "the server gave no result", err);
    }
    if (status != STATUS_OK) {
        PQclear(last);
        return STATUS_FAIL;
    }
    *ret = last;
    return STATUS_OK;
}

Status pg_query(PGconn *conn, const PgWait *wait, const char *sql, int count,
                const char *const *parameters, PGresult **ret, Error *err)
{
    assert(*ret == NULL);
    if (PQsendQueryParams(conn, sql, count, NULL, parameters, NULL, NULL, 0) != 1) {
        return pg_result_error(conn, NULL, "send a statement", err);
    }
    return take_results(conn, wait, ret, err);
}

Status pg_run_result(PGconn *conn, const PgWait *wait, const char *sql, PGresult **ret, Error *err)
{
    assert(*ret == NULL);
    if (PQsendQuery(conn, sql) != 1) {
        return pg_result_error(conn, NULL, "send a statement", err);
    }
    return take_results(conn, wait, ret, err);
}

#undef PQgetvalue
const char *pg_value(const PGresult *result, int row, int column)
{
    bool is_there = row < PQntuples(result) && column < PQnfields(result);
    return is_there ? PQgetvalue(result, row, column) : "";
}

Status pg_results(PGconn *conn, const PgWait *wait, PGresult **ret, Error *err)
{
    assert(*ret == NULL);
    return take_results(conn, wait, ret, err);
}

Status pg_next_result(PGconn *conn, const PgWait *wait, PGresult **ret, Error *err)
{
    assert(*ret == NULL);
    if (wait_result(conn, wait, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = PQgetResult(conn);
    return STATUS_OK;
}

Status pg_run(PGconn *conn, const PgWait *wait, const char *sql, Error *err)
{
    CLEANUP(pg_result_clear) PGresult *result = NULL;
    return pg_run_result(conn, wait, sql, &result, err);
}

Status pg_begin_snapshot(PGconn *conn, const PgWait *wait, bool *ret_is_begun, Error *err)
{
    *ret_is_begun = PQtransactionStatus(conn) == PQTRANS_IDLE;
    return *ret_is_begun ? pg_run(conn, wait, PG_BEGIN_SNAPSHOT, err) : STATUS_OK;
}

Status pg_end_snapshot(PGconn *conn, const PgWait *wait, bool is_begun, bool is_read, Error *err)
{
    PGTransactionStatusType state = PQtransactionStatus(conn);
    bool is_of_use = state == PQTRANS_INTRANS || state == PQTRANS_INERROR;
    if (!is_begun || !is_of_use) {
        return STATUS_OK; // a connection that is lost, or waits for an answer, is given up
    }
    Error ignored;
    return is_read ? pg_run(conn, wait, "COMMIT", err) : pg_run(conn, wait, "ROLLBACK", &ignored);
}

Status pg_start_copy(PGconn *conn, const PgWait *wait, const char *sql, ExecStatusType expected,
                     PGresult **ret_before, Error *err)
{
    if (PQsendQuery(conn, sql) != 1) {
        return pg_result_error(conn, NULL, "send a statement", err);
    }
    if (wait_result(conn, wait, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    CLEANUP(pg_result_clear) PGresult *before = NULL;
    CLEANUP(pg_result_clear) PGresult *result = PQgetResult(conn);
    if (ret_before != NULL && PQresultStatus(result) == PGRES_TUPLES_OK) {
        before = result;
        result = NULL;
        if (wait_result(conn, wait, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        result = PQgetResult(conn);
    }
    if (PQresultStatus(result) != expected) {
        return pg_result_error(conn, result, "the server refused to copy", err);
    }
    if (ret_before != NULL) {
        *ret_before = before;
        before = NULL;
    }
    return STATUS_OK;
}
