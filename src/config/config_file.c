#include "config/config_file.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/buf.h"
#include "config/text_file.h"

enum { VALUE_MAX = 64 * 1024 };

// ---------------------------------------------------------------------------------------------
// Complaints
// ---------------------------------------------------------------------------------------------

Status config_complain(const ConfigFile *file, size_t line, const char *what, Str name)
{
    return error_set(file->err, ERROR_CONFIG, "%" STR_FMT ":%zu: %s \"%" STR_FMT "\"",
                     STR_ARG(file->name), line, what, STR_ARG(name));
}

Status config_suggest(const ConfigFile *file, Str wrong, const char *const *names)
{
    return suggest_name(wrong, names, "Known here", file->err);
}

Str config_origin(const ConfigFile *file, size_t line)
{
    return str_from(arena_printf(file->arena, "%" STR_FMT ":%zu", STR_ARG(file->name), line));
}

// ---------------------------------------------------------------------------------------------
// ${…}
// ---------------------------------------------------------------------------------------------

static Status expand_one(const ConfigFile *file, Str name, size_t line, Buf *out)
{
    if (str_starts_with(name, STR("file:"))) {
        Str contents;
        const char *path = str_to_cstr(file->arena, (Str){name.ptr + 5, name.len - 5});
        if (text_file_read(path, VALUE_MAX, file->arena, &contents, file->err) != STATUS_OK) {
            return error_wrap(file->err, "%" STR_FMT ":%zu", STR_ARG(file->name), line);
        }
        while (contents.len > 0 && contents.ptr[contents.len - 1] == '\n') {
            contents.len--;
        }
        buf_str(out, contents);
        return STATUS_OK;
    }
    ptrdiff_t colon = str_find(name, ':');
    bool has_default = colon >= 0 && (size_t)colon + 1 < name.len && name.ptr[colon + 1] == '-';
    Str variable = has_default ? (Str){name.ptr, (size_t)colon} : name;
    const char *value = getenv(str_to_cstr(file->arena, variable));
    if (value != NULL && value[0] != '\0') {
        buf_cstr(out, value);
    } else if (has_default) {
        buf_str(out, (Str){name.ptr + colon + 2, name.len - (size_t)colon - 2});
    } else {
        (void)config_complain(file, line, "there is no environment variable", variable);
        return error_hint(file->err, "Set it, or give a default: ${%" STR_FMT ":-value}.",
                          STR_ARG(variable));
    }
    return STATUS_OK;
}

Status config_expand(const ConfigFile *file, const YamlNode *scalar, Str *ret)
{
    CLEANUP(buf_done) Buf out;
    buf_init(&out, VALUE_MAX);
    Str text = scalar->scalar;
    for (size_t i = 0; i < text.len; i++) {
        bool opens = text.ptr[i] == '$' && i + 1 < text.len && text.ptr[i + 1] == '{';
        if (!opens) {
            buf_char(&out, text.ptr[i]);
            continue;
        }
        Str rest = {text.ptr + i + 2, text.len - i - 2};
        ptrdiff_t close = str_find(rest, '}');
        if (close < 0) {
            // The value may hold a password: it is not shown.
            return error_set(file->err, ERROR_CONFIG, "%" STR_FMT ":%zu: \"${\" without \"}\"",
                             STR_ARG(file->name), scalar->line);
        }
        if (expand_one(file, (Str){rest.ptr, (size_t)close}, scalar->line, &out) != STATUS_OK) {
            return STATUS_FAIL;
        }
        i += (size_t)close + 2;
    }
    *ret = str_copy(file->arena, buf_view(&out));
    return buf_check(&out, "a value", file->err);
}

// ---------------------------------------------------------------------------------------------
// Mappings
// ---------------------------------------------------------------------------------------------

Status config_expect_mapping(const ConfigFile *file, const YamlNode *node, const char *what)
{
    if (node->kind == YAML_MAPPING) {
        return STATUS_OK;
    }
    return error_set(file->err, ERROR_CONFIG,
                     "%" STR_FMT ":%zu: %s has to be a mapping of names to values",
                     STR_ARG(file->name), node->line, what);
}

bool config_is_one_of(Str key, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (str_is(key, *names)) {
            return true;
        }
    }
    return false;
}

Str config_beside(Str file, Str path, Arena *arena)
{
    if (path.len == 0 || path.ptr[0] == '/' || path.ptr[0] == ':') {
        return path;
    }
    char real[PATH_MAX];
    const char *folder = dirname(str_to_cstr(arena, file));
    return str_from(arena_printf(arena, "%s/%" STR_FMT,
                                 realpath(folder, real) == NULL ? folder : real, STR_ARG(path)));
}

bool config_is_name_char(char c)
{
    return ascii_is_alphanumeric(c) || c == '_' || c == '.' || c == '-';
}

bool config_is_name(Str name)
{
    enum { NAME_MAX_BYTES = 100 };
    bool valid =
        name.len > 0 && name.len <= NAME_MAX_BYTES && name.ptr[0] != '.' && name.ptr[0] != '-';
    for (size_t i = 0; valid && i < name.len; i++) {
        valid = config_is_name_char(name.ptr[i]);
    }
    return valid;
}

Status config_check_keys(const ConfigFile *file, const YamlNode *node, const char *const *known)
{
    for (size_t i = 0; i < node->count; i++) {
        const YamlPair *pair = &node->pairs[i];
        if (!config_is_one_of(pair->key, known)) {
            (void)config_complain(file, pair->line, "unknown key", pair->key);
            return config_suggest(file, pair->key, known);
        }
    }
    return STATUS_OK;
}

bool config_is_replaced(const YamlNode *scalar)
{
    return scalar->kind == YAML_SCALAR && scalar->scalar.len > 0 &&
           memmem(scalar->scalar.ptr, scalar->scalar.len, "${", 2) != NULL;
}

// A word that YAML takes for no value at all, such as the name of the null sink.
static Status missing_value(const ConfigFile *file, const YamlNode *node, size_t line,
                            const char *what, Str name)
{
    (void)config_complain(file, line, what, name);
    if (node->kind == YAML_SCALAR && str_is(node->scalar, "null")) {
        return error_hint(file->err, "Without quotes, YAML reads null as no value. The word is "
                                     "written \"null\", with its quotes.");
    }
    return STATUS_FAIL;
}

Status config_scalar(const ConfigFile *file, const YamlPair *pair, Str *ret)
{
    if (pair->value->kind != YAML_SCALAR || pair->value->is_null) {
        return missing_value(file, pair->value, pair->line, "one value is expected for", pair->key);
    }
    return config_expand(file, pair->value, ret);
}

Status config_setting(const ConfigFile *file, const YamlPair *pair, Setting *ret)
{
    *ret = (Setting){.key = pair->key, .origin = config_origin(file, pair->line)};
    ret->written = config_is_replaced(pair->value) ? pair->value->scalar : STR("");
    return config_scalar(file, pair, &ret->value);
}

static Status list_setting(const ConfigFile *file, const YamlPair *pair, Setting *ret)
{
    *ret = (Setting){.key = pair->key, .origin = config_origin(file, pair->line), .is_list = true};
    ret->list.items = ARENA_ARRAY(file->arena, Str, pair->value->count);
    for (size_t i = 0; i < pair->value->count; i++) {
        const YamlNode *item = pair->value->items[i];
        if (item->kind != YAML_SCALAR || item->is_null) {
            return missing_value(file, item, item->line, "a list of words is expected for",
                                 pair->key);
        }
        if (config_expand(file, item, &ret->list.items[ret->list.count++]) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status config_add_settings(const ConfigFile *file, const YamlNode *node, const char *const *without,
                           Settings *settings)
{
    for (size_t i = 0; i < node->count; i++) {
        const YamlPair *pair = &node->pairs[i];
        if (config_is_one_of(pair->key, without)) {
            continue;
        }
        Setting *setting = &settings->items[settings->count++];
        Status status = pair->value->kind == YAML_SEQUENCE ? list_setting(file, pair, setting)
                                                           : config_setting(file, pair, setting);
        if (status != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}
