#include "sinks/duckdb_library.h"

#include <assert.h>
#include <dlfcn.h>
#include <limits.h>
#include <unistd.h>

#include "base/buf.h"

#define LIBRARY_FILE     "libduckdb.so"
#define ENVIRONMENT_NAME "WEIR_DUCKDB_LIBRARY"
#define VERSION_NEEDED   "1.2"

static_assert(sizeof(DuckResult) == 48, "duckdb_result is handed over by value");
static_assert(sizeof(DuckString) == 16, "duckdb_string_t has sixteen bytes");

// One function: its name in the library and where its address goes.
typedef struct Symbol {
    const char *name;
    size_t offset;
    bool is_optional;
} Symbol;

#define SYMBOL(name)                                        \
    {                                                       \
        "duckdb_" #name, offsetof(DuckLibrary, name), false \
    }
#define OPTIONAL(name)                                     \
    {                                                      \
        "duckdb_" #name, offsetof(DuckLibrary, name), true \
    }

static const Symbol symbols[] = {
    SYMBOL(library_version),
    SYMBOL(free),
    SYMBOL(create_config),
    SYMBOL(set_config),
    SYMBOL(destroy_config),
    SYMBOL(open_ext),
    SYMBOL(close),
    SYMBOL(connect),
    SYMBOL(disconnect),
    SYMBOL(interrupt),
    SYMBOL(query),
    SYMBOL(destroy_result),
    SYMBOL(result_error),
    SYMBOL(result_error_type),
    SYMBOL(rows_changed),
    SYMBOL(column_count),
    SYMBOL(fetch_chunk),
    SYMBOL(prepare),
    SYMBOL(destroy_prepare),
    SYMBOL(prepare_error),
    SYMBOL(bind_varchar_length),
    SYMBOL(execute_prepared),
    SYMBOL(execute_prepared_streaming),
    SYMBOL(appender_create_ext),
    SYMBOL(appender_add_column),
    SYMBOL(appender_column_type),
    SYMBOL(append_data_chunk),
    SYMBOL(appender_flush),
    SYMBOL(appender_destroy),
    SYMBOL(appender_error),
    OPTIONAL(appender_error_data),
    OPTIONAL(error_data_error_type),
    OPTIONAL(destroy_error_data),
    SYMBOL(create_data_chunk),
    SYMBOL(destroy_data_chunk),
    SYMBOL(data_chunk_reset),
    SYMBOL(data_chunk_get_vector),
    SYMBOL(data_chunk_get_size),
    SYMBOL(data_chunk_set_size),
    SYMBOL(destroy_logical_type),
    SYMBOL(vector_size),
    SYMBOL(vector_get_data),
    SYMBOL(vector_get_validity),
    SYMBOL(vector_ensure_validity_writable),
    SYMBOL(vector_assign_string_element_len),
    OPTIONAL(unsafe_vector_assign_string_element_len),
    OPTIONAL(je_mallctl),
};

static Status hint_where_from(Error *err)
{
    return error_hint(err, "Get it with \"npm install @duckdb/node-bindings-linux-x64\" (or "
                           "-arm64), or as libduckdb from https://duckdb.org/docs/installation, "
                           "and name the file with library=PATH or " ENVIRONMENT_NAME ".");
}

static Status find_symbols(void *handle, const char *path, DuckLibrary *ret, Error *err)
{
    DuckLibrary library = {.path = path};
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        void *address = dlsym(handle, symbols[i].name);
        if (address == NULL && !symbols[i].is_optional) {
            error_set(err, ERROR_CONFIG,
                      "library \"%s\" has no function \"%s\": it is not DuckDB, or older than "
                      "version " VERSION_NEEDED,
                      path, symbols[i].name);
            return hint_where_from(err);
        }
        // Every field is a pointer to a function, and POSIX gives those the size of a void *.
        static_assert(sizeof(address) == sizeof(library.query), "dlsym() serves functions");
        memcpy((char *)&library + symbols[i].offset, &address, sizeof(address));
    }
    library.put_text = library.unsafe_vector_assign_string_element_len != NULL
                           ? library.unsafe_vector_assign_string_element_len
                           : library.vector_assign_string_element_len;
    *ret = library;
    return STATUS_OK;
}

// RTLD_LOCAL keeps the library's own C++ and compression code from meeting anybody else's.
static void *load(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static Status load_named(const char *path, const char *named_by, DuckLibrary *ret, Error *err)
{
    void *handle = load(path);
    if (handle == NULL) {
        error_set(err, ERROR_CONFIG, "load DuckDB's library named by %s: %s", named_by, dlerror());
        return hint_where_from(err);
    }
    return find_symbols(handle, path, ret, err);
}

// "<directory of the program>/libduckdb.so", or NULL.
static const char *beside_program(Arena *arena)
{
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof(program));
    if (len <= 0 || (size_t)len == sizeof(program)) {
        return NULL;
    }
    while (len > 0 && program[len - 1] != '/') {
        len--;
    }
    return arena_printf(arena, "%.*s" LIBRARY_FILE, (int)len, program);
}

Status duck_library_load(Str wanted, Arena *arena, DuckLibrary *ret, Error *err)
{
    if (wanted.len > 0) {
        return load_named(str_to_cstr(arena, wanted), "library=", ret, err);
    }
    const char *from_environment = getenv(ENVIRONMENT_NAME);
    if (from_environment != NULL && from_environment[0] != '\0') {
        return load_named(arena_copy(arena, from_environment, strlen(from_environment)),
                          ENVIRONMENT_NAME, ret, err);
    }
    const char *beside = beside_program(arena);
    if (beside != NULL && access(beside, F_OK) == 0) {
        return load_named(beside, "its place beside the program", ret, err);
    }
    void *handle = load(LIBRARY_FILE);
    if (handle != NULL) {
        return find_symbols(handle, LIBRARY_FILE, ret, err);
    }
    error_set(err, ERROR_CONFIG,
              "DuckDB's library was not found: library= and " ENVIRONMENT_NAME
              " are not set, there "
              "is no \"%s\", and the system's library path has no \"" LIBRARY_FILE "\" (%s)",
              beside == NULL ? LIBRARY_FILE : beside, dlerror());
    return hint_where_from(err);
}
