#include "pipeline/dead.h"

#include <assert.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "pipeline/dead_letter.h"
#include "pipeline/dead_mark.h"
#include "pipeline/row_key.h"

enum {
    LOOK_EVERY_MS = 1000,
    CAREFUL_RUN = 64,  // see Dead.careful_run
    APART_COMMITS = 8, // see Dead.apart
};

// What is known of the letters of one table.
struct Dead {
    const char *directory;
    bool sets_aside;
    bool stands_alone; // SinkOps.changes_stand_alone
    Notice notice;
    DeadStore *store; // NULL: there is none yet
    Arena arena;      // of what is known of the letters, all of it below
    RowSet rows;      // for which letters
    Map positions;    // position -> what is not NULL
    int64_t count;
    int64_t uncommitted; // of them: set aside since the last commit
    Arena scratch;       // of one question
    int64_t *done;       // written, or void, since the last commit
    size_t done_count;
    size_t done_capacity;
    Map is_done;     // id -> what is not NULL
    bool lists_done; // the checkpoint does, as it is stored
    DeadSaid said;   // what that says of the store
    DeadSaid next;   // what the commit that is being made says
    LogRepeat told;  // what was set aside
    bool is_due;
    Position due_at; // it is, when the target has everything up to there; 0: none
    int64_t looked_at_ms;
    // Where a refusal takes the transaction with it, what led to it comes again with the next
    // attempt, in shorter runs: from here to there, of that many changes.
    Position careful_from;
    Position careful_until;
    size_t careful_run;
    // What is refused in company may be fine alone: up to there, so many transactions are committed
    // together, and more when that has gone well for a while. 0: any number.
    size_t apart;
    Position apart_until;
    size_t apart_commits; // since one was refused
    Lsn open_lsn;         // of the first transaction since the last commit; LSN_NONE: none yet
    Position written;     // of the last change
};

Dead *dead_new(const char *directory, bool sets_aside, const SinkOps *ops, Notice notice)
{
    Dead *dead = mem_alloc_zero(sizeof(*dead));
    dead->directory = directory;
    dead->sets_aside = sets_aside;
    dead->notice = notice;
    dead->stands_alone = ops->changes_stand_alone;
    return dead;
}

static void forget(Dead *dead)
{
    row_set_reset(&dead->rows);
    map_reset(&dead->positions);
    arena_reset(&dead->arena);
    dead->count = 0;
}

void dead_free(Dead *dead)
{
    if (dead == NULL) {
        return;
    }
    dead_store_close(dead->store);
    row_set_done(&dead->rows);
    map_done(&dead->positions);
    map_done(&dead->is_done);
    arena_done(&dead->arena);
    arena_done(&dead->scratch);
    mem_free(dead->done);
    mem_free(dead);
}

int64_t dead_count(const Dead *dead)
{
    return dead->count;
}

void dead_recheck(Dead *dead)
{
    dead->is_due = dead->is_due || dead_count(dead) > 0;
}

// ---------------------------------------------------------------------------------------------
// What is known of the letters
// ---------------------------------------------------------------------------------------------

static Str place_of(Position position, char bytes[static 16])
{
    memcpy(bytes, &position.lsn, 8);
    memcpy(bytes + 8, &position.ordinal, 8);
    return (Str){bytes, 16};
}

static RowKey key_of_letter(const DeadLetter *letter)
{
    return (RowKey){letter->old_key, letter->new_key};
}

static void know(Dead *dead, const DeadLetter *letter)
{
    const RowKey key = key_of_letter(letter);
    row_set_add(&dead->rows, letter->oid, &key, letter->id);
    char place[16];
    (void)map_put(&dead->positions, str_copy(&dead->arena, place_of(letter->position, place)),
                  dead);
    dead->count++;
}

static Status load(Dead *dead, Error *err)
{
    forget(dead);
    if (dead->store == NULL) {
        return STATUS_OK;
    }
    Arena scratch = {0};
    DeadLetters letters;
    Status status = dead_store_list(dead->store, &scratch, &letters, err);
    for (size_t i = 0; status == STATUS_OK && i < letters.count; i++) {
        if (map_get_u64(&dead->is_done, (uint64_t)letters.items[i].id) == NULL) {
            know(dead, &letters.items[i]);
        }
    }
    arena_done(&scratch);
    return status;
}

// ---------------------------------------------------------------------------------------------
// Letters that were written
// ---------------------------------------------------------------------------------------------

static void note_done(Dead *dead, int64_t id)
{
    if (dead->done_count == dead->done_capacity) {
        dead->done_capacity = MAX(dead->done_capacity * 2, (size_t)64);
        dead->done = mem_resize(dead->done, dead->done_capacity * sizeof(*dead->done));
    }
    dead->done[dead->done_count++] = id;
    (void)map_put_u64(&dead->is_done, (uint64_t)id, dead);
}

static void forget_done(Dead *dead)
{
    dead->done_count = 0;
    map_reset(&dead->is_done);
}

static Status remove_letter(Dead *dead, int64_t id, Error *err)
{
    bool was_there;
    return dead_store_remove(dead->store, id, &was_there, err);
}

// Those that the last commit has: a crash came before they were removed.
static Status remove_stored(Dead *dead, Str ids, Error *err)
{
    Str item;
    while (str_split(&ids, ',', &item)) {
        int64_t id;
        if (!str_to_int64(item, &id)) {
            return error_set(err, ERROR_FATAL,
                             "the list of dead letters that were written is "
                             "damaged in the checkpoint");
        }
        if (remove_letter(dead, id, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return dead_store_save(dead->store, err);
}

// ---------------------------------------------------------------------------------------------
// Which store it is
// ---------------------------------------------------------------------------------------------

// A store that takes the place of another is the same, and newer: so is one that was made when the
// last had no letters, and lost them all to a user. Whoever puts the old one back has an older one.
static Status name_store(Dead *dead, Error *err)
{
    return dead_store_name(dead->store, dead->said.identity, dead->said.changes + 1, err);
}

static Status make_store(Dead *dead, Error *err)
{
    DeadMark mark;
    if (dead_store_open(dead->directory, true, &dead->store, err) != STATUS_OK ||
        dead_store_mark(dead->store, &mark, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return mark.identity == 0 ? name_store(dead, err) : STATUS_OK;
}

static Status check_store(Dead *dead, const Checkpoint *stored, Error *err)
{
    DeadMark mark = {0};
    if (dead_said_read(stored, &dead->said, err) != STATUS_OK ||
        (dead->store != NULL && dead_store_mark(dead->store, &mark, err) != STATUS_OK) ||
        dead_said_check(&dead->said, dead->directory, dead->store == NULL ? NULL : &mark, err) !=
            STATUS_OK) {
        return STATUS_FAIL;
    }
    if (dead->store == NULL || mark.identity != 0) {
        return STATUS_OK;
    }
    if (mark.is_reset && dead->said.letters > 0) {
        notice_tell(&dead->notice,
                    "%" PRId64 " dead letters are gone: their store was reset; the target lacks "
                    "what they had until weir verify --repair",
                    dead->said.letters);
    }
    return name_store(dead, err) == STATUS_OK ? dead_store_save(dead->store, err) : STATUS_FAIL;
}

// Behind what is saved: the store is never older than what the target says of it. It may have been
// reset while the pipeline runs.
static Status say_store(Dead *dead, Checkpoint *changed, Error *err)
{
    DeadMark mark;
    if (dead_store_mark(dead->store, &mark, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (mark.identity == 0 &&
        (name_store(dead, err) != STATUS_OK || dead_store_save(dead->store, err) != STATUS_OK ||
         dead_store_mark(dead->store, &mark, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    dead->next = (DeadSaid){mark.identity, mark.changes, dead_count(dead)};
    if (!dead_said_is_same(&dead->next, &dead->said)) {
        dead_said_write(&dead->next, changed);
    }
    return STATUS_OK;
}

// A transaction that failed may be open in the store, and so may what it knows be wrong.
Status dead_begin(Dead *dead, const Checkpoint *stored, Error *err)
{
    dead_store_close(dead->store);
    forget_done(dead);
    if (dead_store_open(dead->directory, false, &dead->store, err) != STATUS_OK ||
        check_store(dead, stored, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    const CheckpointEntry *entry = stored == NULL ? NULL : checkpoint_get(stored, CHECKPOINT_DEAD);
    dead->lists_done = entry != NULL && entry->value.len > 0;
    if (dead->store != NULL && dead->lists_done &&
        remove_stored(dead, entry->value, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    dead->is_due = dead->store != NULL;
    dead->due_at = (Position){0};
    dead->open_lsn = LSN_NONE;
    dead->uncommitted = 0;
    return load(dead, err);
}

Status dead_prepare_commit(Dead *dead, Checkpoint *changed, Error *err)
{
    if (dead->done_count == 0 && dead->lists_done) {
        checkpoint_set(changed, CHECKPOINT_DEAD, STR("")); // they are removed
    }
    if (dead->done_count > 0) {
        CLEANUP(buf_done) Buf ids;
        buf_init(&ids, LIMIT_CHECKPOINT_VALUE);
        for (size_t i = 0; i < dead->done_count; i++) {
            buf_cstr(&ids, i == 0 ? "" : ",");
            buf_int64(&ids, dead->done[i]);
        }
        assert(!ids.overflowed);
        checkpoint_set(changed, CHECKPOINT_DEAD, buf_view(&ids));
    }
    if (dead->store == NULL) {
        return STATUS_OK;
    }
    return dead_store_save(dead->store, err) == STATUS_OK ? say_store(dead, changed, err)
                                                          : STATUS_FAIL;
}

Status dead_committed(Dead *dead, Error *err)
{
    if (dead->apart > 0 && dead->open_lsn != LSN_NONE && ++dead->apart_commits >= APART_COMMITS) {
        dead->apart *= 2;
    }
    dead->open_lsn = LSN_NONE;
    dead->uncommitted = 0;
    dead->lists_done = dead->done_count > 0;
    dead->said = dead->store == NULL ? dead->said : dead->next;
    if (dead->done_count == 0) {
        return STATUS_OK;
    }
    for (size_t i = 0; i < dead->done_count; i++) {
        if (remove_letter(dead, dead->done[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    forget_done(dead);
    CRASH_POINT("dead-remove-begins");
    return dead_store_save(dead->store, err);
}

// ---------------------------------------------------------------------------------------------
// Setting aside
// ---------------------------------------------------------------------------------------------

static bool is_row(const Change *change)
{
    return change->op == CHANGE_INSERT || change->op == CHANGE_UPDATE ||
           change->op == CHANGE_DELETE;
}

typedef enum Concern {
    CONCERN_NONE,
    CONCERN_KNOWN, // it is a letter already
    CONCERN_WAITS, // its row has a letter
} Concern;

// In the scratch arena.
static RowKey key_of(Dead *dead, Sink *sink, const Change *change)
{
    RowKey key;
    arena_reset(&dead->scratch);
    if (sink->ops->row_key != NULL) {
        sink->ops->row_key(sink, change, &dead->scratch, &key);
    } else {
        row_key_of_relation(change, &dead->scratch, &key);
    }
    return key;
}

static Status standing_of(Dead *dead, int64_t id, const Change *change, DeadStanding *ret,
                          Error *err)
{
    DeadLetter letter;
    bool is_there;
    *ret = DEAD_COVERED;
    if (dead_store_get(dead->store, id, &dead->scratch, &letter, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!is_there) {
        return STATUS_OK; // dropped by hand
    }
    if (letter.new_key.len > 0) {
        *ret = DEAD_AGAINST; // whoever says more of the row does not say what it was called
        return STATUS_OK;
    }
    Unpacker unpacker = {0};
    Batch *batch = batch_new();
    Status status = dead_unpack(letter.record, &unpacker, batch, err);
    if (status == STATUS_OK) {
        *ret = dead_standing(&batch->changes[0], change);
    }
    batch_unref(batch);
    unpacker_done(&unpacker);
    return status;
}

// Whether a letter that has one of @names is against @change.
static Status is_against(Dead *dead, const Change *change, Str names, bool *ret, Error *err)
{
    Str name;
    *ret = false;
    while (row_name_next(&names, &name)) {
        const RowSetItem *item = row_set_get(&dead->rows, change->relation->oid, name);
        for (; item != NULL && !*ret; item = item->next) {
            DeadStanding standing;
            if (standing_of(dead, item->id, change, &standing, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
            *ret = standing == DEAD_AGAINST;
        }
    }
    return STATUS_OK;
}

static Status has_to_wait(Dead *dead, Sink *sink, const Change *change, bool *ret, Error *err)
{
    const RowKey key = key_of(dead, sink, change);
    RowSetFound found = row_set_find(&dead->rows, change->relation->oid, &key);
    *ret = found != ROW_NOT_FOUND;
    if (found != ROW_FOUND || !dead->stands_alone) {
        return STATUS_OK;
    }
    bool is_before;
    bool is_after;
    if (is_against(dead, change, key.before, &is_before, err) != STATUS_OK ||
        is_against(dead, change, key.after, &is_after, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = is_before || is_after;
    return STATUS_OK;
}

static Status concern(Dead *dead, Sink *sink, const Change *change, Concern *ret, Error *err)
{
    *ret = CONCERN_NONE;
    if (dead_count(dead) == 0 || !is_row(change) ||
        !row_set_has_table(&dead->rows, change->relation->oid)) {
        return STATUS_OK;
    }
    char place[16];
    if (map_get(&dead->positions, place_of(change_position(change), place)) != NULL) {
        *ret = CONCERN_KNOWN;
        return STATUS_OK;
    }
    bool waits;
    if (has_to_wait(dead, sink, change, &waits, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    *ret = waits ? CONCERN_WAITS : CONCERN_NONE;
    return STATUS_OK;
}

// table "public.orders"
static const char *name_of(const Relation *relation, Arena *arena)
{
    Str title = relation_title(relation->schema, relation->name, arena);
    return arena_printf(arena, "%s \"%" STR_FMT "\"",
                        relation_words(relation->oid, relation->schema)->kind, STR_ARG(title));
}

static Status check_room(const Dead *dead, const Change *change, const Error *why, Error *err)
{
    if (dead_count(dead) + (int64_t)dead->done_count < LIMIT_DEAD_LETTERS) {
        return STATUS_OK;
    }
    Arena scratch = {0};
    error_set(err, ERROR_DATA,
              "%d changes are set aside, which is the limit, and one more of %s %s%s",
              LIMIT_DEAD_LETTERS, name_of(change->relation, &scratch),
              why == NULL ? "waits behind them" : "is refused: ", why == NULL ? "" : why->message);
    arena_done(&scratch);
    if (dead->uncommitted >= LIMIT_DEAD_LETTERS) {
        return error_hint(err,
                          "All of them were sent at once, and none is kept: mend the target so "
                          "that it takes them, and start again.");
    }
    return error_hint(err, "weir dead list shows those of before, and why they were refused; weir "
                           "dead retry and weir dead drop make room.");
}

// @why: NULL when it waits.
static Status set_aside(Dead *dead, Sink *sink, const Change *change, const Error *why, Error *err)
{
    if (check_room(dead, change, why, err) != STATUS_OK ||
        (dead->store == NULL && make_store(dead, err) != STATUS_OK)) {
        return STATUS_FAIL;
    }
    Arena scratch = {0};
    int64_t now = clock_wall_us();
    DeadLetter letter = {
        .position = dead_place(change),
        .oid = change->relation->oid,
        .schema = change->relation->schema,
        .name = change->relation->name,
        .op = change->op,
        .is_refused = why != NULL,
        .happened_us = change->transaction->commit_time_us,
        .kept_us = now,
        .tried_us = why == NULL ? 0 : now,
        .tries = why == NULL ? 0 : 1,
    };
    if (why != NULL) {
        letter.error = str_from(dead_reason(why, &scratch));
    }
    const RowKey key = key_of(dead, sink, change);
    letter.old_key = key.before;
    letter.new_key = key.after;
    Status status = dead_pack(change, &scratch, &letter.record, err);
    if (status == STATUS_OK) {
        status = dead_store_add(dead->store, &letter, err);
    }
    if (status == STATUS_OK) {
        know(dead, &letter);
        dead->uncommitted++;
    }
    arena_done(&scratch);
    return status;
}

// The first few one by one, then now and then, with how many there were.
static void tell(Dead *dead, const Sink *sink, const Change *change, const Error *why)
{
    char text[POSITION_TEXT_SIZE];
    char others[64] = "";
    int64_t times;
    if (!log_repeat_is_due(&dead->told, DEAD_SET_ASIDE, clock_monotonic_ms(), &times)) {
        return;
    }
    if (times > 1) {
        (void)snprintf(others, sizeof(others),
                       ", as were %" PRId64 " others since the last such line", times - 1);
    }
    position_format(change_position(change), text);
    Arena scratch = {0};
    const Relation *relation = change->relation;
    notice_tell(&sink->context.notice, "%s of %s of %s at %s is set aside%s%s: %s",
                change_op_name(change->op), relation_words(relation->oid, relation->schema)->row,
                name_of(relation, &scratch), text,
                dead->stands_alone ? "" : ", and what follows for that row", others, why->message);
    arena_done(&scratch);
}

int64_t dead_untold(const Dead *dead)
{
    return dead->told.unsaid;
}

// ---------------------------------------------------------------------------------------------
// What ends letters
// ---------------------------------------------------------------------------------------------

// Whether the letter is of what @change, which has been written, is about, and stands before it.
static bool is_ended(Dead *dead, const DeadLetter *letter, const Change *change, const RowKey *key)
{
    if (letter->oid != change->relation->oid ||
        position_compare(dead_stands(letter), change_position(change)) >= 0 ||
        map_get_u64(&dead->is_done, (uint64_t)letter->id) != NULL) {
        return false;
    }
    if (change->op == CHANGE_TRUNCATE) {
        return true;
    }
    const RowKey its = key_of_letter(letter);
    return row_keys_meet(&its, key);
}

// What is not void may have been refused for what @change has told: a row that was not there, or
// did not have that name.
static Status end_letter(Dead *dead, const DeadLetter *letter, const Change *change, int64_t *count,
                         Error *err)
{
    DeadStanding standing = DEAD_COVERED;
    bool was_there;
    if (change->op != CHANGE_TRUNCATE &&
        standing_of(dead, letter->id, change, &standing, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (standing == DEAD_COVERED) {
        note_done(dead, letter->id);
        ++*count;
        return STATUS_OK;
    }
    dead->is_due = true;
    return dead_store_retry(dead->store, letter->id, &was_there, err);
}

// With the change: when it has to come again, what waits behind them has to wait again.
static Status end_letters(Dead *dead, Sink *sink, const Change *change, Error *err)
{
    Arena scratch = {0};
    DeadLetters letters;
    int64_t count = 0;
    const RowKey key = is_row(change) ? key_of(dead, sink, change) : (RowKey){0};
    Status status = dead_store_list(dead->store, &scratch, &letters, err);
    for (size_t i = 0; status == STATUS_OK && i < letters.count; i++) {
        if (is_ended(dead, &letters.items[i], change, &key)) {
            status = end_letter(dead, &letters.items[i], change, &count, err);
        }
    }
    if (status == STATUS_OK && count > 0) {
        notice_tell(&sink->context.notice,
                    "dead letters of %s are dropped, %lld of them: %s behind them",
                    name_of(change->relation, &scratch), (long long)count,
                    change->op == CHANGE_TRUNCATE ? "it was truncated"
                                                  : "a later change of the row was written");
        status = load(dead, err);
    }
    arena_done(&scratch);
    return status;
}

// Where a change that is covered by a later one does not hold it up, it is void behind it.
static bool ends_letters(Dead *dead, Sink *sink, const Change *change)
{
    if (change->relation == NULL || !row_set_has_table(&dead->rows, change->relation->oid)) {
        return false;
    }
    if (change->op == CHANGE_TRUNCATE || !dead->stands_alone || !is_row(change)) {
        return change->op == CHANGE_TRUNCATE;
    }
    const RowKey key = key_of(dead, sink, change);
    return row_set_find(&dead->rows, change->relation->oid, &key) == ROW_FOUND;
}

static Status after_run(Dead *dead, Sink *sink, const Change *changes, size_t count, Error *err)
{
    for (size_t i = 0; dead_count(dead) > 0 && i < count; i++) {
        if (ends_letters(dead, sink, &changes[i]) &&
            end_letters(dead, sink, &changes[i], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Writing
// ---------------------------------------------------------------------------------------------

typedef struct FreeRun {
    size_t count; // changes in front that no letter concerns
    Concern next; // where there are none: of the first
} FreeRun;

// At most @max, but no part of several truncates, which a target may only be able to do at once.
static Status free_run(Dead *dead, Sink *sink, const Change *changes, size_t count, size_t max,
                       FreeRun *ret, Error *err)
{
    size_t run = 0;
    size_t end = 0; // where it may end
    for (; run < count; run++) {
        bool may_end = run == 0 || changes[run - 1].op != CHANGE_TRUNCATE ||
                       changes[run].op != CHANGE_TRUNCATE;
        if (concern(dead, sink, &changes[run], &ret->next, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        end = may_end ? run : end;
        if (ret->next != CONCERN_NONE || (run >= max && end > 0)) {
            run = end;
            break;
        }
    }
    ret->count = run;
    return STATUS_OK;
}

// Of @count changes in front: so many can be written at once.
static size_t longest_run(const Dead *dead, const Change *changes, size_t count)
{
    if (dead->careful_run == 0 ||
        position_compare(change_position(&changes[0]), dead->careful_until) > 0) {
        return count;
    }
    size_t before = 0;
    while (before < count &&
           position_compare(change_position(&changes[before]), dead->careful_from) < 0) {
        before++;
    }
    return before > 0 ? before : MIN(dead->careful_run, count);
}

// The transaction is lost. What is not known yet is found by the next attempt, in shorter runs.
static Status begin_again(Dead *dead, const Change *changes, size_t count, Error *err)
{
    if (count > 1) {
        dead->careful_from = change_position(&changes[0]);
        dead->careful_until = change_position(&changes[count - 1]);
        dead->careful_run = count > CAREFUL_RUN ? CAREFUL_RUN : 1;
    }
    Error unsaved;
    if (dead->store != NULL && dead_store_save(dead->store, &unsaved) != STATUS_OK) {
        *err = unsaved;
        return STATUS_FAIL;
    }
    err->kind = ERROR_AGAIN;
    return STATUS_FAIL;
}

bool dead_wants_apart(const Dead *dead, const Change *changes, size_t count)
{
    return dead->apart > 0 && count > 0 &&
           position_compare(change_position(changes), dead->apart_until) <= 0;
}

size_t dead_together(const Dead *dead, const Change *changes, size_t count)
{
    if (!dead_wants_apart(dead, changes, count)) {
        return count;
    }
    size_t found = 1;
    for (size_t i = 1; i < count; i++) {
        // No mark stands between what ends at a message of its own, which has no ordinal, and that.
        const Change *before = &changes[i - 1];
        bool begins = changes[i].ordinal > 0 &&
                      (before->ordinal == 0 ||
                       changes[i].transaction->commit_lsn != before->transaction->commit_lsn);
        found += begins ? 1 : 0;
        if (found > dead->apart) {
            return i;
        }
    }
    return count;
}

// The transaction is lost, and was several of the source's.
static bool had_company(const Dead *dead)
{
    return dead->open_lsn != LSN_NONE && dead->open_lsn != dead->written.lsn;
}

// Nothing is known to be wrong with any of them.
static Status try_apart(Dead *dead, Error *err)
{
    dead->apart = 1;
    dead->apart_commits = 0;
    dead->apart_until = position_max(dead->apart_until, dead->written);
    return begin_again(dead, NULL, 1, err);
}

Status dead_commit_refused(Dead *dead, Error *err)
{
    return err->kind == ERROR_DATA && had_company(dead) ? try_apart(dead, err) : STATUS_FAIL;
}

static bool has_row(const Change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_row(&changes[i]) || changes[i].op == CHANGE_READ) {
            return true;
        }
    }
    return false;
}

// STATUS_AGAIN: @changes were refused; when it was one, it is set aside.
static Status try_run(Dead *dead, Sink *sink, const Change *changes, size_t count, Error *err)
{
    Error refused = {0};
    bool is_intact = false;
    if (sink->ops->try_write(sink, changes, count, &is_intact, &refused) == STATUS_OK) {
        return after_run(dead, sink, changes, count, err);
    }
    if (refused.kind == ERROR_DATA && !is_intact && had_company(dead)) {
        *err = refused;
        return try_apart(dead, err);
    }
    if (refused.kind != ERROR_DATA || !has_row(changes, count)) {
        *err = refused;
        return STATUS_FAIL;
    }
    if (count == 1) {
        if (set_aside(dead, sink, changes, &refused, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        tell(dead, sink, changes, &refused);
    }
    if (is_intact) {
        return STATUS_AGAIN;
    }
    *err = refused;
    return begin_again(dead, changes, count, err);
}

static Status write_free(Dead *dead, Sink *sink, const Change *changes, size_t count, Error *err)
{
    dead->written = change_position(&changes[count - 1]);
    if (dead->open_lsn == LSN_NONE) {
        dead->open_lsn = changes[0].transaction->commit_lsn;
    }
    if (dead->sets_aside && sink->ops->try_write != NULL) {
        return try_run(dead, sink, changes, count, err);
    }
    Error failure = {0};
    if (sink->ops->write(sink, changes, count, &failure) == STATUS_OK) {
        return after_run(dead, sink, changes, count, err);
    }
    *err = failure;
    return failure.kind == ERROR_DATA && had_company(dead) ? try_apart(dead, err) : STATUS_FAIL;
}

// A run that is refused is halved until the change is found; behind it runs grow again.
Status dead_write(Dead *dead, Sink *sink, const Change *changes, size_t count, Error *err)
{
    if (!dead->sets_aside && dead_count(dead) == 0) {
        return write_free(dead, sink, changes, count, err);
    }
    size_t max = count;
    for (size_t at = 0; at < count;) {
        size_t left = count - at;
        size_t longest = MIN(max, longest_run(dead, &changes[at], left));
        FreeRun front;
        if (free_run(dead, sink, &changes[at], left, longest, &front, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        size_t run = front.count;
        if (run == 0) {
            if (front.next == CONCERN_WAITS &&
                set_aside(dead, sink, &changes[at], NULL, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
            at++;
            continue;
        }
        Status status = write_free(dead, sink, &changes[at], run, err);
        if (status == STATUS_FAIL) {
            return STATUS_FAIL;
        }
        bool is_refused = status == STATUS_AGAIN;
        max = is_refused ? MAX(run / 2, (size_t)1) : MIN(max * 2, count);
        at += is_refused && run > 1 ? 0 : run;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Another try
// ---------------------------------------------------------------------------------------------

Status dead_is_due(Dead *dead, Position durable, bool *ret, Error *err)
{
    int64_t now = clock_monotonic_ms();
    bool has_come = dead->due_at.lsn != LSN_NONE && position_compare(dead->due_at, durable) <= 0;
    dead->is_due = dead->is_due || has_come;
    if (dead->store != NULL && !dead->is_due && now - dead->looked_at_ms >= LOOK_EVERY_MS) {
        dead->looked_at_ms = now;
        if (dead_store_has_changed(dead->store, &dead->is_due, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    *ret = dead->is_due;
    return STATUS_OK;
}

// One pass over all letters, in their order.
typedef struct Pass {
    Dead *dead;
    Sink *sink;
    const Tables *tables;
    Position durable;
    Arena arena;
    RowSet blocked; // of letters that stay
    int64_t dropped;
    bool is_full; // a commit comes first
} Pass;

static bool is_blocked(const Pass *pass, const DeadLetter *letter)
{
    const RowKey key = key_of_letter(letter);
    return row_set_find(&pass->blocked, letter->oid, &key) != ROW_NOT_FOUND;
}

static void block(Pass *pass, const DeadLetter *letter)
{
    const RowKey key = key_of_letter(letter);
    row_set_add(&pass->blocked, letter->oid, &key, letter->id);
}

// STATUS_AGAIN: the sink has no room for it before a commit.
static Status write_change(Pass *pass, const Relation *target, const Change *change,
                           bool *ret_is_intact, Error *refused)
{
    const SinkOps *ops = pass->sink->ops;
    Change now;
    dead_reshape(change, target, &pass->arena, &now);
    if (ops->prepare(pass->sink, target, target, refused) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t room = 1;
    if (ops->make_room != NULL &&
        ops->make_room(pass->sink, &now, 1, &room, refused) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return room == 0 ? STATUS_AGAIN : ops->try_write(pass->sink, &now, 1, ret_is_intact, refused);
}

static Status write_letter(Pass *pass, const DeadLetter *letter, const Relation *target,
                           bool *ret_is_intact, Error *refused)
{
    Unpacker unpacker = {0};
    Batch *batch = batch_new();
    Status status = dead_unpack(letter->record, &unpacker, batch, refused);
    if (status == STATUS_OK) {
        status = write_change(pass, target, &batch->changes[0], ret_is_intact, refused);
    }
    batch_unref(batch);
    unpacker_done(&unpacker);
    return status;
}

static Status try_letter(Pass *pass, const DeadLetter *listed, const Relation *target, Error *err)
{
    Dead *dead = pass->dead;
    DeadLetter kept;
    const DeadLetter *letter = &kept;
    bool is_there;
    if (dead_store_get(dead->store, listed->id, &pass->arena, &kept, &is_there, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!is_there) {
        return STATUS_OK; // dropped by hand since it was listed
    }
    Error refused = {0};
    bool is_intact = false;
    Status status = write_letter(pass, letter, target, &is_intact, &refused);
    pass->is_full = status == STATUS_AGAIN;
    if (status == STATUS_OK) {
        note_done(dead, letter->id);
    }
    if (status != STATUS_FAIL) {
        return STATUS_OK;
    }
    if (refused.kind != ERROR_DATA) {
        *err = refused;
        return STATUS_FAIL;
    }
    block(pass, letter);
    Str why = str_from(dead_reason(&refused, &pass->arena));
    if (dead_store_refused(dead->store, letter->id, why, clock_wall_us(), err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (is_intact) {
        return STATUS_OK;
    }
    // With the transaction, those before it are lost: they are tried again, and this one not.
    *err = refused;
    return begin_again(dead, NULL, 1, err);
}

static bool is_wanted(const DeadLetter *letter)
{
    return !letter->is_refused || letter->wants_retry;
}

static Status take_letter(Pass *pass, const DeadLetter *letter, Error *err)
{
    Dead *dead = pass->dead;
    const Table *table = tables_find(pass->tables, letter->oid);
    bool is_ready = table != NULL && table->state == TABLE_READY && table->target != NULL;
    if (is_ready && letter->position.lsn < table->copied_at) {
        pass->dropped++;
        return remove_letter(dead, letter->id, err);
    }
    if (!is_ready || !is_wanted(letter) || is_blocked(pass, letter)) {
        block(pass, letter);
        return STATUS_OK;
    }
    return try_letter(pass, letter, table->target, err);
}

static Status take_letters(Pass *pass, Error *err)
{
    DeadLetters letters;
    if (dead_store_list(pass->dead->store, &pass->arena, &letters, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    size_t at = 0;
    for (; at < letters.count &&
           position_compare(dead_stands(&letters.items[at]), pass->durable) <= 0;
         at++) {
        if (take_letter(pass, &letters.items[at], err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        if (pass->is_full) {
            pass->dead->is_due = true;
            return STATUS_OK;
        }
    }
    // An attempt that failed has left these. The stream comes to them again, and leaves them be.
    while (at < letters.count && !is_wanted(&letters.items[at])) {
        at++;
    }
    pass->dead->due_at = at < letters.count ? dead_stands(&letters.items[at]) : (Position){0};
    return STATUS_OK;
}

Status dead_retry(Dead *dead, Sink *sink, const Tables *tables, Position durable, bool *ret_wrote,
                  Error *err)
{
    *ret_wrote = false;
    dead->is_due = false;
    if (dead->store == NULL || sink->ops->try_write == NULL) {
        return STATUS_OK;
    }
    Pass pass = {.dead = dead, .sink = sink, .tables = tables, .durable = durable};
    Status status = take_letters(&pass, err);
    if (status == STATUS_OK && pass.dropped > 0) {
        notice_tell(&sink->context.notice,
                    "%lld dead letters are dropped: their tables were copied again behind them",
                    (long long)pass.dropped);
    }
    row_set_done(&pass.blocked);
    arena_done(&pass.arena);
    *ret_wrote = dead->done_count > 0 || pass.is_full;
    if (status == STATUS_OK && !*ret_wrote) {
        status = dead_store_save(dead->store, err);
    }
    // Others may have been dropped by hand.
    return status == STATUS_OK ? load(dead, err) : STATUS_FAIL;
}
