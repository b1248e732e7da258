// What ALTER TABLE … ALTER COLUMN … TYPE does to the rows that are there. Postgres rewrites them
// without a word in the stream, so the target has to come to the same values by itself.
#pragma once

#include <sqlite3.h>

#include "change/relation.h"

typedef struct SqliteConversion SqliteConversion;

struct SqliteConversion {
    /** Stored value -> stored value, through sqlite3_result_…(). NULL: it stays as it is. */
    void (*convert)(sqlite3_context *context, sqlite3_value *value,
                    const SqliteConversion *conversion);
    const Column *now;
};

/**
 * How Postgres's own cast from @was to @now turns out for stored values. False when there is no way
 * to come to exactly the same values. (A USING clause that says something else is not seen by
 * anybody who reads the stream.)
 */
bool sqlite_conversion_find(const Column *was, const Column *now, SqliteConversion *ret);

/** Make weir_convert(value, pointer to an SqliteConversion) known to a connection. */
int sqlite_conversion_register(sqlite3 *db);

/** Bind the second argument of weir_convert(). */
void sqlite_conversion_bind(sqlite3_stmt *statement, int index, SqliteConversion *conversion);
