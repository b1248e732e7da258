// Settings of any bytes for options of every type: they are taken within their limits or refused
// with a message, and a secret is in no message. An input is lines "key=value"; "key[a[b" is a
// list.
#include "config/option.h"
#include "fuzz.h"

typedef struct Instance {
    Str text;
    Str secret;
    bool yes;
    int64_t number;
    int64_t size;
    int64_t time_ms;
    int choice;
    StrList list;
} Instance;

static const char *const choices[] = {"stop", "skip", "ask", NULL};

static const Option options[] = {
    {"text", OPTION_STRING(Instance, text)},
    {"secret", OPTION_STRING(Instance, secret), .secret = true},
    {"yes", OPTION_BOOL(Instance, yes), .fallback = "true"},
    {"number", OPTION_INT(Instance, number), .min = 1, .max = 64, .fallback = "4"},
    {"size", OPTION_SIZE(Instance, size), .min = 1 << 20, .max = INT64_C(1) << 40,
     .fallback = "64MB"},
    {"time", OPTION_MS(Instance, time_ms), .min = 1, .max = 86400000, .fallback = "10s"},
    {"choice", OPTION_CHOICE(Instance, choice, choices), .fallback = "skip"},
    {"list", OPTION_LIST(Instance, list)},
    {0},
};

static const char marker[] = "hunter22";

enum { SETTINGS_MAX = 64, ITEMS_MAX = 64 };

static void add_list(Setting *setting, Str rest, Arena *arena)
{
    setting->is_list = true;
    setting->list.items = ARENA_ARRAY(arena, Str, ITEMS_MAX);
    Str item;
    while (setting->list.count < ITEMS_MAX && str_split(&rest, '[', &item)) {
        setting->list.items[setting->list.count++] = item;
    }
}

static void read_settings(Str text, Arena *arena, Settings *ret)
{
    Str line;
    while (ret->count < SETTINGS_MAX && str_split(&text, '\n', &line)) {
        Setting *setting = &ret->items[ret->count++];
        *setting = (Setting){.origin = STR("here")};
        ptrdiff_t bracket = str_find(line, '[');
        ptrdiff_t sign = str_find(line, '=');
        size_t end = bracket >= 0 && (sign < 0 || bracket < sign) ? (size_t)bracket
                     : sign >= 0                                  ? (size_t)sign
                                                                  : line.len;
        setting->key = (Str){line.ptr, end};
        Str rest = end < line.len ? (Str){line.ptr + end + 1, line.len - end - 1} : (Str){"", 0};
        if (end < line.len && line.ptr[end] == '[') {
            add_list(setting, rest, arena);
        } else {
            setting->value = rest;
        }
    }
}

static void check_instance(const Instance *instance)
{
    FUZZ_CHECK(instance->number >= 1 && instance->number <= 64);
    FUZZ_CHECK(instance->size >= 1 << 20 && instance->size <= INT64_C(1) << 40);
    FUZZ_CHECK(instance->time_ms >= 1 && instance->time_ms <= 86400000);
    FUZZ_CHECK(instance->choice >= 0 && instance->choice < 3);
    for (size_t i = 0; i < instance->list.count; i++) {
        FUZZ_CHECK(instance->list.items[i].ptr != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // Files of this machine are not part of the input.
    if (size >= 5 && memmem(data, size, "_file", 5) != NULL) {
        return 0;
    }
    Arena arena = {0};
    Setting items[SETTINGS_MAX];
    Settings settings = {.items = items, .origin = STR("here")};
    read_settings((Str){(const char *)data, size}, &arena, &settings);
    const Setting *secret = settings_find(&settings, "secret");
    bool hides = secret != NULL && !secret->is_list &&
                 memmem(secret->value.ptr, secret->value.len, marker, strlen(marker)) != NULL;
    Instance instance = {0};
    Error err = {0};
    if (options_apply(options, &instance, &settings, &arena, &err) == STATUS_OK) {
        check_instance(&instance);
    } else {
        const char *first = memmem(data, size, marker, strlen(marker));
        const char *behind = first == NULL ? NULL : first + 1;
        size_t left = first == NULL ? 0 : (size_t)((const char *)data + size - behind);
        bool is_once = first != NULL && memmem(behind, left, marker, strlen(marker)) == NULL;
        FUZZ_CHECK(err.kind == ERROR_CONFIG && err.message[0] != '\0');
        FUZZ_CHECK(!hides || !is_once ||
                   (strstr(err.message, marker) == NULL && strstr(err.hint, marker) == NULL));
    }
    arena_done(&arena);
    return 0;
}
