#include "cli/verify_print.h"

#include <stdio.h>

#include "base/ascii.h"
#include "cli/json_print.h"
#include "cli/table.h"

static const char *const kind_names[] = {
    [DIFFERENCE_MISSING] = "missing in the target",
    [DIFFERENCE_EXTRA] = "extra in the target",
    [DIFFERENCE_VALUES] = "different",
};

VerifyVerdict verify_verdict(const VerifyTable *table)
{
    if (table->reason.len > 0) {
        return VERDICT_UNKNOWN;
    }
    bool is_equal = comparison_differences(&table->comparison) == 0 || table->is_mended;
    return is_equal ? VERDICT_EQUAL : VERDICT_DIFFERENT;
}

// ---------------------------------------------------------------------------------------------
// Text
// ---------------------------------------------------------------------------------------------

static Str table_text(const VerifyTable *table, Arena *arena)
{
    return str_from(arena_printf(arena, "%" STR_FMT ".%" STR_FMT, STR_ARG(table->schema),
                                 STR_ARG(table->name)));
}

static const char *verdict_text(const VerifyTable *table)
{
    switch (verify_verdict(table)) {
    case VERDICT_EQUAL:
        return table->is_mended ? "repaired" : "equal";
    case VERDICT_DIFFERENT:
        return "different";
    case VERDICT_UNKNOWN:
        return "not compared";
    }
    return "?";
}

static Str count_text(uint64_t count, Arena *arena)
{
    return count == 0 ? STR("-") : format_count((int64_t)count, arena);
}

static void print_table(const VerifyResult *result, Arena *arena)
{
    TextTable text = {.right = {[2] = true, [3] = true, [4] = true, [5] = true, [6] = true}};
    const Str heading[] = {STR("TABLE"), STR("TARGET"),    STR("ROWS"), STR("MISSING"),
                           STR("EXTRA"), STR("DIFFERENT"), STR("TIME"), STR("RESULT")};
    text_table_row(&text, heading, ARRAY_LEN(heading));
    for (size_t i = 0; i < result->table_count; i++) {
        const VerifyTable *table = &result->tables[i];
        const Comparison *comparison = &table->comparison;
        bool is_known = table->reason.len == 0;
        const Str cells[] = {
            table_text(table, arena),
            table->target,
            is_known ? format_count((int64_t)comparison->source_rows, arena) : STR("?"),
            count_text(comparison->counts[DIFFERENCE_MISSING], arena),
            count_text(comparison->counts[DIFFERENCE_EXTRA], arena),
            count_text(comparison->counts[DIFFERENCE_VALUES], arena),
            str_from(arena_printf(arena, "%.1f s", (double)table->us / 1e6)),
            str_from(verdict_text(table)),
        };
        text_table_row(&text, cells, ARRAY_LEN(cells));
    }
    printf("\n");
    text_table_print(&text, 2);
    text_table_done(&text);
}

// What needs no quotes to be read as what it is.
static bool is_plain(Str text)
{
    bool plain = text.len > 0 && !str_is(text, "NULL");
    for (size_t i = 0; plain && i < text.len; i++) {
        char c = text.ptr[i];
        plain = ascii_is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == ':' ||
                c == '+' || (c & 0x80) != 0;
    }
    return plain;
}

// On one line, and nothing in it that a terminal would obey.
static void print_value(Str value)
{
    if (value.ptr == NULL || is_plain(value)) {
        printf("%" STR_FMT, STR_ARG(value.ptr == NULL ? STR("NULL") : value));
        return;
    }
    printf("'");
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c < ' ' || c == 0x7f) {
            printf("\\x%02x", c);
        } else {
            printf(c == '\'' ? "''" : "%c", c);
        }
    }
    printf("'");
}

static Str key_value(const VerifyDifference *difference, size_t i)
{
    bool in_target_only = difference->kind == DIFFERENCE_EXTRA;
    return in_target_only ? difference->key[i].target : difference->key[i].source;
}

static void print_difference(const VerifyDifference *difference)
{
    printf("    %-21s  ", kind_names[difference->kind]);
    for (size_t i = 0; i < difference->key_count; i++) {
        printf("%s%" STR_FMT " = ", i == 0 ? "" : ", ", STR_ARG(difference->key[i].column));
        print_value(key_value(difference, i));
    }
    for (size_t i = 0; i < difference->value_count; i++) {
        printf("%s %" STR_FMT " (source ", i == 0 ? ":" : ",",
               STR_ARG(difference->values[i].column));
        print_value(difference->values[i].source);
        printf(", target ");
        print_value(difference->values[i].target);
        printf(")");
    }
    printf("\n");
}

static void print_details(const VerifyTable *table, Arena *arena)
{
    const Comparison *comparison = &table->comparison;
    uint64_t all = comparison_differences(comparison);
    Str name = table_text(table, arena);
    if (all == 0 && table->reason.len == 0 && table->note.len == 0 && table->voided == 0) {
        return;
    }
    printf("\n  %" STR_FMT "\n", STR_ARG(name));
    if (table->reason.len > 0) {
        printf("    not compared: %" STR_FMT "\n", STR_ARG(table->reason));
    }
    if (table->note.len > 0) {
        printf("    %" STR_FMT "\n", STR_ARG(table->note));
    }
    for (size_t i = 0; i < table->difference_count; i++) {
        print_difference(&table->differences[i]);
    }
    if (all > table->difference_count) {
        Str more = format_count((int64_t)(all - table->difference_count), arena);
        printf("    … and %" STR_FMT " more\n", STR_ARG(more));
    }
    if (table->repaired > 0) {
        Str rows = format_count((int64_t)table->repaired, arena);
        printf("    %" STR_FMT " written%s\n", STR_ARG(rows),
               table->is_mended ? ", and equal when compared again" : "");
    }
    if (table->voided > 0) {
        Str letters = format_count((int64_t)table->voided, arena);
        printf("    %" STR_FMT " dead letters dropped: their rows are what the source has\n",
               STR_ARG(letters));
    }
}

static size_t count_verdicts(const VerifyResult *result, VerifyVerdict verdict)
{
    size_t count = 0;
    for (size_t i = 0; i < result->table_count; i++) {
        count += verify_verdict(&result->tables[i]) == verdict ? 1 : 0;
    }
    return count;
}

static void print_end(const VerifyResult *result)
{
    size_t different = count_verdicts(result, VERDICT_DIFFERENT);
    size_t unknown = count_verdicts(result, VERDICT_UNKNOWN);
    if (different + unknown == 0) {
        printf("\nEqual.\n");
        return;
    }
    printf("\nOf %zu tables, %zu differ", result->table_count, different);
    if (unknown > 0) {
        printf(", and %zu could not be compared", unknown);
    }
    printf(".\n");
}

void verify_print_text(const Pipeline *pipeline, const PipelineRoute *route,
                       const VerifyResult *result, bool is_first)
{
    Arena scratch = {0};
    printf("%sPipeline %" STR_FMT "\n  source     %" STR_FMT "\n", is_first ? "" : "\n",
           STR_ARG(pipeline->name), STR_ARG(pipeline->source_id));
    if (route->name.len > 0) {
        printf("  route      %" STR_FMT "\n", STR_ARG(route->name));
    }
    printf("  sink       %" STR_FMT "\n", STR_ARG(route->id));
    if (result->reason.len > 0) {
        printf("\nNot compared: %" STR_FMT ".\n", STR_ARG(result->reason));
        arena_done(&scratch);
        return;
    }
    printf("  both at    " LSN_FMT "\n", LSN_ARG(result->lsn));
    print_table(result, &scratch);
    for (size_t i = 0; i < result->table_count; i++) {
        print_details(&result->tables[i], &scratch);
    }
    print_end(result);
    arena_done(&scratch);
}

// ---------------------------------------------------------------------------------------------
// JSON
// ---------------------------------------------------------------------------------------------

static void print_json_difference(const VerifyDifference *difference, bool is_first)
{
    static const char *const kinds[] = {"missing", "extra", "different"};
    json_print_text(is_first ? "\n    {" : ",\n    {", "kind", str_from(kinds[difference->kind]),
                    true);
    printf(",\"key\":{");
    for (size_t i = 0; i < difference->key_count; i++) {
        Str value = key_value(difference, i);
        printf(i == 0 ? "" : ",");
        json_print_string(difference->key[i].column);
        printf(":");
        if (value.ptr == NULL) {
            printf("null");
        } else {
            json_print_string(value);
        }
    }
    printf("},\"columns\":[");
    for (size_t i = 0; i < difference->value_count; i++) {
        const VerifyValue *value = &difference->values[i];
        json_print_text(i == 0 ? "{" : ",{", "name", value->column, true);
        json_print_text(",", "source", value->source, value->source.ptr != NULL);
        json_print_text(",", "target", value->target, value->target.ptr != NULL);
        printf("}");
    }
    printf("]}");
}

static void print_json_table(const VerifyTable *table, bool is_first)
{
    const Comparison *comparison = &table->comparison;
    bool is_known = table->reason.len == 0;
    json_print_text(is_first ? "\n   {" : ",\n   {", "schema", table->schema, true);
    json_print_text(",", "name", table->name, true);
    json_print_text(",", "target", table->target, true);
    json_print_text(",", "result", str_from(verdict_text(table)), true);
    json_print_text(",", "reason", table->reason, !is_known);
    json_print_text(",", "note", table->note, table->note.len > 0);
    json_print_number("source_rows", is_known ? (int64_t)comparison->source_rows : -1);
    json_print_number("target_rows", is_known ? (int64_t)comparison->target_rows : -1);
    json_print_number("missing", (int64_t)comparison->counts[DIFFERENCE_MISSING]);
    json_print_number("extra", (int64_t)comparison->counts[DIFFERENCE_EXTRA]);
    json_print_number("different", (int64_t)comparison->counts[DIFFERENCE_VALUES]);
    json_print_number("written", (int64_t)table->repaired);
    json_print_number("letters_dropped", (int64_t)table->voided);
    json_print_number("ms", table->us / 1000);
    printf(",\"differences\":[");
    for (size_t i = 0; i < table->difference_count; i++) {
        print_json_difference(&table->differences[i], i == 0);
    }
    printf("]}");
}

void verify_print_json(const Pipeline *pipeline, const PipelineRoute *route,
                       const VerifyResult *result, bool is_first)
{
    char lsn[32];
    (void)snprintf(lsn, sizeof(lsn), LSN_FMT, LSN_ARG(result->lsn));
    json_print_text(is_first ? "{\"pipelines\":[\n {" : ",\n {", "name", pipeline->name, true);
    json_print_text(",", "source", pipeline->source_id, true);
    json_print_text(",", "route", route->name, route->name.len > 0);
    json_print_text(",", "sink", route->id, true);
    json_print_text(",", "lsn", str_from(lsn), result->reason.len == 0);
    json_print_text(",", "reason", result->reason, result->reason.len > 0);
    printf(",\n  \"tables\":[");
    for (size_t i = 0; i < result->table_count; i++) {
        print_json_table(&result->tables[i], i == 0);
    }
    printf("]}");
}

void verify_print_json_end(bool is_first, bool is_equal)
{
    printf("%s],\n\"equal\":%s}\n", is_first ? "{\"pipelines\":[" : "",
           is_equal ? "true" : "false");
}
