// What the readers of configuration files share: mappings that have only the keys they may have,
// values in which ${…} is replaced, and complaints that name the place.
#pragma once

#include "config/option.h"
#include "config/yaml.h"

/** A file that is being read. */
typedef struct ConfigFile {
    Str name; // for messages
    Arena *arena;
    Error *err;
} ConfigFile;

/** ERROR_CONFIG `file:line: what "name"`. Returns STATUS_FAIL. */
Status config_complain(const ConfigFile *file, size_t line, const char *what, Str name);

/** "Did you mean …?" when one of @names (NULL-terminated) is near; otherwise what they are. Returns
 *  STATUS_FAIL. */
Status config_suggest(const ConfigFile *file, Str wrong, const char *const *names);

/** "weir.yml:12" */
Str config_origin(const ConfigFile *file, size_t line);

/** @what: in a message, "a pipeline". */
MUST_CHECK Status config_expect_mapping(const ConfigFile *file, const YamlNode *node,
                                        const char *what);

bool config_is_one_of(Str key, const char *const *names);

/** Every key of the mapping is one of @known (NULL-terminated). */
MUST_CHECK Status config_check_keys(const ConfigFile *file, const YamlNode *node,
                                    const char *const *known);

/** The text of a scalar, ${NAME}, ${NAME:-default} and ${file:PATH} replaced. */
MUST_CHECK Status config_expand(const ConfigFile *file, const YamlNode *scalar, Str *ret);

/** Whether config_expand() has something to replace in it: then what comes out may be a secret. */
bool config_is_replaced(const YamlNode *scalar);

/** The one value of @pair, which is not null, as config_expand() gives it. */
MUST_CHECK Status config_scalar(const ConfigFile *file, const YamlPair *pair, Str *ret);

/** The same as a setting. */
MUST_CHECK Status config_setting(const ConfigFile *file, const YamlPair *pair, Setting *ret);

/** Append the pairs of the mapping @node, but those with a key of @without (NULL-terminated).
 *  @settings has room for them. */
MUST_CHECK Status config_add_settings(const ConfigFile *file, const YamlNode *node,
                                      const char *const *without, Settings *settings);

/** @path as it is meant in @file: a relative one is relative to the file, wherever weir is run. The
 *  folder by its real name: what a state belongs to must not depend on how one came here. In
 *  @arena. */
Str config_beside(Str file, Str path, Arena *arena);

/** @name can stand in file names, slots and addresses: up to 100 letters, digits, _, - and . */
bool config_is_name(Str name);
bool config_is_name_char(char c);
