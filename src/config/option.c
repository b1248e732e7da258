#include "config/option.h"

#include <assert.h>
#include <inttypes.h>

#include "base/ascii.h"
#include "config/text_file.h"

enum { SECRET_BYTES_MAX = 64 * 1024 };

const Option *option_find(const Option *table, Str name)
{
    for (const Option *option = table; option->type != OPTION_END; option++) {
        if (str_is(name, option->name)) {
            return option;
        }
    }
    return NULL;
}

const Option *option_find_for(const Option *table, Str key, bool *ret_from_file)
{
    const Option *option = option_find(table, key);
    *ret_from_file = false;
    Str suffix = STR("_file");
    bool may = key.len > suffix.len &&
               str_equal((Str){key.ptr + key.len - suffix.len, suffix.len}, suffix);
    if (option == NULL && may) {
        option = option_find(table, (Str){key.ptr, key.len - suffix.len});
        *ret_from_file = option != NULL;
    }
    return option;
}

Setting *settings_find(const Settings *settings, const char *key)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (str_is(settings->items[i].key, key)) {
            return &settings->items[i];
        }
    }
    return NULL;
}

const char *nearest_name(Str wrong, const char *const *names)
{
    const char *nearest = NULL;
    unsigned least = (unsigned)(wrong.len / 3 + 1);
    for (; *names != NULL; names++) {
        unsigned distance = str_distance(wrong, str_from(*names));
        if (distance <= least && (nearest == NULL || distance < least)) {
            nearest = *names;
            least = distance;
        }
    }
    return nearest;
}

void names_join(Buf *out, const char *const *names)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        buf_printf(out, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
}

bool suggest_nearest(Str wrong, const char *const *names, const char *before, Error *err)
{
    const char *nearest = nearest_name(wrong, names);
    if (nearest != NULL) {
        error_hint(err, "Did you mean \"%s%s\"?", before, nearest);
    }
    return nearest != NULL;
}

Status suggest_name(Str wrong, const char *const *names, const char *label, Error *err)
{
    if (suggest_nearest(wrong, names, "", err) || names[0] == NULL) {
        return STATUS_FAIL;
    }
    CLEANUP(buf_done) Buf list;
    buf_init(&list, ERROR_MESSAGE_MAX);
    names_join(&list, names);
    return error_hint(err, "%s: %" STR_FMT ".", label, STR_ARG(buf_view(&list)));
}

// ---------------------------------------------------------------------------------------------
// Values
// ---------------------------------------------------------------------------------------------

static bool parse_bool(Str text, bool *ret)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_is(text, yes[i]) || str_is(text, no[i])) {
            *ret = str_is(text, yes[i]);
            return true;
        }
    }
    return false;
}

typedef struct Unit {
    const char *name;
    int64_t factor;
} Unit;

static const Unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1 << 10},
    {"KB", 1 << 10},
    {"MB", 1 << 20},
    {"GB", 1 << 30},
    {"TB", INT64_C(1) << 40},
    {"KiB", 1 << 10},
    {"MiB", 1 << 20},
    {"GiB", 1 << 30},
    {NULL, 0},
};

static const Unit time_units[] = {
    {"", 1},      {"ms", 1},      {"s", 1000},     {"min", 60000},
    {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

static bool parse_with_unit(Str text, const Unit *units, int64_t *ret)
{
    size_t digits = 0;
    while (digits < text.len && ascii_is_digit(text.ptr[digits])) {
        digits++;
    }
    int64_t number;
    if (!str_to_int64((Str){text.ptr, digits}, &number)) {
        return false;
    }
    Str name = str_trim((Str){text.ptr + digits, text.len - digits});
    for (const Unit *unit = units; unit->name != NULL; unit++) {
        if (str_is(name, unit->name)) {
            return !__builtin_mul_overflow(number, unit->factor, ret);
        }
    }
    return false;
}

static bool parse_choice(Str text, const char *const *choices, int *ret)
{
    for (int i = 0; choices[i] != NULL; i++) {
        if (str_is(text, choices[i])) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool has_value(const Option *option, Str text)
{
    Str item;
    bool has_item = false;
    while (option->type == OPTION_TYPE_LIST && !has_item && str_split(&text, ',', &item)) {
        has_item = str_trim(item).len > 0;
    }
    return option->type == OPTION_TYPE_LIST ? has_item
                                            : option->type != OPTION_TYPE_STRING || text.len > 0;
}

// Up to the next comma that is not between double quotes.
static bool next_item(Str *rest, Str *ret)
{
    bool quoted = false;
    size_t end = 0;
    for (; end < rest->len && (quoted || rest->ptr[end] != ','); end++) {
        quoted = quoted != (rest->ptr[end] == '"');
    }
    if (quoted) {
        return str_split(rest, ',', ret); // it is no quote: nothing closes it
    }
    bool has_more = rest->ptr != NULL;
    *ret = (Str){rest->ptr, end};
    *rest = end < rest->len ? (Str){rest->ptr + end + 1, rest->len - end - 1} : (Str){NULL, 0};
    return has_more;
}

static StrList split_list(Str text, Arena *arena)
{
    size_t most = 1;
    for (size_t i = 0; i < text.len; i++) {
        most += text.ptr[i] == ',';
    }
    StrList list = {.items = ARENA_ARRAY(arena, Str, most)};
    Str rest = text.len == 0 ? (Str){NULL, 0} : text;
    Str item;
    while (next_item(&rest, &item)) {
        item = str_trim(item);
        if (item.len > 0) {
            list.items[list.count++] = str_copy(arena, item);
        }
    }
    return list;
}

static bool in_range(const Option *option, int64_t value)
{
    bool limited = option->min != 0 || option->max != 0;
    return !limited || (value >= option->min && value <= option->max);
}

static bool store(const Option *option, void *instance, Str text, Arena *arena)
{
    char *field = (char *)instance + option->offset;
    int64_t number;
    bool parsed = false;
    switch (option->type) {
    case OPTION_TYPE_STRING:
        *(Str *)(void *)field = str_copy(arena, text);
        return true;
    case OPTION_TYPE_BOOL:
        return parse_bool(text, (bool *)field);
    case OPTION_TYPE_CHOICE:
        return parse_choice(text, option->choices, (int *)(void *)field);
    case OPTION_TYPE_LIST:
        *(StrList *)(void *)field = split_list(text, arena);
        return true;
    case OPTION_TYPE_INT:
        parsed = str_to_int64(text, &number);
        break;
    case OPTION_TYPE_SIZE:
        parsed = parse_with_unit(text, size_units, &number);
        break;
    case OPTION_TYPE_MS:
        parsed = parse_with_unit(text, time_units, &number);
        break;
    case OPTION_END:
        break;
    }
    if (!parsed || !in_range(option, number)) {
        return false;
    }
    *(int64_t *)(void *)field = number;
    return true;
}

// In the largest unit that it is a whole number of.
static void describe_number(const Option *option, int64_t number, Buf *out)
{
    static const Unit plain[] = {{"", 1}, {NULL, 0}};
    const Unit *units = option->type == OPTION_TYPE_SIZE ? size_units
                        : option->type == OPTION_TYPE_MS ? time_units
                                                         : plain;
    const Unit *best = units;
    for (const Unit *unit = units; number != 0 && unit->name != NULL; unit++) {
        best = number % unit->factor == 0 && (best->name[0] == '\0' || unit->factor > best->factor)
                   ? unit
                   : best;
    }
    buf_printf(out, "%" PRId64 "%s", number / best->factor, best->name);
}

static void describe_expected(const Option *option, Buf *out)
{
    switch (option->type) {
    case OPTION_TYPE_BOOL:
        buf_cstr(out, "true or false");
        break;
    case OPTION_TYPE_CHOICE:
        names_join(out, option->choices);
        break;
    case OPTION_TYPE_INT:
        buf_cstr(out, "a whole number");
        break;
    case OPTION_TYPE_SIZE:
        buf_cstr(out, "a size such as 64kB, 16MB or 1GB");
        break;
    case OPTION_TYPE_MS:
        buf_cstr(out, "a duration such as 500ms, 10s, 5min or 1h");
        break;
    case OPTION_TYPE_STRING:
    case OPTION_TYPE_LIST:
    case OPTION_END:
        buf_cstr(out, "text");
        break;
    }
    if (option->min != 0 || option->max != 0) {
        buf_cstr(out, option->type == OPTION_TYPE_INT ? " from " : ", from ");
        describe_number(option, option->min, out);
        buf_cstr(out, " to ");
        describe_number(option, option->max, out);
    }
}

// `weir.yml:3: "jobs"`, or just `--jobs` for what was typed.
#define NAMED_FMT "%" STR_FMT "%s%s%s"
#define NAMED_ARG(setting, option)                               \
    STR_ARG((setting)->origin), is_typed(setting) ? "" : ": \"", \
        is_typed(setting) ? "" : (option)->name, is_typed(setting) ? "" : "\""

static bool is_typed(const Setting *setting)
{
    return str_starts_with(setting->origin, STR("--"));
}

static Status bad_value(const Option *option, const Setting *setting, Str text, Error *err)
{
    CLEANUP(buf_done) Buf expected;
    buf_init(&expected, 4096);
    describe_expected(option, &expected);
    Str shown = setting->written.len > 0 ? setting->written : text;
    error_set(err, ERROR_CONFIG, NAMED_FMT " has the value \"%" STR_FMT "\", expected %" STR_FMT,
              NAMED_ARG(setting, option), STR_ARG(option->secret ? STR("…") : shown),
              STR_ARG(buf_view(&expected)));
    if (option->type == OPTION_TYPE_CHOICE) {
        (void)suggest_nearest(text, option->choices, "", err);
    }
    return STATUS_FAIL;
}

// An option that is left out has a meaning of its own, often that of many tables: nobody has said
// so who gives it nothing.
static Status no_value(const Option *option, const Setting *setting, Error *err)
{
    error_set(err, ERROR_CONFIG, NAMED_FMT " has an empty value", NAMED_ARG(setting, option));
    return error_hint(err, "Leave it out, or give it a value: a variable may be unset.");
}

// ---------------------------------------------------------------------------------------------
// Settings
// ---------------------------------------------------------------------------------------------

static Status read_secret_file(const Setting *setting, Arena *arena, Str *ret, Error *err)
{
    Str text;
    const char *path = str_to_cstr(arena, setting->value);
    if (text_file_read(path, SECRET_BYTES_MAX, arena, &text, err) != STATUS_OK) {
        return error_wrap(err, "%" STR_FMT, STR_ARG(setting->origin));
    }
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r')) {
        text.len--;
    }
    *ret = text;
    return STATUS_OK;
}

static Status unknown_key(const Option *table, const Setting *setting, Error *err)
{
    const char *names[256];
    size_t count = 0;
    for (const Option *option = table; option->type != OPTION_END && count < 255; option++) {
        names[count] = option->name;
        count += option->is_internal ? 0 : 1;
    }
    names[count] = NULL;
    error_set(err, ERROR_CONFIG, "%" STR_FMT ": unknown option \"%" STR_FMT "\"",
              STR_ARG(setting->origin), STR_ARG(setting->key));
    return suggest_name(setting->key, names, "Known options", err);
}

static Status apply_one(const Option *table, void *instance, Setting *setting, bool *seen,
                        Arena *arena, Error *err)
{
    bool from_file;
    const Option *option = option_find_for(table, setting->key, &from_file);
    if (option == NULL || (option->is_internal && !setting->is_internal)) {
        return unknown_key(table, setting, err);
    }
    if (seen[option - table]) {
        return error_set(err, ERROR_CONFIG, NAMED_FMT " is given twice",
                         NAMED_ARG(setting, option));
    }
    seen[option - table] = true;
    setting->used = true;
    if (setting->is_list) {
        if (option->type != OPTION_TYPE_LIST) {
            return error_set(err, ERROR_CONFIG, "%" STR_FMT ": \"%s\" takes one value, not a list",
                             STR_ARG(setting->origin), option->name);
        }
        StrList list = {ARENA_ARRAY(arena, Str, setting->list.count), setting->list.count};
        if (list.count == 0) {
            return no_value(option, setting, err);
        }
        for (size_t i = 0; i < list.count; i++) {
            if (str_trim(setting->list.items[i]).len == 0) {
                return no_value(option, setting, err);
            }
            list.items[i] = str_copy(arena, setting->list.items[i]);
        }
        *(StrList *)(void *)((char *)instance + option->offset) = list;
        return STATUS_OK;
    }
    Str text = setting->value;
    if (from_file) {
        if (read_secret_file(setting, arena, &text, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        setting->written = STR("…");
    }
    if (!has_value(option, text)) {
        return no_value(option, setting, err);
    }
    return store(option, instance, text, arena) ? STATUS_OK : bad_value(option, setting, text, err);
}

static Status check_required(const Option *table, const Settings *settings, const bool *seen,
                             Error *err)
{
    for (const Option *option = table; option->type != OPTION_END; option++) {
        if (option->required && !seen[option - table]) {
            return error_set(err, ERROR_CONFIG, "%" STR_FMT ": \"%s\" is missing",
                             STR_ARG(settings->origin), option->name);
        }
    }
    return STATUS_OK;
}

Status options_apply(const Option *table, void *instance, Settings *settings, Arena *arena,
                     Error *err)
{
    size_t rows = 0;
    for (const Option *option = table; option->type != OPTION_END; option++, rows++) {
        if (option->fallback != NULL) {
            bool valid = store(option, instance, str_from(option->fallback), arena);
            assert(valid);
        }
    }
    bool *seen = ARENA_ARRAY(arena, bool, rows + 1);
    for (size_t i = 0; i < settings->count; i++) {
        if (apply_one(table, instance, &settings->items[i], seen, arena, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return check_required(table, settings, seen, err);
}
