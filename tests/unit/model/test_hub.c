// Hubs: what their files say, and that every mistake is named with its place and what mends it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "model/hub.h"
#include "unit.h"

static Error err;

static const char product[] =
    "{\"title\":\"product\",\"type\":\"object\",\"properties\":{"
    "\"id\":{\"type\":[\"number\",\"null\",\"string\"]},"
    "\"stripe_id\":{\"type\":[\"string\",\"null\"]},"
    "\"name\":{\"type\":\"string\"},\"price\":{\"type\":[\"number\",\"null\"]}}}";

// A hub of a model and of one file of systems.
static Status compile_with(const char *model, const char *systems, Hub **ret)
{
    HubFile models = {STR("models/product.json"), STR("models/product.json"), str_from(model)};
    HubFile file = {STR("systems/s.yml"), STR("systems/s.yml"), str_from(systems)};
    const HubFiles files = {&models, 1, &file, 1};
    err = (Error){0};
    return hub_compile(&files, ret, &err);
}

static Hub *load(const char *systems)
{
    Hub *hub;
    if (compile_with(product, systems, &hub) != STATUS_OK) {
        fail_msg("%s (%s)\n%s", err.message, err.hint, systems);
    }
    return hub;
}

#define DB "db:\n  type: postgresql\n  dsn: postgres://h/shop\n"
#define STRIPE \
    "gateway:\n  type: stripe\n  api_key: sk_test_1\n  use_cli_listener: true\n  rate_limit: 10\n"

// The example that mixers were first described by, in one spelling each.
#define EXAMPLE                                                                                 \
    DB "  max_open_connections: 4\n  max_connection_idle_time: 5min\n"                          \
       "  receive_mixer:\n    public.products:\n      product:\n"                               \
       "        id: { field: id }\n        stripe_id: { field: stripe_id }\n"                   \
       "        product_name: { field: name }\n        price: { field: price }\n"               \
       "  push_mixer:\n    product:\n      public.products:\n"                                  \
       "        id: { field: id, search_key: true }\n"                                          \
       "        stripe_id: { field: stripe_id, search_key: true }\n"                            \
       "        name: { field: product_name }\n        price: { field: price }\n" STRIPE        \
       "  receive_router:\n    product:\n      product:\n        id: { field: stripe_id }\n"    \
       "        name: { field: name }\n        metadata.id: { field: id }\n"                    \
       "    price:\n      product:\n        product: { field: stripe_id }\n"                    \
       "        unit_amount: { field: price }\n"                                                \
       "  push_router:\n    product:\n      products:\n        id: { field: 'metadata[id]' }\n" \
       "        stripe_id: { field: id, search_key: true }\n        name: { field: name }\n"

static void assert_field(const MixerRule *rule, size_t index, const char *name,
                         const char *property)
{
    const MixerField *field = &rule->fields[index];
    assert_true(str_is(field->name, name));
    assert_true(str_is(rule->model->properties[field->property].name, property));
}

static void both_spellings_say_the_same(void **context)
{
    (void)context;
    Hub *hub = load(EXAMPLE);
    assert_int_equal(hub->system_count, 2);
    const HubSystem *db = hub_find_system(hub, STR("db"));
    const MixerGroup *table = hub_find_table(db, STR("public"), STR("products"));
    assert_int_equal(table->count, 1);
    assert_ptr_equal(table, hub_find_location(db, STR("public.products")));
    assert_ptr_equal(table->rules[0].model, hub_find_model(hub, STR("product")));
    assert_int_equal(table->rules[0].count, 4);
    assert_true(table->rules[0].is_whole);
    assert_field(&table->rules[0], 2, "product_name", "name");
    const MixerGroup *pushed = hub_find_push(db, table->rules[0].model);
    assert_int_equal(pushed->count, 1);
    assert_int_equal(pushed->rules[0].search_key_count, 2);
    assert_field(&pushed->rules[0], 2, "product_name", "name");
    assert_true(str_is(pushed->rules[0].origin, "systems/s.yml:15"));

    const HubSystem *gateway = hub_find_system(hub, STR("gateway"));
    const MixerRule *price = hub_find_location(gateway, STR("price"))->rules;
    assert_int_equal(price->count, 2);
    assert_false(price->is_whole);
    assert_field(price, 1, "unit_amount", "price");
    const MixerRule *received = hub_find_location(gateway, STR("product"))->rules;
    assert_int_equal(received->fields[2].path.count, 2);
    assert_true(str_is(received->fields[2].path.steps[1], "id"));
    const MixerRule *products = hub_find_push(gateway, price->model)->rules;
    assert_int_equal(products->fields[0].path.count, 2);
    assert_null(hub_find_location(gateway, STR("customer")));
    assert_null(hub_find_table(db, STR("shop"), STR("products")));
    hub_free(hub);
}

static void settings_have_units_and_defaults(void **context)
{
    (void)context;
    Hub *hub = load(EXAMPLE);
    const HubSystem *db = hub_find_system(hub, STR("db"));
    assert_int_equal(db->postgresql.max_open_connections, 4);
    assert_int_equal(db->postgresql.max_idle_connections, 4); // not more than there are
    assert_int_equal(db->postgresql.max_connection_idle_ms, 300000);
    assert_int_equal(db->rate_limit, 0);
    assert_int_equal(db->rate_bucket_size, 0);
    const HubSystem *gateway = hub_find_system(hub, STR("gateway"));
    assert_int_equal(gateway->rate_bucket_size, 10); // as many as rate_limit
    assert_true(gateway->stripe.use_cli_listener);
    assert_true(str_is(gateway->stripe.api_base, "https://api.stripe.com"));
    hub_free(hub);
}

// A rule of one field, to see what becomes of `hardcode`.
static JsonValue constant_of(const char *hardcode)
{
    char text[512];
    (void)snprintf(text, sizeof(text),
                   STRIPE
                   "  push_mixer:\n    product:\n      products:\n        id: { field: id, "
                   "search_key: true }\n        any:\n          field: x\n          hardcode: %s\n",
                   hardcode);
    Hub *hub = load(text);
    static Arena kept;
    arena_done(&kept);
    const MixerField *field = &hub->systems[0].push[0].rules[0].fields[1];
    assert_int_equal(field->property, -1);
    assert_true(str_is(field->name, "x"));
    JsonValue value = json_copy(&kept, field->constant);
    hub_free(hub);
    return value;
}

static void constants_are_any_scalar(void **context)
{
    (void)context;
    (void)setenv("WEIR_TEST_LIVE", "true", 1);
    assert_true(str_is(constant_of("usd").text, "usd"));
    assert_int_equal(constant_of("''").kind, JSON_STRING);
    assert_int_equal(constant_of("\"0\"").kind, JSON_STRING);
    assert_int_equal(constant_of("0").kind, JSON_NUMBER);
    assert_true(str_is(constant_of("-1.50").text, "-1.50"));
    assert_int_equal(constant_of("false").kind, JSON_BOOL);
    assert_false(constant_of("false").is_true);
    assert_int_equal(constant_of("${WEIR_TEST_LIVE}").kind, JSON_BOOL);
    assert_int_equal(constant_of("'${WEIR_TEST_LIVE}'").kind, JSON_STRING);
    assert_int_equal(constant_of("null").kind, JSON_NULL);
    assert_int_equal(constant_of("2026-01-01").kind, JSON_STRING);
    assert_int_equal(constant_of("10.0.0.1").kind, JSON_STRING);
    assert_int_equal(constant_of(".").kind, JSON_STRING);
    assert_int_equal(constant_of(".").kind, JSON_STRING);
    assert_int_equal(constant_of("+").kind, JSON_STRING);
    assert_int_equal(constant_of(".").kind, JSON_STRING);
    (void)unsetenv("WEIR_TEST_LIVE");
}

// Without `field` the key is the target; received, a constant has the type of its property.
static void constants_are_received(void **context)
{
    (void)context;
    Hub *hub = load(STRIPE "  receive_mixer:\n    price:\n      product:\n"
                           "        name: { hardcode: 7 }\n"
                           "        label: { field: price, hardcode: '12' }\n");
    const MixerRule *rule = hub->systems[0].receive[0].rules;
    assert_field(rule, 0, "", "name");
    assert_int_equal(rule->fields[0].constant->kind, JSON_STRING);
    assert_field(rule, 1, "", "price");
    assert_int_equal(rule->fields[1].constant->kind, JSON_NUMBER);
    hub_free(hub);
}

typedef struct Mistake {
    const char *systems;
    const char *message;
    const char *hint;
} Mistake;

#define RECEIVE(fields) DB "  receive_mixer:\n    public.t:\n      product:\n" fields
#define PUSH(fields)    DB "  push_mixer:\n    product:\n      public.t:\n" fields
#define KEY             "        id: { field: id, search_key: true }\n"

static void assert_mistakes(const Mistake *mistakes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        Hub *hub;
        if (compile_with(product, mistakes[i].systems, &hub) == STATUS_OK) {
            fail_msg("taken:\n%s", mistakes[i].systems);
        }
        assert_int_equal(err.kind, ERROR_CONFIG);
        if (strstr(err.message, mistakes[i].message) == NULL ||
            strstr(err.hint, mistakes[i].hint) == NULL) {
            fail_msg("%s (%s)\nexpected: %s (%s)", err.message, err.hint, mistakes[i].message,
                     mistakes[i].hint);
        }
    }
}

static void mistakes_in_systems(void **context)
{
    (void)context;
    static const Mistake mistakes[] = {
        {"db:\n  dsn: x\n", "systems/s.yml:1: \"type\" is missing in system \"db\"", "postgresql"},
        {"db:\n  type: snowflake\n", "s.yml:2: there is no type of system \"snowflake\"", "stripe"},
        {"db:\n  type: postgresql\n", "s.yml:1: \"dsn\" is missing in system \"db\"",
         "postgres://"},
        {DB "  rate_limt: 1\n", "s.yml:4: unknown key \"rate_limt\"", "\"rate_limit\""},
        {DB "  recieve_mixer:\n    a:\n      b: {}\n", "s.yml:4: unknown key \"recieve_mixer\"",
         "\"receive_mixer\""},
        {DB "  api_key: x\n", "s.yml:4: unknown key \"api_key\"", "docs/hub.md"},
        {DB "  rate_limit: many\n", "s.yml:4: \"rate_limit\" has the value \"many\"", ""},
        {DB "  rate_limit: -1\n", "\"rate_limit\" has the value \"-1\"", ""},
        {DB "  rate_limit: ${WEIR_TEST_NOT_SET:-x}\n", // as it is written
         "\"rate_limit\" has the value \"${WEIR_TEST_NOT_SET:-x}\"", ""},
        {DB "  rate_bucket_size: 5\n",
         "s.yml:4: \"rate_bucket_size\" is given without a \"rate_limit\"", "Add rate_limit"},
        {DB "  max_connection_idle_time: 30x\n", "expected a duration such as", ""},
        {DB "  max_open_connections: 2\n  max_idle_connections: 3\n",
         "s.yml:5: \"max_idle_connections\" is 3, more than the 2", ""},
        {DB "  hostname: h\n", "s.yml:4: \"hostname\" is given beside \"dsn\"", "Leave one"},
        {DB "  dsn: y\n", "s.yml:4: \"dsn\" is given twice, first in line 3", ""},
        {DB "  password: '${WEIR_TEST_NOT_SET}'\n", "s.yml:4: there is no environment variable",
         ":-value"},
        {"gateway:\n  type: stripe\n", "s.yml:1: \"api_key\" is missing", ""},
        {"gateway:\n  type: stripe\n  api_key: '${WEIR_TEST_NOT_SET:-}'\n",
         "s.yml:3: \"api_key\" has an empty value", "variable"},
        {"gateway:\n  type: stripe\n  api_key: k\n  endpoint_secret: [a, '']\n",
         "s.yml:4: \"endpoint_secret\" has an empty value", "variable"}, // everybody knows it
        {"gateway:\n  type: stripe\n  api_key: k\n  receive_mixer:\n    price:\n      product:\n"
         "        id: { field: id }\n",
         "s.yml:1: nothing says how Stripe's requests are told from forged ones in system",
         "endpoint_secret"},
        {"gateway:\n  type: stripe\n  api_key: k\n  push_mixer:\n    product:\n      products:\n"
         "        name: { field: name, search_key: true }\n",
         "s.yml:7: \"name\" is given as a search key of \"products\"", "by their \"id\""},
        {"gateway:\n  type: stripe\n  api_key: k\n  push_mixer:\n    product:\n      products:\n"
         "        id: { field: id }\n        name: { field: name, search_key: true }\n",
         "s.yml:7: \"id\" is not a search key of \"products\"", "by their \"id\""},
        {"a/b:\n  type: postgresql\n  dsn: x\n", "this is no name of a system: \"a/b\"", "letters"},
        {"db: x\n", "s.yml:1: a system has to be a mapping", ""},
        {"- a\n", "a file of systems has to be a mapping", ""},
        {"", "the file is empty", ""},
        {DB "  receive_mixer: {}\n  receive_router: {}\n",
         "s.yml:5: the system \"db\" has both spellings, \"receive_mixer\" and \"receive_router\"",
         "receive_mixer and push_mixer"},
        {DB "  receive_mixer: {}\n  push_router: {}\n", "has both spellings", ""},
        {DB "  receive_router: {}\n  push_mixer: {}\n", "s.yml:4: the system \"db\" has both", ""},
    };
    assert_mistakes(mistakes, ARRAY_LEN(mistakes));
}

static void mistakes_in_mixers(void **context)
{
    (void)context;
    static const Mistake mistakes[] = {
        {DB "  receive_mixer: 5\n", "s.yml:4: a mixer has to be a mapping", ""},
        {DB "  receive_mixer:\n    public.t:\n", "s.yml:5: there are no rules for \"public.t\"",
         ""},
        {DB "  receive_mixer:\n    public.t:\n      prodct:\n        id: { field: id }\n",
         "s.yml:6: there is no model \"prodct\"", "\"product\""},
        {DB "  push_mixer:\n    prodct:\n      public.t:\n" KEY,
         "s.yml:5: there is no model \"prodct\"", "\"product\""},
        {DB "  receive_mixer:\n    t:\n      product:\n        id: { field: id }\n",
         "s.yml:5: this is no name of a table: \"t\"", "public.products"},
        {RECEIVE("        {}\n"), "s.yml:6: there are no fields, or too many, for \"product\"", ""},
        {RECEIVE("        id: { field: nme }\n"),
         "s.yml:7: the model \"product\" has no property \"nme\"", "\"name\""},
        {RECEIVE("        id: { field: something_else }\n"), "has no property \"something_else\"",
         "models/product.json"},
        {RECEIVE("        id: name\n"), "s.yml:7: a mapping is expected for \"id\"",
         "id: { field: NAME }"},
        {RECEIVE("        id: {}\n"), "s.yml:7: \"field\" is missing in \"id\"", "{ field: NAME }"},
        {RECEIVE("        id: { feild: id }\n"), "s.yml:7: unknown key \"feild\"", "\"field\""},
        {RECEIVE("        id: { field: id, search_key: true }\n"), "unknown key \"search_key\"",
         "pushed"},
        {RECEIVE("        id: { field: id }\n        a: { field: id }\n"),
         "s.yml:8: \"id\" is a target twice, first at systems/s.yml:7", "Leave one"},
        {RECEIVE("        a[b]: { field: id }\n"), "s.yml:7: \"a[b]\" has brackets", "metadata.id"},
        {RECEIVE("        '': { field: id }\n"), "s.yml:7: the name of a field has 0 bytes", ""},
        {PUSH(KEY "        '': { hardcode: 1 }\n"), "s.yml:8: the name of a field has 0 bytes", ""},
        {RECEIVE("        a..b: { field: id }\n"), "s.yml:7: \"a..b\" is no path", ""},
        {RECEIVE("        price: { hardcode: expensive }\n"),
         "s.yml:7: the constant for \"price\" cannot become one of: number, null", ""},
        {RECEIVE("        name: { hardcode: }\n"), "s.yml:7: one value is expected", "is \"\""},
        {RECEIVE("        name: { hardcode: [a] }\n"), "s.yml:7: one value is expected", ""},
        {RECEIVE("        name: { hardcode: 007 }\n"), "may be text or not: \"007\"", "quotes"},
        {RECEIVE("        name: { hardcode: True }\n"), "may be text or not: \"True\"", "quotes"},
        {RECEIVE("        name: { hardcode: 0x1F }\n"), "may be text or not", ""},
        {RECEIVE("        name: { hardcode: .inf }\n"), "may be text or not", ""},
        {RECEIVE("        name: { hardcode: +1 }\n"), "may be text or not", ""},
        {RECEIVE("        name: { hardcode: .5 }\n"), "may be text or not", ""},
        {RECEIVE("        name: { hardcode: 0o17 }\n"), "may be text or not", ""},
        {RECEIVE("        name: { hardcode: -.INF }\n"), "may be text or not", ""},
        {RECEIVE("        id: { field: id }\n    '\"public\".t':\n      product:\n        id: { "
                 "field: id }\n"),
         "s.yml:8: \"\"public\".t\" is given twice, first at systems/s.yml:5", ""},
        {PUSH("        id: { field: id }\n"),
         "s.yml:6: there is no search key for the location \"public.t\"", "search_key: true"},
        {PUSH("        id: { field: id, search_key: false }\n"), "no search key", ""},
        {PUSH("        id: { field: id, search_key: maybe }\n"),
         "s.yml:7: \"search_key\" has the value \"maybe\", expected true or false", ""},
        {PUSH(KEY "        nme: { field: x }\n"), "s.yml:8: the model \"product\" has no property",
         "\"name\""},
        {PUSH(KEY "        name: { field: id }\n"), "s.yml:8: \"id\" is a target twice", ""},
        {PUSH(KEY "        x: { field: y, hardcode: 1, search_key: true }\n"),
         "s.yml:8: a constant is no search key", "same row"},
        {PUSH(KEY "        name: { field: 'meta[name]' }\n"),
         "s.yml:8: a part of a column cannot be pushed: \"meta[name]\"", "whole column"},
        {STRIPE "  push_mixer:\n    product:\n      products:\n" KEY
                "        name: { field: 'm' }\n        price: { field: 'm[p]' }\n",
         "s.yml:11: \"m[p]\" is a target twice, first at systems/s.yml:10", ""},
        {STRIPE "  push_mixer:\n    product:\n      products:\n" KEY
                "        name: { field: 'm[' }\n",
         "\"m[\" is no path", ""},
    };
    assert_mistakes(mistakes, ARRAY_LEN(mistakes));
}

static void two_systems_of_one_name(void **context)
{
    (void)context;
    HubFile models = {STR("m"), STR("models/m.json"), str_from(product)};
    HubFile systems[] = {{STR("a.yml"), STR("a.yml"), STR(DB)},
                         {STR("b.yml"), STR("b.yml"), STR(DB)}};
    const HubFiles files = {&models, 1, systems, 2};
    Hub *hub;
    assert_int_equal(hub_compile(&files, &hub, &err), STATUS_FAIL);
    assert_string_equal(err.message, "b.yml:1: there are two systems of the name \"db\"");
    assert_string_equal(err.hint, "The other one is at a.yml:1.");
}

static void mistakes_in_models(void **context)
{
    (void)context;
    static const struct {
        const char *model;
        const char *message;
    } cases[] = {
        {"{", "models/product.json: the schema \"models/product.json\" is not JSON"},
        {"{\"properties\":{\"a\":{}}}", "models/product.json: \"title\" is missing"},
        {"{\"title\":\"\",\"properties\":{\"a\":{}}}", "models/product.json: \"title\" is missing"},
        {"{\"title\":\"t\"}", "models/product.json: the model has 0 properties"},
        {"{\"title\":\"t\",\"properties\":{\"\":{}}}", "the name of a property has 0 bytes"},
        {"{\"title\":\"t\",\"type\":\"array\",\"properties\":{\"a\":{}}}",
         "models/product.json: \"type\" allows no object"},
        {"{\"title\":\"t\",\"properties\":{\"a\":{\"type\":\"nubmer\"}}}", "models/product.json: "},
        {"{\"title\":\"t\",\"properties\":{\"a\":{\"$ref\":\"other.json\"}}}", "other.json"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Hub *hub;
        assert_int_equal(compile_with(cases[i].model, DB, &hub), STATUS_FAIL);
        assert_int_equal(err.kind, ERROR_CONFIG);
        if (strstr(err.message, cases[i].message) == NULL) {
            fail_msg("%s: %s", cases[i].model, err.message);
        }
    }
}

static Status validate_mail(bool assert_formats)
{
    HubFile models = {STR("m"), STR("models/m.json"),
                      STR("{\"title\":\"m\",\"properties\":{\"mail\":{\"format\":\"email\"}}}")};
    HubFile systems = {STR("s"), STR("s"), STR(DB)};
    const HubFiles files = {&models, 1, &systems, 1, assert_formats};
    Hub *hub;
    assert_int_equal(hub_compile(&files, &hub, &err), STATUS_OK);
    const JsonMember member = {.name = STR("mail"),
                               .value = {.kind = JSON_STRING, .text = STR("nobody")}};
    const JsonValue value = {.kind = JSON_OBJECT, .count = 1, .members = &member};
    SchemaValidator *validator = schema_validator_new(hub->models[0].schema);
    Status status = schema_validate(validator, &value, &err);
    schema_validator_free(validator);
    hub_free(hub);
    return status;
}

static void formats_are_checked_when_asked(void **context)
{
    (void)context;
    assert_int_equal(validate_mail(false), STATUS_OK);
    assert_int_equal(validate_mail(true), STATUS_FAIL);
}

static void models_refer_to_each_other(void **context)
{
    (void)context;
    HubFile models[] = {
        {STR("a"), STR("models/a.json"),
         STR("{\"title\":\"a\",\"properties\":{\"x\":{\"$ref\":\"shop/b.json#/properties/y\"}}}")},
        {STR("b"), STR("models/shop/b.json"),
         STR("{\"title\":\"b\",\"properties\":{\"y\":{\"type\":\"integer\"}}}")},
    };
    HubFile systems = {STR("s"), STR("s"), STR(DB)};
    HubFiles files = {models, 2, &systems, 1};
    Hub *hub;
    assert_int_equal(hub_compile(&files, &hub, &err), STATUS_OK);
    assert_int_equal(hub_find_model(hub, STR("a"))->properties[0].types, 1 << SCHEMA_INTEGER);
    assert_int_equal(hub_find_model(hub, STR("a"))->relation->columns[0].type, TYPE_INT8);
    hub_free(hub);
    models[1] = models[0];
    models[1].uri = STR("models/c.json");
    files.model_count = 2;
    assert_int_equal(hub_compile(&files, &hub, &err), STATUS_FAIL);
    models[0].text = models[1].text = STR("{\"title\":\"a\",\"properties\":{\"x\":{}}}");
    assert_int_equal(hub_compile(&files, &hub, &err), STATUS_FAIL);
    assert_string_equal(err.message, "a: there are two models of the title \"a\"");
    models[0].uri = STR("models/a b.json");
    assert_int_equal(hub_compile(&files, &hub, &err), STATUS_FAIL);
    assert_non_null(strstr(err.hint, "letters"));
}

// ---------------------------------------------------------------------------------------------
// Folders
// ---------------------------------------------------------------------------------------------

static char root[] = "/tmp/weir-test-hub-XXXXXX";

static const char *at(const char *path)
{
    static char text[256];
    (void)snprintf(text, sizeof(text), "%s/%s", root, path);
    return text;
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(at(path), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static Status load_root(Hub **ret)
{
    err = (Error){0};
    return hub_load(str_from(root), ret, &err);
}

static void folders_are_read(void **context)
{
    (void)context;
    Hub *hub;
    assert_non_null(mkdtemp(root));
    assert_false(hub_is_at(str_from(root)));
    assert_int_equal(mkdir(at("models"), 0700), 0);
    assert_int_equal(mkdir(at("systems"), 0700), 0);
    assert_int_equal(mkdir(at("systems/inner"), 0700), 0);
    assert_true(hub_is_at(str_from(root)));
    assert_int_equal(load_root(&hub), STATUS_FAIL);
    assert_non_null(strstr(err.message, "models\" has no files"));
    put("models/product.json", product);
    put("models/.hidden.json", "{");
    put("models/README.md", "not a model");
    put("systems/inner/db.yaml", DB);
    put("systems/gateway.yml", STRIPE);
    assert_int_equal(load_root(&hub), STATUS_OK);
    assert_int_equal(hub->model_count, 1);
    assert_int_equal(hub->system_count, 2);
    hub_free(hub);
    put("systems/inner/db.yaml", DB "  rate_limit: x\n");
    assert_int_equal(load_root(&hub), STATUS_FAIL);
    assert_non_null(strstr(err.message, "/systems/inner/db.yaml:4: "));
    assert_int_equal(mkfifo(at("models/pipe.json"), 0600), 0); // reading it would wait for ever
    assert_int_equal(load_root(&hub), STATUS_FAIL);
    assert_non_null(strstr(err.message, "models/pipe.json\" is no regular file"));
    assert_int_equal(unlink(at("models/pipe.json")), 0);
    assert_int_equal(symlink("..", at("systems/loop")), 0);
    assert_int_equal(load_root(&hub), STATUS_FAIL);
    assert_non_null(strstr(err.message, "nested too deeply"));
    assert_int_equal(unlink(at("systems/loop")), 0);
}

// Behind folders_are_read(), which made the folders.
static void weir_yml_says_where(void **context)
{
    (void)context;
    Hub *hub;
    put("systems/inner/db.yaml", DB);
    put("weir.yml", "connections: {}\npipelines: {}\n");
    assert_false(hub_is_at(str_from(root)));
    assert_false(hub_is_at(str_from(at("weir.yml"))));
    put("weir.yml", "state: s\n");
    assert_true(hub_is_at(str_from(root)));
    put("weir.yml", "hub: { systems: systems/inner }\n");
    assert_true(hub_is_at(str_from(root)));
    assert_int_equal(load_root(&hub), STATUS_OK);
    assert_int_equal(hub->system_count, 1);
    hub_free(hub);
    assert_true(hub_is_at(str_from(at("weir.yml"))));
    assert_int_equal(hub_load(str_from(at("weir.yml")), &hub, &err), STATUS_OK);
    hub_free(hub);
    static const char *const states[] = {
        "hub:\nstate: s\n", "state: s\n",
        "hub: { name: shop-1 }\nstate: ${NOWHERE:-/elsewhere/s}\n"};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        put("weir.yml", states[i]);
        assert_int_equal(load_root(&hub), STATUS_OK);
        assert_true(str_is(hub->state, i == 2 ? "/elsewhere/s" : at("s")));
        assert_true(str_is(hub->name, i == 2 ? "shop-1" : ""));
        hub_free(hub);
    }
    put("weir.yml", "hub: { assert_formats: true }\n");
    assert_int_equal(load_root(&hub), STATUS_OK);
    assert_int_equal(hub->keep_duplicates_ms, 3600000);
    hub_free(hub);
    put("weir.yml", "hub: { keep_duplicates_for: 90s }\n");
    assert_int_equal(load_root(&hub), STATUS_OK);
    assert_int_equal(hub->keep_duplicates_ms, 90000);
    hub_free(hub);
    static const Mistake mistakes[] = {
        {"hub: { assert_formats: maybe }\n", "weir.yml:1: \"assert_formats\" has the value", ""},
        {"hub: { modles: x }\n", "weir.yml:1: unknown key \"modles\"", "models"},
        {"hub: {}\npipelines: {}\n", "weir.yml:2: unknown key \"pipelines\"", "of its own"},
        {"hub: { models: [a] }\n", "weir.yml:1: one value is expected for \"models\"", ""},
        {"hub: { name: a/b }\n", "weir.yml:1: this is no name of a hub: \"a/b\"", "letters"},
        {"hub: {}\nstate: [a]\n", "weir.yml:2: one value is expected for \"state\"", ""},
        {"sate: s\n", "weir.yml:1: unknown key \"sate\"", "state"},
        {"hub: x\n", "weir.yml:1: \"hub\" has to be a mapping", ""},
        {"hub: { models: missing }\n", "/missing\": No such file", "folders models and systems"},
    };
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        put("weir.yml", mistakes[i].systems);
        assert_true(hub_is_at(str_from(root)));
        assert_int_equal(load_root(&hub), STATUS_FAIL);
        if (strstr(err.message, mistakes[i].message) == NULL ||
            strstr(err.hint, mistakes[i].hint) == NULL) {
            fail_msg("%s (%s)", err.message, err.hint);
        }
    }
}

static const char *large_file(const char *folder, int number)
{
    static char path[64];
    (void)snprintf(path, sizeof(path), "%s/large%d%s", folder, number,
                   strcmp(folder, "models") == 0 ? ".json" : ".yml");
    return path;
}

// One file without blocks of its own, by many names.
static void all_files_share_one_limit(void **context)
{
    (void)context;
    enum { COUNT = LIMIT_HUB_BYTES / LIMIT_JSON_BYTES / 2 };
    Hub *hub;
    char target[256];
    put("weir.yml", "hub:\n");
    put("large", "");
    assert_int_equal(truncate(at("large"), LIMIT_JSON_BYTES), 0);
    (void)snprintf(target, sizeof(target), "%s", at("large"));
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(symlink(target, at(large_file("models", i))), 0);
        assert_int_equal(symlink(target, at(large_file("systems", i))), 0);
    }
    assert_int_equal(load_root(&hub), STATUS_FAIL);
    assert_non_null(strstr(err.message, "the files together are larger than 268435456 bytes"));
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(unlink(at(large_file("models", i))), 0);
        assert_int_equal(unlink(at(large_file("systems", i))), 0);
    }
    assert_int_equal(unlink(at("large")), 0);
}

static int remove_root(void **context)
{
    (void)context;
    static const char *const files[] = {"models/product.json", "models/.hidden.json",
                                        "models/README.md",    "systems/inner/db.yaml",
                                        "systems/gateway.yml", "weir.yml"};
    static const char *const folders[] = {"systems/inner", "systems", "models", "."};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)unlink(at(files[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(folders) - 1; i++) {
        (void)rmdir(at(folders[i]));
    }
    return rmdir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_spellings_say_the_same),
        cmocka_unit_test(settings_have_units_and_defaults),
        cmocka_unit_test(constants_are_any_scalar),
        cmocka_unit_test(constants_are_received),
        cmocka_unit_test(mistakes_in_systems),
        cmocka_unit_test(mistakes_in_mixers),
        cmocka_unit_test(two_systems_of_one_name),
        cmocka_unit_test(mistakes_in_models),
        cmocka_unit_test(formats_are_checked_when_asked),
        cmocka_unit_test(models_refer_to_each_other),
        cmocka_unit_test(folders_are_read),
        cmocka_unit_test(weir_yml_says_where),
        cmocka_unit_test(all_files_share_one_limit),
    };
    return cmocka_run_group_tests(tests, NULL, remove_root);
}
