// The commands as data: one table drives dispatch, --help, the man page and the completions.
#pragma once

#include "base/arena.h"
#include "config/option.h"

typedef enum ExitCode {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,         // wrong usage or configuration
    EXIT_INTERRUPTED = 130, // as a shell says it: 128 and the signal's number
    EXIT_PIPE = 141,
} ExitCode;

typedef struct ExitCodeText {
    ExitCode code;
    const char *meaning;
} ExitCodeText;

extern const ExitCodeText exit_code_texts[]; // closed by one without a meaning: help.c

/** What a command was called with. */
typedef struct Invocation {
    const struct Command *command;
    void *options; // of the command's own struct, filled from its table
    StrList arguments;
    Arena *arena; // of the process
} Invocation;

typedef struct Command {
    const char *name;
    const char *arguments; // "SOURCE SINK": for usage lines
    size_t arguments_min;
    size_t arguments_max;
    const char *summary;         // one line
    const char *description;     // paragraphs for `weir COMMAND --help` and the man page
    const char *const *examples; // NULL-terminated
    const Option *options;       // NULL-terminated names are long options
    size_t options_size;
    int (*run)(Invocation *invocation);
    bool is_hidden;
} Command;

extern const Command *const commands[]; // NULL-terminated: main.c

extern const Command stream_command;
extern const Command copy_command;
extern const Command run_command;
extern const Command replay_command;
extern const Command dead_command;
extern const Command init_command;
extern const Command check_command;
extern const Command status_command;
extern const Command verify_command;
extern const Command slots_command;
extern const Command help_command;
extern const Command internal_command;

/** By name, or NULL. */
const Command *command_find(Str name);

/** Whether @word, which is nothing that is known here, may be a connection that was not meant to
 *  stand here. Malformed ones have passwords at places of their own: it is not quoted. */
bool may_be_connection(Str word);

/** EXIT_USAGE when the user has to change something first, otherwise EXIT_FAILED. */
int error_exit_code(const Error *err);

/** Print @err to stderr as "weir: message" and its hint, or as a line of the log for machines;
 *  returns error_exit_code(). */
int report_error(const Error *err);

/** Options that every command has; filled by main() before the command runs. */
typedef struct CommonOptions {
    int log_format; // LogFormat
    int log_level;  // LogLevel
} CommonOptions;

extern const Option common_options[];

typedef struct Arguments {
    Invocation invocation;
    CommonOptions common;
    bool help; // --help was among them: nothing else was looked at
} Arguments;

/** Parse the words behind the command's name: --name value, --name=value, --flag, --no-flag, -h. */
MUST_CHECK Status arguments_parse(const Command *command, int count, char **words, Arena *arena,
                                  Arguments *ret, Error *err);

/** What stands before an option's name on a command line: "--no-" when it is on by default. */
const char *option_dashes(const Option *option);

/** What stands behind it: "N", "DIR", or "" for a flag. */
const char *option_value_word(const Option *option);

/** `weir COMMAND --help`. */
void print_command_help(const Command *command);
void print_overview(void);
