#include "sinks/http_template.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/percent.h"
#include "codec/codec.h"
#include "codec/json.h"
#include "codec/row_json.h"
#include "config/option.h"

typedef enum Name {
    NAME_NONE, // fixed text
    NAME_SCHEMA,
    NAME_TABLE,
    NAME_OP,
    NAME_LSN,
    NAME_ORDINAL,
    NAME_XID,
    NAME_COMMIT_TIME,
    NAME_EVENT,
    NAME_KEY,
    NAME_NEW,
    NAME_OLD,
} Name;

static const char *const names[] = {
    [NAME_NONE] = "",
    [NAME_SCHEMA] = "schema",
    [NAME_TABLE] = "table",
    [NAME_OP] = "op",
    [NAME_LSN] = "lsn",
    [NAME_ORDINAL] = "ordinal",
    [NAME_XID] = "xid",
    [NAME_COMMIT_TIME] = "commit_time",
    [NAME_EVENT] = "event",
    [NAME_KEY] = "key",
    [NAME_NEW] = "new",
    [NAME_OLD] = "old",
    NULL,
};

struct HttpPiece {
    Name name;
    Str text;       // fixed text; of a row's value, the column, or empty: all of them
    bool in_quotes; // of a body: inside of a JSON string
};

// ---------------------------------------------------------------------------------------------
// Reading one
// ---------------------------------------------------------------------------------------------

static bool is_of_row(Name name)
{
    return name >= NAME_KEY;
}

static Status unknown_name(Str word, Error *err)
{
    error_set(err, ERROR_CONFIG, "there is no {{%" STR_FMT "}}", STR_ARG(word));
    return suggest_name(word, names + 1, "There are", err);
}

static Status read_name(HttpTemplate *template, Str word, HttpPiece *ret, Error *err)
{
    Str column = word;
    Str head;
    (void)str_split(&column, '.', &head);
    Name name = NAME_SCHEMA;
    while (names[name] != NULL && !str_is(head, names[name])) {
        name++;
    }
    if (names[name] == NULL) {
        return unknown_name(word, err);
    }
    if (column.ptr != NULL && (!is_of_row(name) || column.len == 0)) {
        return unknown_name(word, err);
    }
    bool is_whole = column.ptr == NULL && (is_of_row(name) || name == NAME_EVENT);
    bool has_place = name == NAME_KEY || (template->kind == HTTP_TEMPLATE_BODY && !ret->in_quotes);
    if (is_whole && (!has_place || ret->in_quotes)) {
        error_set(err, ERROR_CONFIG, "{{%" STR_FMT "}} cannot stand here", STR_ARG(word));
        return error_hint(err, "It is an object, for a JSON body, outside of quotes. A column of a "
                               "row is {{new.COLUMN}}.");
    }
    ret->name = name;
    ret->text = column.ptr == NULL ? STR("") : column;
    template->has_names = true;
    template->has_rows = template->has_rows || is_of_row(name);
    return STATUS_OK;
}

static void skip_json(Str text, bool *in_quotes)
{
    for (size_t i = 0; i < text.len; i++) {
        if (*in_quotes && text.ptr[i] == '\\') {
            i++;
        } else if (text.ptr[i] == '"') {
            *in_quotes = !*in_quotes;
        }
    }
}

static ptrdiff_t find_pair(Str text, char byte)
{
    for (size_t i = 0; i + 2 <= text.len; i++) {
        if (text.ptr[i] == byte && text.ptr[i + 1] == byte) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static Str behind(Str text, size_t count)
{
    return (Str){text.ptr + count, text.len - count};
}

static bool is_sound(const HttpTemplate *template, Str fixed)
{
    for (size_t i = 0; i < fixed.len; i++) {
        unsigned char byte = (unsigned char)fixed.ptr[i];
        bool is_blank = byte == ' ' && template->kind == HTTP_TEMPLATE_URL;
        if (template->kind != HTTP_TEMPLATE_BODY && (byte < ' ' || byte == 0x7f || is_blank)) {
            return false;
        }
    }
    return true;
}

static Status read_pieces(HttpTemplate *template, Str text, Error *err)
{
    bool in_quotes = false;
    while (text.len > 0) {
        ptrdiff_t open = find_pair(text, '{');
        Str fixed = {text.ptr, open < 0 ? text.len : (size_t)open};
        if (template->kind == HTTP_TEMPLATE_BODY) {
            skip_json(fixed, &in_quotes);
        }
        if (!is_sound(template, fixed)) {
            return error_set(err, ERROR_CONFIG, "there is a blank or a control character in it");
        }
        if (fixed.len > 0) {
            template->pieces[template->count++] = (HttpPiece){.text = fixed};
        }
        if (open < 0) {
            break;
        }
        text = behind(text, (size_t)open + 2);
        ptrdiff_t close = find_pair(text, '}');
        if (close < 0) {
            return error_set(err, ERROR_CONFIG, "a {{ is not closed by }}");
        }
        HttpPiece *piece = &template->pieces[template->count++];
        piece->in_quotes = in_quotes;
        if (read_name(template, str_trim((Str){text.ptr, (size_t)close}), piece, err) !=
            STATUS_OK) {
            return STATUS_FAIL;
        }
        text = behind(text, (size_t)close + 2);
    }
    return STATUS_OK;
}

// With what is no part of anything else in the place of each value: a list, where a number could
// become another one (1{{new.id}}); inside of strings a blank, where an escape could (\u00{{key}}).
static Status check_json(const HttpTemplate *template, Error *err)
{
    CLEANUP(buf_done) Buf sample = {.max = LIMIT_CONFIG_BYTES};
    CLEANUP(buf_done) Buf json = {.max = LIMIT_CONFIG_BYTES};
    for (size_t i = 0; i < template->count; i++) {
        const HttpPiece *piece = &template->pieces[i];
        Str value = piece->in_quotes ? STR(" ") : STR("[]");
        buf_str(&sample, piece->name == NAME_NONE ? piece->text : value);
    }
    if (json_embed(&json, buf_view(&sample))) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "it is no JSON");
    return error_hint(err,
                      "A name outside of quotes is a whole value: {\"id\": {{new.id}}}. Inside "
                      "of quotes it is text: \"order {{new.id}}\".");
}

Status http_template_parse(HttpTemplateKind kind, Str text, Arena *arena, HttpTemplate *ret,
                           Error *err)
{
    size_t most = 1;
    for (size_t i = 0; i < text.len; i++) {
        most += text.ptr[i] == '{' ? 2 : 0;
    }
    HttpTemplate template = {.kind = kind, .pieces = ARENA_ARRAY(arena, HttpPiece, most)};
    if (read_pieces(&template, text, err) != STATUS_OK ||
        (kind == HTTP_TEMPLATE_BODY && check_json(&template, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    *ret = template;
    return STATUS_OK;
}

Status http_template_check(const HttpTemplate *template, const Relation *relation, Error *err)
{
    for (size_t i = 0; i < template->count; i++) {
        const HttpPiece *piece = &template->pieces[i];
        if (!is_of_row(piece->name)) {
            continue;
        }
        int column = piece->text.len == 0 ? 0 : relation_find_column(relation, piece->text);
        bool is_key = piece->name == NAME_KEY;
        bool needs_key = is_key && (piece->text.len > 0 || template->kind != HTTP_TEMPLATE_BODY);
        if (column < 0) {
            return error_set(err, ERROR_CONFIG, "there is no column for {{%s.%" STR_FMT "}}",
                             names[piece->name], STR_ARG(piece->text));
        }
        if (needs_key && (relation->key_count == 0 ||
                          (piece->text.len > 0 && !relation_is_key(relation, (uint16_t)column)))) {
            error_set(err, ERROR_CONFIG, "there is no key for {{key%s%" STR_FMT "}}",
                      piece->text.len > 0 ? "." : "", STR_ARG(piece->text));
            return error_hint(err, "The key is the primary key, or the columns of the replica "
                                   "identity's index. Any other column is {{new.COLUMN}}.");
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Filling one in
// ---------------------------------------------------------------------------------------------

typedef struct Filling {
    HttpTemplateKind kind;
    const HttpPiece *piece;
    const Change *change;
    Str event;
    Buf *out;
    char what[256]; // the piece, as the user has written it
} Filling;

static bool is_json(const Filling *filling)
{
    return filling->kind == HTTP_TEMPLATE_BODY && !filling->piece->in_quotes;
}

static Status cannot_stand(const Filling *filling, const char *why, Error *err)
{
    return error_set(err, ERROR_DATA, "%s %s", filling->what, why);
}

// Without its quotes.
static bool put_inside_string(Buf *out, Str text)
{
    size_t start = out->len;
    if (!json_string(out, text) || out->overflowed) {
        return out->overflowed;
    }
    out->len -= 2;
    memmove(out->ptr + start, out->ptr + start + 1, out->len - start);
    return true;
}

static bool has_control(Str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (byte < 0x20 || byte == 0x7f) {
            return true;
        }
    }
    return false;
}

static Status put_text(const Filling *filling, Str text, Error *err)
{
    bool is_whole;
    switch (filling->kind) {
    case HTTP_TEMPLATE_URL:
        // Such a step of a path leads elsewhere.
        if (text.len == 0 || str_is(text, ".") || str_is(text, "..")) {
            return cannot_stand(filling, "is empty, \".\" or \"..\": none can stand in a URL", err);
        }
        percent_encode(filling->out, text);
        return STATUS_OK;
    case HTTP_TEMPLATE_HEADER:
        if (has_control(text)) {
            return cannot_stand(filling, "has a control character: none can stand in a header",
                                err);
        }
        buf_str(filling->out, text);
        return STATUS_OK;
    case HTTP_TEMPLATE_BODY:
        is_whole = filling->piece->in_quotes ? put_inside_string(filling->out, text)
                                             : json_string(filling->out, text);
        return is_whole ? STATUS_OK : cannot_stand(filling, "is not valid UTF-8", err);
    }
    return STATUS_OK;
}

static Status put_time(const Filling *filling, int64_t time_us, Error *err)
{
    char time[CLOCK_TEXT_SIZE];
    if (time_us == 0 && is_json(filling)) {
        buf_cstr(filling->out, "null");
        return STATUS_OK;
    }
    if (time_us == 0) {
        return cannot_stand(filling, "is not known of a row that is copied", err);
    }
    clock_format_us(time_us, time);
    return put_text(filling, str_from(time), err);
}

// The row image that a name is about; NULL: there is none.
static const Value *image_of(const Change *change, Name name)
{
    if (change->relation == NULL) {
        return NULL;
    }
    return name == NAME_KEY   ? row_with_key(change)
           : name == NAME_NEW ? change->new_row
                              : change->old_row;
}

static Status put_value(const Filling *filling, uint16_t column, Value value, Error *err)
{
    const Relation *relation = filling->change->relation;
    bool is_valid = value.state != VALUE_BINARY;
    if (is_json(filling)) {
        is_valid = row_json_value(filling->out, &relation->columns[column], value);
    }
    if (!is_valid || is_json(filling)) {
        return is_valid ? STATUS_OK
                        : codec_bad_value(relation, &relation->columns[column], value, err);
    }
    if (value.state == VALUE_NULL && filling->kind != HTTP_TEMPLATE_BODY) {
        return cannot_stand(filling, "is null", err);
    }
    return put_text(filling, value.state == VALUE_NULL ? STR("") : value_str(value), err);
}

// Such an event has no such row.
static Status put_nothing(const Filling *filling, Error *err)
{
    if (filling->kind != HTTP_TEMPLATE_BODY) {
        return error_set(err, ERROR_DATA, "%s: this event \"%s\" has none", filling->what,
                         change_op_name(filling->change->op));
    }
    buf_cstr(filling->out, filling->piece->in_quotes ? "" : "null");
    return STATUS_OK;
}

static Status put_column(const Filling *filling, Error *err)
{
    const Change *change = filling->change;
    const Value *row = image_of(change, filling->piece->name);
    // The server says nothing of the row that was before when its key has not changed.
    bool is_unsaid = row == NULL && filling->piece->name == NAME_OLD && change->op == CHANGE_UPDATE;
    if (row == NULL && !is_unsaid) {
        return put_nothing(filling, err);
    }
    int column = relation_find_column(change->relation, filling->piece->text);
    Value value = row == NULL || column < 0 ? (Value){.state = VALUE_ABSENT} : row[column];
    // What an update leaves alone is what it was before.
    if (value.state == VALUE_UNCHANGED && change->old_row != NULL) {
        value = change->old_row[column];
    }
    if (!value_is_known(value) && value.state != VALUE_BINARY) {
        error_set(err, ERROR_DATA, "%s is not known: the server did not send it", filling->what);
        return error_hint(err, "It sends all columns of a table with REPLICA IDENTITY FULL.");
    }
    return put_value(filling, (uint16_t)column, value, err);
}

static Status put_member(const Filling *filling, uint16_t column, Value value, Error *err)
{
    if (!json_string(filling->out, filling->change->relation->columns[column].name)) {
        return cannot_stand(filling, "has a name that is not valid UTF-8", err);
    }
    buf_char(filling->out, ':');
    return put_value(filling, column, value, err);
}

// An object of what is known of the row, or of its key.
static Status put_object(const Filling *filling, Error *err)
{
    const Relation *relation = filling->change->relation;
    const Value *row = image_of(filling->change, filling->piece->name);
    if (row == NULL) {
        return put_nothing(filling, err);
    }
    bool is_key = filling->piece->name == NAME_KEY;
    uint16_t count = is_key ? relation->key_count : relation->column_count;
    const char *between = "{";
    for (uint16_t i = 0; i < count; i++) {
        uint16_t column = is_key ? relation->key[i] : i;
        if (!value_is_known(row[column])) {
            continue;
        }
        buf_cstr(filling->out, between);
        between = ",";
        if (put_member(filling, column, row[column], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    buf_cstr(filling->out, *between == '{' ? "{}" : "}");
    return STATUS_OK;
}

// The key's values, with commas between them. In a URL, none of those is one of a value.
static Status put_key(const Filling *filling, Error *err)
{
    const Relation *relation = filling->change->relation;
    const Value *row = image_of(filling->change, NAME_KEY);
    if (row == NULL) {
        return put_nothing(filling, err);
    }
    for (uint16_t i = 0; i < relation->key_count; i++) {
        buf_cstr(filling->out, i == 0 ? "" : ",");
        if (put_value(filling, relation->key[i], row[relation->key[i]], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

static Status put_of_row(const Filling *filling, Error *err)
{
    if (filling->piece->text.len > 0) {
        return put_column(filling, err);
    }
    bool is_key = filling->piece->name == NAME_KEY && !is_json(filling);
    return is_key ? put_key(filling, err) : put_object(filling, err);
}

// A message is of no table.
static Status put_table(const Filling *filling, Error *err)
{
    const Relation *relation = filling->change->relation;
    if (relation == NULL) {
        return put_nothing(filling, err);
    }
    return put_text(filling,
                    filling->piece->name == NAME_SCHEMA ? relation->schema : relation->name, err);
}

static Status put_piece(const Filling *filling, Error *err)
{
    const Change *change = filling->change;
    char lsn[32];
    switch (filling->piece->name) {
    case NAME_NONE:
        buf_str(filling->out, filling->piece->text);
        return STATUS_OK;
    case NAME_SCHEMA:
    case NAME_TABLE:
        return put_table(filling, err);
    case NAME_OP:
        return put_text(filling, str_from(change_op_name(change->op)), err);
    case NAME_LSN:
        (void)snprintf(lsn, sizeof(lsn), LSN_FMT, LSN_ARG(change->transaction->commit_lsn));
        return put_text(filling, str_from(lsn), err);
    case NAME_ORDINAL: // digits need no escape anywhere
        buf_uint64(filling->out, change->ordinal);
        return STATUS_OK;
    case NAME_XID:
        buf_uint64(filling->out, change->transaction->xid);
        return STATUS_OK;
    case NAME_COMMIT_TIME:
        return put_time(filling, change->transaction->commit_time_us, err);
    case NAME_EVENT:
        buf_str(filling->out, filling->event);
        return STATUS_OK;
    case NAME_KEY:
    case NAME_NEW:
    case NAME_OLD:
        return put_of_row(filling, err);
    }
    return STATUS_OK;
}

Status http_template_fill(const HttpTemplate *template, const Change *change, Str event, Buf *out,
                          Error *err)
{
    Filling filling = {.kind = template->kind, .change = change, .event = event, .out = out};
    for (size_t i = 0; i < template->count; i++) {
        const HttpPiece *piece = &template->pieces[i];
        filling.piece = piece;
        if (piece->name != NAME_NONE) {
            (void)snprintf(filling.what, sizeof(filling.what), "{{%s%s%" STR_FMT "}}",
                           names[piece->name], piece->text.len > 0 ? "." : "",
                           STR_ARG(piece->text));
        }
        if (put_piece(&filling, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}
