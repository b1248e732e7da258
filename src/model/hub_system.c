// A system's keys: settings by the table of its type, and its two mixers.
#include "io/webhook_signature.h"
#include "model/hub_inside.h"

#define RATE_OPTIONS                                                                   \
    {"rate_limit", OPTION_INT(HubSystem, rate_limit), .min = 0, .max = 1000000,        \
     .help = "Objects that are pushed to it in a second at the most; 0: any number."}, \
    {                                                                                  \
        "rate_bucket_size", OPTION_INT(HubSystem, rate_bucket_size),                   \
            .min = 0, .max = 1000000,                                                  \
            .help = "How many of them at once, after a pause; 0: as many as "          \
                    "rate_limit. Refused without one."                                 \
    }

static const Option postgresql_options[] = {
    {"dsn", OPTION_STRING(HubSystem, postgresql.dsn), .secret = true, .value_name = "URL",
     .help = "Connection: a URL, or keywords as libpq takes them."},
    {"replication_dsn", OPTION_STRING(HubSystem, postgresql.replication_dsn), .secret = true,
     .value_name = "URL",
     .help = "Connection on which changes are received. Default: the same as for the rest."},
    {"hostname", OPTION_STRING(HubSystem, postgresql.hostname),
     .help = "In place of dsn: the server."},
    {"port", OPTION_INT(HubSystem, postgresql.port), .fallback = "5432", .min = 1, .max = 65535,
     .help = "Its port."},
    {"database", OPTION_STRING(HubSystem, postgresql.database), .help = "The database."},
    {"username", OPTION_STRING(HubSystem, postgresql.username), .help = "Who connects."},
    {"password", OPTION_STRING(HubSystem, postgresql.password), .secret = true,
     .help = "With which password."},
    {"max_open_connections", OPTION_INT(HubSystem, postgresql.max_open_connections),
     .fallback = "10", .min = 1, .max = 1000, .help = "Connections that push, at the most."},
    {"max_idle_connections", OPTION_INT(HubSystem, postgresql.max_idle_connections), .min = 0,
     .max = 1000, .help = "How many of them stay open with nothing to do. Default: all of them."},
    {"max_connection_idle_time", OPTION_MS(HubSystem, postgresql.max_connection_idle_ms),
     .fallback = "30s", .min = 0, .max = 86400000,
     .help = "One that had nothing to do for so long is not used again; 0: however long it was."},
    {"copy", OPTION_BOOL(HubSystem, postgresql.copy), .fallback = "false",
     .help = "Receive the rows that are there at the first start, too. Otherwise only what changes "
             "from then on."},
    RATE_OPTIONS,
    {0},
};

static const Option stripe_options[] = {
    {"api_key", OPTION_STRING(HubSystem, stripe.api_key), .secret = true, .required = true,
     .help = "The secret key of the account."},
    {"api_base", OPTION_STRING(HubSystem, stripe.api_base), .fallback = "https://api.stripe.com",
     .value_name = "URL", .help = "Where Stripe's API is: for tests, with something in its place."},
    {"use_cli_listener", OPTION_BOOL(HubSystem, stripe.use_cli_listener), .fallback = "false",
     .help = "Have the Stripe CLI forward events here."},
    {"endpoint_secret", OPTION_LIST(HubSystem, stripe.endpoint_secrets), .secret = true,
     .help = "What the requests of the webhook are signed with (whsec_…). Several while it is "
             "exchanged."},
    RATE_OPTIONS,
    {0},
};

static const Option webhook_options[] = {
    {"signature", OPTION_CHOICE(HubSystem, webhook.scheme, webhook_scheme_names), .required = true,
     .help = "How requests are told from forged ones. none: not at all."},
    {"secret", OPTION_LIST(HubSystem, webhook.secrets), .secret = true,
     .help = "What requests are signed with. Several while it is exchanged."},
    {"signature_header", OPTION_STRING(HubSystem, webhook.signature_header),
     .fallback = WEBHOOK_HMAC_HEADER, .help = "The header of the signature hmac-sha256."},
    {"id", OPTION_STRING(HubSystem, webhook.id), .value_name = "PATH",
     .help = "Where in the body stands what tells a request from others, so that none is taken "
             "twice. Of standard-webhooks it is webhook-id."},
    {"id_header", OPTION_STRING(HubSystem, webhook.id_header),
     .help = "The same in a header, in place of id."},
    {"location", OPTION_STRING(HubSystem, webhook.location),
     .help = "The location of all that is posted, as the receive_mixer has it."},
    {"location_path", OPTION_STRING(HubSystem, webhook.location_path), .value_name = "PATH",
     .help = "In place of location: where in the body it stands."},
    {"operation", OPTION_STRING(HubSystem, webhook.operation), .value_name = "PATH",
     .help =
         "Where in the body stands what has happened. Default: each object is made or changed."},
    {"deletes", OPTION_LIST(HubSystem, webhook.deletes), .fallback = "delete,deleted",
     .help = "What the operation is, or ends with behind a dot, when an object is gone."},
    {"object", OPTION_STRING(HubSystem, webhook.object), .value_name = "PATH",
     .help = "Where in the body the object stands, or a list of them. Default: it is the body."},
    {0},
};

const SystemKind system_kinds[] = {
    {"postgresql", "A Postgres database", postgresql_options},
    {"stripe", "A Stripe account", stripe_options},
    {"webhook", "Whoever posts JSON", webhook_options},
    {0},
};

typedef struct SystemReader {
    Hub *hub;
    const ConfigFile *file;
    const YamlPair *named; // the system's name and keys
    HubSystem *system;
} SystemReader;

// What a system has beside the settings of its type.
static const char *const other_keys[] = {"type",       "receive_mixer", "receive_router",
                                         "push_mixer", "push_router",   NULL};

static Status complain_of_system(const SystemReader *in, size_t line, const char *what)
{
    return config_complain(in->file, line, what, in->named->key);
}

// ---------------------------------------------------------------------------------------------
// Keys
// ---------------------------------------------------------------------------------------------

static Status read_type(const SystemReader *in)
{
    const YamlPair *pair = yaml_find(in->named->value, "type");
    Str type;
    if (pair == NULL) {
        complain_of_system(in, in->named->line, "\"type\" is missing in system");
        return error_hint(in->file->err, "Add type: postgresql, type: stripe or type: webhook.");
    }
    if (config_scalar(in->file, pair, &type) != STATUS_OK) {
        return STATUS_FAIL;
    }
    // What everything else of this program calls it.
    Str name = str_is(type, "postgres") ? STR("postgresql") : type;
    for (int i = 0; system_kinds[i].name != NULL; i++) {
        if (str_is(name, system_kinds[i].name)) {
            in->system->type = (SystemType)i;
            return STATUS_OK;
        }
    }
    config_complain(in->file, pair->line, "there is no type of system", pair->value->scalar);
    return error_hint(in->file->err, "It is postgresql, stripe or webhook.");
}

// Before any value is looked at: a mixer with a misspelt key is not a setting with a strange value.
static Status check_keys(const SystemReader *in)
{
    const SystemKind *kind = &system_kinds[in->system->type];
    const char *known[64] = {0};
    size_t count = 0;
    for (; other_keys[count] != NULL; count++) {
        known[count] = other_keys[count];
    }
    for (const Option *option = kind->options;
         option->type != OPTION_END && count < ARRAY_LEN(known) - 1; option++) {
        known[count++] = option->name;
    }
    const YamlNode *keys = in->named->value;
    for (size_t i = 0; i < keys->count; i++) {
        Str key = keys->pairs[i].key;
        bool from_file;
        if (!config_is_one_of(key, other_keys) &&
            option_find_for(kind->options, key, &from_file) == NULL) {
            config_complain(in->file, keys->pairs[i].line, "unknown key", key);
            return suggest_nearest(key, known, "", in->file->err)
                       ? STATUS_FAIL
                       : error_hint(in->file->err, "docs/hub.md has the keys of type %s.",
                                    kind->name);
        }
    }
    return STATUS_OK;
}

static Status read_settings(const SystemReader *in, Settings *ret)
{
    const YamlNode *keys = in->named->value;
    *ret = (Settings){.items = ARENA_ARRAY(&in->hub->arena, Setting, keys->count),
                      .origin = in->system->origin};
    return config_add_settings(in->file, keys, other_keys, ret) == STATUS_OK
               ? options_apply(system_kinds[in->system->type].options, in->system, ret,
                               &in->hub->arena, in->file->err)
               : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// What has to go together
// ---------------------------------------------------------------------------------------------

static Status check_postgresql(const SystemReader *in, const Settings *settings)
{
    PostgresqlSettings *postgresql = &in->system->postgresql;
    Error *err = in->file->err;
    if (postgresql->dsn.len == 0 && postgresql->hostname.len == 0) {
        complain_of_system(in, in->named->line, "\"dsn\" is missing in system");
        return error_hint(err, "Add dsn: postgres://user@host/database, or hostname, database and "
                               "username.");
    }
    static const char *const parts[] = {"hostname", "port",     "database",
                                        "username", "password", "password_file"};
    for (size_t i = 0; postgresql->dsn.len > 0 && i < ARRAY_LEN(parts); i++) {
        const Setting *part = settings_find(settings, parts[i]);
        if (part != NULL) {
            error_set(err, ERROR_CONFIG, "%" STR_FMT ": \"%s\" is given beside \"dsn\"",
                      STR_ARG(part->origin), parts[i]);
            return error_hint(err, "Leave one of them out.");
        }
    }
    const Setting *idle = settings_find(settings, "max_idle_connections");
    if (idle == NULL) {
        postgresql->max_idle_connections = postgresql->max_open_connections;
    } else if (postgresql->max_idle_connections > postgresql->max_open_connections) {
        return error_set(err, ERROR_CONFIG,
                         "%" STR_FMT ": \"max_idle_connections\" is %lld, more than the %lld of "
                         "\"max_open_connections\"",
                         STR_ARG(idle->origin), (long long)postgresql->max_idle_connections,
                         (long long)postgresql->max_open_connections);
    }
    return STATUS_OK;
}

// Of an object of Stripe nothing else can be asked for.
static Status check_stripe_keys(const SystemReader *in, const MixerRule *rule)
{
    for (size_t i = 0; i < rule->count; i++) {
        const MixerField *field = &rule->fields[i];
        bool is_id = str_is(field->name, "id");
        if (field->is_search_key != is_id) {
            error_set(in->file->err, ERROR_CONFIG,
                      "%" STR_FMT ": \"%" STR_FMT "\" is %s a search key of \"%" STR_FMT "\"",
                      STR_ARG(field->origin), STR_ARG(field->name), is_id ? "not" : "given as",
                      STR_ARG(rule->location));
            return error_hint(in->file->err, "Objects of Stripe are found by their \"id\" and by "
                                             "nothing else, and nobody else gives them one.");
        }
    }
    return STATUS_OK;
}

static Status check_stripe_push(const SystemReader *in)
{
    const HubSystem *system = in->system;
    for (size_t i = 0; i < system->push_count; i++) {
        const MixerGroup *group = &system->push[i];
        for (size_t n = 0; n < group->count; n++) {
            if (check_stripe_keys(in, &group->rules[n]) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
    }
    return STATUS_OK;
}

// Whoever knows the address could make changes otherwise.
static Status check_stripe(const SystemReader *in)
{
    StripeSettings *stripe = &in->system->stripe;
    while (stripe->api_base.len > 0 && stripe->api_base.ptr[stripe->api_base.len - 1] == '/') {
        stripe->api_base.len--;
    }
    if (check_stripe_push(in) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_checked = stripe->use_cli_listener || stripe->endpoint_secrets.count > 0;
    if (in->system->receive_count == 0 || is_checked) {
        return STATUS_OK;
    }
    complain_of_system(in, in->named->line,
                       "nothing says how Stripe's requests are told from forged ones in system");
    return error_hint(in->file->err, "Add endpoint_secret: whsec_…, or use_cli_listener: true.");
}

static Status read_path(const SystemReader *in, const char *key, Str text, Path *ret)
{
    if (text.len == 0 ||
        path_parse_dotted(text, &in->hub->arena, ret, in->file->err) == STATUS_OK) {
        return STATUS_OK;
    }
    return error_wrap(in->file->err, "%" STR_FMT ": \"%s\"", STR_ARG(in->system->origin), key);
}

static Status read_secrets(const SystemReader *in)
{
    WebhookSettings *webhook = &in->system->webhook;
    bool is_signed = webhook->scheme != WEBHOOK_NONE;
    if (is_signed != (webhook->secrets.count > 0)) {
        complain_of_system(in, in->named->line,
                           is_signed ? "\"secret\" is missing in system"
                                     : "nothing is signed by the \"secret\" of");
        return error_hint(in->file->err, "\"signature\" is hmac-sha256 or standard-webhooks, "
                                         "\"secret\" what whoever posts has, too.");
    }
    webhook->keys = ARENA_ARRAY(&in->hub->arena, Str, webhook->secrets.count + 1);
    for (size_t i = 0; i < webhook->secrets.count; i++) {
        if (webhook_key((WebhookScheme)webhook->scheme, webhook->secrets.items[i], &in->hub->arena,
                        &webhook->keys[i], in->file->err) != STATUS_OK) {
            return error_wrap(in->file->err, "%" STR_FMT, STR_ARG(in->system->origin));
        }
    }
    return STATUS_OK;
}

// A location that no rule is about is a spelling mistake.
static Status check_location(const SystemReader *in)
{
    const HubSystem *system = in->system;
    const WebhookSettings *webhook = &system->webhook;
    if ((webhook->location.len == 0) == (webhook->location_path.len == 0)) {
        complain_of_system(in, in->named->line,
                           "one of \"location\" and \"location_path\" has "
                           "to be given in system");
        return error_hint(in->file->err, "location: orders, where all that is posted is of one "
                                         "kind, or location_path: type, where the body says it.");
    }
    if (webhook->location.len == 0 || hub_find_location(system, webhook->location) != NULL ||
        system->receive_count == 0) {
        return STATUS_OK;
    }
    config_complain(in->file, in->named->line, "there is no rule for the location",
                    webhook->location);
    return error_hint(in->file->err, "The receive_mixer has \"%" STR_FMT "\".",
                      STR_ARG(system->receive[0].name));
}

static Status check_webhook(const SystemReader *in)
{
    WebhookSettings *webhook = &in->system->webhook;
    if (in->system->push_count > 0) {
        complain_of_system(in, in->named->line, "there is a push_mixer for the webhook");
        return error_hint(in->file->err,
                          "Of a webhook one can only hear. To send requests, use a pipeline with "
                          "the sink http: docs/http.md.");
    }
    if (webhook->id.len > 0 && webhook->id_header.len > 0) {
        complain_of_system(in, in->named->line,
                           "both \"id\" and \"id_header\" are given in system");
        return error_hint(in->file->err, "Leave one of them out.");
    }
    if (webhook->scheme == WEBHOOK_STANDARD && webhook->id.len == 0 &&
        webhook->id_header.len == 0) {
        webhook->id_header = STR("webhook-id");
    }
    if (read_secrets(in) != STATUS_OK || check_location(in) != STATUS_OK ||
        read_path(in, "id", webhook->id, &webhook->id_at) != STATUS_OK ||
        read_path(in, "location_path", webhook->location_path, &webhook->location_at) !=
            STATUS_OK ||
        read_path(in, "operation", webhook->operation, &webhook->operation_at) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return read_path(in, "object", webhook->object, &webhook->object_at);
}

static Status check_type(const SystemReader *in, const Settings *settings)
{
    switch (in->system->type) {
    case SYSTEM_POSTGRESQL:
        return check_postgresql(in, settings);
    case SYSTEM_STRIPE:
        return check_stripe(in);
    case SYSTEM_WEBHOOK:
        return check_webhook(in);
    }
    return STATUS_OK;
}

static Status complete_rate(const SystemReader *in, const Settings *settings)
{
    HubSystem *system = in->system;
    if (system->rate_bucket_size == 0) {
        system->rate_bucket_size = system->rate_limit;
    }
    if (system->rate_limit > 0 || system->rate_bucket_size == 0) {
        return STATUS_OK;
    }
    const Setting *size = settings_find(settings, "rate_bucket_size");
    error_set(in->file->err, ERROR_CONFIG,
              "%" STR_FMT ": \"rate_bucket_size\" is given without a \"rate_limit\"",
              STR_ARG(size == NULL ? system->origin : size->origin));
    return error_hint(in->file->err,
                      "Add rate_limit, objects a second, or leave rate_bucket_size out.");
}

// ---------------------------------------------------------------------------------------------
// Mixers
// ---------------------------------------------------------------------------------------------

static const YamlPair *find_mixer(const SystemReader *in, const char *key, const char *other)
{
    const YamlPair *pair = yaml_find(in->named->value, key);
    return pair != NULL ? pair : yaml_find(in->named->value, other);
}

static Status check_spelling(const SystemReader *in)
{
    const YamlPair *mixer = find_mixer(in, "receive_mixer", "push_mixer");
    const YamlPair *router = find_mixer(in, "receive_router", "push_router");
    if (mixer == NULL || router == NULL) {
        return STATUS_OK;
    }
    error_set(in->file->err, ERROR_CONFIG,
              "%" STR_FMT ":%zu: the system \"%" STR_FMT "\" has both spellings, \"%" STR_FMT
              "\" and \"%" STR_FMT "\"",
              STR_ARG(in->file->name), router->line, STR_ARG(in->named->key), STR_ARG(mixer->key),
              STR_ARG(router->key));
    return error_hint(in->file->err, "Use one: receive_mixer and push_mixer.");
}

static Status read_mixers(const SystemReader *in)
{
    const MixerSource source = {in->hub, in->file, in->system};
    const YamlPair *receive = find_mixer(in, "receive_mixer", "receive_router");
    const YamlPair *push = find_mixer(in, "push_mixer", "push_router");
    if (check_spelling(in) != STATUS_OK ||
        (receive != NULL && hub_read_receive(&source, receive, in->system) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    return push == NULL ? STATUS_OK : hub_read_push(&source, push, in->system);
}

static Status check_name(const SystemReader *in)
{
    const HubSystem *other = hub_find_system(in->hub, in->named->key);
    if (other != NULL) {
        complain_of_system(in, in->named->line, "there are two systems of the name");
        return error_hint(in->file->err, "The other one is at %" STR_FMT ".",
                          STR_ARG(other->origin));
    }
    if (!config_is_name(in->named->key)) {
        complain_of_system(in, in->named->line, "this is no name of a system:");
        return error_hint(in->file->err, "Up to 100 letters, digits, _, - and . are allowed.");
    }
    return STATUS_OK;
}

Status hub_add_system(Hub *hub, const ConfigFile *file, const YamlPair *named)
{
    HubSystem system = {.name = named->key, .origin = config_origin(file, named->line)};
    const SystemReader in = {hub, file, named, &system};
    Settings settings;
    if (check_name(&in) != STATUS_OK ||
        config_expect_mapping(file, named->value, "a system") != STATUS_OK ||
        read_type(&in) != STATUS_OK || check_keys(&in) != STATUS_OK ||
        read_settings(&in, &settings) != STATUS_OK || complete_rate(&in, &settings) != STATUS_OK ||
        read_mixers(&in) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (check_type(&in, &settings) != STATUS_OK) {
        return STATUS_FAIL;
    }
    hub->systems[hub->system_count++] = system;
    return STATUS_OK;
}
