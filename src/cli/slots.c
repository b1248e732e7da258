// weir slots list, weir slots drop.
#include "pg/slots.h"

#include "cli/command.h"
#include "cli/pipeline_options.h"
#include "cli/table.h"

static Status connect_source(Str text, Arena *arena, PGconn **ret, Error *err)
{
    Endpoint endpoint;
    if (source_endpoint(text, arena, &endpoint, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Setting *url = settings_find(&endpoint.settings, "url");
    if (url == NULL) {
        return error_set(err, ERROR_CONFIG, "\"%" STR_FMT "\" is not a Postgres source",
                         STR_ARG(endpoint.id));
    }
    PgConnect options = {.url = url->value, .application_name = "weir slots"};
    return pg_connect(&options, NULL, ret, err);
}

static void print_slots(const SlotInfos *slots, Arena *arena)
{
    TextTable table = {.right = {[5] = true}};
    const Str heading[] = {STR("SLOT"),      STR("PLUGIN"),  STR("DATABASE"), STR("ACTIVE"),
                           STR("CONFIRMED"), STR("RETAINS"), STR("WAL")};
    text_table_row(&table, heading, ARRAY_LEN(heading));
    for (size_t i = 0; i < slots->count; i++) {
        const SlotInfo *slot = &slots->items[i];
        const Str cells[] = {
            slot->name,
            slot->plugin.len == 0 ? STR("physical") : slot->plugin,
            slot->database,
            str_from(slot->is_active ? "yes" : "no"),
            str_from(arena_printf(arena, LSN_FMT, LSN_ARG(slot->confirmed))),
            format_bytes(slot->retained_bytes, arena),
            slot->wal_status,
        };
        text_table_row(&table, cells, ARRAY_LEN(cells));
    }
    text_table_print(&table, 0);
    text_table_done(&table);
}

static Status run_action(PGconn *conn, const StrList *arguments, Arena *arena, Error *err)
{
    if (str_is(arguments->items[0], "drop")) {
        if (slots_drop(conn, NULL, arguments->items[2], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        printf("dropped slot %" STR_FMT "\n", STR_ARG(arguments->items[2]));
        return STATUS_OK;
    }
    SlotInfos slots;
    if (slots_list(conn, NULL, arena, &slots, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    print_slots(&slots, arena);
    return STATUS_OK;
}

static const char *const examples[] = {
    "weir slots list postgres://localhost/shop",
    "weir slots drop postgres://localhost/shop weir_shop",
    NULL,
};

static int unknown_action(Str word)
{
    static const char *const names[] = {"list", "drop", NULL};
    Error err;
    if (may_be_connection(word)) {
        error_set(&err, ERROR_CONFIG, "\"list\" or \"drop\" is missing before the connection");
        error_hint(&err, "For example: %s", examples[0]);
        return report_error(&err);
    }
    error_set(&err, ERROR_CONFIG, "\"weir slots\" has no \"%" STR_FMT "\"", STR_ARG(word));
    if (!suggest_nearest(word, names, "weir slots ", &err)) {
        error_hint(&err, "For example: %s", examples[0]);
    }
    return report_error(&err);
}

static int slots_run(Invocation *invocation)
{
    const StrList *arguments = &invocation->arguments;
    Error err = {0};
    bool list = str_is(arguments->items[0], "list");
    bool drop = str_is(arguments->items[0], "drop");
    if (!list && !drop) {
        return unknown_action(arguments->items[0]);
    }
    if (arguments->count != (list ? 2 : 3)) {
        error_set(&err, ERROR_CONFIG, "\"weir slots %s\" takes %s, and was given %zu argument%s",
                  list ? "list" : "drop", list ? "SOURCE" : "SOURCE SLOT", arguments->count - 1,
                  arguments->count == 2 ? "" : "s");
        error_hint(&err, "For example: %s", examples[list ? 0 : 1]);
        return report_error(&err);
    }
    CLEANUP(pg_close) PGconn *conn = NULL;
    if (connect_source(arguments->items[1], invocation->arena, &conn, &err) != STATUS_OK ||
        run_action(conn, arguments, invocation->arena, &err) != STATUS_OK) {
        return report_error(&err);
    }
    return EXIT_DONE;
}

const Command slots_command = {
    .name = "slots",
    .arguments = "list SOURCE | drop SOURCE SLOT",
    .arguments_min = 1,
    .arguments_max = 3,
    .summary = "see and drop replication slots",
    .description = "Lists the replication slots of a server with the WAL that each one holds back, "
                   "or drops one. A slot that nobody reads holds WAL for ever: drop it. Physical "
                   "slots and those of other plugins are not Weir's, and are not dropped.",
    .examples = examples,
    .run = slots_run,
};
