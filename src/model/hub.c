#include "model/hub.h"

#include "base/limits.h"
#include "model/hub_inside.h"
#include "model/object.h"
#include "model/uri.h"

typedef struct HubBuilder {
    Hub *hub;
    SchemaSet *set;
    Map by_oid; // of models' relations
    Error *err;
} HubBuilder;

// ---------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------

static Status check_title(HubBuilder *in, const Model *model)
{
    Error *err = in->err;
    if (model->title.len == 0 || model->title.len > LIMIT_NAME_BYTES) {
        error_set(err, ERROR_CONFIG, "%" STR_FMT ": \"title\" is missing, empty or too long",
                  STR_ARG(model->file));
        return error_hint(err, "It is the model's name. Add \"title\": \"…\", at most %d bytes.",
                          LIMIT_NAME_BYTES);
    }
    const Model *other = map_get(&in->hub->by_title, model->title);
    if (other != NULL) {
        error_set(err, ERROR_CONFIG,
                  "%" STR_FMT ": there are two models of the title \"%" STR_FMT "\"",
                  STR_ARG(model->file), STR_ARG(model->title));
        return error_hint(err, "The other one is %" STR_FMT ".", STR_ARG(other->file));
    }
    other = map_get_u64(&in->by_oid, model->relation->oid);
    if (other != NULL) {
        error_set(err, ERROR_CONFIG,
                  "%" STR_FMT ": the title \"%" STR_FMT "\" has the same number as \"%" STR_FMT
                  "\"",
                  STR_ARG(model->file), STR_ARG(model->title), STR_ARG(other->title));
        return error_hint(err, "One in four thousand million pairs does. Change one of the two.");
    }
    return STATUS_OK;
}

static Status describe_properties(const HubBuilder *in, Model *model)
{
    uint32_t count = schema_property_count(model->schema);
    if (count == 0 || count > LIMIT_COLUMNS) {
        error_set(in->err, ERROR_CONFIG,
                  "%" STR_FMT ": the model has %u properties, expected 1 to %d",
                  STR_ARG(model->file), count, LIMIT_COLUMNS);
        return error_hint(in->err, "What counts is \"properties\" of the schema itself, not of "
                                   "those that it refers to.");
    }
    model->properties = ARENA_ARRAY(&in->hub->arena, SchemaProperty, count);
    for (; model->property_count < count; model->property_count++) {
        SchemaProperty property = schema_property(model->schema, model->property_count);
        if (property.name.len == 0 || property.name.len > LIMIT_NAME_BYTES) {
            return error_set(in->err, ERROR_CONFIG,
                             "%" STR_FMT ": the name of a property has %zu bytes, expected 1 to %d",
                             STR_ARG(model->file), property.name.len, LIMIT_NAME_BYTES);
        }
        model->properties[model->property_count] = property;
        (void)map_put(&model->by_name, property.name, &model->properties[model->property_count]);
    }
    return STATUS_OK;
}

static Status describe_model(HubBuilder *in, Model *model)
{
    model->title = schema_title(model->schema);
    if ((schema_types(model->schema) >> JSON_OBJECT & 1) == 0) {
        return error_set(in->err, ERROR_CONFIG, "%" STR_FMT ": \"type\" allows no object",
                         STR_ARG(model->file));
    }
    if (describe_properties(in, model) != STATUS_OK) {
        return STATUS_FAIL;
    }
    model->relation = object_relation(&in->hub->arena, model);
    return check_title(in, model);
}

static Status add_model(HubBuilder *in, const HubFile *file, const SchemaOptions *options)
{
    Hub *hub = in->hub;
    Model *model = &hub->models[hub->model_count];
    model->file = str_copy(&hub->arena, file->name);
    if (schema_compile(in->set, file->uri, options, &model->schema, in->err) != STATUS_OK) {
        return error_wrap(in->err, "%" STR_FMT, STR_ARG(file->name));
    }
    hub->model_count++; // from here on hub_free() has it
    if (describe_model(in, model) != STATUS_OK) {
        return STATUS_FAIL;
    }
    (void)map_put(&hub->by_title, model->title, model);
    (void)map_put_u64(&in->by_oid, model->relation->oid, model);
    return STATUS_OK;
}

static Status add_document(const HubBuilder *in, const HubFile *file)
{
    if (!uri_is_valid(file->uri, URI_UNICODE)) {
        error_set(in->err, ERROR_CONFIG, "\"%" STR_FMT "\" is no name that a schema can have",
                  STR_ARG(file->name));
        return error_hint(in->err, "Name the file by letters, digits, - and _.");
    }
    return schema_set_add(in->set, file->uri, file->text, in->err) == STATUS_OK
               ? STATUS_OK
               : error_wrap(in->err, "%" STR_FMT, STR_ARG(file->name));
}

static Status add_models(HubBuilder *in, const HubFiles *files)
{
    const SchemaOptions options = {.assert_formats = files->assert_formats};
    in->hub->models = ARENA_ARRAY(&in->hub->arena, Model, files->model_count);
    for (size_t i = 0; i < files->model_count; i++) {
        if (add_document(in, &files->models[i]) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    for (size_t i = 0; i < files->model_count; i++) {
        if (add_model(in, &files->models[i], &options) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Systems
// ---------------------------------------------------------------------------------------------

static Status add_systems(const HubBuilder *in, const HubFiles *files)
{
    Hub *hub = in->hub;
    size_t count = 0;
    YamlNode **roots = ARENA_ARRAY(&hub->arena, YamlNode *, files->system_count);
    for (size_t i = 0; i < files->system_count; i++) {
        const HubFile *from = &files->systems[i];
        const ConfigFile file = {from->name, &hub->arena, in->err};
        if (yaml_parse(from->text, from->name, &hub->arena, &roots[i], in->err) != STATUS_OK ||
            config_expect_mapping(&file, roots[i], "a file of systems") != STATUS_OK) {
            return STATUS_FAIL;
        }
        count += roots[i]->count;
    }
    hub->systems = ARENA_ARRAY(&hub->arena, HubSystem, count);
    for (size_t i = 0; i < files->system_count; i++) {
        const ConfigFile file = {str_copy(&hub->arena, files->systems[i].name), &hub->arena,
                                 in->err};
        for (size_t j = 0; j < roots[i]->count; j++) {
            if (hub_add_system(hub, &file, &roots[i]->pairs[j]) != STATUS_OK) {
                return STATUS_FAIL;
            }
        }
    }
    return STATUS_OK;
}

static void note_keys_of(const MixerGroup *group)
{
    for (size_t i = 0; i < group->count; i++) {
        const MixerRule *rule = &group->rules[i];
        for (size_t n = 0; n < rule->count; n++) {
            const MixerField *field = &rule->fields[n];
            if (field->is_search_key && field->property >= 0) {
                rule->model->is_search_key[field->property] = true;
            }
        }
    }
}

static void note_search_keys(Hub *hub)
{
    for (size_t i = 0; i < hub->model_count; i++) {
        hub->models[i].is_search_key =
            ARENA_ARRAY(&hub->arena, bool, hub->models[i].property_count);
    }
    for (size_t i = 0; i < hub->system_count; i++) {
        for (size_t n = 0; n < hub->systems[i].push_count; n++) {
            note_keys_of(&hub->systems[i].push[n]);
        }
    }
}

Status hub_compile(const HubFiles *files, Hub **ret, Error *err)
{
    HubBuilder in = {.hub = mem_alloc_zero(sizeof(Hub)), .set = schema_set_new(), .err = err};
    in.hub->keep_duplicates_ms = files->keep_duplicates_ms;
    in.hub->listen = str_copy(&in.hub->arena, files->listen);
    in.hub->name = str_copy(&in.hub->arena, files->name);
    in.hub->state = str_copy(&in.hub->arena, files->state);
    Status status = add_models(&in, files) == STATUS_OK ? add_systems(&in, files) : STATUS_FAIL;
    schema_set_free(in.set);
    map_done(&in.by_oid);
    if (status == STATUS_OK) {
        note_search_keys(in.hub);
        *ret = in.hub;
    } else {
        hub_free(in.hub);
    }
    return status;
}

void hub_free(Hub *hub)
{
    if (hub == NULL) {
        return;
    }
    for (size_t i = 0; i < hub->model_count; i++) {
        map_done(&hub->models[i].by_name);
        schema_free(hub->models[i].schema);
    }
    map_done(&hub->by_title);
    arena_done(&hub->arena);
    mem_free(hub);
}

// ---------------------------------------------------------------------------------------------
// Looking up
// ---------------------------------------------------------------------------------------------

const Model *hub_find_model(const Hub *hub, Str title)
{
    return map_get(&hub->by_title, title);
}

const HubSystem *hub_find_system(const Hub *hub, Str name)
{
    for (size_t i = 0; i < hub->system_count; i++) {
        if (str_equal(hub->systems[i].name, name)) {
            return &hub->systems[i];
        }
    }
    return NULL;
}

static const MixerGroup *find_group(const MixerGroup *groups, size_t count, Str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_equal(groups[i].name, name)) {
            return &groups[i];
        }
    }
    return NULL;
}

const MixerGroup *hub_find_location(const HubSystem *system, Str location)
{
    return find_group(system->receive, system->receive_count, location);
}

const MixerGroup *hub_find_table(const HubSystem *system, Str schema, Str table)
{
    for (size_t i = 0; i < system->receive_count; i++) {
        const MixerRule *rule = system->receive[i].rules;
        if (str_equal(rule->schema, schema) && str_equal(rule->table, table)) {
            return &system->receive[i];
        }
    }
    return NULL;
}

const MixerGroup *hub_find_push(const HubSystem *system, const Model *model)
{
    return find_group(system->push, system->push_count, model->title);
}
