// What hub.c, which makes models, shares with hub_system.c, which reads systems, and hub_mixer.c,
// which reads their rules.
#pragma once

#include "config/config_file.h"
#include "model/hub.h"

/** The name of a system and its keys, which join @hub, where there is room for one more. What @file
 *  takes from its arena lives as long as the hub. */
MUST_CHECK Status hub_add_system(Hub *hub, const ConfigFile *file, const YamlPair *named);

/** Where the rules of a system come from. */
typedef struct MixerSource {
    const Hub *hub;
    const ConfigFile *file;
    const HubSystem *system;
} MixerSource;

/** The rules of `receive_mixer` or `push_mixer`. */
MUST_CHECK Status hub_read_receive(const MixerSource *source, const YamlPair *mixer,
                                   HubSystem *into);
MUST_CHECK Status hub_read_push(const MixerSource *source, const YamlPair *mixer, HubSystem *into);
