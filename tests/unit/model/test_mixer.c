// Mixers: rows and JSON become objects, objects become rows of other systems and changes in a
// batch, and nothing turns absent, null and unchanged into each other.
#include <stdio.h>
#include <string.h>

#include "arena_fixture.h"
#include "base/buf.h"
#include "base/limits.h"
#include "change/pack.h"
#include "codec/json_read.h"
#include "model/hub.h"
#include "model/object.h"
#include "relations.h"

static const char model_text[] =
    "{\"title\":\"product\",\"type\":\"object\",\"required\":[\"name\"],"
    "\"anyOf\":[{\"required\":[\"id\"]},{\"required\":[\"stripe_id\"]}],\"minProperties\":2,"
    "\"properties\":{\"id\":{\"type\":[\"integer\",\"null\"]},"
    "\"stripe_id\":{\"type\":[\"string\",\"null\"]},\"name\":{\"type\":\"string\"},"
    "\"price\":{\"type\":[\"number\",\"null\"],\"minimum\":0},\"live\":{\"type\":\"boolean\"},"
    "\"tags\":{\"type\":[\"array\",\"object\",\"null\"]}}}";

static const char systems_text[] =
    "db:\n  type: postgresql\n  dsn: postgres://h/shop\n"
    "  receive_mixer:\n    public.products:\n      product:\n"
    "        id: { field: id }\n        stripe_id: { field: stripe_id }\n"
    "        product_name: { field: name }\n        price: { field: price }\n"
    "        live: { field: live }\n        extra.tags.0: { field: tags }\n"
    "    public.part:\n      product:\n        id: { field: id }\n"
    "  push_mixer:\n    product:\n      public.products:\n"
    "        id: { field: id, search_key: true }\n"
    "        stripe_id: { field: stripe_id, search_key: true }\n"
    "        name: { field: product_name }\n        price: { field: price }\n"
    "        source: { hardcode: hub }\n"
    "gateway:\n  type: stripe\n  api_key: k\n  use_cli_listener: true\n"
    "  receive_mixer:\n    product:\n      product:\n        id: { field: stripe_id }\n"
    "        name: { field: name }\n        metadata.id: { field: id }\n"
    "        live: { hardcode: true }\n"
    "  push_mixer:\n    product:\n      products:\n        id: { field: 'metadata[id]' }\n"
    "        stripe_id: { field: id, search_key: true }\n        name: { field: name }\n"
    "links:\n  type: postgresql\n  dsn: postgres://h/links\n"
    "  push_mixer:\n    product:\n      public.links:\n"
    "        id: { field: id, search_key: true }\n"
    "        stripe_id: { field: stripe_id, search_key: true }\n";

static Error err;
static Hub *hub;
static const Model *product;
static SchemaValidator *validator;
static Relation *table;
static MixerBinding from_table;
static MixerBinding to_table;

static const MixerRule *received(const char *system, const char *location)
{
    return hub_find_location(hub_find_system(hub, str_from(system)), str_from(location))->rules;
}

static const MixerRule *pushed(const char *system)
{
    return hub_find_push(hub_find_system(hub, str_from(system)), product)->rules;
}

static int set_up(void **context)
{
    (void)context;
    HubFile models = {STR("m.json"), STR("models/m.json"), str_from(model_text)};
    HubFile systems = {STR("s.yml"), STR("s.yml"), str_from(systems_text)};
    const HubFiles files = {&models, 1, &systems, 1};
    if (hub_compile(&files, &hub, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    product = hub_find_model(hub, STR("product"));
    validator = schema_validator_new(product->schema);
    const Column columns[] = {
        INT8("id", 1),     TEXT("stripe_id", 2), TEXT("product_name", 3),
        INT4("price", 4),  BOOL("live", 5),      column("extra", 6, OID_JSONB, "jsonb"),
        TEXT("source", 7), TEXT("internal", 8),
    };
    table = relation_of(&arena, 1, "public", "products", "a", columns, ARRAY_LEN(columns));
    assert_int_equal(
        mixer_bind(received("db", "public.products"), false, table, &arena, &from_table, &err),
        STATUS_OK);
    if (mixer_bind(pushed("db"), true, table, &arena, &to_table, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    return 0;
}

static const char *printed(const JsonValue *value)
{
    CLEANUP(buf_done) Buf out;
    buf_init(&out, LIMIT_TEXT_BYTES);
    json_print(&out, value);
    return str_to_cstr(&arena, buf_view(&out));
}

static Object row_object(ChangeOp op, const Value *row)
{
    Object object;
    const MixerRow read = mixer_row(table, row, &arena);
    if (mixer_receive_row(&from_table, op, &read, &arena, &object, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    return object;
}

static JsonValue json(const char *text)
{
    JsonValue value;
    if (json_read(&arena, str_from(text), &value, &err) != STATUS_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    return value;
}

static Object json_object(const char *location, ChangeOp op, const char *text)
{
    JsonValue value = json(text);
    Object object;
    if (mixer_receive_json(received("gateway", location), op, &value, &arena, &object, &err) !=
        STATUS_OK) {
        fail_msg("%s", err.message);
    }
    return object;
}

// An object as if it had been received; its members are properties of the model.
static Object object_of(ObjectOp op, const char *text)
{
    return (Object){.model = product, .op = op, .is_partial = true, .value = json(text)};
}

// ---------------------------------------------------------------------------------------------
// Receiving
// ---------------------------------------------------------------------------------------------

static void a_row_becomes_an_object(void **context)
{
    (void)context;
    Object object = row_object(CHANGE_INSERT, ROW(T("9223372036854775807"), NIL, T("Gold"), T("7"),
                                                  T("t"), T("{\"tags\": [[\"a\"]]}"), NIL, T("x")));
    assert_string_equal(printed(&object.value),
                        "{\"id\":9223372036854775807,\"stripe_id\":null,\"name\":\"Gold\","
                        "\"price\":7,\"live\":true,\"tags\":[\"a\"]}");
    assert_int_equal(object.op, OBJECT_UPSERT);
    assert_false(object.is_partial);
    assert_int_equal(object_validate(&object, validator, &err), STATUS_OK);
}

static void absent_null_and_unchanged_stay_apart(void **context)
{
    (void)context;
    Object object = row_object(CHANGE_UPDATE, ROW(T("1"), NIL, SAME, NIL, T("f"), SAME, NIL, NIL));
    assert_string_equal(printed(&object.value),
                        "{\"id\":1,\"stripe_id\":null,\"price\":null,\"live\":false}");
    assert_true(object.is_partial);
    assert_int_equal(object_validate(&object, validator, &err), STATUS_OK);
    object = row_object(CHANGE_DELETE, ROW(T("1"), NONE, NONE, NONE, NONE, NONE, NONE, NONE));
    assert_string_equal(printed(&object.value), "{\"id\":1}");
    assert_int_equal(object.op, OBJECT_DELETE);
    // A path that leads nowhere is absent, one that leads to null is null.
    object = row_object(CHANGE_UPDATE, ROW(NONE, NONE, NONE, NONE, NONE, T("{}"), NIL, NIL));
    assert_string_equal(printed(&object.value), "{}");
    object = row_object(CHANGE_UPDATE,
                        ROW(NONE, NONE, NONE, NONE, NONE, T("{\"tags\":[null]}"), NIL, NIL));
    assert_string_equal(printed(&object.value), "{\"tags\":null}");
    object = row_object(CHANGE_UPDATE, ROW(NONE, NONE, NONE, NONE, NONE, NIL, NIL, NIL));
    assert_string_equal(printed(&object.value), "{}");
}

static void a_json_object_becomes_an_object(void **context)
{
    (void)context;
    Object object = json_object("product", CHANGE_INSERT,
                                "{\"id\":\"prod_1\",\"object\":\"product\",\"name\":\"Gold\","
                                "\"metadata\":{\"id\":\"3\"}}");
    assert_string_equal(printed(&object.value),
                        "{\"stripe_id\":\"prod_1\",\"name\":\"Gold\",\"id\":3,\"live\":true}");
    assert_true(object.is_partial); // nothing says its price
    assert_int_equal(object_validate(&object, validator, &err), STATUS_OK);
    object = json_object("product", CHANGE_DELETE, "{\"id\":\"prod_1\",\"metadata\":null}");
    assert_string_equal(printed(&object.value), "{\"stripe_id\":\"prod_1\",\"live\":true}");
    JsonValue array = json("[1]");
    assert_int_equal(mixer_receive_json(received("gateway", "product"), CHANGE_INSERT, &array,
                                        &arena, &object, &err),
                     STATUS_FAIL);
    assert_string_equal(err.message, "a JSON array came where an object is expected");
}

static void broken_values_name_their_column(void **context)
{
    (void)context;
    Object object;
    const MixerRow row =
        mixer_row(table, ROW(T("1"), NIL, NIL, NIL, NIL, T("{"), NIL, NIL), &arena);
    assert_int_equal(mixer_receive_row(&from_table, CHANGE_INSERT, &row, &arena, &object, &err),
                     STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_non_null(strstr(err.message, "column \"extra\": "));
}

// ---------------------------------------------------------------------------------------------
// Checking
// ---------------------------------------------------------------------------------------------

static void invalid_objects_say_why(void **context)
{
    (void)context;
    // No number, and not left out: the check names all that is wrong.
    Object object = json_object("product", CHANGE_INSERT,
                                "{\"id\":5,\"name\":null,\"metadata\":{\"id\":\"three\"}}");
    assert_string_equal(printed(&object.value),
                        "{\"stripe_id\":\"5\",\"name\":null,\"id\":\"three\",\"live\":true}");
    assert_int_equal(object_validate(&object, validator, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_DATA);
    assert_non_null(strstr(err.message, "product: name: "));
    size_t count;
    const SchemaProblem *problems = schema_problems(validator, &count);
    assert_int_equal(count, 2);
    assert_true(str_is(problems[1].instance, "/id"));
    assert_true(str_is(problems[1].schema, "models/m.json#/properties/id/type"));
}

static Status validate(bool is_partial, const char *text)
{
    Object object = object_of(OBJECT_UPSERT, text);
    object.is_partial = is_partial;
    return object_validate(&object, validator, &err);
}

static void of_a_part_only_what_is_there_is_checked(void **context)
{
    (void)context;
    assert_int_equal(validate(true, "{}"), STATUS_OK);
    assert_int_equal(validate(true, "{\"price\":1}"), STATUS_OK);
    assert_int_equal(validate(true, "{\"price\":-1}"), STATUS_FAIL);
    assert_non_null(strstr(err.message, "product: price: -1 is less than the minimum 0"));
    assert_int_equal(validate(false, "{\"price\":1}"), STATUS_FAIL);
    assert_int_equal(validate(false, "{\"name\":\"a\",\"price\":1}"), STATUS_FAIL); // anyOf
    assert_int_equal(validate(false, "{\"name\":\"a\",\"id\":1}"), STATUS_OK);
    // What is deleted may have been valid by an older model.
    Object gone = object_of(OBJECT_DELETE, "{\"price\":-1,\"name\":null}");
    assert_int_equal(object_validate(&gone, validator, &err), STATUS_OK);
    // With all properties there is nothing that could be missing: the whole schema counts.
    const char *whole = "{\"id\":null,\"stripe_id\":null,\"name\":\"a\",\"price\":null,"
                        "\"live\":true,\"tags\":null}";
    assert_int_equal(validate(true, whole), STATUS_OK);
}

// ---------------------------------------------------------------------------------------------
// Finding columns
// ---------------------------------------------------------------------------------------------

static void assert_not_bound(const MixerRule *rule, bool is_pushed, const Relation *relation,
                             const char *message)
{
    MixerBinding binding;
    assert_int_equal(mixer_bind(rule, is_pushed, relation, &arena, &binding, &err), STATUS_FAIL);
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.message, message);
}

static Relation *with_column(uint16_t index, Column changed)
{
    Relation *copy = relation_copy(&arena, table);
    copy->columns[index] = changed;
    return copy;
}

static void tables_have_to_fit(void **context)
{
    (void)context;
    const MixerRule *in = received("db", "public.products");
    const MixerRule *out = pushed("db");
    assert_not_bound(in, false, with_column(2, TEXT("product_nam", 3)),
                     "s.yml:9: the table \"public.products\" has no column \"product_name\"");
    assert_string_equal(err.hint, "Did you mean \"product_nam\"?");
    assert_not_bound(out, true, with_column(6, TEXT("origin", 7)),
                     "s.yml:23: the table \"public.products\" has no column \"source\"");
    assert_not_bound(in, false, with_column(5, TEXT("extra", 6)),
                     "s.yml:12: \"extra.tags.0\" goes into \"extra\", which is text and no json");
    assert_not_bound(in, false, with_column(4, INT4("live", 5)),
                     "s.yml:11: \"live\" is integer, which cannot be converted to boolean");
    assert_not_bound(out, true, with_column(3, BOOL("price", 4)),
                     "s.yml:22: \"price\" is boolean, which cannot be converted from number, null");
    assert_not_bound(out, true, with_column(0, BOOL("id", 1)),
                     "s.yml:19: \"id\" is boolean, which cannot be converted from integer, null");
    Column array = column("price", 4, 1007, "integer[]");
    array.kind = TYPE_KIND_ARRAY;
    assert_not_bound(in, false, with_column(3, array),
                     "s.yml:10: \"price\" is integer[], which cannot be converted to number, null");
    assert_not_bound(
        out, true, with_column(3, array),
        "s.yml:22: \"price\" is integer[], which cannot be converted from number, null");
    assert_not_bound(out, true, with_column(6, BOOL("source", 7)),
                     "s.yml:23: \"source\": \"hub\" cannot become one of: boolean");
}

// ---------------------------------------------------------------------------------------------
// Pushing
// ---------------------------------------------------------------------------------------------

static bool is_only_if_there(const MixerRule *rule, Object object)
{
    PushedRow row;
    assert_int_equal(mixer_push(rule, &object, &arena, &row, &err), STATUS_OK);
    return row.only_if_there;
}

// "id=1 stripe_id=null | product_name="a"": search keys before the bar.
static const char *pushed_text(const MixerRule *rule, Object object)
{
    PushedRow row;
    if (mixer_push(rule, &object, &arena, &row, &err) != STATUS_OK) {
        return err.message;
    }
    assert_int_equal(row.op, object.op);
    CLEANUP(buf_done) Buf out;
    buf_init(&out, LIMIT_TEXT_BYTES);
    for (size_t i = 0; i < row.count; i++) {
        buf_cstr(&out, i == row.search_key_count ? "| " : "");
        buf_printf(&out, "%" STR_FMT "=", STR_ARG(row.cells[i].field->name));
        json_print(&out, &row.cells[i].value);
        buf_char(&out, ' ');
    }
    return str_to_cstr(&arena, buf_view(&out));
}

// Who gives an object an id must not bring back a row that is gone.
static void keys_alone_make_no_row(void **context)
{
    (void)context;
    const MixerRule *db = pushed("db");
    Object object = object_of(OBJECT_UPSERT, "{\"id\":3,\"stripe_id\":\"p_1\"}");
    assert_string_equal(pushed_text(db, object), "id=3 stripe_id=\"p_1\" | source=\"hub\" ");
    assert_true(is_only_if_there(db, object));
    object = object_of(OBJECT_UPSERT, "{\"id\":3,\"price\":null}");
    assert_false(is_only_if_there(db, object));
    object = object_of(OBJECT_UPSERT, "{\"id\":3}"); // says of nothing that it goes with it
    assert_false(is_only_if_there(db, object));
    object = object_of(OBJECT_DELETE, "{\"id\":3,\"stripe_id\":\"p_1\"}");
    assert_false(is_only_if_there(db, object));
    // A table that takes nothing else: whoever says more of the object makes a row.
    const MixerRule *links = pushed("links");
    object = object_of(OBJECT_UPSERT, "{\"id\":3,\"stripe_id\":\"p_1\"}");
    assert_true(is_only_if_there(links, object));
    object = object_of(OBJECT_UPSERT, "{\"id\":3,\"stripe_id\":\"p_1\",\"name\":\"a\"}");
    assert_false(is_only_if_there(links, object));
}

static void an_upsert_has_what_the_object_has(void **context)
{
    (void)context;
    const MixerRule *db = pushed("db");
    const MixerRule *gateway = pushed("gateway");
    Object object = object_of(OBJECT_UPSERT, "{\"price\":7,\"name\":\"a\",\"stripe_id\":\"p_1\","
                                             "\"id\":3,\"live\":true}");
    assert_string_equal(pushed_text(db, object),
                        "id=3 stripe_id=\"p_1\" | product_name=\"a\" price=7 source=\"hub\" ");
    assert_string_equal(pushed_text(gateway, object), "id=\"p_1\" | metadata[id]=3 name=\"a\" ");
    // Absent stays absent, and null is a value but nothing to search by.
    object = object_of(OBJECT_UPSERT, "{\"id\":3,\"stripe_id\":null,\"price\":null}");
    assert_string_equal(pushed_text(db, object),
                        "id=3 | stripe_id=null price=null source=\"hub\" ");
    assert_string_equal(pushed_text(gateway, object), "| metadata[id]=3 id=null ");
    // It says nothing about the location: constants alone are no row.
    object = object_of(OBJECT_UPSERT, "{\"live\":true}");
    assert_string_equal(pushed_text(db, object), "");
}

static void a_delete_has_all_search_keys(void **context)
{
    (void)context;
    const MixerRule *db = pushed("db");
    Object object = object_of(OBJECT_DELETE, "{\"stripe_id\":\"p_1\",\"id\":3,\"name\":\"a\"}");
    assert_string_equal(pushed_text(db, object), "id=3 stripe_id=\"p_1\" ");
    object = object_of(OBJECT_DELETE, "{\"id\":3}");
    assert_string_equal(pushed_text(db, object),
                        "s.yml:20: what is to be deleted in \"public.products\" cannot be found: "
                        "its \"stripe_id\" is not known");
    assert_int_equal(err.kind, ERROR_DATA);
    // One that the row did not have says nothing, unless there is no other.
    object = object_of(OBJECT_DELETE, "{\"id\":null,\"stripe_id\":\"p_1\"}");
    assert_string_equal(pushed_text(db, object), "stripe_id=\"p_1\" ");
    object = object_of(OBJECT_DELETE, "{\"id\":null,\"stripe_id\":null}");
    assert_non_null(strstr(pushed_text(db, object), "its \"id\" is not known"));
}

static void cells_become_a_row_image(void **context)
{
    (void)context;
    Object object = object_of(OBJECT_UPSERT, "{\"id\":\"3\",\"name\":12,\"price\":1e2}");
    PushedRow row;
    Value *values;
    assert_int_equal(mixer_push(pushed("db"), &object, &arena, &row, &err), STATUS_OK);
    assert_int_equal(mixer_push_values(&to_table, &row, &arena, &values, &err), STATUS_OK);
    const Value *expected = ROW(T("3"), NONE, T("12"), T("100"), NONE, NONE, T("hub"), NONE);
    for (size_t i = 0; i < table->column_count; i++) {
        assert_true(value_equal(values[i], expected[i]));
    }
    object = object_of(OBJECT_UPSERT, "{\"id\":3,\"price\":1.5}");
    assert_int_equal(mixer_push(pushed("db"), &object, &arena, &row, &err), STATUS_OK);
    assert_int_equal(mixer_push_values(&to_table, &row, &arena, &values, &err), STATUS_FAIL);
    assert_string_equal(err.message, "s.yml:22: \"price\" of \"public.products\": 1.5 cannot "
                                     "become one of: integer");
}

// ---------------------------------------------------------------------------------------------
// Carrying
// ---------------------------------------------------------------------------------------------

static void objects_travel_in_a_batch(void **context)
{
    (void)context;
    static const char *const texts[] = {
        "{\"id\":9223372036854775807,\"stripe_id\":null,\"name\":\"a\\\"b\",\"price\":0.10,"
        "\"live\":false,\"tags\":{\"a\":[1,null,\"x\"]}}",
        "{}",
        "{\"tags\":null,\"price\":null}",
        "{\"tags\":[]}",
    };
    Packer packer = {0};
    Unpacker unpacker = {0};
    Batch *sent = batch_new();
    Batch *got = batch_new();
    CLEANUP(buf_done) Buf relation;
    CLEANUP(buf_done) Buf changes;
    buf_init(&relation, LIMIT_TEXT_BYTES);
    buf_init(&changes, LIMIT_TEXT_BYTES);
    static const Transaction transaction = {.commit_lsn = 5, .origin = {"gateway", 7}};
    for (size_t i = 0; i < ARRAY_LEN(texts) * 2; i++) {
        Object object = object_of(i % 2 == 0 ? OBJECT_UPSERT : OBJECT_DELETE, texts[i / 2]);
        Change *change;
        assert_int_equal(object_put(sent, &object, &change, &err), STATUS_OK);
        change->transaction = &transaction;
        change->ordinal = i + 1;
    }
    assert_true(pack_relation(&packer, product->relation, &relation));
    assert_int_equal(pack_changes(&packer, sent->changes, sent->count, SIZE_MAX, &changes),
                     sent->count);
    assert_int_equal(unpack_relation(&unpacker, buf_view(&relation), &err), STATUS_OK);
    assert_int_equal(unpack_changes(&unpacker, buf_view(&changes), got, &err), STATUS_OK);
    assert_int_equal(got->count, ARRAY_LEN(texts) * 2);
    for (size_t i = 0; i < got->count; i++) {
        Object object;
        if (object_take(product, &got->changes[i], &arena, &object, &err) != STATUS_OK) {
            fail_msg("%s", err.message);
        }
        assert_int_equal(object.op, i % 2 == 0 ? OBJECT_UPSERT : OBJECT_DELETE);
        JsonValue expected = json(texts[i / 2]);
        assert_true(json_equal(&object.value, &expected));
    }
    packer_done(&packer);
    unpacker_done(&unpacker);
    batch_unref(sent);
    batch_unref(got);
}

static void what_cannot_be_carried_is_refused(void **context)
{
    (void)context;
    Batch *batch = batch_new();
    Change *change;
    Object object = object_of(OBJECT_UPSERT, "{\"id\":9223372036854775808}");
    assert_int_equal(object_put(batch, &object, &change, &err), STATUS_FAIL);
    assert_string_equal(err.message,
                        "product: id: 9223372036854775808 is out of the range of type bigint");
    object = object_of(OBJECT_UPSERT, "{\"name\":\"a\\u0000\"}");
    assert_int_equal(object_put(batch, &object, &change, &err), STATUS_FAIL);
    assert_int_equal(batch->count, 0);
    // A delete needs its search keys only.
    object = object_of(OBJECT_DELETE, "{\"id\":9223372036854775808,\"name\":\"b\"}");
    assert_int_equal(object_put(batch, &object, &change, &err), STATUS_OK);
    assert_int_equal(object_take(product, change, &arena, &object, &err), STATUS_OK);
    JsonValue expected = json("{\"name\":\"b\"}");
    assert_true(json_equal(&object.value, &expected));
    batch_unref(batch);
}

static void other_changes_are_no_objects(void **context)
{
    (void)context;
    Relation *other = relation_copy(&arena, product->relation);
    const Value *row = ROW(T("1"), SAME, SAME, SAME, SAME, SAME);
    Change change = {.op = CHANGE_UPDATE, .relation = other, .new_row = row};
    Object object;
    assert_int_equal(object_take(product, &change, &arena, &object, &err), STATUS_OK);
    change.op = CHANGE_INSERT;
    assert_int_equal(object_take(product, &change, &arena, &object, &err), STATUS_FAIL);
    change.op = CHANGE_DELETE; // without a row
    assert_int_equal(object_take(product, &change, &arena, &object, &err), STATUS_FAIL);
    change.op = CHANGE_UPDATE;
    other->name = STR("order");
    assert_int_equal(object_take(product, &change, &arena, &object, &err), STATUS_FAIL);
    assert_string_equal(err.message,
                        "a change of \"order\" (update) is no object of the model \"product\"");
    // The model has changed since.
    other->name = STR("product");
    other->columns[1].name = STR("weight");
    assert_int_equal(object_take(product, &change, &arena, &object, &err), STATUS_OK);
    change.new_row = ROW(T("1"), T("5"), SAME, SAME, SAME, SAME);
    assert_int_equal(object_take(product, &change, &arena, &object, &err), STATUS_FAIL);
    assert_non_null(strstr(err.message, "\"weight\", which the model does not have any more"));
}

static void properties_have_the_type_that_holds_them(void **context)
{
    (void)context;
    static const TypeClass expected[] = {TYPE_INT8,    TYPE_TEXT, TYPE_TEXT,
                                         TYPE_NUMERIC, TYPE_BOOL, TYPE_JSONB};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(product->relation->columns[i].type, expected[i]);
    }
    assert_true(str_is(product->relation->name, "product"));
    assert_int_not_equal(product->relation->oid, 0);
}

// ---------------------------------------------------------------------------------------------
// All the way
// ---------------------------------------------------------------------------------------------

// A row of the table is received, checked, carried in a batch, and pushed to a table like it.
static const Value *mirrored(ChangeOp op, const Value *row)
{
    Batch *batch = batch_new();
    Object object = row_object(op, row);
    Object taken;
    Change *change;
    PushedRow pushed_row;
    Value *values;
    if (object_validate(&object, validator, &err) != STATUS_OK ||
        object_put(batch, &object, &change, &err) != STATUS_OK ||
        object_take(product, change, &arena, &taken, &err) != STATUS_OK ||
        mixer_push(pushed("db"), &taken, &arena, &pushed_row, &err) != STATUS_OK ||
        mixer_push_values(&to_table, &pushed_row, &arena, &values, &err) != STATUS_OK) {
        fail_msg("%s", err.message);
    }
    for (uint16_t i = 0; i < table->column_count; i++) {
        Str text = value_is_data(values[i]) ? str_copy(&arena, value_str(values[i])) : STR("");
        values[i].ptr = text.ptr;
    }
    batch_unref(batch);
    return values;
}

static void an_update_to_null_arrives(void **context)
{
    (void)context;
    const Value *row =
        mirrored(CHANGE_UPDATE, ROW(T("1"), NIL, T("a"), NIL, T("f"), SAME, NIL, NIL));
    assert_int_equal(row[1].state, VALUE_NULL);
    assert_int_equal(row[3].state, VALUE_NULL);
    assert_true(value_equal(row[2], T("a")));
}

static void what_did_not_change_is_left_alone(void **context)
{
    (void)context;
    const Value *row =
        mirrored(CHANGE_UPDATE, ROW(T("1"), SAME, SAME, T("5"), SAME, SAME, NIL, NIL));
    assert_int_equal(row[1].state, VALUE_ABSENT);
    assert_int_equal(row[2].state, VALUE_ABSENT);
    assert_true(value_equal(row[3], T("5")));
    assert_int_equal(row[7].state, VALUE_ABSENT); // "internal", which no mixer names
}

static void large_integers_keep_their_digits(void **context)
{
    (void)context;
    const Value *row = mirrored(CHANGE_INSERT, ROW(T("9007199254740993"), NIL, T("a"), NIL, T("t"),
                                                   T("{\"tags\":[[]]}"), NIL, NIL));
    assert_true(value_equal(row[0], T("9007199254740993")));
}

static void a_renamed_field_arrives_under_its_name(void **context)
{
    (void)context;
    Object object = json_object("product", CHANGE_UPDATE,
                                "{\"id\":\"prod_1\",\"name\":\"Gold\",\"metadata\":{\"id\":3}}");
    assert_string_equal(pushed_text(pushed("db"), object),
                        "id=3 stripe_id=\"prod_1\" | product_name=\"Gold\" source=\"hub\" ");
}

static int clean_up(void **context)
{
    schema_validator_free(validator);
    hub_free(hub);
    return free_arena(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_becomes_an_object),
        cmocka_unit_test(absent_null_and_unchanged_stay_apart),
        cmocka_unit_test(a_json_object_becomes_an_object),
        cmocka_unit_test(broken_values_name_their_column),
        cmocka_unit_test(invalid_objects_say_why),
        cmocka_unit_test(of_a_part_only_what_is_there_is_checked),
        cmocka_unit_test(tables_have_to_fit),
        cmocka_unit_test(keys_alone_make_no_row),
        cmocka_unit_test(an_upsert_has_what_the_object_has),
        cmocka_unit_test(a_delete_has_all_search_keys),
        cmocka_unit_test(cells_become_a_row_image),
        cmocka_unit_test(objects_travel_in_a_batch),
        cmocka_unit_test(what_cannot_be_carried_is_refused),
        cmocka_unit_test(other_changes_are_no_objects),
        cmocka_unit_test(properties_have_the_type_that_holds_them),
        cmocka_unit_test(an_update_to_null_arrives),
        cmocka_unit_test(what_did_not_change_is_left_alone),
        cmocka_unit_test(large_integers_keep_their_digits),
        cmocka_unit_test(a_renamed_field_arrives_under_its_name),
    };
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
