// Whose the state of a hub is. Hubs are named after their folders, and two folders may have one
// name: what one of them has received must never be pushed by the other.
//
// DIR/HUB.owner says in which folder the hub is, and has a fingerprint of its systems. It goes on
// from another folder if its systems are the same, and with other systems from the same folder.
#pragma once

#include "model/hub.h"

/** @path, a hub's folder or file, by a name that does not depend on how one came here: the folder,
 *  or the file where it is called otherwise than weir.yml. In @arena. */
const char *hub_place(Str path, Arena *arena);

/**
 * What is kept of the hub @name in the directory @state, made when it is missing, is that of @hub
 * at @place from now on. ERROR_CONFIG: it is another one's.
 */
MUST_CHECK Status hub_own(Str state, Str name, const char *place, const Hub *hub, Error *err);
