// The simulator: a whole pipeline (the runner's own threads, routes, copies and core) in one
// thread, between a model of a source and models of sinks. One 64-bit seed decides everything: what
// happens at the source, who runs when, what fails, when the process dies. See docs/RELIABILITY.md.
//
//   tasks.c   threads as coroutines, the clock, bells and cancelling: what the linker puts in the
//             place of pthreads, clock_gettime(), io/wake and io/cancel
//   heap.c    base/mem: all memory of the simulated process, dropped at once when it dies
//   world.c   what happened at the source, and how it looks
//   source.c  SourceOps on it
//   target.c  what targets have, and what must be true of it
//   sink.c    SinkOps on them; also pipeline/state
//   letters.c the stores of dead letters, and their user
//   files.c   io/file in memory, with power cuts; segments.c: the disk buffer's log on it;
//             spills.c: what is held back on it
//   run.c     one schedule: what happens when, and what the end must be
//   main.c    seeds and processes
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "change/relation.h"
#include "io/cancel.h"
#include "pipeline/runner.h"

// ---------------------------------------------------------------------------------------------
// Chance and failure
// ---------------------------------------------------------------------------------------------

/** The next random number of this schedule, below @n (> 0). */
uint32_t sim_below(uint32_t n);

/** True @permille times in a thousand. */
bool sim_chance(uint32_t permille);

/** The schedule has shown a fault: say what, and leave it. */
_Noreturn void sim_fail(const char *format, ...) PRINTF_LIKE(1, 2);

/** sim_fail() unless @holds. */
#define sim_check(holds, ...) ((holds) ? (void)0 : sim_fail(__VA_ARGS__))

void sim_trace_line(const char *format, ...) PRINTF_LIKE(1, 2);
extern bool sim_tracing;
#define sim_trace(...) (sim_tracing ? sim_trace_line(__VA_ARGS__) : (void)0)

/** What the schedules of one program have seen: they must not pass because nothing happens. */
typedef struct Seen {
    uint64_t schedules;
    uint64_t buffered; // of them, with a disk buffer
    uint64_t steps;
    uint64_t lives;
    uint64_t verifications; // of them, brought to their LSN
    uint64_t crashes;
    uint64_t faults;
    uint64_t changes;
    uint64_t commits;
    uint64_t copies;      // that a checkpoint says are ready
    uint64_t side_copies; // of them, while the stream ran
    uint64_t cut;         // commits before all that was to be written was
    uint64_t vain_copies; // not begun: the table was rewritten since the snapshot
    uint64_t spilled;     // lists of changes that were held on disk meanwhile
    uint64_t redelivered; // to an at-least-once sink
    uint64_t asides;      // tables that had to wait for a row to get their name back
    uint64_t refusals;    // of what a target was to write
    uint64_t letters;     // changes that were set aside
    uint64_t retried;     // of them, written later
    uint64_t drops;       // of them, thrown away by the user
    uint64_t voided;      // of them, as a later change said all that they did
    uint64_t overtook;    // changes that did not wait for one of them, as they undo nothing of it
} Seen;

extern Seen sim_seen;

/** Run one schedule. False: sim_fail() was called, and sim_failure() has the sentence. */
bool sim_run(uint64_t seed);
const char *sim_failure(void);

// ---------------------------------------------------------------------------------------------
// Tasks and time
// ---------------------------------------------------------------------------------------------

/** The virtual clock, in microseconds; never goes back. */
int64_t sim_now_us(void);
void sim_advance_us(int64_t us);

/** Forget all tasks of a process that ended or died. */
void tasks_reset(void);
void task_start(const char *name, void *(*body)(void *), void *argument);

/** Let one task run until it gives way. False: none can; *ret_at_us: when the next one can,
 *  INT64_MAX: never. */
bool tasks_step(int64_t *ret_at_us);

/** Give way to others. From a task only, like all that follow. */
void task_yield(void);

/** Until somebody wakes @what, or for @us. It may also return for no reason. */
void task_wait(const void *what, int64_t us);
void task_wake(const void *what);
void task_wake_all(void);
const char *task_name(void);

/** The bell with that descriptor: for a source that waits on it. */
bool sim_bell_is_set(int fd);
void sim_bell_wait(int fd, int64_t us);
/** Wake whoever waits on any bell without ringing it. */
void sim_bells_shake(void);

// ---------------------------------------------------------------------------------------------
// Memory of the process
// ---------------------------------------------------------------------------------------------

void heap_reset(void);
/** Blocks in use. */
size_t heap_count(void);

// ---------------------------------------------------------------------------------------------
// The disk
// ---------------------------------------------------------------------------------------------

void files_init(void);
/** The process died, perhaps by a power cut. */
void files_crash(void);
void files_check_closed(void);
uint32_t files_count(void);
int sim_stat(const char *path, struct stat *ret);
DIR *sim_opendir(const char *path);
struct dirent *sim_readdir(DIR *directory);
/** The process died: no log is open. */
void segments_forget(void);
/** The process died: no spill takes memory. */
void spills_forget(void);

// ---------------------------------------------------------------------------------------------
// The source's history
// ---------------------------------------------------------------------------------------------

enum {
    KEYS = 6,
    ATTNUMS = 7, // 1 is the key
    TABLES = 10,
    VERSIONS = 8,
    ABSENCES = 3, // of a table from the publication, at most
    TXS = 80,
    CHANGES = 640,
    TABLE_CHANGES = 256,
    SNAPSHOTS = 256,
    NAME_SIZE = 16,
};

typedef struct Row {
    bool is_there;
    uint32_t values[ATTNUMS + 1]; // by attnum; 0: NULL
} Row;

typedef struct Version {
    // The same: every connection describes a table anew, as published by what is known of it (0: no
    // more).
    Relation relations[2][ABSENCES + 2];
    Column columns[2][ATTNUMS];
    char name[NAME_SIZE];
    char missing[ATTNUMS + 1][12];
} Version;

typedef struct WorldChange {
    uint8_t op; // ChangeOp
    uint8_t table;
    uint8_t version;
    uint8_t old_key;
    uint8_t new_key;
    uint8_t unchanged; // bits: columns of which the update says nothing
    bool is_published;
    uint32_t values[ATTNUMS + 1];
    uint32_t ordinal;
    uint16_t tx;
} WorldChange;

typedef struct WorldTx {
    Lsn commit_lsn;
    Lsn end_lsn;
    uint16_t first;
    uint16_t count;
    uint16_t published;
} WorldTx;

typedef struct WorldTable {
    uint32_t oid;
    bool exists;
    bool is_published;
    uint32_t absences; // how often it came back to the publication
    Lsn rewritten_at;  // its rows before it cannot be read by a snapshot of before
    uint8_t version;   // the latest
    uint8_t versions;
    uint16_t attnum_max;
    Version version_list[VERSIONS];
    Row rows[KEYS];
    uint16_t changes[TABLE_CHANGES]; // indexes
    uint16_t change_count;
} WorldTable;

/** How many rows a table had at a snapshot. */
typedef struct WorldSnapshot {
    Lsn lsn;
    uint8_t rows[TABLES];
} WorldSnapshot;

typedef struct World {
    WorldTable tables[TABLES];
    uint32_t table_count;
    WorldTx txs[TXS];
    uint32_t tx_count;
    WorldChange changes[CHANGES];
    uint32_t change_count;
    uint16_t messages[CHANGES];
    uint32_t message_count;
    WorldSnapshot snapshots[SNAPSHOTS];
    uint32_t snapshot_count;
    Lsn head; // where the log ends
    bool has_slot;
    Lsn confirmed;
    uint32_t next_value;
    uint32_t next_oid;
    bool copies;      // tables are copied before they are followed
    bool has_buffer;  // a log on disk between the source and the targets
    bool is_restless; // tables come, go and change their names all the time
} World;

extern World world;

void world_init(void);
/** Something happens at the source. */
void world_act(void);
/** The last transaction: a row of each table, as names and columns are told with rows only. */
void world_close(void);
/** Every table that the pipeline is to have, as it is. */
bool world_wants(const WorldTable *table);
const Relation *world_relation(const WorldTable *table, int copy);
WorldTable *world_find(uint32_t oid);
Position world_position(const WorldChange *change);
/** Whether @later says all of the row that @was said. */
bool world_is_covered(const WorldTable *table, const WorldChange *was, const WorldChange *later);
/** Whether neither undoes what the other says. */
bool world_is_apart(const WorldTable *table, const WorldChange *was, const WorldChange *later);
/** Index in the table's list of its first change at or behind @lsn. */
uint32_t world_first(const WorldTable *table, Lsn lsn);
/** Note that a snapshot is taken now. */
void world_snapshot(void);
const WorldSnapshot *world_snapshot_at(Lsn lsn);

extern const SourceOps sim_source;

// ---------------------------------------------------------------------------------------------
// Targets
// ---------------------------------------------------------------------------------------------

enum { ENTRIES = 24, ENTRY_SIZE = 1200, KEPT = 3, TARGETS = 4 };

typedef struct Entry {
    char key[24];
    uint16_t len;
    char value[ENTRY_SIZE];
} Entry;

typedef struct Store {
    Entry entries[ENTRIES];
    uint32_t count;
    Position position; // its "position", parsed
    bool has_position;
    Position first; // its first "position": where this target began
} Store;

/** Some changes of a table, by their places in its list. */
typedef struct ChangeSet {
    uint64_t bits[TABLE_CHANGES / 64];
} ChangeSet;

/** One source table at a target. */
typedef struct TargetTable {
    bool exists;
    char name[NAME_SIZE];
    uint8_t column_count;
    uint8_t attnums[ATTNUMS];
    char columns[ATTNUMS][NAME_SIZE];
    Row rows[KEYS];
    // What must be true: which change comes next, and what is known of its copy.
    bool is_begun; // `next` means something
    bool is_aside; // has another name than the source ever told
    bool is_told;  // rows of it, as events
    bool is_stale; // changes were made while it was not published: to be copied again
    uint32_t next;
    ChangeSet aside; // those before `next` that are dead letters, or were
    Lsn copy_lsn;
    uint32_t copy_rows;
} TargetTable;

typedef struct TargetData {
    TargetTable tables[TABLES];
    uint32_t next_message;
    Position last; // the latest change of the stream that was written
} TargetData;

typedef enum TargetKind {
    TARGET_TABLES,          // rows and checkpoint in one transaction
    TARGET_PARALLEL_TABLES, // the same, with lanes
    TARGET_LOG,             // events and checkpoint in one transaction
    TARGET_FILE,            // events; the checkpoint in the local state knows their length
    TARGET_AT_LEAST_ONCE,   // events; the checkpoint in the local state
    TARGET_KINDS,
} TargetKind;

/** What a target refuses, until it does no more. */
typedef struct Refusals {
    bool has_letters;          // it may refuse changes, and they may be set aside
    uint32_t permille;         // of changes
    uint32_t salt;             // other ones with another number
    bool is_undone;            // of the transaction, only the run that was refused is lost
    bool folds;                // of several changes of a row, only the last counts
    bool stand_alone;          // a change says what its row is to be, whatever it is
    bool is_narrow;            // only some changes at a time may be written, and so committed
    bool is_shy;               // some transactions are refused beside others, and fine alone
    Position refused;          // a change alone, as the last one
    Lsn shy_of;                // the first transaction of the last company; LSN_NONE: none
    ChangeSet dropped[TABLES]; // by the user
    uint8_t tainted[TABLES];   // bits: rows that are wrong for that
} Refusals;

typedef struct Target {
    TargetKind kind;
    Refusals refusals;
    TargetData data;       // committed
    TargetData kept[KEPT]; // a file can be cut back to an earlier commit
    uint32_t epoch;        // commits of the file
    Store store;           // the checkpoint, wherever it is kept
    Lsn ready_at[TABLES];  // as stored; LSN_NONE: not ready, or never copied
    bool is_ready[TABLES];
    const void *locks[TABLES]; // of a table: the instance whose transaction has touched it
} Target;

extern Target targets[TARGETS];

extern uint32_t target_count;

const SinkOps *sim_sink(const Target *target);
const char *target_kind_name(TargetKind kind);
void targets_init(void);
/** The process died: what was not committed is gone. */
void targets_crash(void);
/** The source is told to forget everything up to @position. */
void targets_check_confirmed(Position position);
/** Everything that happened is durable at all targets. *ret_why: what is missing. */
bool targets_are_complete(const char **ret_why);
/** A table that is there under another name: only its next row can tell. */
bool targets_wait_for_rows(void);
/** At the end: the same rows. */
void targets_compare(void);

/** @name has told the log that it has everything up to @position. */
void targets_check_passed(Str name, Position position);

// What sinks do to a target.
void target_prepare(TargetData *data, const Relation *was, const Relation *now);
bool target_fits(const TargetTable *table, const Relation *relation);
void target_clear(TargetData *data, const Relation *relation);
void target_apply(const Target *target, TargetData *data, const Change *change);
/** @changed is stored, and @data is what it is stored with. */
void target_store(Target *target, const TargetData *data, const Checkpoint *changed);
void target_load(const Target *target, Checkpoint *ret);
bool target_has_tables(const Target *target);
/** Index of the message that comes next. */
uint32_t target_next_message(const Target *target, const TargetData *data);
uint32_t target_table(const Relation *relation);
/** Whether it refuses @changes. */
/** Whether transactions from @first to @last are refused together, of which each is taken alone. */
bool target_is_shy_of(const Target *target, Lsn first, Lsn last);

bool target_refuses(const Target *target, const Change *changes, size_t count);
/** The change at @position was thrown away by the user. */
void target_drop(Target *target, uint32_t oid, Position position);
/** All targets take everything again. */
void targets_heal(void);

// ---------------------------------------------------------------------------------------------
// Dead letters
// ---------------------------------------------------------------------------------------------

typedef struct SavedLetter {
    int64_t id;
    uint32_t oid;
    Position position;
} SavedLetter;

void letters_init(void);
/** The process died: what was not saved is gone. */
void letters_crash(void);
/** There is a letter of that change, as the process sees it. */
bool letters_have(const Target *target, Position position);
/** There is one that was refused, and nobody has asked for it to be tried again. */
bool letters_rest(const Target *target, Position position);
/** There is one, whatever becomes of the process. */
bool letters_keep(const Target *target, Position position);
/** One after the other, from *at 0 on. */
bool letters_next(const Target *target, uint32_t *at, SavedLetter *ret);
/** A start is refused where the store is older than what the target says of it. */
void letters_check_mark(const Target *target);
/** Some are left that should not be, at the end. */
bool letters_are_left(const Target *target);
/** The user asks for some letters of a target, and drops some, if nobody is writing. */
void letters_ask(uint32_t target, uint32_t retry_permille, uint32_t drop_permille);

// ---------------------------------------------------------------------------------------------
// Faults
// ---------------------------------------------------------------------------------------------

/** A call into the outside world: gives way, may stall, may fail. False: it does. */
bool sim_call(const char *what, const Cancel *cancel);
/** The same of a call that takes no time. */
bool sim_call_briefly(const char *what);
/** Set @err for a call that fails, or was cancelled. */
Status sim_error(const Cancel *cancel, const char *what, Error *err);
/** Bytes by which a batch is larger than it is: what waits, and what is committed in parts, is
 *  decided by bytes. */
size_t sim_weight(void);
/** An attempt begins. */
void sim_begun(const Cancel *cancel);
/** The stream of this process has begun. */
void sim_polled(void);
/** It broke off: all that goes on at the same time is to be cut short. */
void sim_poll_failed(const Cancel *cancel);
/** The runner tries again, because of @message. */
void sim_check_retry(const char *message);
