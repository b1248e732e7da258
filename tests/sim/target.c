// What targets have, and what must be true of it at every step. A target knows of each table which
// change comes next: one that comes later was lost, one that comes again was doubled.
#include <assert.h>
#include <inttypes.h>

#include "sim.h"

Target targets[TARGETS];
uint32_t target_count;

const char *target_kind_name(TargetKind kind)
{
    static const char *const names[] = {"tables", "parallel-tables", "log", "file",
                                        "at-least-once"};
    return names[kind];
}

static Refusals any_refusals(const Target *target)
{
    static const uint32_t rates[] = {20, 80, 200, 500};
    Refusals refusals = {.has_letters = target_has_tables(target)};
    if (refusals.has_letters) {
        refusals.salt = sim_below(UINT16_MAX);
        refusals.is_undone = sim_chance(600);
        refusals.permille = rates[sim_below(refusals.is_undone ? 4 : 3)];
        refusals.folds = sim_chance(500);
        refusals.stand_alone = sim_chance(400);
        refusals.is_narrow = refusals.stand_alone && target == &targets[0] && target_count == 1 &&
                             sim_chance(500); // and stays alone
        refusals.is_shy = !refusals.is_undone && sim_chance(500);
    }
    return refusals;
}

void targets_init(void)
{
    bool have_letters = sim_chance(250);
    for (uint32_t i = 0; i < TARGETS; i++) {
        Target *target = &targets[i];
        memset(&target->data, 0, sizeof(target->data));
        memset(&target->kept[0], 0, sizeof(target->kept[0]));
        target->kind = (TargetKind)sim_below(have_letters && i == 0 ? TARGET_LOG : TARGET_KINDS);
        target->epoch = 0;
        target->store.count = 0;
        target->store.has_position = false;
        memset(target->ready_at, 0, sizeof(target->ready_at));
        memset(target->is_ready, 0, sizeof(target->is_ready));
        memset(target->locks, 0, sizeof(target->locks));
        target->refusals.has_letters = false;
        target->refusals.stand_alone = target->refusals.is_narrow = false;
        if (have_letters) {
            target->refusals = any_refusals(target);
        }
    }
}

void targets_heal(void)
{
    for (uint32_t i = 0; i < TARGETS; i++) {
        targets[i].refusals.permille = 0;
    }
}

void targets_crash(void)
{
    for (uint32_t i = 0; i < TARGETS; i++) {
        memset(targets[i].locks, 0, sizeof(targets[i].locks));
    }
}

bool target_has_tables(const Target *target)
{
    return target->kind == TARGET_TABLES || target->kind == TARGET_PARALLEL_TABLES;
}

uint32_t target_table(const Relation *relation)
{
    return (uint32_t)(world_find(relation->oid) - world.tables);
}

// ---------------------------------------------------------------------------------------------
// Shapes
// ---------------------------------------------------------------------------------------------

bool target_fits(const TargetTable *table, const Relation *relation)
{
    bool fits = table->exists && table->column_count == relation->column_count &&
                str_is(relation->name, table->name);
    for (uint16_t i = 0; fits && i < relation->column_count; i++) {
        fits = str_is(relation->columns[i].name, table->columns[i]);
    }
    return fits;
}

static void set_columns(TargetTable *table, const Relation *relation)
{
    table->exists = true;
    (void)snprintf(table->name, NAME_SIZE, "%" STR_FMT, STR_ARG(relation->name));
    table->column_count = (uint8_t)relation->column_count;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        const Column *column = &relation->columns[i];
        table->attnums[i] = (uint8_t)column->attnum;
        (void)snprintf(table->columns[i], NAME_SIZE, "%" STR_FMT, STR_ARG(column->name));
    }
}

static uint32_t parse(Value value)
{
    if (value.state == VALUE_NULL) {
        return 0;
    }
    uint64_t number;
    sim_check(value.state == VALUE_TEXT && str_to_uint64(value_str(value), &number),
              "a value arrived that nobody wrote");
    return (uint32_t)number;
}

// Values are kept by attnum: a column that stays has its values.
static void convert_rows(TargetTable *table, const Relation *now)
{
    uint32_t had = 0;
    uint32_t has = 0;
    for (uint16_t i = 0; i < table->column_count; i++) {
        had |= 1u << table->attnums[i];
    }
    for (uint16_t i = 0; i < now->column_count; i++) {
        has |= 1u << now->columns[i].attnum;
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        Row *row = &table->rows[key];
        for (uint32_t attnum = 1; attnum <= ATTNUMS; attnum++) {
            row->values[attnum] = (had & has & (1u << attnum)) != 0 ? row->values[attnum] : 0;
        }
        for (uint16_t i = 0; row->is_there && i < now->column_count; i++) {
            const Column *column = &now->columns[i];
            if ((had & (1u << column->attnum)) == 0 && column->missing_value.ptr != NULL) {
                uint64_t number;
                (void)!str_to_uint64(column->missing_value, &number);
                row->values[column->attnum] = (uint32_t)number;
            }
        }
    }
}

// A description that came through a buffer is a copy.
static bool is_told_by_source(uint32_t at, const Relation *now)
{
    const WorldTable *source = &world.tables[at];
    bool is_its_name = false;
    for (uint32_t i = 0; world.has_buffer && i < source->versions; i++) {
        is_its_name = is_its_name || str_is(now->name, source->version_list[i].name);
    }
    return is_its_name || (uintptr_t)now - (uintptr_t)&world < sizeof(world);
}

void target_prepare(TargetData *data, const Relation *was, const Relation *now)
{
    uint32_t at = target_table(now);
    TargetTable *table = &data->tables[at];
    for (uint32_t i = 0; i < TABLES; i++) {
        sim_check(i == at || !data->tables[i].exists || !str_is(now->name, data->tables[i].name),
                  "table %u is prepared as \"%s\", which is table %u's", now->oid,
                  data->tables[i].name, i + 1);
    }
    sim_check(was == NULL || table->exists, "table %u is to be altered, and is not there",
              now->oid);
    // Another table took its name, as far as the stream told. Its next row brings the name back.
    bool is_told = is_told_by_source(at, now);
    table->is_aside = !is_told && (table->is_aside || !str_is(now->name, table->name));
    if (table->exists) {
        convert_rows(table, now);
    }
    set_columns(table, now);
}

void target_clear(TargetData *data, const Relation *relation)
{
    TargetTable *table = &data->tables[target_table(relation)];
    sim_check(target_fits(table, relation), "a table of another shape is cleared");
    memset(table->rows, 0, sizeof(table->rows));
    table->is_begun = false;
    table->is_stale = false;
    table->aside = (ChangeSet){0};
    table->copy_lsn = LSN_NONE;
    table->copy_rows = 0;
}

// ---------------------------------------------------------------------------------------------
// Which change comes next
// ---------------------------------------------------------------------------------------------

// A snapshot behind the change before @from and not behind @to found no rows: what was skipped,
// from the beginning on, is in its copy.
static bool is_in_empty_copy(const WorldTable *source, uint32_t from, uint32_t to)
{
    Lsn most = world_position(&world.changes[source->changes[to]]).lsn;
    Lsn least =
        from == 0 ? LSN_NONE : world_position(&world.changes[source->changes[from - 1]]).lsn;
    for (uint32_t i = 0; i < world.snapshot_count; i++) {
        const WorldSnapshot *snapshot = &world.snapshots[i];
        if (snapshot->lsn > least && snapshot->lsn <= most &&
            snapshot->rows[source - world.tables] == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t find_change(const WorldTable *source, Position position)
{
    for (uint32_t i = 0; i < source->change_count; i++) {
        const WorldChange *change = &world.changes[source->changes[i]];
        if (change->is_published && position_compare(world_position(change), position) == 0) {
            return i;
        }
    }
    sim_fail("a change arrived that nobody made");
}

// Where its changes begin, as far as it is stored.
static Lsn begin_of(const Target *target, uint32_t at)
{
    return world.copies ? target->ready_at[at] : target->store.first.lsn;
}

static bool has(const ChangeSet *set, uint32_t at)
{
    return (set->bits[at / 64] >> (at % 64) & 1) != 0;
}

static void put(ChangeSet *set, uint32_t at)
{
    set->bits[at / 64] |= (uint64_t)1 << (at % 64);
}

static void take(ChangeSet *set, uint32_t at)
{
    set->bits[at / 64] &= ~((uint64_t)1 << (at % 64));
}

// It is a dead letter, or was thrown away as one.
static bool is_aside(const Target *target, const WorldTable *source, uint32_t at)
{
    return target->refusals.has_letters && world.changes[source->changes[at]].is_published &&
           (has(&target->refusals.dropped[source - world.tables], at) ||
            letters_have(target, world_position(&world.changes[source->changes[at]])));
}

// That are to come to @target.
static bool has_published(const Target *target, const WorldTable *source, uint32_t from,
                          uint32_t to)
{
    bool has = false;
    for (uint32_t i = from; i < to; i++) {
        has =
            has || (world.changes[source->changes[i]].is_published && !is_aside(target, source, i));
    }
    return has;
}

static bool has_unpublished(const WorldTable *source, uint32_t from, uint32_t to)
{
    bool has = false;
    for (uint32_t i = from; i < to; i++) {
        has = has || !world.changes[source->changes[i]].is_published;
    }
    return has;
}

// Changes come that are not the next. What happened while the table was not published is missing
// until it is copied again.
static void skip(const Target *target, TargetTable *table, const WorldTable *source, uint32_t found)
{
    uint32_t from = found;
    while (from > 0 && is_aside(target, source, from - 1)) {
        from--;
    }
    uint32_t last = from;
    while (from > 0 && !has_published(target, source, from - 1, from)) {
        from--;
    }
    bool is_new = world.copies && !table->is_begun;
    bool is_fine = (is_new && is_in_empty_copy(source, from, found)) ||
                   !has_published(target, source, table->next, found);
    sim_check(is_fine, "a change of table %u before its %u. is lost (%s)", source->oid, found + 1,
              target_kind_name(target->kind));
    table->is_stale =
        table->is_stale || (world.copies && has_unpublished(source, table->next, found) &&
                            !(is_new && is_in_empty_copy(source, last, found)));
    for (uint32_t i = table->next; i < found; i++) {
        if (is_aside(target, source, i)) {
            put(&table->aside, i);
        }
    }
}

// What was set aside before the copy is in it.
static void begin_changes(const Target *target, TargetTable *table, const WorldTable *source)
{
    uint32_t first = world_first(source, begin_of(target, (uint32_t)(source - world.tables)));
    table->next = table->is_begun ? table->next : first;
    for (uint32_t i = 0; target->refusals.has_letters && i < first; i++) {
        take(&table->aside, i);
    }
}

static uint32_t keys_of(const WorldChange *change)
{
    return change->op == CHANGE_TRUNCATE ? (1u << KEYS) - 1
                                         : (1u << change->old_key) | (1u << change->new_key);
}

// What came before it for its rows is there. A truncate makes all of that void, and where changes
// stand alone one that says all of it; one that undoes nothing of it need not wait.
static void check_order(const Target *target, TargetTable *table, const WorldTable *source,
                        uint32_t at)
{
    const WorldChange *change = &world.changes[source->changes[at]];
    const ChangeSet *dropped = &target->refusals.dropped[source - world.tables];
    for (uint32_t i = 0; target->refusals.has_letters && i < at; i++) {
        if (!has(&table->aside, i)) {
            continue;
        }
        if (change->op == CHANGE_TRUNCATE) {
            take(&table->aside, i);
            continue;
        }
        uint32_t shared = keys_of(change) & keys_of(&world.changes[source->changes[i]]);
        const WorldChange *was = &world.changes[source->changes[i]];
        if (shared != 0 && target->refusals.stand_alone && world_is_covered(source, was, change)) {
            take(&table->aside, i);
            sim_seen.voided++;
            continue;
        }
        if (shared != 0 && target->refusals.stand_alone && world_is_apart(source, was, change)) {
            sim_seen.overtook++;
            continue;
        }
        sim_check(shared == 0 || has(dropped, i), "change %u of table %u overtakes its %u.", at + 1,
                  source->oid, i + 1);
    }
}

static const WorldChange *expect(const Target *target, TargetTable *table, const WorldTable *source,
                                 Position position)
{
    begin_changes(target, table, source);
    uint32_t found = find_change(source, position);
    const WorldChange *change = &world.changes[source->changes[found]];
    if (has(&table->aside, found)) {
        take(&table->aside, found);
        sim_seen.retried++;
    } else if (found < table->next) {
        char text[POSITION_TEXT_SIZE];
        position_format(position, text);
        sim_check(target->kind == TARGET_AT_LEAST_ONCE, "%s of table %u is applied twice (%s)",
                  text, source->oid, target_kind_name(target->kind));
        sim_seen.redelivered++;
        table->next = found + 1;
    } else {
        if (found > table->next) {
            skip(target, table, source, found);
        }
        table->next = found + 1;
    }
    table->is_begun = true;
    check_order(target, table, source, found);
    return change;
}

// ---------------------------------------------------------------------------------------------
// Changes
// ---------------------------------------------------------------------------------------------

static Row *find_row(TargetTable *table, const Value *values)
{
    uint32_t key = parse(values[0]);
    sim_check(key >= 1 && key <= KEYS, "a key arrived that nobody wrote");
    return &table->rows[key - 1];
}

static void set_row(Row *row, const Relation *relation, const Value *values)
{
    row->is_there = true;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (values[i].state != VALUE_UNCHANGED) {
            row->values[relation->columns[i].attnum] = parse(values[i]);
        }
    }
}

static void insert(TargetTable *table, const Change *change, bool is_strict)
{
    Row *row = find_row(table, change->new_row);
    sim_check(!row->is_there || !is_strict, "a row is inserted that is there");
    memset(row, 0, sizeof(*row));
    set_row(row, change->relation, change->new_row);
}

static void update(TargetTable *table, const Change *change, bool is_strict)
{
    Row *row = find_row(table, change->old_row != NULL ? change->old_row : change->new_row);
    Row *now = find_row(table, change->new_row);
    sim_check(row->is_there || !is_strict, "a row is updated that is not there");
    if (row != now) {
        sim_check(!now->is_there || !is_strict, "a row gets a key that is there");
        *now = *row;
        memset(row, 0, sizeof(*row));
    }
    set_row(now, change->relation, change->new_row);
}

static void delete (TargetTable *table, const Change *change, bool is_strict)
{
    Row *row = find_row(table, change->old_row);
    sim_check(row->is_there || !is_strict, "a row is deleted that is not there");
    memset(row, 0, sizeof(*row));
}

// A row that a change was thrown away of is wrong, and so is what it becomes. That this is noted
// before the commit makes it no weaker than it has to be by much.
static bool is_tainted(const Target *target, const WorldChange *change)
{
    uint8_t *tainted = &targets[target - targets].refusals.tainted[change->table];
    if (!target->refusals.has_letters || (*tainted & keys_of(change)) == 0) {
        return false;
    }
    if (change->op == CHANGE_UPDATE) {
        *tainted = (uint8_t)(*tainted | keys_of(change));
    }
    return true;
}

void target_drop(Target *target, uint32_t oid, Position position)
{
    const WorldTable *source = world_find(oid);
    uint32_t at = find_change(source, position);
    uint32_t table = (uint32_t)(source - world.tables);
    uint32_t keys = keys_of(&world.changes[source->changes[at]]);
    put(&target->refusals.dropped[table], at);
    target->refusals.tainted[table] = (uint8_t)(target->refusals.tainted[table] | keys);
}

static uint32_t mix(uint32_t a, uint32_t b)
{
    uint64_t mixed = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ (mixed >> 29)) * 0xbf58476d1ce4e5b9ULL;
    return (uint32_t)(mixed >> 32);
}

static bool is_row(const Change *change)
{
    return change->op == CHANGE_INSERT || change->op == CHANGE_UPDATE ||
           change->op == CHANGE_DELETE;
}

static const WorldChange *world_change(const Change *change)
{
    const WorldTable *source = world_find(change->relation->oid);
    return &world.changes[source->changes[find_change(source, change_position(change))]];
}

// A later change of the same row comes with it.
static bool is_folded(const Change *changes, size_t count)
{
    uint32_t keys = keys_of(world_change(&changes[0]));
    for (size_t i = 1; i < count; i++) {
        bool is_same = changes[i].relation != NULL && changes[i].op != CHANGE_SCHEMA &&
                       changes[i].relation->oid == changes[0].relation->oid;
        if (is_same && (keys_of(world_change(&changes[i])) & keys) != 0) {
            return true;
        }
    }
    return false;
}

bool target_refuses(const Target *target, const Change *changes, size_t count)
{
    const Refusals *refusals = &target->refusals;
    for (size_t i = 0; refusals->permille > 0 && i < count; i++) {
        if (!is_row(&changes[i])) {
            continue;
        }
        Position position = change_position(&changes[i]);
        uint32_t number =
            mix((uint32_t)position.lsn * 1000 + (uint32_t)position.ordinal, refusals->salt);
        if (number % 1000 < refusals->permille &&
            !(refusals->folds && is_folded(&changes[i], count - i))) {
            return true;
        }
    }
    return false;
}

bool target_is_shy_of(const Target *target, Lsn first, Lsn last)
{
    return target->refusals.is_shy && target->refusals.permille > 0 && first != LSN_NONE &&
           first != last && mix((uint32_t)last, target->refusals.salt) % 4 == 0;
}

static void apply_row(const Target *target, TargetData *data, const Change *change)
{
    const Relation *relation = change->relation;
    WorldTable *source = world_find(relation->oid);
    TargetTable *table = &data->tables[source - world.tables];
    // What comes again at least once does so without the events of its shape.
    sim_check(target->kind == TARGET_AT_LEAST_ONCE || target_fits(table, relation),
              "a change does not fit the shape of table %u", relation->oid);
    const WorldChange *expected = expect(target, table, source, change_position(change));
    sim_check(expected->op == change->op, "a change became another");
    data->last = position_max(data->last, change_position(change));
    if (!target_has_tables(target)) {
        return;
    }
    bool is_strict = !table->is_stale && world.copies && !is_tainted(target, expected) &&
                     !target->refusals.stand_alone;
    if (change->op == CHANGE_INSERT) {
        insert(table, change, is_strict);
    } else if (change->op == CHANGE_UPDATE) {
        update(table, change, is_strict);
    } else if (change->op == CHANGE_DELETE) {
        delete (table, change, is_strict);
    } else {
        memset(table->rows, 0, sizeof(table->rows));
    }
}

static void begin_copy(TargetTable *table, const WorldTable *source, Lsn lsn)
{
    table->is_begun = true;
    table->is_stale = false;
    table->next = world_first(source, lsn);
    table->aside = (ChangeSet){0};
    table->copy_lsn = lsn;
    table->copy_rows = 0;
}

static void apply_read(const Target *target, TargetData *data, const Change *change)
{
    const WorldTable *source = world_find(change->relation->oid);
    TargetTable *table = &data->tables[source - world.tables];
    Lsn lsn = change->transaction->commit_lsn;
    sim_check(target_fits(table, change->relation), "a row does not fit the shape of table %u",
              change->relation->oid);
    if (target_has_tables(target) && table->copy_rows == 0) {
        begin_copy(table, source, lsn);
    }
    bool is_again = table->is_told && table->copy_rows == 0;
    sim_check(!is_again, "table %u is copied again, and the rows told before are not void",
              change->relation->oid);
    sim_check(table->copy_lsn == lsn, "two copies of table %u are mixed", change->relation->oid);
    table->copy_rows++;
    if (target_has_tables(target)) {
        insert(table, change, true);
    } else {
        table->is_told = true;
    }
}

static void apply_void(const Target *target, TargetData *data, const Change *change)
{
    TargetTable *table = &data->tables[target_table(change->relation)];
    sim_check(!target_has_tables(target), "rows of a table are void by an event");
    sim_check(table->copy_lsn == change->transaction->commit_lsn && table->copy_rows == 0,
              "the rows of table %u are void in the middle of its copy", change->relation->oid);
    table->is_told = false;
}

static void apply_message(const Target *target, TargetData *data, const Change *change)
{
    Position position = change_position(change);
    uint32_t at = 0;
    while (at < world.message_count &&
           position_compare(world_position(&world.changes[world.messages[at]]), position) != 0) {
        at++;
    }
    sim_check(at < world.message_count, "a message arrived that nobody sent");
    sim_check(at <= data->next_message, "a message is lost");
    sim_check(at == data->next_message || target->kind == TARGET_AT_LEAST_ONCE,
              "a message is delivered twice");
    data->next_message = at + 1;
    data->last = position_max(data->last, position);
}

static void trace_change(const Target *target, const Change *change)
{
    char text[POSITION_TEXT_SIZE];
    char row[100] = "";
    position_format(change_position(change), text);
    for (uint16_t i = 0; change->new_row != NULL && i < change->relation->column_count; i++) {
        const Value *value = &change->new_row[i];
        size_t len = strlen(row);
        (void)snprintf(row + len, sizeof(row) - len, " %.*s",
                       value->state == VALUE_TEXT ? (int)value->len : 1,
                       value->state == VALUE_TEXT   ? value->ptr
                       : value->state == VALUE_NULL ? "-"
                                                    : "=");
    }
    sim_trace("  %c %s %s of table %u%s%s", (char)('a' + (target - targets)),
              change_op_name(change->op), text,
              change->relation == NULL ? 0 : change->relation->oid, row[0] == '\0' ? "" : ":", row);
}

void target_apply(const Target *target, TargetData *data, const Change *change)
{
    sim_seen.changes++;
    if (sim_tracing) {
        trace_change(target, change);
    }
    if (change->op == CHANGE_MESSAGE) {
        apply_message(target, data, change);
    } else if (change->op == CHANGE_READ) {
        apply_read(target, data, change);
    } else if (change->op == CHANGE_SCHEMA) {
        sim_check(!target_has_tables(target), "a target with tables is told a shape as an event");
        TargetTable *table = &data->tables[target_table(change->relation)];
        set_columns(table, change->relation);
        if (change->ordinal == 0) {
            begin_copy(table, world_find(change->relation->oid), change->transaction->commit_lsn);
        }
    } else if (change->op == CHANGE_TRUNCATE && change->ordinal == 0) {
        apply_void(target, data, change);
    } else {
        data->tables[target_table(change->relation)].is_told = !target_has_tables(target);
        apply_row(target, data, change);
    }
}

// ---------------------------------------------------------------------------------------------
// Checkpoints
// ---------------------------------------------------------------------------------------------

static void check_position(Target *target, const TargetData *data, Str text)
{
    Store *store = &target->store;
    Position position;
    sim_check(position_parse(text, &position), "a damaged position is stored");
    sim_check(position.ordinal == 0 || target->refusals.is_narrow,
              "a part of a transaction is committed");
    sim_check(!store->has_position || position_compare(position, store->position) >= 0,
              "the checkpoint goes back");
    sim_check(position.lsn <= world.head, "a position is stored that is not there yet");
    if (!store->has_position) {
        store->first = position;
        store->has_position = true;
    }
    store->position = position;
    sim_check(target->kind == TARGET_AT_LEAST_ONCE || position_compare(data->last, position) <= 0,
              "a position is stored with changes behind it");
}

static bool next_field(Str *rest, Str *ret)
{
    return str_split(rest, '\t', ret);
}

static void check_ready(const Target *target, const TargetTable *table, uint32_t at, Lsn lsn)
{
    if (lsn == LSN_NONE) {
        sim_check(!world.copies, "table %u is ready and was never copied", at + 1);
        return;
    }
    sim_check(lsn >= target->ready_at[at], "the copy of table %u goes back", at + 1);
    const WorldSnapshot *snapshot = world_snapshot_at(lsn);
    sim_check(snapshot != NULL, "table %u is ready at no snapshot", at + 1);
    sim_check(snapshot->rows[at] == table->copy_rows &&
                  (table->copy_lsn == lsn || table->copy_rows == 0),
              "table %u is ready, but %u of its %u rows are there", at + 1, table->copy_rows,
              snapshot->rows[at]);
    sim_seen.copies++;
}

static void check_table(Target *target, const TargetData *data, uint32_t oid, Str value)
{
    uint32_t at = (uint32_t)(world_find(oid) - world.tables);
    Str line;
    Str field;
    Str state = {0};
    Lsn lsn = LSN_NONE;
    bool valid = str_split(&value, '\n', &line) && next_field(&line, &field) &&
                 next_field(&line, &state) && next_field(&line, &field) && lsn_parse(field, &lsn);
    sim_check(valid, "a damaged table is stored");
    bool is_ready = str_is(state, "ready");
    sim_check(is_ready || str_is(state, "pending") || str_is(state, "copying"),
              "a table is stored in no state");
    if (is_ready && (!target->is_ready[at] || target->ready_at[at] != lsn)) {
        check_ready(target, &data->tables[at], at, lsn);
        target->ready_at[at] = lsn;
    }
    target->is_ready[at] = is_ready;
}

static void store_entry(Store *store, const CheckpointEntry *entry)
{
    sim_check(entry->value.ptr != NULL, "an entry is removed");
    assert(entry->key.len < sizeof(store->entries[0].key));
    assert(entry->value.len <= ENTRY_SIZE);
    uint32_t at = 0;
    while (at < store->count && !str_is(entry->key, store->entries[at].key)) {
        at++;
    }
    assert(at < ENTRIES);
    store->count = at == store->count ? at + 1 : store->count;
    Entry *to = &store->entries[at];
    (void)snprintf(to->key, sizeof(to->key), "%" STR_FMT, STR_ARG(entry->key));
    memcpy(to->value, entry->value.ptr, entry->value.len);
    to->len = (uint16_t)entry->value.len;
}

static void check_commit(const Target *target);

void target_store(Target *target, const TargetData *data, const Checkpoint *changed)
{
    bool has_position = false;
    for (size_t i = 0; i < changed->count; i++) {
        const CheckpointEntry *entry = &changed->entries[i];
        uint64_t oid;
        if (str_is(entry->key, "position")) {
            has_position = true;
            check_position(target, data, entry->value);
        } else if (str_starts_with(entry->key, STR("table:"))) {
            Str digits = {entry->key.ptr + 6, entry->key.len - 6};
            sim_check(str_to_uint64(digits, &oid), "a table without a number is stored");
            check_table(target, data, (uint32_t)oid, entry->value);
        }
        store_entry(&target->store, entry);
        sim_trace("  %c stores %" STR_FMT " %.30s", (char)('a' + (target - targets)),
                  STR_ARG(entry->key), entry->value.ptr);
    }
    sim_check(has_position || target->kind == TARGET_AT_LEAST_ONCE || !target->store.has_position ||
                  position_compare(data->last, target->store.position) <= 0,
              "changes are committed without their position");
    sim_seen.commits++;
    check_commit(target);
}

void target_load(const Target *target, Checkpoint *ret)
{
    for (uint32_t i = 0; i < target->store.count; i++) {
        const Entry *entry = &target->store.entries[i];
        checkpoint_set(ret, str_from(entry->key), (Str){entry->value, entry->len});
    }
}

// ---------------------------------------------------------------------------------------------
// Nothing is lost
// ---------------------------------------------------------------------------------------------

static bool is_kept(const Target *target, const WorldTable *source, uint32_t at)
{
    return target->refusals.has_letters && world.changes[source->changes[at]].is_published &&
           (has(&target->refusals.dropped[source - world.tables], at) ||
            letters_keep(target, world_position(&world.changes[source->changes[at]])));
}

// The first of its changes that the target does not have, counted by what is stored with it.
static uint32_t next_of(const Target *target, uint32_t at)
{
    const WorldTable *source = &world.tables[at];
    const TargetTable *table = &target->data.tables[at];
    uint32_t next = world_first(source, begin_of(target, at));
    if (table->is_begun && table->next > next) {
        next = table->next;
    }
    while (next < source->change_count &&
           (!world.changes[source->changes[next]].is_published || is_kept(target, source, next))) {
        next++;
    }
    return next;
}

// A target begins where its first position says.
uint32_t target_next_message(const Target *target, const TargetData *data)
{
    uint32_t at = data->next_message;
    while (at < world.message_count &&
           position_compare(world_position(&world.changes[world.messages[at]]),
                            target->store.first) <= 0) {
        at++;
    }
    return at;
}

static uint32_t messages_before(Lsn lsn)
{
    uint32_t count = 0;
    while (count < world.message_count &&
           world_position(&world.changes[world.messages[count]]).lsn < lsn) {
        count++;
    }
    return count;
}

static bool is_listed(const Target *target, int64_t id)
{
    for (uint32_t i = 0; i < target->store.count; i++) {
        const Entry *entry = &target->store.entries[i];
        Str ids = {entry->value, entry->len};
        Str item;
        while (strcmp(entry->key, "dead") == 0 && str_split(&ids, ',', &item)) {
            int64_t listed;
            if (str_to_int64(item, &listed) && listed == id) {
                return true;
            }
        }
    }
    return false;
}

// Each change is in the target, or a letter, and never both: unless what was stored says so.
static void check_letters(const Target *target)
{
    uint32_t cursor = 0;
    for (SavedLetter letter; letters_next(target, &cursor, &letter);) {
        const WorldTable *source = world_find(letter.oid);
        const TargetTable *table = &target->data.tables[source - world.tables];
        uint32_t at = find_change(source, letter.position);
        Lsn begin = begin_of(target, (uint32_t)(source - world.tables));
        bool is_old = at < world_first(source, MAX(begin, table->copy_lsn)); // than the copy
        bool is_there = table->is_begun && at < table->next && !has(&table->aside, at) && !is_old;
        sim_check(!is_there || is_listed(target, letter.id),
                  "letter %" PRId64 " is kept, and its change is there", letter.id);
    }
}

static void check_aside(const Target *target, uint32_t at)
{
    const WorldTable *source = &world.tables[at];
    const TargetTable *table = &target->data.tables[at];
    for (uint32_t i = world_first(source, begin_of(target, at)); i < table->next; i++) {
        sim_check(!has(&table->aside, i) || is_kept(target, source, i),
                  "change %u of table %u is neither there nor a letter", i + 1, source->oid);
    }
    bool counts = target->is_ready[at] || !world.copies;
    sim_check(!counts || table->is_stale || !target->store.has_position ||
                  next_of(target, at) >= world_first(source, target->store.position.lsn),
              "a position is stored, and not all letters of table %u before it", source->oid);
}

static void check_commit(const Target *target)
{
    if (target->refusals.has_letters) {
        letters_check_mark(target);
        check_letters(target);
        for (uint32_t at = 0; at < world.table_count; at++) {
            check_aside(target, at);
        }
    }
}

static void check_confirmed(uint32_t i, Position position)
{
    const Target *target = &targets[i];
    sim_check(target->store.has_position && position_compare(target->store.position, position) >= 0,
              LSN_FMT " is confirmed, and route %u has it not", LSN_ARG(position.lsn), i);
    sim_check(target_next_message(target, &target->data) >= messages_before(position.lsn),
              "a message is confirmed that is not delivered");
    for (uint32_t at = 0; at < world.table_count; at++) {
        bool counts = target->is_ready[at] || !world.copies;
        sim_check(!counts || target->data.tables[at].is_stale ||
                      next_of(target, at) >= world_first(&world.tables[at], position.lsn),
                  LSN_FMT " is confirmed, and route %u has not all of table %u",
                  LSN_ARG(position.lsn), i, at + 1);
    }
}

// What is behind a buffer is asked for when the buffer is opened again: it must not be more.
void targets_check_confirmed(Position position)
{
    for (uint32_t i = 0; !world.has_buffer && i < target_count; i++) {
        check_confirmed(i, position);
    }
}

void targets_check_passed(Str name, Position position)
{
    uint32_t i = (uint32_t)(name.ptr[0] - 'a');
    if (targets[i].store.has_position) { // otherwise it begins there
        check_confirmed(i, position);
    }
}

static const char *missing_of_table(const Target *target, uint32_t at)
{
    if (world.copies && !target->is_ready[at]) {
        return "is not copied";
    }
    if (target->data.tables[at].is_stale) {
        return "is not copied again";
    }
    return next_of(target, at) < world.tables[at].change_count ? "has not all changes" : NULL;
}

static const char *missing_of(uint32_t route)
{
    static char why[80];
    const Target *target = &targets[route];
    Lsn last = world.txs[world.tx_count - 1].end_lsn;
    const char *what = NULL;
    if (!target->store.has_position || target->store.position.lsn < last) {
        what = "its position is not stored";
    } else if (target_next_message(target, &target->data) < world.message_count) {
        what = "a message is not delivered";
    } else if (target->refusals.has_letters && letters_are_left(target)) {
        what = "dead letters are left";
    }
    for (uint32_t at = 0; what == NULL && at < world.table_count; at++) {
        const char *missing = world_wants(&world.tables[at]) ? missing_of_table(target, at) : NULL;
        if (missing != NULL) {
            (void)snprintf(why, sizeof(why), "route %u: table %u %s", route, at + 1, missing);
            return why;
        }
    }
    if (what != NULL) {
        (void)snprintf(why, sizeof(why), "route %u: %s", route, what);
    }
    return what == NULL ? NULL : why;
}

bool targets_are_complete(const char **ret_why)
{
    for (uint32_t i = 0; i < target_count; i++) {
        *ret_why = missing_of(i);
        if (*ret_why != NULL) {
            return false;
        }
    }
    return true;
}

bool targets_wait_for_rows(void)
{
    for (uint32_t i = 0; i < target_count; i++) {
        for (uint32_t at = 0; at < world.table_count; at++) {
            if (world_wants(&world.tables[at]) && targets[i].data.tables[at].is_aside) {
                return true;
            }
        }
    }
    return false;
}

static void compare_table(const TargetTable *table, const WorldTable *source, uint8_t tainted)
{
    const Relation *relation = world_relation(source, 0);
    sim_check(target_fits(table, relation), "table %u has another shape at the target",
              source->oid);
    for (uint32_t key = 0; key < KEYS; key++) {
        if ((tainted & (1u << key)) != 0) {
            continue;
        }
        const Row *want = &source->rows[key];
        const Row *have = &table->rows[key];
        sim_check(want->is_there == have->is_there, "row %u of table %u is %s", key + 1,
                  source->oid, want->is_there ? "missing" : "left over");
        for (uint16_t i = 0; want->is_there && i < relation->column_count; i++) {
            // By name, as a reader would: what the target takes for c2 may be a later c2 by now.
            uint32_t is = have->values[table->attnums[i]];
            uint32_t should = want->values[relation->columns[i].attnum];
            sim_check(is == should, "row %u of table %u has %u in column %u, not %u", key + 1,
                      source->oid, is, i + 1u, should);
        }
    }
}

void targets_compare(void)
{
    for (uint32_t i = 0; i < target_count; i++) {
        for (uint32_t at = 0; at < world.table_count; at++) {
            if (target_has_tables(&targets[i]) && world.copies && world_wants(&world.tables[at])) {
                uint8_t tainted = targets[i].refusals.tainted[at];
                compare_table(&targets[i].data.tables[at], &world.tables[at],
                              targets[i].refusals.has_letters ? tainted : 0);
            }
        }
    }
}
