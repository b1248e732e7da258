// Command lines of any words: they are taken within their limits, or refused with a message that
// holds no password of a connection among them.
//
// The first byte is the command, the words are separated by newlines.
#include "base/secret.h"
#include "cli/command.h"
#include "fuzz.h"

const Command *const commands[] = {
    &stream_command, &copy_command, &run_command,  &replay_command, &check_command,
    &slots_command,  &init_command, &help_command, &dead_command,   NULL};

// These stand in main.c, and no command is run here.
const Command *command_find(Str name)
{
    return NULL;
}

bool may_be_connection(Str word)
{
    return false;
}

int error_exit_code(const Error *err)
{
    return EXIT_USAGE;
}

int report_error(const Error *err)
{
    return EXIT_USAGE;
}

enum { WORDS_MAX = 64 };

static const char marker[] = "hunter22";

static int split(char *text, char **ret)
{
    int count = 0;
    while (text != NULL && count < WORDS_MAX) {
        ret[count++] = text;
        text = strchr(text, '\n');
        if (text != NULL) {
            *text++ = '\0';
        }
    }
    return count;
}

// Behind "://user:" and before the last @ of the same word, and nowhere else.
static bool is_only_in_passwords(int count, char **words)
{
    bool is_in_one = false;
    for (int i = 0; i < count; i++) {
        const char *found = strstr(words[i], marker);
        const char *scheme = strstr(words[i], "postgres://u:");
        const char *at = strrchr(words[i], '@');
        if (found != NULL && (scheme == NULL || at == NULL || found < scheme || found > at ||
                              strstr(found + 1, marker) != NULL)) {
            return false;
        }
        is_in_one = is_in_one || found != NULL;
    }
    return is_in_one;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    Arena arena = {0};
    Arguments arguments;
    Error err = {0};
    char *words[WORDS_MAX + 1] = {NULL};
    const Command *command = commands[data[0] % (ARRAY_LEN(commands) - 1)];
    int count = split(str_to_cstr(&arena, (Str){(const char *)data + 1, size - 1}), words);
    if (arguments_parse(command, count, words, &arena, &arguments, &err) != STATUS_OK) {
        bool is_shown = strstr(err.message, marker) != NULL || strstr(err.hint, marker) != NULL;
        FUZZ_CHECK(err.kind == ERROR_CONFIG && err.message[0] != '\0');
        FUZZ_CHECK(!is_shown || !is_only_in_passwords(count, words));
    } else if (!arguments.help) {
        FUZZ_CHECK(arguments.invocation.arguments.count >= command->arguments_min);
        FUZZ_CHECK(arguments.invocation.arguments.count <= command->arguments_max);
    }
    arena_done(&arena);
    return 0;
}
