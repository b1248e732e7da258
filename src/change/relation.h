// What a table looks like at one moment of the stream. Immutable; every RELATION message that says
// something new makes a new one. Lives as long as the pipeline.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "change/types.h"

/** pg_class.relreplident: what an UPDATE or DELETE says about the old row. */
typedef enum ReplicaIdentity {
    IDENTITY_DEFAULT = 'd', // the primary key, when there is one
    IDENTITY_NOTHING = 'n',
    IDENTITY_FULL = 'f',
    IDENTITY_INDEX = 'i',
} ReplicaIdentity;

/** pg_type.typtype, and arrays told apart. */
typedef enum TypeKind {
    TYPE_KIND_BASE,
    TYPE_KIND_ARRAY,
    TYPE_KIND_ENUM,
    TYPE_KIND_COMPOSITE,
    TYPE_KIND_RANGE,
    TYPE_KIND_MULTIRANGE,
    TYPE_KIND_OTHER, // pseudo types, and types that are gone from the catalog
} TypeKind;

typedef struct Column {
    Str name;
    int16_t attnum;         // pg_attribute.attnum: survives a rename; 0 when it is not known
    uint32_t type_oid;      // as declared, which may be a domain
    int32_t typmod;         // -1: none
    Str type_name;          // format_type(): "character varying(30)", "shop.mood", "integer[]"
    uint32_t base_type_oid; // domains resolved; equal to type_oid otherwise
    int32_t base_typmod;
    Str base_type_name;
    TypeKind kind;    // of the base type
    TypeClass type;   // of the base type
    bool is_identity; // part of the replica identity: present in key-only old rows
    bool not_null;
    bool has_default; // has a DEFAULT (or identity) in the catalog: see missing_value
    // Rows written before an ALTER TABLE … ADD COLUMN … DEFAULT read this value, and no UPDATE ever
    // says so: pg_attribute.attmissingval as text. ptr NULL: none, such rows read NULL.
    Str missing_value;
} Column;

typedef struct Relation {
    uint32_t oid;
    Str schema;
    Str name;
    ReplicaIdentity identity;
    uint16_t column_count;
    Column *columns; // published columns in the order of the row images
    // Columns that name one row in the target, in key order: the replica identity's index columns;
    // with identity FULL or NOTHING the primary key, if all of it is published. 0: no key; then old
    // rows (identity FULL) name a row by all their columns, and without those only inserts work.
    uint16_t key_count;
    uint16_t *key;       // indexes into columns
    bool key_is_primary; // the key is the primary key
    // An ALTER TABLE that computes every row anew changes both, and nothing else does.
    uint32_t file; // pg_class.relfilenode; 0: not known, or of a partitioned table
    uint64_t
        definition; // digest of its columns' rows in pg_attribute, versions included; 0: not known
    // What makes it published: digest of the publication's entries for it and of their versions,
    // which are others whenever changes may have been left out. 0: not known.
    uint64_t published;
    // The highest attnum that was given by then, to whatever column: one that is added gets the
    // next. 0: not known. At least, when the catalogs were ahead of the message.
    int16_t highest;
    bool is_unclear; // which columns its are could not be told from the catalogs
} Relation;

/** In Relation.published: of the table only inserts and truncates are told. */
#define PUBLISHED_INSERTS (UINT64_C(1) << 63)
/** Relation.published of a table that is not published any more. Every digest is another number. */
#define PUBLISHED_NO_MORE UINT64_C(2)

/**
 * What a relation is to a user. Those of a hub's models, and of systems that post events, are no
 * tables, and have no schema.
 */
typedef struct RelationWords {
    const char *kind; // "table", "model", "system"
    const char *row;  // with its article: "a row", "an object", "an event"
} RelationWords;

/** The server keeps lower ones for itself: no table has them, and no model. */
#define RELATION_OID_FIRST 16384U

const RelationWords *relation_words(uint32_t oid, Str schema);

/** By what it is called: public.orders, product. Unquoted, in @arena. */
Str relation_title(Str schema, Str name, Arena *arena);

/** Index of the column of that name, or -1. */
int relation_find_column(const Relation *relation, Str name);

/** Index of the column with that attnum, or -1. */
int relation_find_attnum(const Relation *relation, int16_t attnum);

bool relation_is_key(const Relation *relation, uint16_t column);

/** Same table name, columns (name, attnum, types, not-null), identity and key. */
bool relation_equal(const Relation *a, const Relation *b);

/** A deep copy in @arena. */
Relation *relation_copy(Arena *arena, const Relation *relation);

/**
 * Whether it cannot be told which columns of @was those of @now are. A RELATION message has names
 * only, of the moment it was written; attnums come from the catalog, which may be ahead of it. So
 * when a name has another attnum than before, either its column was dropped and a new one has the
 * name (ADD b_new, DROP b, RENAME b_new TO b), or that is only going to happen in the stream. What
 * such a table has in the end can be read from the source, and from nowhere else.
 *
 * Nor can it when an added column does not have the next number. Columns have come and gone in
 * between, and a description from then may have had one of them in its place; or it was there
 * before and only not published, as a generated one is.
 */
bool relation_is_uncertain(const Relation *was, const Relation *now);

/**
 * Whether the rows were computed anew between @was and @now, also when the table looks the same
 * (ALTER COLUMN … TYPE with USING): no change tells their new values. A file alone is replaced by
 * VACUUM FULL, CLUSTER and TRUNCATE as well, a column's row alone by every other ALTER TABLE.
 */
bool relation_is_rewritten(const Relation *was, const Relation *now);

/**
 * Whether changes between @was and @now were not told: the table was not published for a while, or
 * not its updates and deletes.
 */
bool relation_has_gap(const Relation *was, const Relation *now);

/** relation_equal(), and nothing differs that the two functions above compare. */
bool relation_is_same(const Relation *a, const Relation *b);

typedef enum SchemaEdit {
    SCHEMA_RENAME_TABLE,  // schema or name
    SCHEMA_ADD_COLUMN,    // now
    SCHEMA_DROP_COLUMN,   // was
    SCHEMA_RENAME_COLUMN, // was, now: the same attnum under another name
    SCHEMA_CHANGE_TYPE,   // was, now (named as now: renames come first)
    SCHEMA_CHANGE_KEY,    // other key columns, or the replica identity
} SchemaEdit;

typedef struct SchemaChange {
    SchemaEdit edit;
    const Column *was;
    const Column *now;
} SchemaChange;

/**
 * What turns table @was into @now, in the order in which a target can do it: table rename, drops,
 * renames, type changes, additions, key. Columns are matched by attnum; a column whose attnum is
 * not known (0) by name. The array is in @arena. A rename comes when its new name is free; only
 * those that exchange names (a -> b, b -> a) need a temporary name at the target.
 */
size_t relation_diff(const Relation *was, const Relation *now, Arena *arena, SchemaChange **ret);
