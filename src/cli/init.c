// weir init: a project file to start from.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"

static const char starting_file[] =
    "# A Weir project: \"weir check\" says what is missing, \"weir run\" runs it.\n"
    "# ${NAME} is an environment variable, ${file:/run/secrets/x} a file's contents.\n"
    "\n"
    "connections:\n"
    "  shop:\n"
    "    type: postgres\n"
    "    url: postgres://localhost/shop     # a password: ${SHOP_PASSWORD}, ~/.pgpass, PGPASSWORD\n"
    "    # tables: [public.orders, public.*]  # all tables when left out\n"
    "  copy:\n"
    "    type: duckdb                       # or postgres, sqlite, file, stdout\n"
    "    path: shop.duckdb\n"
    "\n"
    "pipelines:\n"
    "  shop-to-copy:\n"
    "    from: { connection: shop }\n"
    "    to: { connection: copy }\n"
    "    # jobs: 4                            # tables copied at the same time\n"
    "    # watchdog: 5min                     # warn when something stands still for so long\n"
    "    # wal_warning: 10GB                  # warn when the slot holds so much WAL\n"
    "    # wal_disk: 200GB                    # the room for WAL on the server's disk: tells the "
    "time left\n";

static Status write_new(const char *path, Error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
        error_set(err, ERROR_CONFIG, "\"%s\" is there already", path);
        return error_hint(err, "It is left as it is. Remove it first to start anew.");
    }
    if (fd < 0) {
        return error_set_errno(err, ERROR_CONFIG, errno, "make \"%s\"", path);
    }
    ssize_t wrote = write(fd, starting_file, sizeof(starting_file) - 1);
    int code = errno;
    (void)close(fd);
    return wrote == (ssize_t)sizeof(starting_file) - 1
               ? STATUS_OK
               : error_set_errno(err, ERROR_TRANSIENT, code, "write \"%s\"", path);
}

static int init_run(Invocation *invocation)
{
    Error err = {0};
    Str dir = invocation->arguments.count > 0 ? invocation->arguments.items[0] : STR(".");
    const char *path = arena_printf(invocation->arena, "%" STR_FMT "/weir.yml", STR_ARG(dir));
    if (mkdir(str_to_cstr(invocation->arena, dir), 0777) != 0 && errno != EEXIST) {
        error_set_errno(&err, ERROR_CONFIG, errno, "make \"%" STR_FMT "\"", STR_ARG(dir));
        return report_error(&err);
    }
    if (write_new(path, &err) != STATUS_OK) {
        return report_error(&err);
    }
    printf("made %s\nEdit it, then: weir check %" STR_FMT "\n", path, STR_ARG(dir));
    return EXIT_DONE;
}

const Command init_command = {
    .name = "init",
    .arguments = "[DIR]",
    .arguments_max = 1,
    .summary = "make a project file to start from",
    .description = "Writes a commented weir.yml into DIR (by default here). Never overwrites one.",
    .run = init_run,
};
