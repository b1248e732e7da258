// Models of sinks, one of each guarantee, and of the local state. What a transaction touched is its
// own until commit(), and locked for others.
#include <assert.h>

#include "base/mem.h"
#include "pipeline/state.h"
#include "sim.h"

typedef struct SimSink {
    Sink base;
    Target *target;
    TargetData data;  // of its transaction
    uint32_t touched; // bits: tables
    Lsn first;        // of the transactions of the stream since the last commit; LSN_NONE: none
    Lsn last;
    bool has_rows;  // written and not committed
    bool is_broken; // a call failed: it may only be closed
} SimSink;

// NULL: of none, but of the buffer.
static Target *target_of(const char *name)
{
    const char *last = strrchr(name, '.') + 1;
    return last[1] == '\0' ? &targets[last[0] - 'a'] : NULL;
}

static Status failed(SimSink *self, const char *what, Error *err)
{
    self->is_broken = true;
    return sim_error(self->base.context.cancel, what, err);
}

// Before, and after what it does: a call that fails may have done it all the same.
static Status call(SimSink *self, const char *what, Error *err)
{
    sim_check(!self->is_broken, "%s() of a sink that has failed", what);
    return sim_call(what, self->base.context.cancel) ? STATUS_OK : failed(self, what, err);
}

static Status touch(SimSink *self, uint32_t at, Error *err)
{
    Target *target = self->target;
    if ((self->touched & (1u << at)) != 0) {
        return STATUS_OK;
    }
    while (target->locks[at] != NULL) {
        if (cancel_is_set(self->base.context.cancel)) {
            return failed(self, "wait for a lock", err);
        }
        task_wait(&target->locks[at], 1000000);
    }
    target->locks[at] = self;
    self->touched |= 1u << at;
    self->data.tables[at] = target->data.tables[at];
    return STATUS_OK;
}

static void publish(SimSink *self)
{
    TargetData *data = &self->target->data;
    for (uint32_t i = 0; i < TABLES; i++) {
        if ((self->touched & (1u << i)) != 0) {
            data->tables[i] = self->data.tables[i];
        }
    }
    if (!self->base.context.is_lane) {
        data->next_message = self->data.next_message;
        data->last = self->data.last;
    }
}

static void unlock(SimSink *self)
{
    for (uint32_t i = 0; i < TABLES; i++) {
        if ((self->touched & (1u << i)) != 0) {
            self->target->locks[i] = NULL;
            task_wake(&self->target->locks[i]);
        }
    }
    self->touched = 0;
}

static Status sink_opens(Sink *sink, Error *err)
{
    SimSink *self = (SimSink *)sink;
    self->target = target_of(sink->context.pipeline);
    sim_check(sink->context.subject == self->target, "the sink was not handed its subject");
    return call(self, "open", err);
}

static void cut_file(Target *target, const Checkpoint *checkpoint)
{
    const CheckpointEntry *entry = checkpoint_get(checkpoint, STR("sink:epoch"));
    uint64_t epoch = 0;
    (void)!(entry == NULL || str_to_uint64(entry->value, &epoch));
    sim_check(target->epoch - epoch < KEPT, "the file is far behind its checkpoint");
    target->epoch = (uint32_t)epoch;
    target->data = target->kept[epoch % KEPT];
}

static Status sink_resumes(Sink *sink, Checkpoint *checkpoint, Error *err)
{
    SimSink *self = (SimSink *)sink;
    Target *target = self->target;
    if (call(self, "resume", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (sink->ops->stores_checkpoint) {
        target_load(target, checkpoint);
    }
    if (target->kind == TARGET_FILE) {
        cut_file(target, checkpoint);
    }
    self->data.next_message = target->data.next_message;
    self->data.last = target->data.last;
    if (!target->store.has_position) {
        self->data.next_message = 0;
    }
    return call(self, "resumed", err);
}

static void see_others(SimSink *self)
{
    for (uint32_t i = 0; i < TABLES; i++) {
        if ((self->touched & (1u << i)) == 0) {
            self->data.tables[i] = self->target->data.tables[i];
        }
    }
}

static Status sink_prepares(Sink *sink, const Relation *was, const Relation *now, Error *err)
{
    SimSink *self = (SimSink *)sink;
    if (call(self, "prepare", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (!sink->ops->has_tables) {
        return STATUS_OK;
    }
    if (touch(self, target_table(now), err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    see_others(self);
    sim_trace("  prepare table %u as %" STR_FMT, now->oid, STR_ARG(now->name));
    target_prepare(&self->data, was, now);
    return call(self, "prepared", err);
}

static Status sink_has(Sink *sink, const Relation *relation, bool *ret, Error *err)
{
    SimSink *self = (SimSink *)sink;
    if (call(self, "has", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    see_others(self);
    *ret = target_fits(&self->data.tables[target_table(relation)], relation);
    return STATUS_OK;
}

static Status sink_clears(Sink *sink, const Relation *relation, Lsn copied_at, Error *err)
{
    SimSink *self = (SimSink *)sink;
    if (call(self, "clear", err) != STATUS_OK ||
        touch(self, target_table(relation), err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    sim_trace("  clear table %u", relation->oid);
    target_clear(&self->data, relation);
    return call(self, "cleared", err);
}

static Status sink_writes(Sink *sink, const Change *changes, size_t count, Error *err)
{
    SimSink *self = (SimSink *)sink;
    if (call(self, "write", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (self->target->store.has_position) {
        self->data.next_message = target_next_message(self->target, &self->data);
    }
    for (size_t i = 0; i < count; i++) {
        const Relation *relation = changes[i].relation;
        if (relation != NULL && touch(self, target_table(relation), err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        target_apply(self->target, &self->data, &changes[i]);
        self->has_rows = true;
        if (self->target->kind == TARGET_AT_LEAST_ONCE && sim_chance(300)) {
            publish(self); // it is there before the commit
        }
    }
    return call(self, "written", err);
}

// Of what is refused nothing is there; some targets lose what was there before it, too.
static Status refuse(SimSink *self, bool *ret_is_intact, Error *err)
{
    sim_trace("  %c refuses%s, of " LSN_FMT " to " LSN_FMT,
              (char)(self->target - targets + (int)(char)97),
              self->base.context.is_lane ? " (lane)" : "", LSN_ARG(self->first),
              LSN_ARG(self->last));
    sim_seen.refusals++;
    *ret_is_intact = self->target->refusals.is_undone && !sim_chance(20);
    self->is_broken = !*ret_is_intact;
    return error_set(err, ERROR_DATA, "a change is refused");
}

// What was refused together is tried apart from then on, as long as the process lives.
static void be_shy(SimSink *self)
{
    Lsn *before = &self->target->refusals.shy_of;
    sim_check(*before != self->first, "what was refused together is tried together again");
    *before = self->first;
}

// Letters that are tried again are none of the stream's.
static bool is_shy_of(SimSink *self, const Change *changes, size_t count)
{
    Position stored = self->target->store.position;
    for (size_t i = 0; i < count; i++) {
        bool is_new = changes[i].op != CHANGE_READ && changes[i].relation != NULL &&
                      position_compare(change_position(&changes[i]), stored) > 0;
        if (is_new) {
            self->last = changes[i].transaction->commit_lsn;
            self->first = self->first == LSN_NONE ? self->last : self->first;
            if (sim_chance(500) && target_is_shy_of(self->target, self->first, self->last)) {
                self->target->refusals.refused = (Position){0};
                be_shy(self);
                return true;
            }
        }
    }
    return false;
}

static Status sink_tries(Sink *sink, const Change *changes, size_t count, bool *ret_is_intact,
                         Error *err)
{
    SimSink *self = (SimSink *)sink;
    *ret_is_intact = false;
    for (size_t i = 0; i < count; i++) {
        bool is_copied = changes[i].op == CHANGE_READ; // with another kind of position
        sim_check(is_copied || !letters_rest(self->target, change_position(&changes[i])),
                  "a letter is tried that nobody has asked for");
    }
    if (!self->is_broken && is_shy_of(self, changes, count)) {
        return refuse(self, ret_is_intact, err);
    }
    if (!sink->context.is_lane) {
        self->target->refusals.refused = change_position(&changes[0]); // if it is
    }
    if (!self->is_broken && target_refuses(self->target, changes, count)) {
        task_yield();
        return refuse(self, ret_is_intact, err);
    }
    return sink_writes(sink, changes, count, err);
}

static Status sink_makes_room(Sink *sink, const Change *changes, size_t count, size_t *ret,
                              Error *err)
{
    SimSink *self = (SimSink *)sink;
    (void)changes;
    if (call(self, "make room", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    bool is_full = self->has_rows && sim_chance(300);
    *ret = is_full ? 0 : 1 + sim_below((uint32_t)count);
    sim_seen.cut += is_full;
    return STATUS_OK;
}

// What cannot be set aside ends the run.
static Status sink_writes_or_refuses(Sink *sink, const Change *changes, size_t count, Error *err)
{
    bool is_intact;
    return sink_tries(sink, changes, count, &is_intact, err);
}

static void keep_file(SimSink *self, Checkpoint *changed)
{
    Target *target = self->target;
    char text[16];
    target->epoch++;
    target->kept[target->epoch % KEPT] = target->data;
    (void)snprintf(text, sizeof(text), "%u", target->epoch);
    checkpoint_set(changed, STR("sink:epoch"), str_from(text));
}

static Status sink_commits(Sink *sink, Checkpoint *changed, Error *err)
{
    SimSink *self = (SimSink *)sink;
    if (call(self, "commit", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    if (target_is_shy_of(self->target, self->first, self->last)) {
        bool is_intact;
        be_shy(self);
        return refuse(self, &is_intact, err);
    }
    self->first = LSN_NONE;
    self->has_rows = false;
    publish(self);
    if (sink->ops->stores_checkpoint) {
        TargetData *data = &self->target->data;
        target_store(self->target, data, changed);
    } else if (self->target->kind == TARGET_FILE) {
        keep_file(self, changed);
    }
    unlock(self);
    return call(self, "committed", err);
}

static void sink_closes(Sink *sink)
{
    SimSink *self = (SimSink *)sink;
    if (self->target != NULL) {
        unlock(self);
    }
    (void)sim_call("close", NULL);
}

static const Option no_options[] = {{0}};

#define SIM_SINK(label, promise, stored, tables, lanes, writes, tries)                         \
    {                                                                                          \
        .name = label, .summary = "", .options = no_options, .instance_size = sizeof(SimSink), \
        .guarantee = promise, .stores_checkpoint = stored, .has_tables = tables,               \
        .is_parallel = lanes, .open = sink_opens, .resume = sink_resumes,                      \
        .prepare = sink_prepares, .has = sink_has, .clear = sink_clears, .write = writes,      \
        .try_write = tries, .commit = sink_commits, .close = sink_closes,                      \
    }

static const SinkOps sinks[] = {
    [TARGET_TABLES] =
        SIM_SINK("tables", GUARANTEE_EXACTLY_ONCE, true, true, false, sink_writes, NULL),
    [TARGET_PARALLEL_TABLES] =
        SIM_SINK("lanes", GUARANTEE_EXACTLY_ONCE, true, true, true, sink_writes, NULL),
    [TARGET_LOG] = SIM_SINK("log", GUARANTEE_EXACTLY_ONCE, true, false, false, sink_writes, NULL),
    [TARGET_FILE] =
        SIM_SINK("file", GUARANTEE_EXACTLY_ONCE, false, false, false, sink_writes, NULL),
    [TARGET_AT_LEAST_ONCE] =
        SIM_SINK("queue", GUARANTEE_AT_LEAST_ONCE, false, false, false, sink_writes, NULL),
};

static const SinkOps refusing_sinks[] = {
    [TARGET_TABLES] = SIM_SINK("tables", GUARANTEE_EXACTLY_ONCE, true, true, false,
                               sink_writes_or_refuses, sink_tries),
    [TARGET_PARALLEL_TABLES] = SIM_SINK("lanes", GUARANTEE_EXACTLY_ONCE, true, true, true,
                                        sink_writes_or_refuses, sink_tries),
};

// The same, where changes stand alone.
static SinkOps lone_sinks[TARGETS];

const SinkOps *sim_sink(const Target *target)
{
    const Refusals *refusals = &target->refusals;
    if (refusals->stand_alone) {
        SinkOps *ops = &lone_sinks[target - targets];
        *ops = refusing_sinks[target->kind];
        ops->changes_stand_alone = true;
        ops->make_room = refusals->is_narrow && !world.copies ? sink_makes_room : NULL;
        return ops;
    }
    return refusals->has_letters ? &refusing_sinks[target->kind] : &sinks[target->kind];
}

// ---------------------------------------------------------------------------------------------
// In the place of pipeline/state
// ---------------------------------------------------------------------------------------------

struct State {
    Target *target;
};

Status state_open(const StateOwner *owner, State **ret, Error *err)
{
    if (!sim_call("state open", NULL)) {
        return sim_error(NULL, "state open", err);
    }
    State *state = mem_alloc_zero(sizeof(*state));
    state->target = target_of(owner->name.ptr);
    if (state->target != NULL) {
        state->target->refusals.shy_of = LSN_NONE; // who knew that has ended
    }
    *ret = state;
    return STATUS_OK;
}

// Nothing looks at both ends first.
Status state_look(const StateOwner *owner, bool *ret_is_owned, Checkpoint *checkpoint, Error *err)
{
    (void)owner;
    (void)checkpoint;
    (void)err;
    *ret_is_owned = true;
    return STATUS_OK;
}

Status state_own(State *state, Error *err)
{
    (void)state;
    (void)err;
    return STATUS_OK;
}

const char *state_path(const State *state)
{
    static const char *const paths[TARGETS] = {"a", "b", "c", "d"};
    return state->target == NULL ? "sim" : paths[state->target - targets];
}

Status state_load(State *state, Checkpoint *checkpoint, Error *err)
{
    if (!sim_call("state load", NULL)) {
        return sim_error(NULL, "state load", err);
    }
    target_load(state->target, checkpoint);
    return STATUS_OK;
}

Status state_save(State *state, const Checkpoint *changed, Error *err)
{
    if (!sim_call("state save", NULL)) {
        return sim_error(NULL, "state save", err);
    }
    target_store(state->target, &state->target->data, changed);
    return sim_call("state saved", NULL) ? STATUS_OK : sim_error(NULL, "state saved", err);
}

void state_close(State *state)
{
    mem_free(state);
}
