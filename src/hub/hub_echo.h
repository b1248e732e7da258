// Echoes: what a system was told comes back from it. For systems that do not say where a change
// came from, as Postgres does by replication origins.
//
// Where the system says by which request of ours something came about, what that request said is no
// news, however late it comes back. All else is known by its contents.
//
// Of each object that is pushed to the system, the last value of each property is remembered,
// whether it was told or has told it. An object all of whose properties are what is remembered says
// nothing new. What counts as the same is in hub_same.h.
//
// Also remembered, and for ever: which id the system gave an object, by each other property that
// finds it somewhere. So who does not know the id yet changes the object, and makes no second one.
// And which ids are gone, as no id is given twice: who still has one means another object, or a new
// one. Both follow the log: what its reader has come by is what holds, also of what came from the
// system itself. What the system tells of an id that is gone was before that: it is late.
#pragma once

#include "hub/hub_memory.h"
#include "model/hub.h"

/** One system, as the hub sees it. Everything outlives it. */
typedef struct HubEcho {
    const Hub *hub;
    const HubSystem *system;
    HubRecall *recall;
} HubEcho;

/**
 * @object, received: *ret_is_echo, or it is what is known of it from hub_recall_save() on. What is
 * told of one whose delete was told is an echo, too.
 * @request: the key of the request by which it came about; empty: none is known. What that said is
 * taken out of @object, but for keys; in @arena.
 */
MUST_CHECK Status hub_echo_receive(const HubEcho *echo, Object *object, Str request, Arena *arena,
                                   bool *ret_is_echo, Error *err);

/**
 * @object is about to be pushed, or has just been: what of it is pushed is known from now on, and
 * the id, if it has one, by its other keys; of a delete, that it was asked for. Durable. @request:
 * the key of the request that says it; empty: it has none.
 */
MUST_CHECK Status hub_echo_push(const HubEcho *echo, const Object *object, Str request, Error *err);

/** All of @object has been pushed; one that was deleted is gone, and its other keys, which may come
 *  again, say no id any more. @at_s: by the system's clock, or a little later. Known from
 * hub_recall_save() on. */
MUST_CHECK Status hub_echo_pushed(const HubEcho *echo, const Object *object, int64_t at_s,
                                  Error *err);

/**
 * The reader of the log comes by @object, which the system itself said, made at @made_s by its
 * clock. *ret_is_over: something older may have been pushed over it since, or it is gone there:
 * then the log is right. Known from hub_recall_save() on.
 */
MUST_CHECK Status hub_echo_pass(const HubEcho *echo, const Object *object, int64_t made_s,
                                bool *ret_is_over, Error *err);

/** Whether all of what has the @id that @object may have was ever pushed. */
MUST_CHECK Status hub_echo_is_pushed(const HubEcho *echo, const Object *object, const JsonValue *id,
                                     bool *ret, Error *err);

/** The system has said that @object is gone, and the log has that further on. */
MUST_CHECK Status hub_echo_will_go(const HubEcho *echo, const Object *object, Arena *arena,
                                   bool *ret, Error *err);

/** Take ids out of @object that are gone, in @arena; *ret: there are some. */
MUST_CHECK Status hub_echo_drop_gone(const HubEcho *echo, Object *object, Arena *arena, bool *ret,
                                     Error *err);

/** Something that was said by its other keys is passed over, as @object will go. Known from
 *  hub_recall_save() on. */
void hub_echo_put_unheard(const HubEcho *echo, const Object *object, Arena *arena);

/** Whether there was such a thing, once. */
MUST_CHECK Status hub_echo_take_unheard(const HubEcho *echo, const Object *object, Arena *arena,
                                        bool *ret, Error *err);

/** The log is told of @object's keys at @lsn. Known from hub_recall_save() on. */
void hub_echo_tell(const HubEcho *echo, const Object *object, Lsn lsn, Arena *arena);

/** Whether it was told of them behind @since. */
MUST_CHECK Status hub_echo_is_told(const HubEcho *echo, const Object *object, Lsn since,
                                   Arena *arena, bool *ret, Error *err);

/** The log is told that @object is deleted. Known from hub_recall_save() on, until
 *  hub_echo_pass(). */
void hub_echo_tell_delete(const HubEcho *echo, const Object *object, Arena *arena);

/** Whether that was told of one that has one of @object's other keys. */
MUST_CHECK Status hub_echo_is_told_deleted(const HubEcho *echo, const Object *object, Arena *arena,
                                           bool *ret, Error *err);

/** The system has refused it: what it has is not known. Durable. */
MUST_CHECK Status hub_echo_refused(const HubEcho *echo, const Object *object, Error *err);

/** Give @object the ids that it lacks and that are known by its other keys, or by those that it had
 *  before, in @arena. */
MUST_CHECK Status hub_echo_complete(const HubEcho *echo, Object *object, Arena *arena, Error *err);

/** @property has @value in @object from now on; in @arena. */
void hub_echo_set(Object *object, int property, JsonValue value, Arena *arena);

/** Of which property @rule's search key is the value. */
int hub_echo_id(const MixerRule *rule);

/** Some system finds objects of @model by the property. */
bool hub_echo_is_key(const Hub *hub, const Model *model, int property);
