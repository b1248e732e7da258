#include "cli/table.h"

#include <assert.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/utf8.h"

void text_table_row(TextTable *table, const Str *cells, size_t count)
{
    assert(count > 0);
    assert(count <= TEXT_TABLE_COLUMNS);
    assert(table->row_count == 0 || count == table->column_count);
    table->column_count = count;
    if (table->row_count == table->capacity) {
        table->capacity = MAX(table->capacity * 2, (size_t)16);
        table->rows = mem_resize(table->rows, table->capacity * sizeof(table->rows[0]));
    }
    for (size_t i = 0; i < count; i++) {
        table->rows[table->row_count][i] = str_copy(&table->arena, cells[i]);
    }
    table->row_count++;
}

// Characters, not bytes: the continuation bytes of UTF-8 take no room.
static int width(Str text)
{
    return (int)utf8_length(text);
}

static void print_cell(Str cell, int column_width, bool right, bool last)
{
    int padding = column_width - width(cell);
    if (right) {
        printf("%*s%" STR_FMT, padding, "", STR_ARG(cell));
    } else {
        printf("%" STR_FMT "%*s", STR_ARG(cell), last ? 0 : padding, "");
    }
    printf(last ? "\n" : "  ");
}

void text_table_print(const TextTable *table, int indent)
{
    int widths[TEXT_TABLE_COLUMNS] = {0};
    for (size_t row = 0; row < table->row_count; row++) {
        for (size_t i = 0; i < table->column_count; i++) {
            widths[i] = MAX(widths[i], width(table->rows[row][i]));
        }
    }
    bool bold = isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL;
    for (size_t row = 0; row < table->row_count; row++) {
        printf("%*s%s", indent, "", row == 0 && bold ? "\033[1m" : "");
        for (size_t i = 0; i < table->column_count; i++) {
            print_cell(table->rows[row][i], widths[i], table->right[i],
                       i + 1 == table->column_count);
        }
        printf(row == 0 && bold ? "\033[0m" : "");
    }
}

void text_table_done(TextTable *table)
{
    arena_done(&table->arena);
    mem_free(table->rows);
    *table = (TextTable){0};
}

Str format_count(int64_t value, Arena *arena)
{
    char digits[32];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)value);
    CLEANUP(buf_done) Buf text;
    buf_init(&text, 64);
    for (int i = 0; i < len; i++) {
        bool separates = i > 0 && digits[i - 1] != '-' && (len - i) % 3 == 0;
        if (separates) {
            buf_char(&text, ',');
        }
        buf_char(&text, digits[i]);
    }
    return str_copy(arena, buf_view(&text));
}

Str format_bytes(int64_t value, Arena *arena)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double scaled = (double)value;
    size_t unit = 0;
    while (scaled >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        scaled /= 1024;
        unit++;
    }
    const char *format = unit == 0 || scaled >= 100 ? "%.0f %s" : "%.1f %s";
    char text[32];
    // The format is one of the two constants above.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(text, sizeof(text), format, scaled, units[unit]);
#pragma GCC diagnostic pop
    return str_copy(arena, str_from(text));
}
