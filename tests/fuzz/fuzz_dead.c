// Dead letters of any bytes: one record as such ('r'), the database file itself ('f'), or a store
// of letters whose fields are any values. It is opened or refused with a message; letters are
// listed, read, unpacked, and tried at a target that takes some of them. What the target has taken
// is in the store no more, and nothing else is missing.
#include <sqlite3.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/reader.h"
#include "fuzz.h"
#include "packed_changes.h"
#include "pipeline/dead.h"
#include "pipeline/dead_letter.h"

enum { LETTERS_MAX = 16, TABLE_OID = 1 };

static char directory[] = "/dev/shm/weir-fuzz-dead-XXXXXX";
static char path[128];
static char journal_path[160];
static char shared_path[160];

static void remove_all(void)
{
    (void)unlink(path);
    (void)unlink(journal_path);
    (void)unlink(shared_path);
}

static void at_exit(void)
{
    remove_all();
    (void)rmdir(directory);
}

static void begin(void)
{
    if (path[0] == '\0') {
        FUZZ_CHECK(mkdtemp(directory) != NULL);
        (void)snprintf(path, sizeof(path), "%s/dead.db", directory);
        (void)snprintf(journal_path, sizeof(journal_path), "%s-wal", path);
        (void)snprintf(shared_path, sizeof(shared_path), "%s-shm", path);
        (void)atexit(at_exit);
    }
    remove_all();
}

static void check_error(Status status, const Error *err)
{
    FUZZ_CHECK(status == STATUS_OK || err->message[0] != '\0');
}

// ---------------------------------------------------------------------------------------------
// The store
// ---------------------------------------------------------------------------------------------

static void write_file(const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    FUZZ_CHECK(file != NULL);
    FUZZ_CHECK(size == 0 || fwrite(data, 1, size, file) == size);
    (void)fclose(file);
}

static Str next_bytes(Reader *in, size_t len)
{
    Str bytes = {"", 0};
    (void)(len > 0 && reader_bytes(in, MIN(len, reader_left(in)), &bytes));
    return bytes;
}

// @flags: a bit for each that says in which of the types that SQLite has, whatever the column's is.
static void bind_field(sqlite3_stmt *statement, int at, unsigned flags, Str bytes)
{
    if ((flags & (1U << (at % 8))) != 0) {
        (void)sqlite3_bind_text64(statement, at, bytes.ptr, bytes.len, SQLITE_STATIC, SQLITE_UTF8);
    } else {
        (void)sqlite3_bind_blob64(statement, at, bytes.ptr, bytes.len, SQLITE_STATIC);
    }
}

static void bind_letter(sqlite3_stmt *statement, Reader *in, unsigned flags)
{
    enum { NUMBERS = 10, TEXTS = 5 };
    uint8_t number = 0;
    for (int i = 1; i <= NUMBERS && reader_u8(in, &number); i++) {
        (void)sqlite3_bind_int64(statement, i, (int8_t)number);
    }
    for (int i = 1; i <= TEXTS; i++) {
        uint8_t len = 0;
        bool is_there = reader_u8(in, &len);
        bind_field(statement, NUMBERS + i, flags, next_bytes(in, is_there ? len : 0));
    }
    uint16_t len = 0;
    bool is_there = reader_u16(in, &len);
    bind_field(statement, NUMBERS + TEXTS + 1, flags, next_bytes(in, is_there ? len : 0));
}

// A store without letters. Made once: that takes longer than all else.
static void write_empty(void)
{
    static uint8_t empty[256 * 1024];
    static size_t size;
    if (size == 0) {
        DeadStore *store;
        Error err = {0};
        FUZZ_CHECK(dead_store_open(directory, true, &store, &err) == STATUS_OK);
        dead_store_close(store);
        FILE *file = fopen(path, "rb");
        FUZZ_CHECK(file != NULL);
        size = fread(empty, 1, sizeof(empty), file);
        (void)fclose(file);
    }
    write_file(empty, size);
}

// Flags, then a letter; again and again. What the schema refuses is left out.
static void write_letters(Reader *in)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    write_empty();
    FUZZ_CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    FUZZ_CHECK(sqlite3_exec(db, "PRAGMA synchronous = OFF; BEGIN", NULL, NULL, NULL) == SQLITE_OK);
    FUZZ_CHECK(
        sqlite3_prepare_v2(
            db,
            "INSERT OR IGNORE INTO letter (lsn, ordinal, oid, op, is_refused, wants_retry,"
            " happened_us, kept_us, tried_us, tries,"
            " table_schema, table_name, error, old_key, new_key, record)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            -1, &statement, NULL) == SQLITE_OK);
    uint8_t flags;
    for (int i = 0; i < LETTERS_MAX && reader_u8(in, &flags); i++) {
        bind_letter(statement, in, flags);
        (void)sqlite3_step(statement);
        (void)sqlite3_reset(statement);
        (void)sqlite3_clear_bindings(statement);
    }
    (void)sqlite3_finalize(statement);
    FUZZ_CHECK(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
    (void)sqlite3_close(db);
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

static bool unpack(Str record, Unpacker *unpacker, Batch *batch)
{
    Error err = {0};
    Status status = dead_unpack(record, unpacker, batch, &err);
    check_error(status, &err);
    FUZZ_CHECK(status == STATUS_OK || err.kind == ERROR_FATAL);
    return status == STATUS_OK;
}

static void check_record(Str record)
{
    Arena arena = {0};
    Error err = {0};
    Unpacker unpacker = {0};
    Unpacker second = {0};
    Batch *batch = batch_new();
    Batch *again = batch_new();
    Str packed;
    if (unpack(record, &unpacker, batch)) {
        const Change *change = &batch->changes[0];
        RowKey key;
        row_key_of_relation(change, &arena, &key);
        FUZZ_CHECK(row_keys_meet(&key, &key));
        (void)dead_standing(change, change);
        FUZZ_CHECK(dead_pack(change, &arena, &packed, &err) == STATUS_OK);
        FUZZ_CHECK(unpack(packed, &second, again));
        FUZZ_CHECK(change_is_same(change, &again->changes[0]));
    }
    batch_unref(again);
    batch_unref(batch);
    unpacker_done(&second);
    unpacker_done(&unpacker);
    arena_done(&arena);
}

// How many letters there are; -1 when they cannot be read.
static int64_t read_letters(DeadStore *store)
{
    Arena arena = {0};
    Error err = {0};
    DeadLetters letters;
    Status status = dead_store_list(store, &arena, &letters, &err);
    check_error(status, &err);
    for (size_t i = 0; status == STATUS_OK && i < letters.count; i++) {
        DeadLetter letter;
        bool is_there;
        Error unread = {0};
        FUZZ_CHECK(letters.items[i].op <= CHANGE_SCHEMA);
        check_error(dead_store_get(store, letters.items[i].id, &arena, &letter, &is_there, &unread),
                    &unread);
        if (unread.message[0] == '\0' && is_there) {
            check_record(letter.record);
        }
        FUZZ_CHECK(row_names_are_alike(letters.items[0].old_key, letters.items[i].old_key) ==
                   row_names_are_alike(letters.items[i].old_key, letters.items[0].old_key));
        const RowKey one = {letters.items[0].old_key, letters.items[0].new_key};
        const RowKey other = {letters.items[i].old_key, letters.items[i].new_key};
        FUZZ_CHECK(row_keys_meet(&one, &other) == row_keys_meet(&other, &one));
    }
    int64_t count = status == STATUS_OK ? (int64_t)letters.count : -1;
    arena_done(&arena);
    return count;
}

// ---------------------------------------------------------------------------------------------
// A target
// ---------------------------------------------------------------------------------------------

static int64_t written;
static volatile size_t bytes_seen;

static Status prepare(Sink *sink, const Relation *was, const Relation *now, Error *err)
{
    return STATUS_OK;
}

static void read_row(const Relation *relation, const Value *row)
{
    for (uint16_t i = 0; row != NULL && i < relation->column_count; i++) {
        for (size_t at = 0; value_is_data(row[i]) && at < row[i].len; at++) {
            bytes_seen += row[i].ptr[at] != '\0';
        }
    }
}

// Takes inserts, and refuses others in the ways that there are.
static Status try_write(Sink *sink, const Change *changes, size_t count, bool *ret_is_intact,
                        Error *err)
{
    FUZZ_CHECK(count == 1 && changes->relation->oid == TABLE_OID);
    FUZZ_CHECK(changes->op <= CHANGE_DELETE);
    FUZZ_CHECK(changes->old_row != NULL || changes->new_row != NULL);
    read_row(changes->relation, changes->old_row);
    read_row(changes->relation, changes->new_row);
    if (changes->op == CHANGE_INSERT) {
        written++;
        return STATUS_OK;
    }
    *ret_is_intact = changes->op == CHANGE_UPDATE;
    return error_set(err, ERROR_DATA, "refused");
}

static void tell(void *context, const char *message)
{
    FUZZ_CHECK(message[0] != '\0');
}

static void add_table(Tables *tables)
{
    static Column columns[] = {
        {.name = {"id", 2}, .attnum = 1, .type_oid = OID_INT4, .type_name = {"integer", 7}},
        {.name = {"v", 1}, .attnum = 2, .type_oid = OID_TEXT, .type_name = {"text", 4}},
        {.name = {"late", 4}, .attnum = 3, .type_oid = OID_TEXT, .missing_value = {"x", 1}},
    };
    static uint16_t key[] = {0};
    static const Relation relation = {.oid = TABLE_OID,
                                      .schema = {"public", 6},
                                      .name = {"t", 1},
                                      .identity = IDENTITY_DEFAULT,
                                      .column_count = ARRAY_LEN(columns),
                                      .columns = columns,
                                      .key_count = 1,
                                      .key = key,
                                      .key_is_primary = true};
    tables_init(tables);
    Table *table = tables_get(tables, TABLE_OID);
    tables_set_target(tables, table, &relation);
    table->state = TABLE_READY;
    table->copied_at = 2;
}

static const SinkOps ops = {.prepare = prepare, .try_write = try_write};

static Status retry(Dead *dead, Error *err)
{
    Sink sink = {.ops = &ops, .context.notice = {tell, NULL}};
    Tables tables;
    Checkpoint changed = {0};
    bool is_due;
    bool wrote;
    add_table(&tables);
    Position durable = {100, 0};
    Status status = dead_is_due(dead, durable, &is_due, err);
    if (status == STATUS_OK && is_due) {
        status = dead_retry(dead, &sink, &tables, durable, &wrote, err);
    }
    if (status == STATUS_OK) {
        status = dead_prepare_commit(dead, &changed, err);
    }
    if (status == STATUS_OK) {
        status = dead_committed(dead, err);
    }
    checkpoint_done(&changed);
    tables_done(&tables);
    return status;
}

static void try_all(int64_t count)
{
    Error err = {0};
    Dead *dead = dead_new(directory, true, &ops, (Notice){0});
    written = 0;
    Status status = dead_begin(dead, NULL, &err);
    if (status == STATUS_OK) {
        FUZZ_CHECK(dead_count(dead) == count);
        status = retry(dead, &err);
    }
    check_error(status, &err);
    FUZZ_CHECK(status != STATUS_OK || dead_count(dead) <= count - written);
    dead_free(dead);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Reader in = reader_from(data, size);
    uint8_t kind;
    begin();
    if (!reader_u8(&in, &kind)) {
        return 0;
    }
    if (kind == 'r') {
        check_record((Str){(const char *)data + 1, size - 1});
        return 0;
    }
    if (kind == 'f') {
        write_file(data + 1, size - 1);
    } else {
        write_letters(&in);
    }
    DeadStore *store;
    Error err = {0};
    Status status = dead_store_open(directory, true, &store, &err);
    check_error(status, &err);
    if (status != STATUS_OK) {
        return 0;
    }
    int64_t count = read_letters(store);
    dead_store_close(store);
    if (count >= 0) {
        try_all(count);
    }
    return 0;
}
