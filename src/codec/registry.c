#include <assert.h>

#include "base/utf8.h"
#include "codec/codec.h"
#include "codec/formats.h"

typedef struct Format {
    const Codec *versions[2]; // versions 1 and 2; a format without versions has the first only
    int64_t fallback;         // version taken when the user names none
    bool is_wal2json;
} Format;

// In the order of the names.
static const Format formats[] = {
    {.versions = {&weir_codec}, .fallback = 1},
    {.versions = {&wal2json1_codec, &wal2json2_codec}, .fallback = 1, .is_wal2json = true},
    {.versions = {&wal2json1_codec}, .fallback = 1, .is_wal2json = true},
    {.versions = {NULL, &wal2json2_codec}, .fallback = 2, .is_wal2json = true},
};

const char *const codec_format_names[] = {"weir", "wal2json", "wal2json1", "wal2json2", NULL};

static_assert(ARRAY_LEN(formats) + 1 == ARRAY_LEN(codec_format_names), "one name a format");

static const Codec *find(const CodecOptions *options)
{
    const Format *format = &formats[options->format];
    int64_t version = options->version == 0 ? format->fallback : options->version;
    bool is_known = version >= 1 && version <= (int64_t)ARRAY_LEN(format->versions);
    return is_known ? format->versions[version - 1] : NULL;
}

Status codec_options_check(const CodecOptions *options, Error *err)
{
    const char *name = codec_format_names[options->format];
    if (find(options) == NULL) {
        return error_set(err, ERROR_CONFIG, "format \"%s\" has no version %" PRId64, name,
                         options->version);
    }
    bool is_v2 = find(options) == &wal2json2_codec;
    if (!formats[options->format].is_wal2json &&
        (options->include_xids || options->include_timestamp || options->include_pk)) {
        error_set(err, ERROR_CONFIG, "format \"%s\" has no include_ options", name);
        return error_hint(err, "Leave them out: it has all of that already.");
    }
    if (!options->include_transaction && !is_v2) {
        error_set(err, ERROR_CONFIG, "include_transaction=false needs version 2 of wal2json");
        return error_hint(err, "Say format=wal2json2.");
    }
    return STATUS_OK;
}

const Codec *codec_find(const CodecOptions *options)
{
    const Codec *codec = find(options);
    assert(codec != NULL);
    return codec;
}

void encoder_init(Encoder *encoder, const CodecOptions *options, Arena *arena)
{
    encoder->codec = codec_find(options);
    encoder->state = arena_alloc_zero(arena, encoder->codec->state_size);
    encoder->codec->init(encoder->state, options);
}

void encoder_done(Encoder *encoder)
{
    if (encoder->state != NULL) {
        encoder->codec->done(encoder->state);
    }
    *encoder = (Encoder){0};
}

Status codec_bad_value(const Relation *relation, const Column *column, Value value, Error *err)
{
    if (value.state == VALUE_BINARY) {
        return error_set(err, ERROR_FATAL, "column \"%" STR_FMT "\" has a binary value",
                         STR_ARG(column->name)); // nobody asked the server for that
    }
    error_set(err, ERROR_DATA,
              "column \"%" STR_FMT "\" of table \"%" STR_FMT ".%" STR_FMT
              "\" has a value that is not valid %" STR_FMT,
              STR_ARG(column->name), STR_ARG(relation->schema), STR_ARG(relation->name),
              STR_ARG(column->type_name));
    return utf8_is_valid(value_str(value))
               ? STATUS_FAIL
               : error_hint(err, "It is not UTF-8. Correct the row, or leave the column out of the "
                                 "publication.");
}
