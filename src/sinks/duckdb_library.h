// libduckdb, found and loaded while the program runs, so that weir itself neither needs nor carries
// it. These are our own declarations of the part of its C API that we call: every handle is opaque,
// and numbers and layouts are those that the API documents as stable.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

/** duckdb_state */
typedef enum DuckState { DUCK_SUCCESS = 0, DUCK_FAILURE = 1 } DuckState;

/** duckdb_error_type, as far as we tell them apart. */
enum {
    DUCK_ERROR_OUT_OF_RANGE = 1,
    DUCK_ERROR_CONVERSION = 2,
    DUCK_ERROR_TRANSACTION = 10,
    DUCK_ERROR_CATALOG = 13,
    DUCK_ERROR_CONSTRAINT = 18,
    DUCK_ERROR_BINDER = 24,
    DUCK_ERROR_IO = 28,
    DUCK_ERROR_INTERRUPT = 29,
    DUCK_ERROR_FATAL = 30,
    DUCK_ERROR_OUT_OF_MEMORY = 33,
    DUCK_ERROR_PERMISSION = 34,
    DUCK_ERROR_DEPENDENCY = 37,
};

typedef struct DuckConfigHandle *DuckConfig;
typedef struct DuckDatabaseHandle *DuckDatabase;
typedef struct DuckConnectionHandle *DuckConnection;
typedef struct DuckStatementHandle *DuckStatement;
typedef struct DuckAppenderHandle *DuckAppender;
typedef struct DuckChunkHandle *DuckChunk;
typedef struct DuckVectorHandle *DuckVector;
typedef struct DuckLogicalTypeHandle *DuckLogicalType;
typedef struct DuckErrorHandle *DuckErrorData;

/** duckdb_result: handed over by value, so its size is part of the ABI. */
typedef struct DuckResult {
    uint64_t unused[3];
    void *unused_pointers[2];
    void *internal;
} DuckResult;

/** duckdb_string_t: short text is inside, longer text behind a pointer. */
typedef union DuckString {
    struct {
        uint32_t len;
        char bytes[12];
    } inlined;
    struct {
        uint32_t len;
        char prefix[4];
        const char *ptr;
    } pointer;
} DuckString;

enum { DUCK_STRING_INLINED_MAX = 12 };

static inline Str duck_string_view(const DuckString *string)
{
    bool is_inlined = string->inlined.len <= DUCK_STRING_INLINED_MAX;
    return (Str){is_inlined ? string->inlined.bytes : string->pointer.ptr, string->inlined.len};
}

/** The functions, each named as in the C API without its prefix "duckdb_". */
typedef struct DuckLibrary {
    const char *path; // what was loaded
    const char *(*library_version)(void);
    void (*free)(void *pointer);

    DuckState (*create_config)(DuckConfig *ret);
    DuckState (*set_config)(DuckConfig config, const char *name, const char *value);
    void (*destroy_config)(DuckConfig *config);
    DuckState (*open_ext)(const char *path, DuckDatabase *ret, DuckConfig config, char **ret_error);
    void (*close)(DuckDatabase *database);
    DuckState (*connect)(DuckDatabase database, DuckConnection *ret);
    void (*disconnect)(DuckConnection *connection);
    void (*interrupt)(DuckConnection connection); // from any thread

    DuckState (*query)(DuckConnection connection, const char *sql, DuckResult *ret);
    void (*destroy_result)(DuckResult *result);
    const char *(*result_error)(DuckResult *result);
    int (*result_error_type)(DuckResult *result);
    uint64_t (*rows_changed)(DuckResult *result);
    uint64_t (*column_count)(DuckResult *result);
    DuckChunk (*fetch_chunk)(DuckResult result);

    DuckState (*prepare)(DuckConnection connection, const char *sql, DuckStatement *ret);
    void (*destroy_prepare)(DuckStatement *statement);
    const char *(*prepare_error)(DuckStatement statement);
    DuckState (*bind_varchar_length)(DuckStatement statement, uint64_t index, const char *text,
                                     uint64_t len);
    DuckState (*execute_prepared)(DuckStatement statement, DuckResult *ret);
    // The rows are computed as they are fetched.
    DuckState (*execute_prepared_streaming)(DuckStatement statement, DuckResult *ret);

    DuckState (*appender_create_ext)(DuckConnection connection, const char *catalog,
                                     const char *schema, const char *table, DuckAppender *ret);
    DuckState (*appender_add_column)(DuckAppender appender, const char *name);
    DuckLogicalType (*appender_column_type)(DuckAppender appender, uint64_t index);
    DuckState (*append_data_chunk)(DuckAppender appender, DuckChunk chunk);
    DuckState (*appender_flush)(DuckAppender appender);
    DuckState (*appender_destroy)(DuckAppender *appender);
    const char *(*appender_error)(DuckAppender appender);
    // Since 1.4, all three or NULL: what kind of error it was.
    DuckErrorData (*appender_error_data)(DuckAppender appender);
    int (*error_data_error_type)(DuckErrorData data);
    void (*destroy_error_data)(DuckErrorData *data);

    DuckChunk (*create_data_chunk)(DuckLogicalType *types, uint64_t column_count);
    void (*destroy_data_chunk)(DuckChunk *chunk);
    void (*data_chunk_reset)(DuckChunk chunk);
    DuckVector (*data_chunk_get_vector)(DuckChunk chunk, uint64_t index);
    uint64_t (*data_chunk_get_size)(DuckChunk chunk);
    void (*data_chunk_set_size)(DuckChunk chunk, uint64_t size);
    void (*destroy_logical_type)(DuckLogicalType *type);
    uint64_t (*vector_size)(void);
    void *(*vector_get_data)(DuckVector vector);
    uint64_t *(*vector_get_validity)(DuckVector vector);
    void (*vector_ensure_validity_writable)(DuckVector vector);
    // The text is valid UTF-8. Before 1.5 the first was the second's name; since then the second
    // checks, and turns what it does not like into NULL without a word.
    void (*unsafe_vector_assign_string_element_len)(DuckVector vector, uint64_t index,
                                                    const char *text, uint64_t len); // may be NULL
    void (*vector_assign_string_element_len)(DuckVector vector, uint64_t index, const char *text,
                                             uint64_t len);
    // jemalloc's mallctl(), of the allocator inside; NULL where there is another one.
    int (*je_mallctl)(const char *name, void *ret_old, size_t *old_size, void *value,
                      size_t value_size);
    void (*put_text)(DuckVector vector, uint64_t index, const char *text,
                     uint64_t len); // one of the two
} DuckLibrary;

/**
 * Load libduckdb from @wanted (the option `library`, may be empty), else from the environment's
 * WEIR_DUCKDB_LIBRARY, else from beside the program, else from where the system finds libraries. A
 * place that was named and does not work is an error, not a reason to look elsewhere. ERROR_CONFIG
 * says what was tried and how to get the library. @ret's path is in @arena. The library stays
 * loaded until the process ends.
 */
MUST_CHECK Status duck_library_load(Str wanted, Arena *arena, DuckLibrary *ret, Error *err);
