// Aligned tables on standard output.
#pragma once

#include "base/arena.h"
#include "base/str.h"

enum { TEXT_TABLE_COLUMNS = 12 };

/** Zero-initialised is empty. */
typedef struct TextTable {
    Arena arena;
    Str (*rows)[TEXT_TABLE_COLUMNS];
    size_t row_count;
    size_t capacity;
    size_t column_count;
    bool right[TEXT_TABLE_COLUMNS]; // columns that are aligned to the right
} TextTable;

/** The first row is the heading. Every row has the same number of cells. */
void text_table_row(TextTable *table, const Str *cells, size_t count);

/** Print with two blanks between columns and @indent before each line. */
void text_table_print(const TextTable *table, int indent);

void text_table_done(TextTable *table);

/** "1,234,567", "12.3 MB", in @arena. */
Str format_count(int64_t value, Arena *arena);
Str format_bytes(int64_t value, Arena *arena);
