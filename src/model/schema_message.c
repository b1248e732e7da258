// What is wrong, in words.
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "model/schema_run.h"
#include "model/schema_set.h"

enum {
    VALUE_BYTES_MAX = 60,
    CHOICES_MAX = 200,
    PRINTED_MAX = LIMIT_JSON_BYTES + (1 << 20), // with the longest name that a document can have
};

static Str pointer_text(Arena *arena, const InstancePath *path)
{
    if (path == NULL) {
        return STR("");
    }
    Str outer = pointer_text(arena, path->outer);
    Str token =
        path->name.ptr != NULL ? path->name : str_from(arena_printf(arena, "%u", path->index));
    return schema_pointer_add(arena, outer, token);
}

Str schema_path_name(Str pointer)
{
    return pointer.len == 0 ? pointer : (Str){pointer.ptr + 1, pointer.len - 1};
}

static const char *cut_text(SchemaValidator *on, Str text, size_t max)
{
    size_t len = utf8_cut(text, max);
    return arena_printf(&on->messages, "%.*s%s", (int)len, text.ptr == NULL ? "" : text.ptr,
                        len < text.len ? "…" : "");
}

const char *schema_value_text(SchemaValidator *on, const JsonValue *value)
{
    if (value->kind == JSON_ARRAY || value->kind == JSON_OBJECT) {
        return arena_printf(&on->messages, "the %s of %u", json_kind_name(value->kind),
                            value->count);
    }
    Buf out = {.max = PRINTED_MAX};
    JsonValue shown = *value;
    if (shown.kind == JSON_STRING || shown.kind == JSON_NUMBER) {
        shown.text.len = utf8_cut(shown.text, VALUE_BYTES_MAX * 2);
    }
    json_print(&out, &shown);
    const char *text = cut_text(on, buf_view(&out), VALUE_BYTES_MAX);
    buf_done(&out);
    return text;
}

void schema_report_as(SchemaValidator *on, const Block *block, const char *keyword,
                      const InstancePath *path, const char *format, ...)
{
    if (!on->is_reporting || on->problem_count == SCHEMA_PROBLEMS_MAX) {
        return;
    }
    Buf reason = {.max = PRINTED_MAX};
    va_list args;
    va_start(args, format);
    buf_vprintf(&reason, format, args);
    va_end(args);
    const char *slash = keyword == NULL ? "" : "/";
    const char *place = arena_printf(&on->messages, "%" STR_FMT "%s%s", STR_ARG(block->location),
                                     slash, keyword == NULL ? "" : keyword);
    on->problems[on->problem_count++] = (SchemaProblem){
        .instance = pointer_text(&on->messages, path),
        .schema = str_from(place),
        .reason = str_copy(&on->messages, buf_view(&reason)),
    };
    buf_done(&reason);
}

// "an integer", "a string or null"
static const char *type_names(SchemaValidator *on, uint32_t types)
{
    Buf out = {.max = PRINTED_MAX};
    for (uint32_t type = 0; type <= SCHEMA_INTEGER; type++) {
        if ((types >> type & 1) == 0) {
            continue;
        }
        types &= ~(UINT32_C(1) << type);
        const char *name = type == SCHEMA_INTEGER ? "integer" : json_kind_name((JsonKind)type);
        bool has_vowel = strchr("aio", name[0]) != NULL;
        buf_printf(&out, "%s%s%s",
                   out.len == 0 ? ""
                   : types != 0 ? ", "
                                : " or ",
                   type == JSON_NULL ? ""
                   : has_vowel       ? "an "
                                     : "a ",
                   name);
    }
    const char *text = str_to_cstr(&on->messages, buf_view(&out));
    buf_done(&out);
    return text;
}

static const char *choices(SchemaValidator *on, const EnumCheck *check)
{
    Buf out = {.max = PRINTED_MAX};
    for (uint32_t i = 0; i < check->count && out.len < CHOICES_MAX; i++) {
        buf_printf(&out, "%s%s", i == 0 ? "" : ", ", schema_value_text(on, &check->values[i]));
    }
    const char *text = cut_text(on, buf_view(&out), CHOICES_MAX);
    buf_done(&out);
    return text;
}

static const char *bound_words(Keyword keyword)
{
    switch (keyword) {
    case KEYWORD_MINIMUM:
        return "less than the minimum";
    case KEYWORD_EXCLUSIVE_MINIMUM:
        return "not greater than";
    case KEYWORD_MAXIMUM:
        return "greater than the maximum";
    default:
        return "not less than";
    }
}

void schema_report(SchemaValidator *on, const Block *block, const Instruction *instruction,
                   const JsonValue *value, const InstancePath *path)
{
    Keyword keyword = (Keyword)instruction->keyword;
    const char *name = keyword_table[keyword].name;
    const char *text = schema_value_text(on, value);
    bool is_most = keyword == KEYWORD_MAX_LENGTH || keyword == KEYWORD_MAX_ITEMS ||
                   keyword == KEYWORD_MAX_PROPERTIES;
    switch ((SchemaOp)instruction->op) {
    case SCHEMA_TYPE:
        schema_report_as(on, block, name, path, "%s is not %s", text,
                         type_names(on, instruction->a));
        break;
    case SCHEMA_CONST:
        schema_report_as(on, block, name, path, "%s is not %s", text,
                         schema_value_text(on, instruction->data));
        break;
    case SCHEMA_ENUM:
        schema_report_as(on, block, name, path, "%s is none of: %s", text,
                         choices(on, instruction->data));
        break;
    case SCHEMA_BOUND:
        schema_report_as(on, block, name, path, "%s is %s %" STR_FMT, text, bound_words(keyword),
                         STR_ARG(((const NumberCheck *)instruction->data)->text));
        break;
    case SCHEMA_MULTIPLE:
        schema_report_as(on, block, name, path, "%s is not a multiple of %" STR_FMT, text,
                         STR_ARG(((const NumberCheck *)instruction->data)->text));
        break;
    case SCHEMA_LENGTH:
        schema_report_as(on, block, name, path, "%s has %zu characters, %s than %u", text,
                         utf8_length(value->text), is_most ? "more" : "fewer", instruction->a);
        break;
    case SCHEMA_PATTERN:
        schema_report_as(
            on, block, name, path, "%s does not match the pattern %s", text,
            cut_text(on, ((const PatternCheck *)instruction->data)->text, CHOICES_MAX));
        break;
    case SCHEMA_FORMAT:
        schema_report_as(on, block, name, path, "%s is not of the format %" STR_FMT, text,
                         STR_ARG(((const FormatUse *)instruction->data)->name));
        break;
    case SCHEMA_COUNT:
        schema_report_as(on, block, name, path, "it has %u %s, %s than %u", value->count,
                         value->kind == JSON_ARRAY ? "items" : "members",
                         is_most ? "more" : "fewer", instruction->a);
        break;
    default:
        assert(instruction->op == SCHEMA_NOT);
        schema_report_as(on, block, name, path, "%s is what it must not be", text);
        break;
    }
}
