// A hub: canonical models, and systems that are kept in step through them. Read from a folder:
//
//   models/*.json    JSON Schemas; the title is the model's name
//   systems/*.yml    maps from a system's name to its keys and mixers
//
// docs/hub.md has all keys. A hub that is loaded is consistent: every rule names a model and its
// properties, no two rules have one target.
#pragma once

#include "base/map.h"
#include "config/option.h"
#include "model/mixer.h"
#include "model/path.h"

typedef enum SystemType { SYSTEM_POSTGRESQL, SYSTEM_STRIPE, SYSTEM_WEBHOOK } SystemType;

/** What there is to say about a type of system. */
typedef struct SystemKind {
    const char *name;
    const char *summary;
    const Option *options; // of HubSystem
} SystemKind;

/** By SystemType; closed by one without a name. */
extern const SystemKind system_kinds[];

typedef struct PostgresqlSettings {
    Str dsn;             // what libpq takes; empty: the parts below
    Str replication_dsn; // empty: the same
    Str hostname;
    int64_t port;
    Str database;
    Str username;
    Str password;
    int64_t max_open_connections;
    int64_t max_idle_connections; // at most max_open_connections
    int64_t max_connection_idle_ms;
    bool copy; // rows that are there at the first start are received
} PostgresqlSettings;

typedef struct StripeSettings {
    Str api_key;
    Str api_base; // "https://api.stripe.com", without a slash at the end
    bool use_cli_listener;
    StrList endpoint_secrets; // any of them; empty: that of the CLI
} StripeSettings;

typedef struct WebhookSettings {
    int scheme; // WebhookScheme
    StrList secrets;
    Str *keys; // what they stand for
    Str signature_header;
    Str id_header; // what tells a request from others; empty: `id` does, or nothing
    Str id;
    Str location; // of all objects; empty: location_path says it
    Str location_path;
    Str operation; // empty: each object is made or changed
    StrList deletes;
    Str object; // empty: the body
    // As they were read: count 0 where there is none.
    Path id_at;
    Path location_at;
    Path operation_at;
    Path object_at;
} WebhookSettings;

/** Rules of one location (what is received) or of one model (what is pushed). */
typedef struct MixerGroup {
    Str name; // the location, or the model's title
    MixerRule *rules;
    size_t count; // at least 1
} MixerGroup;

typedef struct HubSystem {
    Str name;
    SystemType type;
    int64_t rate_limit;       // objects a second; 0: any number
    int64_t rate_bucket_size; // objects at once; 0 if and only if there is no limit
    PostgresqlSettings postgresql;
    StripeSettings stripe;
    WebhookSettings webhook;
    MixerGroup *receive; // in the order of the file
    size_t receive_count;
    MixerGroup *push;
    size_t push_count;
    Str origin; // "systems/prod-db.yml:1"
} HubSystem;

/** Immutable, may be shared by threads. */
typedef struct Hub {
    Arena arena;
    Model *models; // in the order of their files' names
    size_t model_count;
    HubSystem *systems;
    size_t system_count;
    // For so long, what a system was told is known again when it comes back. 0: it never is.
    int64_t keep_duplicates_ms;
    Str listen; // "127.0.0.1:4000": where it is called over HTTP; empty: it does not say
    Str name;   // empty: its folder's
    Str state;  // directory for the state; empty: it does not say
    Map by_title;
} Hub;

/** A file of a hub, read. */
typedef struct HubFile {
    Str name; // for messages
    Str uri;  // of a model: by which others refer to it, "models/product.json"
    Str text;
} HubFile;

typedef struct HubFiles {
    HubFile *models;
    size_t model_count;
    HubFile *systems;
    size_t system_count;
    bool assert_formats;        // as SchemaOptions has it
    int64_t keep_duplicates_ms; // see Hub
    Str listen;
    Str name;
    Str state;
} HubFiles;

/** Whether @path, a folder or the weir.yml in it, is a hub: it has both folders, or the weir.yml
 * says where they are. One with pipelines is none. */
bool hub_is_at(Str path);

/**
 * Read the hub at @path, as hub_is_at() has it. ERROR_CONFIG names file and line, what is wrong and
 * what mends it; no message has a secret. Free with hub_free().
 */
MUST_CHECK Status hub_load(Str path, Hub **ret, Error *err);

/** The same from files that were read; nothing of them is kept. */
MUST_CHECK Status hub_compile(const HubFiles *files, Hub **ret, Error *err);

/** Accepts NULL. */
void hub_free(Hub *hub);

/** By title, or NULL. */
const Model *hub_find_model(const Hub *hub, Str title);

/** By name, or NULL. */
const HubSystem *hub_find_system(const Hub *hub, Str name);

/** What is made of changes at @location; NULL: nothing. */
const MixerGroup *hub_find_location(const HubSystem *system, Str location);

/** The same for a table of a SYSTEM_POSTGRESQL. */
const MixerGroup *hub_find_table(const HubSystem *system, Str schema, Str table);

/** Where objects of @model are pushed; NULL: nowhere. */
const MixerGroup *hub_find_push(const HubSystem *system, const Model *model);
