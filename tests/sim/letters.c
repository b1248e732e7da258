// The model of the stores of dead letters, one of each target, and of whoever asks for letters to
// be tried again, or throws them away, from another process. What was not saved is gone when the
// process dies.
#include <assert.h>
#include <inttypes.h>

#include "base/mem.h"
#include "pipeline/dead_store.h"
#include "sim.h"

enum { LETTERS = CHANGES, KEY_SIZE = 32, RECORD_SIZE = 2048 };

// What can become of a letter.
typedef struct Facts {
    bool is_there;
    bool is_refused;
    bool wants_retry;
    int64_t tries;
} Facts;

typedef struct Letter {
    DeadLetter told; // its texts are those below, and what is in Facts is there
    Facts now;       // in the open transaction
    Facts saved;
    char old_key[KEY_SIZE];
    char new_key[KEY_SIZE];
    char record[RECORD_SIZE];
} Letter;

// Which store it is.
typedef struct Mark {
    uint64_t identity;
    int64_t changes;
} Mark;

typedef struct Letters {
    bool exists;
    bool in_transaction;
    Mark now;
    Mark saved;
    int64_t last_id;
    int64_t version; // grows with each commit of others
    uint32_t count;
    Letter items[LETTERS];
} Letters;

struct DeadStore {
    Letters *letters;
    int64_t version;
};

static Letters stores[TARGETS];

void letters_init(void)
{
    for (uint32_t i = 0; i < TARGETS; i++) {
        stores[i].exists = stores[i].in_transaction = false;
        stores[i].now = stores[i].saved = (Mark){0};
        stores[i].last_id = 0;
        stores[i].version = 1;
        stores[i].count = 0;
    }
}

static void roll_back(Letters *letters)
{
    letters->in_transaction = false;
    letters->now = letters->saved;
    for (uint32_t i = 0; i < letters->count; i++) {
        letters->items[i].now = letters->items[i].saved;
    }
}

static void begin(Letters *letters)
{
    letters->now.changes += letters->in_transaction ? 0 : 1;
    letters->in_transaction = true;
}

void letters_crash(void)
{
    for (uint32_t i = 0; i < TARGETS; i++) {
        roll_back(&stores[i]);
    }
}

// ---------------------------------------------------------------------------------------------
// What the checks ask
// ---------------------------------------------------------------------------------------------

bool letters_have(const Target *target, Position position)
{
    const Letters *letters = &stores[target - targets];
    for (uint32_t i = 0; i < letters->count; i++) {
        const Letter *letter = &letters->items[i];
        if (letter->now.is_there && position_compare(letter->told.position, position) == 0) {
            return true;
        }
    }
    return false;
}

bool letters_rest(const Target *target, Position position)
{
    const Letters *letters = &stores[target - targets];
    for (uint32_t i = 0; i < letters->count; i++) {
        const Letter *letter = &letters->items[i];
        if (letter->now.is_there && letter->now.is_refused && !letter->now.wants_retry &&
            position_compare(letter->told.position, position) == 0) {
            return true;
        }
    }
    return false;
}

bool letters_keep(const Target *target, Position position)
{
    const Letters *letters = &stores[target - targets];
    for (uint32_t i = 0; i < letters->count; i++) {
        const Letter *letter = &letters->items[i];
        if (letter->saved.is_there && position_compare(letter->told.position, position) == 0) {
            return true;
        }
    }
    return false;
}

bool letters_next(const Target *target, uint32_t *at, SavedLetter *ret)
{
    const Letters *letters = &stores[target - targets];
    while (*at < letters->count) {
        const Letter *letter = &letters->items[(*at)++];
        if (letter->saved.is_there) {
            *ret = (SavedLetter){letter->told.id, letter->told.oid, letter->told.position};
            return true;
        }
    }
    return false;
}

void letters_check_mark(const Target *target)
{
    const Mark *saved = &stores[target - targets].saved;
    for (uint32_t i = 0; i < target->store.count; i++) {
        const Entry *entry = &target->store.entries[i];
        Str text = {entry->value, entry->len};
        Str identity;
        Str changes;
        uint64_t which = 0;
        int64_t state = 0;
        if (strcmp(entry->key, "dead_store") == 0) {
            bool is_read = str_split(&text, ':', &identity) && str_split(&text, ':', &changes) &&
                           str_to_uint64(identity, &which) && str_to_int64(changes, &state);
            sim_check(is_read && saved->identity == which && saved->changes >= state,
                      "the target says more of the store of letters than what is saved");
        }
    }
}

bool letters_are_left(const Target *target)
{
    const Letters *letters = &stores[target - targets];
    for (uint32_t i = 0; i < letters->count; i++) {
        const Letter *letter = &letters->items[i];
        bool is_there = letter->now.is_there || letter->saved.is_there;
        // Of a table that is gone a copy may never come, which it would have to wait for.
        if (is_there && world_wants(world_find(letter->told.oid))) {
            return true;
        }
    }
    return false;
}

// ---------------------------------------------------------------------------------------------
// The user
// ---------------------------------------------------------------------------------------------

static bool is_to_retry(const Letter *letter)
{
    return letter->saved.is_there && letter->saved.is_refused && !letter->saved.wants_retry;
}

static void ask_for(Letter *letter)
{
    sim_trace("--- user: letter %" PRId64 " is to be tried again", letter->told.id);
    letter->saved.wants_retry = letter->now.wants_retry = true;
}

static void drop(Letters *letters, Letter *letter)
{
    sim_trace("--- user: letter %" PRId64 " is dropped", letter->told.id);
    letter->saved.is_there = letter->now.is_there = false;
    target_drop(&targets[letters - stores], letter->told.oid, letter->told.position);
    sim_seen.drops++;
}

void letters_ask(uint32_t target, uint32_t retry_permille, uint32_t drop_permille)
{
    Letters *letters = &stores[target];
    if (letters->in_transaction) {
        return; // a command waits until it is over
    }
    bool has_written = false;
    for (uint32_t i = 0; i < letters->count; i++) {
        Letter *letter = &letters->items[i];
        if (letter->saved.is_there && sim_chance(drop_permille)) {
            drop(letters, letter);
            has_written = true;
        } else if (is_to_retry(letter) && sim_chance(retry_permille)) {
            ask_for(letter);
            has_written = true;
        }
    }
    letters->version += has_written;
    letters->saved.changes += has_written;
    letters->now = letters->saved;
}

// ---------------------------------------------------------------------------------------------
// In the place of pipeline/dead_store
// ---------------------------------------------------------------------------------------------

static Status call(const char *what, Error *err)
{
    return sim_call_briefly(what) ? STATUS_OK
                                  : error_set(err, ERROR_TRANSIENT, "%s fails (transient)", what);
}

Status dead_store_open(const char *directory, bool make, DeadStore **ret, Error *err)
{
    *ret = NULL;
    Letters *letters = &stores[directory[0] - 'a'];
    sim_check(!letters->in_transaction, "dead letters are opened in the middle of a transaction");
    if (call("letters open", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (letters->exists || make) {
        letters->exists = true;
        DeadStore *store = mem_alloc_zero(sizeof(*store));
        store->letters = letters;
        *ret = store;
    }
    return STATUS_OK;
}

void dead_store_close(DeadStore *store)
{
    if (store != NULL) {
        roll_back(store->letters);
        mem_free(store);
    }
}

Status dead_store_mark(DeadStore *store, DeadMark *ret, Error *err)
{
    const Letters *letters = store->letters;
    *ret = (DeadMark){.identity = letters->now.identity, .changes = letters->now.changes};
    for (uint32_t i = 0; i < letters->count; i++) {
        ret->has_letters = ret->has_letters || letters->items[i].now.is_there;
    }
    return call("letters mark", err);
}

Status dead_store_name(DeadStore *store, uint64_t identity, int64_t changes, Error *err)
{
    Letters *letters = store->letters;
    if (call("letters name", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    begin(letters);
    letters->now = (Mark){identity == 0 ? 1 + sim_below(1000000) : identity, changes};
    return STATUS_OK;
}

static void tell(const Letter *letter, Arena *arena, DeadLetter *ret)
{
    *ret = letter->told;
    ret->is_refused = letter->now.is_refused;
    ret->wants_retry = letter->now.wants_retry;
    ret->tries = letter->now.tries;
    ret->schema = STR("public");
    ret->name = STR("t");
    ret->old_key = str_copy(arena, (Str){letter->old_key, letter->told.old_key.len});
    ret->new_key = str_copy(arena, (Str){letter->new_key, letter->told.new_key.len});
    ret->record = (Str){"", 0};
}

static void sort_in(DeadLetters *list, const DeadLetter *letter)
{
    size_t at = list->count++;
    for (; at > 0 && position_compare(list->items[at - 1].position, letter->position) > 0; at--) {
        list->items[at] = list->items[at - 1];
    }
    list->items[at] = *letter;
}

Status dead_store_list(DeadStore *store, Arena *arena, DeadLetters *ret, Error *err)
{
    if (call("letters list", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Letters *letters = store->letters;
    *ret = (DeadLetters){.items = ARENA_ARRAY(arena, DeadLetter, letters->count)};
    for (uint32_t i = 0; i < letters->count; i++) {
        if (letters->items[i].now.is_there) {
            DeadLetter letter;
            tell(&letters->items[i], arena, &letter);
            sort_in(ret, &letter);
        }
    }
    return STATUS_OK;
}

static Letter *find(const DeadStore *store, int64_t id)
{
    for (uint32_t i = 0; i < store->letters->count; i++) {
        Letter *letter = &store->letters->items[i];
        if (letter->told.id == id && letter->now.is_there) {
            return letter;
        }
    }
    return NULL;
}

Status dead_store_get(DeadStore *store, int64_t id, Arena *arena, DeadLetter *ret, bool *ret_found,
                      Error *err)
{
    if (call("letter get", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Letter *letter = find(store, id);
    *ret_found = letter != NULL;
    if (letter != NULL) {
        tell(letter, arena, ret);
        ret->record = str_copy(arena, (Str){letter->record, letter->told.record.len});
    }
    return STATUS_OK;
}

// The place of one that is gone for good, or a new one.
static Letter *make_place(Letters *letters)
{
    uint32_t at = 0;
    while (at < letters->count &&
           (letters->items[at].now.is_there || letters->items[at].saved.is_there)) {
        at++;
    }
    assert(at < LETTERS);
    letters->count = at == letters->count ? at + 1 : letters->count;
    return &letters->items[at];
}

static void keep(char *to, size_t size, Str bytes)
{
    assert(bytes.len <= size);
    if (bytes.len > 0) {
        memcpy(to, bytes.ptr, bytes.len);
    }
}

Status dead_store_add(DeadStore *store, DeadLetter *letter, Error *err)
{
    Letters *letters = store->letters;
    if (call("letter add", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const Target *target = &targets[letters - stores];
    sim_check(!letters_have(target, letter->position), "a change is a letter twice");
    sim_check(!letter->is_refused ||
                  position_compare(letter->position, target->refusals.refused) == 0,
              "a change is set aside that was not refused by itself");
    begin(letters);
    letter->id = ++letters->last_id;
    Letter *to = make_place(letters);
    to->told = *letter;
    to->now = (Facts){true, letter->is_refused, false, letter->tries};
    to->saved = (Facts){0};
    keep(to->old_key, KEY_SIZE, letter->old_key);
    keep(to->new_key, KEY_SIZE, letter->new_key);
    keep(to->record, RECORD_SIZE, letter->record);
    sim_trace("  letter %" PRId64 " of " LSN_FMT ":%" PRIu64 ", %s", letter->id,
              LSN_ARG(letter->position.lsn), letter->position.ordinal,
              letter->is_refused ? "refused" : "waits");
    sim_seen.letters++;
    return STATUS_OK;
}

Status dead_store_refused(DeadStore *store, int64_t id, Str why, int64_t now_us, Error *err)
{
    (void)why;
    (void)now_us;
    if (call("letter refused", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    begin(store->letters);
    Letter *letter = find(store, id);
    if (letter != NULL) {
        sim_trace("  letter %" PRId64 " is refused", id);
        letter->now.is_refused = true;
        letter->now.wants_retry = false;
        letter->now.tries++;
    }
    return STATUS_OK;
}

Status dead_store_retry(DeadStore *store, int64_t id, bool *ret_found, Error *err)
{
    if (call("letter retry", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    begin(store->letters);
    Letter *letter = find(store, id);
    *ret_found = letter != NULL && letter->now.is_refused;
    if (*ret_found) {
        sim_trace("  letter %" PRId64 " is to be tried again", id);
        letter->now.wants_retry = true;
    }
    return STATUS_OK;
}

Status dead_store_remove(DeadStore *store, int64_t id, bool *ret_found, Error *err)
{
    if (call("letter remove", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    begin(store->letters);
    Letter *letter = find(store, id);
    *ret_found = letter != NULL;
    if (letter != NULL) {
        sim_trace("  letter %" PRId64 " is removed", id);
        letter->now.is_there = false;
    }
    return STATUS_OK;
}

// A commit that fails may have been one all the same.
Status dead_store_save(DeadStore *store, Error *err)
{
    Letters *letters = store->letters;
    if (!letters->in_transaction) {
        return STATUS_OK;
    }
    if (call("letters save", err) != STATUS_OK) {
        roll_back(letters);
        return STATUS_FAIL;
    }
    letters->in_transaction = false;
    letters->saved = letters->now;
    for (uint32_t i = 0; i < letters->count; i++) {
        letters->items[i].saved = letters->items[i].now;
    }
    return call("letters saved", err);
}

Status dead_store_has_changed(DeadStore *store, bool *ret, Error *err)
{
    if (call("letters look", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = store->version != store->letters->version;
    store->version = store->letters->version;
    return STATUS_OK;
}
