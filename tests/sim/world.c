// What happened at the source.
#include <assert.h>

#include "change/change.h"
#include "sim.h"

World world;

// ---------------------------------------------------------------------------------------------
// How a table looks
// ---------------------------------------------------------------------------------------------

static void fill_relations(WorldTable *table, Version *version)
{
    static uint16_t key[1] = {0};
    Relation *base = &version->relations[0][0];
    base->oid = table->oid;
    base->schema = STR("public");
    base->name = str_from(version->name);
    base->identity = IDENTITY_DEFAULT;
    base->columns = version->columns[0];
    base->key_count = 1;
    base->key = key;
    base->key_is_primary = true;
    memcpy(version->columns[1], version->columns[0], sizeof(version->columns[0]));
    for (uint32_t i = 0; i < 2 * (ABSENCES + 2); i++) {
        Relation *relation = &version->relations[i % 2][i / 2];
        *relation = *base;
        relation->columns = version->columns[i % 2];
        relation->published = PUBLISHED_NO_MORE + i / 2;
    }
}

static Column *add_column(Version *version, Str name, int16_t attnum)
{
    Relation *relation = &version->relations[0][0];
    assert(relation->column_count < ATTNUMS);
    Column *column = &version->columns[0][relation->column_count++];
    *column = (Column){
        .name = name,
        .attnum = attnum,
        .type_oid = 23,
        .typmod = -1,
        .type_name = STR("integer"),
        .base_type_oid = 23,
        .base_typmod = -1,
        .base_type_name = STR("integer"),
        .kind = TYPE_KIND_BASE,
        .type = type_class(23),
        .is_identity = attnum == 1,
        .not_null = attnum == 1,
    };
    return column;
}

static const Str column_names[] = {{"", 0},   {"k", 1},  {"c2", 2}, {"c3", 2},
                                   {"c4", 2}, {"c5", 2}, {"c6", 2}, {"c7", 2}};
static const Str renamed_names[] = {{"", 0},   {"k", 1},  {"r2", 2}, {"r3", 2},
                                    {"r4", 2}, {"r5", 2}, {"r6", 2}, {"r7", 2}};

static bool take_name(char ret[static NAME_SIZE])
{
    static const char *const names[] = {"t0", "t1", "t2", "t3", "t0_old1"};
    const char *name = names[sim_below(ARRAY_LEN(names))];
    for (uint32_t i = 0; i < world.table_count; i++) {
        const WorldTable *table = &world.tables[i];
        if (table->exists && strcmp(table->version_list[table->version].name, name) == 0) {
            return false;
        }
    }
    (void)snprintf(ret, NAME_SIZE, "%s", name);
    return true;
}

const Relation *world_relation(const WorldTable *table, int copy)
{
    return &table->version_list[table->version].relations[copy][table->absences + 1];
}

static void create_table(Lsn commit_lsn)
{
    char name[NAME_SIZE];
    if (world.table_count == TABLES || !take_name(name)) {
        return;
    }
    WorldTable *table = &world.tables[world.table_count++];
    table->oid = world.next_oid++;
    table->exists = true;
    table->is_published = sim_chance(850);
    table->absences = 0;
    table->rewritten_at = commit_lsn;
    table->version = 0;
    table->versions = 1;
    table->change_count = 0;
    memset(table->rows, 0, sizeof(table->rows));
    Version *version = &table->version_list[0];
    memset(version, 0, sizeof(*version));
    memcpy(version->name, name, sizeof(name));
    table->attnum_max = (uint16_t)(2 + sim_below(2));
    for (uint16_t i = 1; i <= table->attnum_max; i++) {
        (void)add_column(version, column_names[i], (int16_t)i);
    }
    version->relations[0][0].file = 1;
    version->relations[0][0].definition = 1;
    fill_relations(table, version);
    sim_trace("create table %s oid %u%s", name, table->oid,
              table->is_published ? "" : ", not published");
}

// ---------------------------------------------------------------------------------------------
// Its shape changes
// ---------------------------------------------------------------------------------------------

// A value for each row that no change tells. With the same values otherwise.
static void rewrite(WorldTable *table, Version *version, uint16_t attnum, Lsn commit_lsn)
{
    table->rewritten_at = commit_lsn;
    version->relations[0][0].file++;
    for (uint32_t key = 0; key < KEYS; key++) {
        table->rows[key].values[attnum] = table->rows[key].is_there ? world.next_value++ : 0;
    }
}

static void alter_add(WorldTable *table, Version *version, Lsn commit_lsn)
{
    uint16_t count = version->relations[0][0].column_count;
    if (table->attnum_max == ATTNUMS || count == ATTNUMS) {
        return;
    }
    uint16_t attnum = ++table->attnum_max;
    Str name = column_names[attnum];
    if (sim_chance(200)) { // the name of one that was dropped
        bool taken = false;
        for (uint16_t i = 0; i < count; i++) {
            taken = taken || str_equal(version->columns[0][i].name, column_names[2]);
        }
        name = taken ? name : column_names[2];
    }
    Column *column = add_column(version, name, (int16_t)attnum);
    uint32_t kind = sim_below(3);
    if (kind == 0) {
        return; // NULL
    }
    column->has_default = true;
    if (kind == 1) {
        rewrite(table, version, attnum, commit_lsn);
        return;
    }
    uint32_t value = world.next_value++;
    (void)snprintf(version->missing[attnum], sizeof(version->missing[attnum]), "%u", value);
    column->missing_value = str_from(version->missing[attnum]);
    for (uint32_t key = 0; key < KEYS; key++) {
        table->rows[key].values[attnum] = table->rows[key].is_there ? value : 0;
    }
}

static void alter_column(WorldTable *table, Version *version, uint32_t kind, Lsn commit_lsn)
{
    Relation *relation = &version->relations[0][0];
    if (relation->column_count < 2) {
        return;
    }
    uint16_t at = (uint16_t)(1 + sim_below(relation->column_count - 1u));
    Column *columns = version->columns[0];
    uint16_t attnum = (uint16_t)columns[at].attnum;
    if (kind == 0) {
        relation->column_count--;
        memmove(&columns[at], &columns[at + 1], (relation->column_count - at) * sizeof(Column));
    } else if (kind == 1) {
        columns[at].name = renamed_names[attnum];
    } else if (kind == 2) {
        columns[at].type_oid = columns[at].base_type_oid = 20;
        columns[at].type_name = columns[at].base_type_name = STR("bigint");
        columns[at].type = type_class(20);
        table->rewritten_at = commit_lsn;
        relation->file++;
    } else {
        rewrite(table, version, attnum, commit_lsn);
    }
}

static void alter_table(WorldTable *table, Lsn commit_lsn)
{
    if (table->versions == VERSIONS) {
        return;
    }
    Version *version = &table->version_list[table->versions];
    const Version *before = &table->version_list[table->version];
    *version = *before;
    for (uint32_t i = 0; i < version->relations[0][0].column_count; i++) {
        Column *column = &version->columns[0][i];
        if (column->missing_value.ptr != NULL) {
            column->missing_value = str_from(version->missing[column->attnum]);
        }
    }
    version->relations[0][0].definition++;
    uint32_t kind = sim_below(8);
    if (kind < 2) {
        if (!take_name(version->name)) {
            return;
        }
    } else if (kind < 4) {
        alter_add(table, version, commit_lsn);
    } else {
        alter_column(table, version, kind - 4, commit_lsn);
    }
    table->version = table->versions++;
    fill_relations(table, version);
    sim_trace("alter table %u: version %u, name %s, %u columns, kind %u", table->oid,
              table->version, version->name, version->relations[0][0].column_count, kind);
}

// ---------------------------------------------------------------------------------------------
// Its rows change
// ---------------------------------------------------------------------------------------------

static WorldChange *add_change(WorldTx *tx, uint8_t op, bool is_published)
{
    WorldChange *change = &world.changes[world.change_count];
    *change = (WorldChange){.op = op, .is_published = is_published};
    change->tx = (uint16_t)world.tx_count;
    tx->published = (uint16_t)(tx->published + is_published);
    change->ordinal = tx->published;
    world.change_count++;
    tx->count++;
    return change;
}

static WorldChange *add_row_change(WorldTx *tx, WorldTable *table, uint8_t op)
{
    table->changes[table->change_count++] = (uint16_t)world.change_count;
    WorldChange *change = add_change(tx, op, table->is_published);
    change->table = (uint8_t)(table - world.tables);
    change->version = table->version;
    return change;
}

static void new_values(WorldTable *table, WorldChange *change, const Row *before)
{
    const Relation *relation = world_relation(table, 0);
    Row *row = &table->rows[change->new_key];
    uint32_t old_values[ATTNUMS + 1];
    memcpy(old_values, before->values, sizeof(old_values));
    memset(row, 0, sizeof(*row));
    row->is_there = true;
    row->values[1] = change->new_key + 1u;
    for (uint16_t i = 1; i < relation->column_count; i++) {
        int16_t attnum = relation->columns[i].attnum;
        bool keeps = change->op == CHANGE_UPDATE && sim_chance(300);
        row->values[attnum] = keeps ? old_values[attnum] : sim_chance(100) ? 0 : world.next_value++;
        if (keeps && sim_chance(500)) {
            change->unchanged = (uint8_t)(change->unchanged | (1u << attnum));
        }
    }
    memcpy(change->values, row->values, sizeof(change->values));
}

static void change_row(WorldTx *tx, WorldTable *table)
{
    uint8_t key = (uint8_t)sim_below(KEYS);
    Row *row = &table->rows[key];
    if (!row->is_there) {
        WorldChange *change = add_row_change(tx, table, CHANGE_INSERT);
        change->new_key = change->old_key = key;
        new_values(table, change, row);
        return;
    }
    if (sim_chance(300)) {
        WorldChange *change = add_row_change(tx, table, CHANGE_DELETE);
        change->old_key = change->new_key = key;
        row->is_there = false;
        return;
    }
    uint8_t new_key = sim_chance(300) ? (uint8_t)sim_below(KEYS) : key;
    new_key = table->rows[new_key].is_there ? key : new_key;
    WorldChange *change = add_row_change(tx, table, CHANGE_UPDATE);
    change->old_key = key;
    change->new_key = new_key;
    Row before = *row;
    row->is_there = false;
    new_values(table, change, &before);
}

static void truncate_table(WorldTx *tx, WorldTable *table)
{
    (void)add_row_change(tx, table, CHANGE_TRUNCATE);
    memset(table->rows, 0, sizeof(table->rows));
    table->rewritten_at = tx->commit_lsn;
}

static void add_message(WorldTx *tx)
{
    world.messages[world.message_count++] = (uint16_t)world.change_count;
    (void)add_change(tx, CHANGE_MESSAGE, true);
}

static WorldTable *any_table(void)
{
    WorldTable *table = &world.tables[sim_below(world.table_count)];
    return table->exists ? table : NULL;
}

// ---------------------------------------------------------------------------------------------
// Transactions
// ---------------------------------------------------------------------------------------------

static WorldTx *begin(void)
{
    WorldTx *tx = &world.txs[world.tx_count];
    // Often just where the one before ended: the records stand side by side.
    Lsn commit_lsn = world.head + (sim_chance(600) ? 0 : 1 + sim_below(20));
    *tx = (WorldTx){.commit_lsn = commit_lsn,
                    .end_lsn = commit_lsn + 1 + sim_below(8),
                    .first = (uint16_t)world.change_count};
    return tx;
}

static void end(WorldTx *tx)
{
    world.head = tx->end_lsn;
    world.tx_count++;
    sim_trace("commit at " LSN_FMT ", ends at " LSN_FMT ", %u changes, %u published",
              LSN_ARG(tx->commit_lsn), LSN_ARG(tx->end_lsn), tx->count, tx->published);
    sim_bells_shake();
}

static bool is_full(void)
{
    return world.tx_count + 3 >= TXS || world.change_count + 64 > CHANGES;
}

static bool is_full_table(const WorldTable *table)
{
    return table->change_count + 32 > TABLE_CHANGES;
}

// Several with one statement.
static void truncate_tables(WorldTx *tx, WorldTable *first)
{
    truncate_table(tx, first);
    for (uint32_t i = 0; i < world.table_count && sim_chance(400); i++) {
        WorldTable *table = &world.tables[i];
        if (table != first && table->exists && !is_full_table(table)) {
            truncate_table(tx, table);
        }
    }
}

static void transact(void)
{
    WorldTx *tx = begin();
    uint32_t count = sim_chance(80) ? 8 + sim_below(16) : 1 + sim_below(4);
    for (uint32_t i = 0; i < count; i++) {
        WorldTable *table = any_table();
        uint32_t choice = sim_below(100);
        if (table == NULL || is_full_table(table)) {
            continue;
        }
        if (choice < 90) {
            change_row(tx, table);
        } else if (choice < 93) {
            truncate_tables(tx, table);
        } else if (choice < 96) {
            add_message(tx);
        } else {
            alter_table(table, tx->commit_lsn);
        }
    }
    end(tx);
}

static void define(void)
{
    WorldTx *tx = begin();
    WorldTable *table = any_table();
    uint32_t choice = sim_below(10);
    if (choice < 3 || table == NULL) {
        create_table(tx->commit_lsn);
    } else if (choice < 4) {
        sim_trace("drop table %u", table->oid);
        table->exists = false;
        if (sim_chance(500)) {
            create_table(tx->commit_lsn);
        }
    } else if (choice < 6 && (table->is_published || table->absences < ABSENCES)) {
        table->absences += table->is_published ? 0 : 1;
        table->is_published = !table->is_published;
        sim_trace("table %u is%s published", table->oid, table->is_published ? "" : " not");
    } else {
        alter_table(table, tx->commit_lsn);
    }
    end(tx);
}

static void message_alone(void)
{
    WorldTx *tx = begin();
    tx->commit_lsn = tx->end_lsn = world.head + 1 + sim_below(8);
    add_message(tx);
    world.changes[world.change_count - 1].ordinal = 0;
    end(tx);
}

void world_act(void)
{
    if (is_full()) {
        return;
    }
    uint32_t choice = sim_below(100);
    if (choice < (world.is_restless ? 40 : 70)) {
        transact();
    } else if (choice < 85) {
        define();
    } else if (choice < 90) {
        message_alone();
    } else {
        world.head += 1 + sim_below(30); // somebody else's records
        sim_bells_shake();
    }
}

void world_close(void)
{
    WorldTx *tx = begin();
    for (uint32_t i = 0; i < world.table_count; i++) {
        WorldTable *table = &world.tables[i];
        if (world_wants(table)) {
            change_row(tx, table);
        }
    }
    end(tx);
    world.head += sim_below(10);
}

// ---------------------------------------------------------------------------------------------
// Looking at it
// ---------------------------------------------------------------------------------------------

void world_init(void)
{
    world.table_count = world.tx_count = world.change_count = world.message_count = 0;
    world.snapshot_count = 0;
    world.head = 100;
    world.has_slot = false;
    world.confirmed = LSN_NONE;
    world.next_value = 1;
    world.next_oid = 1;
    world.copies = sim_chance(900);
    world.has_buffer = sim_chance(150);
    world.is_restless = sim_chance(200);
    uint32_t count = 1 + sim_below(3);
    for (uint32_t i = 0; i < count; i++) {
        create_table(world.head);
    }
    world.head += 5;
    for (uint32_t i = sim_below(3); i > 0; i--) {
        transact();
    }
}

bool world_wants(const WorldTable *table)
{
    return table->exists && table->is_published;
}

WorldTable *world_find(uint32_t oid)
{
    assert(oid >= 1 && oid <= world.table_count);
    return &world.tables[oid - 1];
}

Position world_position(const WorldChange *change)
{
    return (Position){world.txs[change->tx].commit_lsn, change->ordinal};
}

uint32_t world_first(const WorldTable *table, Lsn lsn)
{
    uint32_t at = table->change_count;
    while (at > 0 && world_position(&world.changes[table->changes[at - 1]]).lsn >= lsn) {
        at--;
    }
    return at;
}

void world_snapshot(void)
{
    WorldSnapshot *last = &world.snapshots[world.snapshot_count];
    if (world.snapshot_count > 0 && last[-1].lsn == world.head) {
        return;
    }
    assert(world.snapshot_count < SNAPSHOTS);
    *last = (WorldSnapshot){.lsn = world.head};
    world.snapshot_count++;
    for (uint32_t i = 0; i < world.table_count; i++) {
        for (uint32_t key = 0; key < KEYS; key++) {
            last->rows[i] = (uint8_t)(last->rows[i] + world.tables[i].rows[key].is_there);
        }
    }
}

const WorldSnapshot *world_snapshot_at(Lsn lsn)
{
    for (uint32_t i = world.snapshot_count; i > 0; i--) {
        if (world.snapshots[i - 1].lsn == lsn) {
            return &world.snapshots[i - 1];
        }
    }
    return NULL;
}

// Bits: columns of which @change says what they are.
static uint8_t said_by(const WorldTable *table, const WorldChange *change)
{
    const Relation *relation = &table->version_list[change->version].relations[0][0];
    uint8_t said = 0;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        said = (uint8_t)(said | (1u << relation->columns[i].attnum));
    }
    return (uint8_t)(said & ~change->unchanged);
}

bool world_is_covered(const WorldTable *table, const WorldChange *was, const WorldChange *later)
{
    if (was->old_key != was->new_key) {
        return false;
    }
    if (later->op != CHANGE_UPDATE || was->op == CHANGE_DELETE) {
        return later->op != CHANGE_UPDATE || later->unchanged == 0;
    }
    return (later->unchanged & said_by(table, was)) == 0;
}

bool world_is_apart(const WorldTable *table, const WorldChange *was, const WorldChange *later)
{
    if (was->op == CHANGE_DELETE || later->op == CHANGE_DELETE || was->old_key != was->new_key ||
        later->old_key != later->new_key) {
        return false;
    }
    uint8_t both = said_by(table, was) & said_by(table, later);
    for (int attnum = 1; attnum <= ATTNUMS; attnum++) {
        if ((both & (1u << attnum)) != 0 && was->values[attnum] != later->values[attnum]) {
            return false;
        }
    }
    return true;
}
