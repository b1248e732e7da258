// Changes as bytes, and back: what the disk buffer writes and reads.
//
// Two kinds of record, each by itself checked from its first to its last byte:
//
//   relation   everything a Relation has, under a small number
//   changes    any number of changes with their transactions; they name relations by number
//
// Numbers of relations hold within one segment of the buffer: there each relation is written
// before the first changes that need it, so that a reader may begin with any segment.
#pragma once

#include "base/buf.h"
#include "base/map.h"
#include "change/batch.h"

/** The writing side. Zero-initialised is one that has written nothing. */
typedef struct Packer {
    Map ids; // of relations written in this segment
    uint32_t count;
} Packer;

void packer_done(Packer *packer);

/** A new segment: no relation is written in it. */
void packer_begin_segment(Packer *packer);

/** Whether the relation's record was written in this segment. */
bool packer_has(const Packer *packer, const Relation *relation);

/**
 * Append the relation's record to @out, unless this segment has it: then it returns false.
 * Relations are told apart by pointer, so they must live as long as the segment.
 */
bool pack_relation(Packer *packer, const Relation *relation, Buf *out);

/**
 * Append one record of the first of @changes to @out: as many as fit into @budget bytes, and at
 * least one. Their relations have been written. Returns how many.
 */
size_t pack_changes(const Packer *packer, const Change *changes, size_t count, size_t budget,
                    Buf *out);

/** The reading side. Zero-initialised is one that has read nothing. */
typedef struct Unpacker {
    Arena arena;   // of relations
    Arena scratch; // of one record
    Map by_oid;    // the last version of each
    Map by_id;     // those of the segment
} Unpacker;

/** Also frees the relations it gave out. */
void unpacker_done(Unpacker *unpacker);

/** The next record is the first of a segment. */
void unpacker_begin_segment(Unpacker *unpacker);

/**
 * Take in a relation's record. A relation that is the same as the last one of its oid
 * (relation_is_same()) is the same pointer again, so that nobody takes a restart of the writer, or
 * a new segment, for a change of the table.
 */
MUST_CHECK Status unpack_relation(Unpacker *unpacker, Str record, Error *err);

/**
 * Add the changes of a record to @batch. Values are slices of @record, which has to live as long
 * as @batch; relations live as long as @unpacker. Damage is ERROR_FATAL; @batch may then have some
 * of the changes.
 */
MUST_CHECK Status unpack_changes(Unpacker *unpacker, Str record, Batch *batch, Error *err);

/**
 * For records that only this process reads: both sides know @relation, which is itself again there,
 * without a record of it. It has to live as long as both. One that is known is fine.
 */
void pack_share_relation(Packer *packer, Unpacker *unpacker, const Relation *relation);
