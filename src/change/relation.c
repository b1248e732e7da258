#include "change/relation.h"

#include <assert.h>

const RelationWords *relation_words(uint32_t oid, Str schema)
{
    static const RelationWords table = {"table", "a row"};
    static const RelationWords model = {"model", "an object"};
    static const RelationWords system = {"system", "an event"};
    if (schema.len > 0) {
        return &table;
    }
    return oid >= RELATION_OID_FIRST ? &model : &system;
}

Str relation_title(Str schema, Str name, Arena *arena)
{
    return str_from(arena_printf(arena, "%" STR_FMT "%s%" STR_FMT, STR_ARG(schema),
                                 schema.len > 0 ? "." : "", STR_ARG(name)));
}

int relation_find_column(const Relation *relation, Str name)
{
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (str_equal(relation->columns[i].name, name)) {
            return i;
        }
    }
    return -1;
}

int relation_find_attnum(const Relation *relation, int16_t attnum)
{
    assert(attnum > 0);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        if (relation->columns[i].attnum == attnum) {
            return i;
        }
    }
    return -1;
}

bool relation_is_key(const Relation *relation, uint16_t column)
{
    for (uint16_t i = 0; i < relation->key_count; i++) {
        if (relation->key[i] == column) {
            return true;
        }
    }
    return false;
}

static bool column_equal(const Column *a, const Column *b)
{
    return str_equal(a->name, b->name) && a->attnum == b->attnum && a->type_oid == b->type_oid &&
           a->typmod == b->typmod && str_equal(a->type_name, b->type_name) &&
           a->base_type_oid == b->base_type_oid && a->base_typmod == b->base_typmod &&
           a->kind == b->kind && a->is_identity == b->is_identity && a->not_null == b->not_null;
}

bool relation_equal(const Relation *a, const Relation *b)
{
    if (a->oid != b->oid || !str_equal(a->schema, b->schema) || !str_equal(a->name, b->name) ||
        a->identity != b->identity || a->column_count != b->column_count ||
        a->key_count != b->key_count || a->key_is_primary != b->key_is_primary) {
        return false;
    }
    for (uint16_t i = 0; i < a->column_count; i++) {
        if (!column_equal(&a->columns[i], &b->columns[i])) {
            return false;
        }
    }
    return a->key_count == 0 || memcmp(a->key, b->key, a->key_count * sizeof(a->key[0])) == 0;
}

Relation *relation_copy(Arena *arena, const Relation *relation)
{
    Relation *copy = arena_alloc(arena, sizeof(*copy));
    *copy = *relation;
    copy->schema = str_copy(arena, relation->schema);
    copy->name = str_copy(arena, relation->name);
    copy->columns = ARENA_ARRAY(arena, Column, relation->column_count);
    for (uint16_t i = 0; i < relation->column_count; i++) {
        copy->columns[i] = relation->columns[i];
        copy->columns[i].name = str_copy(arena, relation->columns[i].name);
        copy->columns[i].type_name = str_copy(arena, relation->columns[i].type_name);
        copy->columns[i].base_type_name = str_copy(arena, relation->columns[i].base_type_name);
        if (relation->columns[i].missing_value.ptr != NULL) {
            copy->columns[i].missing_value = str_copy(arena, relation->columns[i].missing_value);
        }
    }
    copy->key = ARENA_ARRAY(arena, uint16_t, relation->key_count);
    if (relation->key_count > 0) {
        memcpy(copy->key, relation->key, relation->key_count * sizeof(copy->key[0]));
    }
    return copy;
}

// The column of @relation that @column of @own is, or -1.
static int find_same(const Relation *relation, const Relation *own, const Column *column)
{
    if (column->attnum > 0) {
        int found = relation_find_attnum(relation, column->attnum);
        if (found >= 0) {
            return found;
        }
    }
    int found = relation_find_column(relation, column->name);
    int16_t attnum = found < 0 ? 0 : relation->columns[found].attnum;
    // A column of the same name with another attnum was dropped and added again: not the same. Nor
    // is one that goes by its attnum to another column.
    bool other = attnum > 0 && (column->attnum > 0 || relation_find_attnum(own, attnum) >= 0);
    return other ? -1 : found;
}

// Messages list columns in the order of their attnums.
static bool attnums_are_in_order(const Relation *relation)
{
    int16_t last = 0;
    for (uint16_t i = 0; i < relation->column_count; i++) {
        int16_t attnum = relation->columns[i].attnum;
        if (attnum > 0 && attnum <= last) {
            return false;
        }
        last = attnum > 0 ? attnum : last;
    }
    return true;
}

// Whether those columns of @now that are added have other numbers than the next ones.
static bool skips_numbers(const Relation *was, const Relation *now)
{
    int16_t last = was->highest;
    for (uint16_t i = 0; i < now->column_count; i++) {
        const Column *column = &now->columns[i];
        if (column->attnum == 0 || find_same(was, now, column) >= 0) {
            continue;
        }
        if (last > 0 && column->attnum != last + 1) {
            return true;
        }
        last = column->attnum;
    }
    return false;
}

bool relation_is_uncertain(const Relation *was, const Relation *now)
{
    if (now->is_unclear || skips_numbers(was, now)) {
        return true;
    }
    bool moved = false;
    bool gone = false; // from the catalog: the message is older than that
    for (uint16_t i = 0; i < now->column_count; i++) {
        const Column *column = &now->columns[i];
        int found = relation_find_column(was, column->name);
        gone = gone || column->attnum == 0;
        int16_t had = found < 0 ? 0 : was->columns[found].attnum;
        if (column->attnum == 0 && had > 0 && relation_find_attnum(now, had) >= 0) {
            return true; // its number goes by another name
        }
        bool known = found >= 0 && column->attnum > 0 && was->columns[found].attnum > 0;
        if (!known || was->columns[found].attnum == column->attnum) {
            continue;
        }
        moved = true;
        if (relation_find_attnum(was, column->attnum) < 0) {
            return true;
        }
    }
    return (moved && gone) || !attnums_are_in_order(now);
}

bool relation_is_rewritten(const Relation *was, const Relation *now)
{
    bool is_known =
        was->file != 0 && now->file != 0 && was->definition != 0 && now->definition != 0;
    return is_known && was->file != now->file && was->definition != now->definition;
}

bool relation_has_gap(const Relation *was, const Relation *now)
{
    bool is_known = was->published != 0 && now->published != 0;
    bool is_told = now->published != PUBLISHED_NO_MORE;
    // One that has lost its key goes on with its inserts, without a gap in these.
    bool has_lost_key = (now->published & PUBLISHED_INSERTS) != 0 &&
                        (was->published & PUBLISHED_INSERTS) == 0 &&
                        was->published != PUBLISHED_NO_MORE;
    return is_known && is_told && !has_lost_key && was->published != now->published;
}

bool relation_is_same(const Relation *a, const Relation *b)
{
    return a->file == b->file && a->definition == b->definition && a->published == b->published &&
           a->highest == b->highest && a->is_unclear == b->is_unclear && relation_equal(a, b);
}

static bool same_type(const Column *a, const Column *b)
{
    return a->type_oid == b->type_oid && a->typmod == b->typmod &&
           a->base_type_oid == b->base_type_oid && a->base_typmod == b->base_typmod;
}

static bool same_key(const Relation *was, const Relation *now)
{
    if (was->key_count != now->key_count || was->identity != now->identity) {
        return false;
    }
    for (uint16_t i = 0; i < was->key_count; i++) {
        if (find_same(now, was, &was->columns[was->key[i]]) != now->key[i]) {
            return false;
        }
    }
    return true;
}

// Whether the new name of @rename is the present name of another column that is still to be
// renamed.
static bool is_taken(const SchemaChange *rename, const SchemaChange *pending, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (str_equal(pending[i].was->name, rename->now->name)) {
            return true;
        }
    }
    return false;
}

// a -> b and b -> c: the second one first. Where names go round in a circle no order helps.
static void order_renames(SchemaChange *renames, size_t count)
{
    for (size_t done = 0; done < count; done++) {
        size_t next = done;
        while (next < count && is_taken(&renames[next], &renames[done], count - done)) {
            next++;
        }
        if (next < count) {
            SchemaChange chosen = renames[next];
            memmove(&renames[done + 1], &renames[done], (next - done) * sizeof(*renames));
            renames[done] = chosen;
        }
    }
}

size_t relation_diff(const Relation *was, const Relation *now, Arena *arena, SchemaChange **ret)
{
    size_t most = (size_t)was->column_count * 3 + now->column_count + 2;
    SchemaChange *list = ARENA_ARRAY(arena, SchemaChange, most);
    size_t count = 0;
    if (!str_equal(was->schema, now->schema) || !str_equal(was->name, now->name)) {
        list[count++] = (SchemaChange){.edit = SCHEMA_RENAME_TABLE};
    }
    for (uint16_t i = 0; i < was->column_count; i++) {
        if (find_same(now, was, &was->columns[i]) < 0) {
            list[count++] = (SchemaChange){SCHEMA_DROP_COLUMN, &was->columns[i], NULL};
        }
    }
    size_t first_rename = count;
    for (uint16_t i = 0; i < was->column_count; i++) {
        int same = find_same(now, was, &was->columns[i]);
        if (same >= 0 && !str_equal(was->columns[i].name, now->columns[same].name)) {
            list[count++] =
                (SchemaChange){SCHEMA_RENAME_COLUMN, &was->columns[i], &now->columns[same]};
        }
    }
    order_renames(&list[first_rename], count - first_rename);
    for (uint16_t i = 0; i < was->column_count; i++) {
        int same = find_same(now, was, &was->columns[i]);
        if (same >= 0 && !same_type(&was->columns[i], &now->columns[same])) {
            list[count++] =
                (SchemaChange){SCHEMA_CHANGE_TYPE, &was->columns[i], &now->columns[same]};
        }
    }
    for (uint16_t i = 0; i < now->column_count; i++) {
        if (find_same(was, now, &now->columns[i]) < 0) {
            list[count++] = (SchemaChange){SCHEMA_ADD_COLUMN, NULL, &now->columns[i]};
        }
    }
    if (!same_key(was, now)) {
        list[count++] = (SchemaChange){.edit = SCHEMA_CHANGE_KEY};
    }
    assert(count <= most);
    *ret = list;
    return count;
}
