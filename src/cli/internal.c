// weir internal: pages and completions made from the tables. tools/gen_docs keeps their results in
// the repository and fails when they are not those of the program.
#include "cli/command.h"
#include "pipeline/sink.h"
#include "pipeline/source.h"

static const char *type_word(const Option *option)
{
    switch (option->type) {
    case OPTION_TYPE_STRING:
        return "text";
    case OPTION_TYPE_BOOL:
        return "true/false";
    case OPTION_TYPE_INT:
        return "number";
    case OPTION_TYPE_SIZE:
        return "size";
    case OPTION_TYPE_MS:
        return "duration";
    case OPTION_TYPE_LIST:
        return "list";
    case OPTION_TYPE_CHOICE:
    case OPTION_END:
        break;
    }
    return "";
}

// ---------------------------------------------------------------------------------------------
// docs/OPTIONS.md
// ---------------------------------------------------------------------------------------------

static void md_type(const Option *option)
{
    if (option->type != OPTION_TYPE_CHOICE) {
        printf("%s", type_word(option));
        return;
    }
    for (int i = 0; option->choices[i] != NULL; i++) {
        printf("%s`%s`", i == 0 ? "" : ", ", option->choices[i]);
    }
}

static void md_text(const char *text)
{
    for (; *text != '\0'; text++) {
        printf(*text == '|' ? "\\|" : "%c", *text);
    }
}

static void md_options(const Option *options, const char *dashes)
{
    if (options == NULL || options->type == OPTION_END) {
        printf("No options.\n");
        return;
    }
    printf("| Option | Value | Default | |\n|---|---|---|---|\n");
    for (const Option *option = options; option->type != OPTION_END; option++) {
        printf("| `%s%s` | ", dashes, option->name);
        md_type(option);
        printf(" | %s%s%s | ", option->fallback == NULL ? "" : "`",
               option->fallback == NULL ? "" : option->fallback,
               option->fallback == NULL ? "" : "`");
        md_text(option->help);
        printf("%s%s |\n", option->required ? " Required." : "",
               option->secret ? " A secret: never shown." : "");
    }
}

static void print_options_md(void)
{
    printf(
        "# Options\n\nMade by `tools/gen_docs` from the tables of the program: change those.\n\n"
        "Options of sources and sinks are parameters of a URL (`duckdb:shop.duckdb?mode=history`) "
        "and keys in a project file.\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (!(*command)->is_hidden) {
            printf("\n## weir %s %s\n\n%s.\n\n", (*command)->name, (*command)->arguments,
                   (*command)->summary);
            md_options((*command)->options, "--");
        }
    }
    printf("\n## Every command\n\n");
    md_options(common_options, "--");
    for (const SourceOps *const *source = source_registry; *source != NULL; source++) {
        printf("\n## Source %s\n\n%s.\n\n", (*source)->name, (*source)->summary);
        md_options((*source)->options, "");
    }
    for (const SinkOps *const *sink = sink_registry; *sink != NULL; sink++) {
        printf("\n## Sink %s\n\n%s Guarantee: %s.\n\n", (*sink)->name, (*sink)->summary,
               sink_guarantee_name((*sink)->guarantee));
        md_options((*sink)->options, "");
    }
}

// ---------------------------------------------------------------------------------------------
// weir.1
// ---------------------------------------------------------------------------------------------

// In roff a line must not begin with a dot or a quote, and a dash is written \-.
static void roff_text(const char *text)
{
    if (*text == '.' || *text == '\'') {
        printf("\\&");
    }
    for (; *text != '\0'; text++) {
        printf(*text == '-' ? "\\-" : (*text == '\\' ? "\\e" : "%c"), *text);
    }
}

static void roff_options(const Option *options, const char *dashes)
{
    for (const Option *option = options; option != NULL && option->type != OPTION_END; option++) {
        printf(".TP\n.B %s", dashes);
        roff_text(option->name);
        printf("\n");
        roff_text(option->help);
        if (option->fallback != NULL) {
            printf(" Default: ");
            roff_text(option->fallback);
            printf(".");
        }
        printf("\n");
    }
}

static void print_man(void)
{
    printf(".TH WEIR 1 \"\" \"weir %s\"\n.SH NAME\nweir \\- stream every change of a Postgres "
           "database "
           "to wherever it is needed\n.SH SYNOPSIS\n.B weir\n.I COMMAND\n[\\fIOPTION\\fR]...\n"
           ".SH COMMANDS\n",
           WEIR_VERSION);
    for (const Command *const *command = commands; *command != NULL; command++) {
        if ((*command)->is_hidden) {
            continue;
        }
        printf(".SS weir %s %s\n", (*command)->name, (*command)->arguments);
        roff_text((*command)->description != NULL ? (*command)->description : (*command)->summary);
        printf("\n");
        roff_options((*command)->options, "\\-\\-");
    }
    printf(".SH OPTIONS OF EVERY COMMAND\n");
    roff_options(common_options, "\\-\\-");
    for (const SourceOps *const *source = source_registry; *source != NULL; source++) {
        printf(".SH SOURCE %s\n", (*source)->name);
        roff_options((*source)->options, "");
    }
    for (const SinkOps *const *sink = sink_registry; *sink != NULL; sink++) {
        printf(".SH SINK %s\nGuarantee: %s.\n", (*sink)->name,
               sink_guarantee_name((*sink)->guarantee));
        roff_options((*sink)->options, "");
    }
    printf(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.\n");
}

// ---------------------------------------------------------------------------------------------
// Completions
// ---------------------------------------------------------------------------------------------

static void print_bash(void)
{
    printf("# bash completion for weir\n_weir() {\n    local word=${COMP_WORDS[COMP_CWORD]}\n"
           "    local command=${COMP_WORDS[1]} words\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        words='");
    for (const Command *const *command = commands; *command != NULL; command++) {
        printf((*command)->is_hidden ? "%.0s" : "%s ", (*command)->name);
    }
    printf("--help --version'\n    else\n        case $command in\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        printf("        %s) words='", (*command)->name);
        for (const Option *o = (*command)->options; o != NULL && o->type != OPTION_END; o++) {
            printf("--%s ", o->name);
        }
        printf("' ;;\n");
    }
    printf("        esac\n        words=\"$words --log-format --log-level --help\"\n    fi\n"
           "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\n"
           "complete -o default -F _weir weir\n");
}

static void zsh_text(const char *text)
{
    for (; *text != '\0'; text++) {
        bool special = strchr("'[]:", *text) != NULL;
        printf(special ? " " : "%c", *text);
    }
}

static void print_zsh(void)
{
    printf("#compdef weir\n_weir() {\n    if (( CURRENT == 2 )); then\n        local -a words=(\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (!(*command)->is_hidden) {
            printf("            '%s:", (*command)->name);
            zsh_text((*command)->summary);
            printf("'\n");
        }
    }
    printf("        )\n        _describe command words\n        return\n    fi\n    case $words[2] "
           "in\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        printf("    %s) _arguments '*:argument:_files'", (*command)->name);
        for (const Option *o = (*command)->options; o != NULL && o->type != OPTION_END; o++) {
            printf(" \\\n        '--%s[", o->name);
            zsh_text(o->help);
            printf(o->type == OPTION_TYPE_BOOL ? "]'" : "]:value:'");
        }
        printf(" ;;\n");
    }
    printf("    esac\n}\n_weir \"$@\"\n");
}

static void fish_text(const char *text)
{
    for (; *text != '\0'; text++) {
        printf(*text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    }
}

static void print_fish(void)
{
    printf("# fish completion for weir\n");
    for (const Command *const *command = commands; *command != NULL; command++) {
        if (!(*command)->is_hidden) {
            printf("complete -c weir -n __fish_use_subcommand -f -a %s -d '", (*command)->name);
            fish_text((*command)->summary);
            printf("'\n");
        }
        for (const Option *o = (*command)->options; o != NULL && o->type != OPTION_END; o++) {
            printf("complete -c weir -n '__fish_seen_subcommand_from %s' -l %s%s -d '",
                   (*command)->name, o->name, o->type == OPTION_TYPE_BOOL ? "" : " -r");
            fish_text(o->help);
            printf("'\n");
        }
    }
}

static int internal_run(Invocation *invocation)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } pages[] = {
        {"options-md", print_options_md}, {"man", print_man},
        {"completion-bash", print_bash},  {"completion-zsh", print_zsh},
        {"completion-fish", print_fish},
    };
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (str_is(invocation->arguments.items[0], pages[i].name)) {
            pages[i].print();
            return EXIT_DONE;
        }
    }
    Error err;
    error_set(&err, ERROR_CONFIG, "there is no page \"%" STR_FMT "\"",
              STR_ARG(invocation->arguments.items[0]));
    return report_error(&err);
}

const Command internal_command = {
    .name = "internal",
    .arguments = "PAGE",
    .arguments_min = 1,
    .arguments_max = 1,
    .summary = "print a page made from the tables",
    .run = internal_run,
    .is_hidden = true,
};
