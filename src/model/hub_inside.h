// What hub.c, which makes models, shares with hub_system.c, which reads systems, hub_mixer.c, which
// reads their rules, and hub_load.c, which finds the files.
#pragma once

#include "config/config_file.h"
#include "model/hub.h"

/** Where a hub has its files, and how they are to be read. */
typedef struct HubPlaces {
    const char *models;
    const char *systems;
    bool assert_formats;
    int64_t keep_duplicates_ms;
    Str listen;
    Str name;
    Str state;
} HubPlaces;

/**
 * What the weir.yml @text in @folder says of it, in @file's arena, over what is the default.
 * *ret_is_hub: whether the folder is one without it; and then, whether it is one. That is also set
 * when what is said is refused.
 */
MUST_CHECK Status hub_read_places(const ConfigFile *file, Str text, const char *folder,
                                  HubPlaces *ret, bool *ret_is_hub);

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
