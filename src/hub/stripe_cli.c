#include "hub/stripe_cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    SECRET_MS = 60000,
    STEP_MS = 100,
    END_MS = 5000,
    BACKOFF_MS = 1000,
    BACKOFF_MAX_MS = 60000,
    WELL_MS = 60000, // what has run for so long was all right
    SAID_MAX = 4096,
};

#define ALL_EVENTS "--all-snapshot"

/** A process with its output. */
typedef struct Child {
    pid_t pid; // 0: none
    int fd;    // what it says, on both streams; -1: nothing more
    char said[SAID_MAX];
    size_t said_len;
} Child;

struct StripeCli {
    Arena arena;
    const char *path;
    Str api_key;
    char *url;
    Child child;
    bool is_ready;
    bool is_old; // it forwards everything without being told to
    int64_t started_ms;
    int64_t due_ms;
    int64_t backoff_ms;
};

// ---------------------------------------------------------------------------------------------
// Processes
// ---------------------------------------------------------------------------------------------

static Status find_program(Arena *arena, const char **ret, Error *err)
{
    Str paths = str_from(getenv("PATH"));
    Str directory;
    while (str_split(&paths, ':', &directory)) {
        const char *path = arena_printf(arena, "%" STR_FMT "/stripe", STR_ARG(directory));
        if (directory.len > 0 && access(path, X_OK) == 0) {
            *ret = path;
            return STATUS_OK;
        }
    }
    error_set(err, ERROR_CONFIG, "the Stripe CLI is missing: there is no \"stripe\" in PATH");
    return error_hint(err, "Install it (docs.stripe.com/stripe-cli), or give the system an "
                           "endpoint_secret in place of use_cli_listener.");
}

// The key is nobody else's business: the list of processes has arguments, not this.
static char **environment_with(Str api_key, Arena *arena)
{
    size_t count = 0;
    while (environ[count] != NULL) {
        count++;
    }
    char **made = ARENA_ARRAY(arena, char *, count + 2);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!str_starts_with(str_from(environ[i]), STR("STRIPE_API_KEY="))) {
            made[kept++] = environ[i];
        }
    }
    made[kept] = arena_printf(arena, "STRIPE_API_KEY=%" STR_FMT, STR_ARG(api_key));
    return made;
}

// In the child of a program with threads: only what a signal handler may do. A terminal's Ctrl-C is
// ours, and it ends with the thread that made it.
static void become(const char *path, char *const *arguments, char *const *environment, int out,
                   pid_t parent)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setpgid(0, 0);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent || nothing < 0 ||
        dup2(nothing, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        dup2(out, STDERR_FILENO) < 0) {
        _exit(127);
    }
    (void)execve(path, arguments, environment);
    _exit(127);
}

static Status start(Child *child, const char *path, char *const *arguments, Str api_key, Error *err)
{
    Arena scratch = {0};
    char **environment = environment_with(api_key, &scratch);
    int ends[2];
    *child = (Child){.fd = -1};
    if (pipe2(ends, O_CLOEXEC) != 0) {
        arena_done(&scratch);
        return error_set_errno(err, ERROR_TRANSIENT, errno, "start the Stripe CLI");
    }
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become(path, arguments, environment, ends[1], parent);
    }
    int code = errno;
    (void)close(ends[1]);
    arena_done(&scratch);
    if (pid < 0) {
        (void)close(ends[0]);
        return error_set_errno(err, ERROR_TRANSIENT, code, "start the Stripe CLI");
    }
    child->pid = pid;
    child->fd = ends[0];
    return STATUS_OK;
}

// Take in what it has said; of much, the last.
static void listen_to(Child *child)
{
    char piece[1024];
    ssize_t got = -1;
    while (child->fd >= 0 && (got = read(child->fd, piece, sizeof(piece))) > 0) {
        size_t len = (size_t)got;
        size_t most = SAID_MAX - len;
        if (child->said_len > most) {
            size_t gone = child->said_len - most;
            memmove(child->said, child->said + gone, most);
            child->said_len = most;
        }
        memcpy(child->said + child->said_len, piece, len);
        child->said_len += len;
    }
    if (child->fd >= 0 && (got == 0 || (errno != EAGAIN && errno != EINTR))) {
        (void)close(child->fd);
        child->fd = -1;
    }
}

static bool has_ended(Child *child, int *ret_status)
{
    if (child->pid == 0 || waitpid(child->pid, ret_status, WNOHANG) != child->pid) {
        return false;
    }
    listen_to(child);
    child->pid = 0;
    return true;
}

static void end(Child *child)
{
    int status;
    if (child->pid != 0) {
        (void)kill(child->pid, SIGTERM);
    }
    for (int waited = 0; child->pid != 0 && waited < END_MS && !has_ended(child, &status);
         waited += STEP_MS) {
        (void)poll(NULL, 0, STEP_MS);
    }
    if (child->pid != 0) {
        (void)kill(child->pid, SIGKILL);
        (void)waitpid(child->pid, &status, 0);
        child->pid = 0;
    }
    if (child->fd >= 0) {
        (void)close(child->fd);
        child->fd = -1;
    }
}

// The last line that says something.
static Str last_words(const Child *child)
{
    Str rest = {child->said, child->said_len};
    Str line;
    Str last = STR("it has said nothing");
    while (str_split(&rest, '\n', &line)) {
        line = str_trim(line);
        last = line.len > 0 ? line : last;
    }
    last.len = MIN(last.len, (size_t)300);
    return last;
}

// ---------------------------------------------------------------------------------------------
// The secret
// ---------------------------------------------------------------------------------------------

static Status wait_for_end(Child *child, const Cancel *cancel, int *ret_status, Error *err)
{
    int64_t until_ms = clock_monotonic_ms() + SECRET_MS;
    while (!has_ended(child, ret_status)) {
        if (cancel_is_set(cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        if (clock_monotonic_ms() > until_ms) {
            return error_set(err, ERROR_TRANSIENT, "the Stripe CLI does not say its secret");
        }
        struct pollfd fds[] = {{.fd = child->fd, .events = POLLIN},
                               {.fd = cancel_fd(cancel), .events = POLLIN}};
        (void)poll(fds, ARRAY_LEN(fds), STEP_MS);
        listen_to(child);
    }
    return STATUS_OK;
}

static Status take_secret(const Child *child, int status, Arena *arena, Str *ret, Error *err)
{
    Str words = last_words(child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && str_starts_with(words, STR("whsec_"))) {
        *ret = str_copy(arena, words);
        return STATUS_OK;
    }
    // A network that is down and a key that is wrong look the same.
    error_set(err, ERROR_TRANSIENT, "the Stripe CLI does not say what it signs with: %" STR_FMT,
              STR_ARG(words));
    return error_hint(err, "stripe listen --print-secret has to work with this api_key.");
}

Status stripe_cli_secret(Str api_key, const Cancel *cancel, Arena *arena, Str *ret, Error *err)
{
    const char *path;
    Child child;
    int status = 0;
    char *arguments[] = {(char[]){"stripe"}, (char[]){"listen"}, (char[]){"--print-secret"}, NULL};
    if (find_program(arena, &path, err) != STATUS_OK ||
        start(&child, path, arguments, api_key, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    Status result = wait_for_end(&child, cancel, &status, err);
    if (result == STATUS_OK) {
        result = take_secret(&child, status, arena, ret, err);
    }
    end(&child);
    return result;
}

// ---------------------------------------------------------------------------------------------
// Forwarding
// ---------------------------------------------------------------------------------------------

StripeCli *stripe_cli_new(Str api_key, const char *url)
{
    StripeCli *cli = mem_alloc_zero(sizeof(*cli));
    cli->api_key = str_copy(&cli->arena, api_key);
    cli->url = str_to_cstr(&cli->arena, str_from(url));
    cli->child.fd = -1;
    cli->backoff_ms = BACKOFF_MS;
    return cli;
}

static Status begin(StripeCli *cli, int64_t now_ms, Error *err)
{
    char *arguments[] = {(char[]){"stripe"},
                         (char[]){"listen"},
                         (char[]){"--forward-to"},
                         cli->url,
                         cli->is_old ? NULL : (char[]){ALL_EVENTS},
                         NULL};
    if (cli->path == NULL && find_program(&cli->arena, &cli->path, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    cli->is_ready = false;
    cli->started_ms = now_ms;
    return start(&cli->child, cli->path, arguments, cli->api_key, err);
}

// New ones forward nothing without the option, and old ones do not know it.
static bool is_too_old(const StripeCli *cli)
{
    static const char words[] = "unknown flag: " ALL_EVENTS;
    return !cli->is_old &&
           memmem(cli->child.said, cli->child.said_len, words, strlen(words)) != NULL;
}

static void note_end(StripeCli *cli, int64_t now_ms, const Notice *notice)
{
    bool was_well = now_ms - cli->started_ms >= WELL_MS;
    cli->backoff_ms = was_well ? BACKOFF_MS : cli->backoff_ms;
    cli->due_ms = now_ms + cli->backoff_ms;
    notice_tell(notice, "the Stripe CLI has ended and is started again: %" STR_FMT,
                STR_ARG(last_words(&cli->child)));
    cli->backoff_ms = MIN(cli->backoff_ms * 2, (int64_t)BACKOFF_MAX_MS);
    end(&cli->child);
}

Status stripe_cli_look(StripeCli *cli, int64_t now_ms, const Notice *notice, bool *ret_is_ready,
                       Error *err)
{
    int status;
    *ret_is_ready = false;
    if (cli->child.pid == 0) {
        return now_ms < cli->due_ms ? STATUS_OK : begin(cli, now_ms, err);
    }
    listen_to(&cli->child);
    if (has_ended(&cli->child, &status)) {
        if (is_too_old(cli)) {
            cli->is_old = true;
            end(&cli->child);
        } else {
            note_end(cli, now_ms, notice);
        }
        return STATUS_OK;
    }
    bool says_so = memmem(cli->child.said, cli->child.said_len, "Ready!", strlen("Ready!")) != NULL;
    *ret_is_ready = says_so && !cli->is_ready;
    cli->is_ready = cli->is_ready || says_so;
    return STATUS_OK;
}

int stripe_cli_fd(const StripeCli *cli)
{
    return cli->child.fd;
}

void stripe_cli_free(StripeCli *cli)
{
    if (cli != NULL) {
        end(&cli->child);
        arena_done(&cli->arena);
        mem_free(cli);
    }
}
