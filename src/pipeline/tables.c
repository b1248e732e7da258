// The stored form of a table is lines of tab-separated fields in COPY's text escaping: one line for
// the table, one for each column.
//
//   1 state copied_at oid schema name identity file definition published highest key_is_primary
//     key-indexes
//   name attnum type typmod type_name base_type base_typmod base_name kind identity not_null
#include "pipeline/tables.h"

#include <assert.h>

#include "base/limits.h"
#include "pg/copy_text.h"

enum {
    FORMAT_VERSION = 1,
    TABLE_FIELDS = 13,
    COLUMN_FIELDS = 11, // and one more when it has a missing value
    MISSING_MAX = 4096, // bytes of one that is kept
};

static const char *const state_names[] = {"pending", "copying", "ready"};

void tables_init(Tables *tables)
{
    *tables = (Tables){0};
    (void)pthread_mutex_init(&tables->lock, NULL);
}

void tables_done(Tables *tables)
{
    (void)pthread_mutex_destroy(&tables->lock);
    map_done(&tables->by_oid);
    map_done(&tables->by_place);
    arena_done(&tables->arena);
}

Table *tables_find(const Tables *tables, uint32_t oid)
{
    return map_get_u64(&tables->by_oid, oid);
}

Table *tables_get(Tables *tables, uint32_t oid)
{
    Table *table = tables_find(tables, oid);
    if (table == NULL) {
        table = arena_alloc_zero(&tables->arena, sizeof(*table));
        table->oid = oid;
        (void)map_put_u64(&tables->by_oid, oid, table);
    }
    return table;
}

static Str place_of(Arena *arena, const Relation *relation)
{
    Str schema = relation->schema;
    Str name = relation->name;
    char *key = arena_alloc_bytes(arena, schema.len + 1 + name.len);
    memcpy(key, schema.ptr, schema.len);
    key[schema.len] = '\0';
    memcpy(key + schema.len + 1, name.ptr, name.len);
    return (Str){key, schema.len + 1 + name.len};
}

static Table *find_place(const Tables *tables, const Relation *relation)
{
    Arena scratch = {.chunk_size = LIMIT_NAME_BYTES};
    Table *table = map_get(&tables->by_place, place_of(&scratch, relation));
    arena_done(&scratch);
    return table;
}

static void take_place(Tables *tables, Table *table)
{
    if (table->place.ptr != NULL && map_get(&tables->by_place, table->place) == table) {
        map_remove(&tables->by_place, table->place);
    }
    table->place = place_of(&tables->arena, table->target);
    (void)map_put(&tables->by_place, table->place, table);
}

void tables_set_target(Tables *tables, Table *table, const Relation *relation)
{
    Relation settled = *relation;
    settled.is_unclear = false; // or the table is copied again
    if (table->target != NULL) {
        // A description by a message may know less than an earlier one.
        settled.highest = MAX(settled.highest, table->target->highest);
        if (relation_is_same(table->target, &settled)) {
            return;
        }
    }
    (void)pthread_mutex_lock(&tables->lock);
    table->target = relation_copy(&tables->arena, &settled);
    take_place(tables, table);
    (void)pthread_mutex_unlock(&tables->lock);
    table->is_dirty = true;
}

Table *tables_rival(const Tables *tables, const Relation *relation)
{
    Table *table = find_place(tables, relation);
    return table == NULL || table->oid == relation->oid ? NULL : table;
}

// What was held back during a copy is older than what the stream has told since.
void tables_overtake(Tables *tables, const Relation *relation, Position position)
{
    size_t cursor = 0;
    void *value;
    while (map_next(&tables->by_oid, &cursor, &value)) {
        Table *table = value;
        const Relation *said = table->state == TABLE_PENDING ? table->prepared : NULL;
        if (said != NULL && said->oid != relation->oid && str_equal(said->name, relation->name) &&
            str_equal(said->schema, relation->schema) &&
            position_compare(table->described_at, position) <= 0) {
            table->prepared = NULL;
        }
    }
}

void tables_forget_prepared(Tables *tables)
{
    size_t cursor = 0;
    void *value;
    while (map_next(&tables->by_oid, &cursor, &value)) {
        Table *table = value;
        if (table->state == TABLE_READY) {
            table->prepared = NULL;
        }
    }
}

bool tables_are_missing(const Tables *tables)
{
    size_t cursor = 0;
    void *value;
    while (map_next(&tables->by_oid, &cursor, &value)) {
        const Table *table = value;
        if (table->state == TABLE_PENDING && table->target == NULL) {
            return true;
        }
    }
    return false;
}

// Cut before a character that does not fit, not in the middle of one.
static size_t cut_text(Str text, size_t max)
{
    size_t len = MIN(text.len, max);
    while (len > 0 && len < text.len && ((unsigned char)text.ptr[len] & 0xC0) == 0x80) {
        len--;
    }
    return len;
}

const Relation *tables_aside(Tables *tables, const Table *table)
{
    (void)pthread_mutex_lock(&tables->lock);
    Relation *aside = relation_copy(&tables->arena, table->target);
    Str name = table->target->name;
    unsigned number = 0;
    do {
        char suffix[24];
        int len = snprintf(suffix, sizeof(suffix), "_old%u", ++number);
        size_t kept = cut_text(name, LIMIT_IDENTIFIER_SLOT - (size_t)len);
        aside->name = str_from(arena_printf(&tables->arena, "%.*s%s", (int)kept, name.ptr, suffix));
    } while (find_place(tables, aside) != NULL);
    (void)pthread_mutex_unlock(&tables->lock);
    return aside;
}

static void field(Buf *out, Str text)
{
    copy_text_encode(out, text);
    buf_char(out, '\t');
}

static void number(Buf *out, int64_t value)
{
    buf_int64(out, value);
    buf_char(out, '\t');
}

static void save_column(Buf *out, const Column *column)
{
    buf_char(out, '\n');
    field(out, column->name);
    number(out, column->attnum);
    number(out, column->type_oid);
    number(out, column->typmod);
    field(out, column->type_name);
    number(out, column->base_type_oid);
    number(out, column->base_typmod);
    field(out, column->base_type_name);
    number(out, column->kind);
    number(out, column->is_identity);
    buf_int64(out, column->not_null);
    Str missing = column->missing_value;
    if (missing.ptr != NULL && missing.len <= MISSING_MAX) {
        buf_char(out, '\t');
        copy_text_encode(out, missing);
    }
}

static void save_relation(Buf *out, const Relation *relation)
{
    field(out, relation->schema);
    field(out, relation->name);
    number(out, (int64_t)relation->identity);
    number(out, relation->file);
    buf_uint64(out, relation->definition);
    buf_char(out, '\t');
    buf_uint64(out, relation->published);
    buf_char(out, '\t');
    number(out, relation->highest);
    number(out, relation->key_is_primary);
    for (uint16_t i = 0; i < relation->key_count; i++) {
        buf_printf(out, i == 0 ? "%u" : ",%u", relation->key[i]);
    }
    for (uint16_t i = 0; i < relation->column_count; i++) {
        save_column(out, &relation->columns[i]);
    }
}

void table_copy_again(Table *table, Lsn durable)
{
    table->state = TABLE_PENDING;
    table->copy_begun = true;
    if (table->copied_at == LSN_NONE) {
        table->copied_at = durable; // the stream alone has brought it here
    }
    table->is_dirty = true;
}

bool table_tell_gap(const Table *table, const Relation *now, bool copies, const Notice *notice)
{
    if (table->state != TABLE_READY || table->target == NULL ||
        !relation_has_gap(table->target, now)) {
        return false;
    }
    notice_tell(notice, "table \"%" STR_FMT ".%" STR_FMT "\" was not published for a while: %s",
                STR_ARG(now->schema), STR_ARG(now->name),
                copies ? "it is copied again"
                       : "what was changed meanwhile is missing, as nothing is copied");
    return true;
}

void table_save(Table *table, Checkpoint *changed)
{
    assert(table->target != NULL);
    CLEANUP(buf_done) Buf out;
    buf_init(&out, LIMIT_CHECKPOINT_VALUE);
    TableState stored = table->state;
    if (stored == TABLE_PENDING && table->copy_begun) {
        stored = TABLE_COPYING;
    }
    number(&out, FORMAT_VERSION);
    field(&out, str_from(state_names[stored]));
    buf_printf(&out, LSN_FMT "\t", LSN_ARG(table->copied_at));
    number(&out, table->oid);
    save_relation(&out, table->target);
    // 1664 columns with names of at most 63 bytes, and MISSING_MAX: below the limit.
    assert(!out.overflowed);

    char key[32];
    (void)snprintf(key, sizeof(key), CHECKPOINT_TABLE "%u", table->oid);
    checkpoint_set(changed, str_from(key), buf_view(&out));
    table->is_dirty = false;
}

void tables_save(Tables *tables, Checkpoint *changed)
{
    size_t cursor = 0;
    void *value;
    while (map_next(&tables->by_oid, &cursor, &value)) {
        Table *table = value;
        if (table->is_dirty && table->target != NULL) {
            table_save(table, changed);
        }
    }
}

static bool get_number(Value value, int64_t min, int64_t max, int64_t *ret)
{
    int64_t parsed;
    if (!value_to_int64(value, &parsed) || parsed < min || parsed > max) {
        return false;
    }
    *ret = parsed;
    return true;
}

static size_t count_tabs(const char *line, size_t len)
{
    size_t count = 0;
    for (size_t i = 0; i < len; i++) {
        count += line[i] == '\t';
    }
    return count;
}

static bool load_column(char *line, size_t len, Column *ret)
{
    Value fields[COLUMN_FIELDS + 1];
    int64_t numbers[COLUMN_FIELDS] = {0};
    bool has_missing = count_tabs(line, len) == COLUMN_FIELDS;
    size_t count = COLUMN_FIELDS + (has_missing ? 1 : 0);
    if (copy_text_decode(line, len, fields, count, NULL) != STATUS_OK) {
        return false;
    }
    bool valid = get_number(fields[1], 0, INT16_MAX, &numbers[1]) &&
                 get_number(fields[2], 0, UINT32_MAX, &numbers[2]) &&
                 get_number(fields[3], INT32_MIN, INT32_MAX, &numbers[3]) &&
                 get_number(fields[5], 0, UINT32_MAX, &numbers[5]) &&
                 get_number(fields[6], INT32_MIN, INT32_MAX, &numbers[6]) &&
                 get_number(fields[8], 0, TYPE_KIND_OTHER, &numbers[8]) &&
                 get_number(fields[9], 0, 1, &numbers[9]) &&
                 get_number(fields[10], 0, 1, &numbers[10]);
    if (!valid) {
        return false;
    }
    *ret = (Column){
        .name = value_str(fields[0]),
        .attnum = (int16_t)numbers[1],
        .type_oid = (uint32_t)numbers[2],
        .typmod = (int32_t)numbers[3],
        .type_name = value_str(fields[4]),
        .base_type_oid = (uint32_t)numbers[5],
        .base_typmod = (int32_t)numbers[6],
        .base_type_name = value_str(fields[7]),
        .kind = (TypeKind)numbers[8],
        .type = type_class((uint32_t)numbers[5]),
        .is_identity = numbers[9] == 1,
        .not_null = numbers[10] == 1,
        .missing_value = has_missing ? value_str(fields[COLUMN_FIELDS]) : (Str){0},
    };
    return true;
}

static bool load_key(Str list, Arena *arena, Relation *relation)
{
    relation->key = ARENA_ARRAY(arena, uint16_t, relation->column_count);
    Str rest = list.len == 0 ? (Str){NULL, 0} : list;
    Str item;
    while (str_split(&rest, ',', &item)) {
        uint64_t index;
        if (!str_to_uint64(item, &index) || index >= relation->column_count ||
            relation->key_count == relation->column_count) {
            return false;
        }
        relation->key[relation->key_count++] = (uint16_t)index;
    }
    return true;
}

static bool load_columns(Str rest, Arena *arena, Relation *relation)
{
    size_t count = 0;
    for (size_t i = 0; i < rest.len; i++) {
        count += rest.ptr[i] == '\n';
    }
    count += rest.ptr != NULL ? 1 : 0;
    if (count == 0 || count > LIMIT_COLUMNS) {
        return false;
    }
    relation->column_count = (uint16_t)count;
    relation->columns = ARENA_ARRAY(arena, Column, count);
    Str line;
    for (size_t i = 0; str_split(&rest, '\n', &line); i++) {
        char *copy = arena_copy(arena, line.ptr, line.len);
        if (!load_column(copy, line.len, &relation->columns[i])) {
            return false;
        }
    }
    return true;
}

static bool load_state(Str name, TableState *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(state_names); i++) {
        if (str_is(name, state_names[i])) {
            *ret = (TableState)i;
            return true;
        }
    }
    return false;
}

static bool load_table(Tables *tables, Str value)
{
    Arena *arena = &tables->arena;
    Str rest = value;
    Str line;
    Value fields[TABLE_FIELDS];
    int64_t version;
    int64_t oid;
    int64_t identity;
    int64_t file;
    uint64_t definition;
    uint64_t published;
    int64_t highest;
    int64_t key_is_primary;
    TableState state;
    Lsn copied_at;
    if (!str_split(&rest, '\n', &line)) {
        return false;
    }
    char *copy = arena_copy(arena, line.ptr, line.len);
    if (copy_text_decode(copy, line.len, fields, TABLE_FIELDS, NULL) != STATUS_OK ||
        !get_number(fields[0], FORMAT_VERSION, FORMAT_VERSION, &version) ||
        !load_state(value_str(fields[1]), &state) || !lsn_parse(value_str(fields[2]), &copied_at) ||
        !get_number(fields[3], 1, UINT32_MAX, &oid) || !get_number(fields[6], 0, 255, &identity) ||
        !get_number(fields[7], 0, UINT32_MAX, &file) ||
        !str_to_uint64(value_str(fields[8]), &definition) ||
        !str_to_uint64(value_str(fields[9]), &published) ||
        !get_number(fields[10], 0, INT16_MAX, &highest) ||
        !get_number(fields[11], 0, 1, &key_is_primary)) {
        return false;
    }
    Relation *relation = arena_alloc_zero(arena, sizeof(*relation));
    relation->oid = (uint32_t)oid;
    relation->schema = value_str(fields[4]);
    relation->name = value_str(fields[5]);
    relation->identity = (ReplicaIdentity)identity;
    relation->file = (uint32_t)file;
    relation->definition = definition;
    relation->published = published;
    relation->highest = (int16_t)highest;
    relation->key_is_primary = key_is_primary == 1;
    if (!load_columns(rest, arena, relation) || !load_key(value_str(fields[12]), arena, relation)) {
        return false;
    }
    Table *table = tables_get(tables, relation->oid);
    // A copy that was under way has lost its snapshot: it starts again from an empty table.
    *table = (Table){
        .oid = relation->oid,
        .state = state == TABLE_READY ? TABLE_READY : TABLE_PENDING,
        .copy_begun = state == TABLE_COPYING,
        .copied_at = copied_at,
        .target = relation,
    };
    take_place(tables, table);
    return true;
}

Status tables_load(Tables *tables, const Checkpoint *checkpoint, Error *err)
{
    for (size_t i = 0; i < checkpoint->count; i++) {
        const CheckpointEntry *entry = &checkpoint->entries[i];
        if (entry->value.ptr == NULL || !str_starts_with(entry->key, STR(CHECKPOINT_TABLE))) {
            continue;
        }
        if (!load_table(tables, entry->value)) {
            return error_set(err, ERROR_FATAL, "the checkpoint's entry \"%" STR_FMT "\" is damaged",
                             STR_ARG(entry->key));
        }
    }
    return STATUS_OK;
}
