// weir: the program.
//
//   main.c              finds the command, parses its words, runs it
//   arguments.c         words → option tables
//   stream.c            weir stream, weir copy → pipeline/runner.c, which is where the work is
//   run.c               weir run: all pipelines of a project (config/project.c)
//   crew.c              the runners of several pipelines, or of the parts of one, side by side
//   replay.c            weir replay: a disk buffer sends again
//   status.c            what runs, and how far it is
//   check.c slots.c     looking at both ends; replication slots
//   verify.c            weir verify: comparing both ends, row by row
//   help.c              --help from the tables
//   progress.c          what is seen on a terminal meanwhile
//
// Below it: pipeline/runner.c runs one pipeline; sources/ and sinks/ are its ends; pg/ speaks to
// Postgres; change/ is the data in between. docs/ARCHITECTURE.md has the whole picture.
#include <signal.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "cli/command.h"

const Command *const commands[] = {
    &stream_command,
    &copy_command,
    &run_command,
    &status_command,
    &check_command,
    &verify_command,
    &slots_command,
    &replay_command,
    &dead_command,
    &init_command,
    &help_command,
    &internal_command,
    NULL,
};

const Command *command_find(Str name)
{
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (str_is(name, (*command)->name)) {
            return *command;
        }
    }
    return NULL;
}

bool may_be_connection(Str word)
{
    return str_find(word, ':') >= 0 || str_find(word, '=') >= 0 || str_find(word, '@') >= 0;
}

int error_exit_code(const Error *err)
{
    return err->kind == ERROR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
}

int report_error(const Error *err)
{
    if (log_is_json()) {
        log_failure(LOG_ERROR, NULL, "failed", err);
        return error_exit_code(err);
    }
    (void)fprintf(stderr, "weir: %s\n", err->message);
    if (err->hint[0] != '\0') {
        (void)fprintf(stderr, "hint: %s\n", err->hint);
    }
    return error_exit_code(err);
}

static int unknown_command(const char *word)
{
    Error err;
    if (may_be_connection(str_from(word))) {
        error_set(&err, ERROR_CONFIG, "a command is missing before the connection");
        error_hint(&err, "For example: weir stream SOURCE SINK.");
        return report_error(&err);
    }
    const char *names[32] = {"--help", "--version"};
    size_t count = 2;
    for (size_t i = 0; commands[i] != NULL && count < ARRAY_LEN(names) - 1; i++) {
        names[count] = commands[i]->name;
        count += commands[i]->is_hidden ? 0 : 1;
    }
    names[count] = NULL;
    error_set(&err, ERROR_CONFIG, "unknown %s \"%s\"", word[0] == '-' ? "option" : "command", word);
    if (!suggest_nearest(str_from(word), names, "weir ", &err)) {
        error_hint(&err, "\"weir --help\" lists the commands.");
    }
    return report_error(&err);
}

// A password on the command line can be read by every user of the machine in the list of processes
// until it is overwritten. Everything was copied before.
static void hide_passwords(int count, char **words)
{
    for (int i = 0; i < count; i++) {
        Str secret;
        size_t at = 0;
        size_t len = strlen(words[i]);
        while (secret_find((Str){words[i] + at, len - at}, &secret)) {
            at = (size_t)(secret.ptr - words[i]);
            memset(words[i] + at, '*', secret.len);
            at += secret.len;
        }
    }
}

// What was printed may still be in the buffer, and the disk full.
static int flush_output(int code)
{
    bool failed = fflush(stdout) != 0 || ferror(stdout) != 0;
    if (failed && code == EXIT_DONE) {
        Error err;
        error_set_errno(&err, ERROR_TRANSIENT, errno, "write to standard output");
        return report_error(&err);
    }
    return code;
}

static char **copy_words(int count, char **words, Arena *arena)
{
    char **copy = ARENA_ARRAY(arena, char *, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        copy[i] = arena_copy(arena, words[i], strlen(words[i]));
    }
    return copy;
}

static int start_command(const Command *command, int count, char **words, Arena *arena)
{
    Arguments arguments;
    Error err = {0};
    if (arguments_parse(command, count, words, arena, &arguments, &err) != STATUS_OK) {
        return report_error(&err);
    }
    if (arguments.help) {
        print_command_help(command);
        return EXIT_DONE;
    }
    log_setup((LogLevel)arguments.common.log_level, (LogFormat)arguments.common.log_format);
    return command->run(&arguments.invocation);
}

static bool is_word(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int main(int argc, char **argv)
{
    mem_return_large();
    if (argc < 2 || is_word(argv[1], "-h", "--help")) {
        print_overview();
        return argc < 2 ? EXIT_USAGE : EXIT_DONE;
    }
    if (is_word(argv[1], "-V", "--version") || strcmp(argv[1], "version") == 0) {
        printf("weir %s\n", WEIR_VERSION);
        return EXIT_DONE;
    }
    const Command *command = command_find(str_from(argv[1]));
    if (command == NULL) {
        return unknown_command(argv[1]);
    }
    Arena arena = {0};
    char **words = copy_words(argc - 2, argv + 2, &arena);
    hide_passwords(argc - 2, argv + 2);
    int code = start_command(command, argc - 2, words, &arena);
    arena_done(&arena);
    return flush_output(code);
}
