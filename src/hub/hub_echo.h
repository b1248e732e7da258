// Echoes: what a system was told comes back from it, and is known by its contents. For systems that
// do not say where a change came from, as Postgres does by replication origins.
//
// Of each object that is pushed to the system, the last value of each property is remembered,
// whether it was told or has told it. An object all of whose properties are what is remembered says
// nothing new. Values are compared whatever their types: 3 and "3" are alike, and so are null and
// what is empty.
//
// Also remembered, and for ever: which id the system gave an object, by each other property that
// finds it somewhere. So who does not know the id yet changes the object, and makes no second one.
#pragma once

#include "hub/hub_memory.h"
#include "model/hub.h"

/** One system, as the hub sees it. Everything outlives it. */
typedef struct HubEcho {
    const Hub *hub;
    const HubSystem *system;
    HubRecall *recall;
} HubEcho;

/** @object, received: *ret_is_echo, or it is what is known of it from hub_recall_save() on. */
MUST_CHECK Status hub_echo_receive(const HubEcho *echo, const Object *object, bool *ret_is_echo,
                                   Error *err);

/** @object is about to be pushed, or has just been: what of it is pushed is known from now on, and
 *  the id, if it has one, by its other keys. Durable. */
MUST_CHECK Status hub_echo_push(const HubEcho *echo, const Object *object, Error *err);

/** A delete was done: the other keys of @object, which may come again, say no id any more. Durable
 *  with the next hub_recall_save(). */
void hub_echo_deleted(const HubEcho *echo, const Object *object);

/** The system has refused it: what it has is not known. Durable. */
MUST_CHECK Status hub_echo_refused(const HubEcho *echo, const Object *object, Error *err);

/** Give @object the ids that it lacks and that are known by its other keys, in @arena. */
MUST_CHECK Status hub_echo_complete(const HubEcho *echo, Object *object, Arena *arena, Error *err);

/** @property has @value in @object from now on; in @arena. */
void hub_echo_set(Object *object, int property, JsonValue value, Arena *arena);

/** Of which property @rule's search key is the value. */
int hub_echo_id(const MixerRule *rule);

/** Some system finds objects of @model by the property. */
bool hub_echo_is_key(const Hub *hub, const Model *model, int property);
