// A pipeline that has no buffer is one runner. One with a disk buffer is a crew of its own: a
// runner that fills the log, and one for each route that takes it from there. They end together:
//
//   the filler fails          the routes stop, too: nothing new would come, and nobody would see it
//   the last route has ended  nobody takes anything any more, and the filler stops; but where all
//                             have come to their end, so does it by itself: what is durable is
//                             confirmed, and a slot that is gone is told
//
// A route that fails alone leaves the others to work; the log keeps what it needs, as far as it
// may.
#include "cli/crew.h"

#include <pthread.h>
#include <signal.h>

#include "buffers/disk.h"
#include "buffers/segment_log.h"
#include "cli/command.h"
#include "cli/ending.h"
#include "cli/interrupt.h"
#include "control/serve.h"

typedef struct Member Member;

/** The runners of one pipeline. */
typedef struct Group {
    const Pipeline *pipeline;
    Member *members; // the first fills the log, if there is one
    size_t count;
    SegmentLog *log; // NULL: there is no buffer
    atomic_size_t routes_left;
    atomic_bool has_failed; // a route has not come to its end
    bool is_quiet;          // how it ends is told by somebody else
} Group;

struct Member {
    Group *group;
    const Pipeline *pipeline;
    Runner *runner;
    SegmentLog *log; // that it reads, where its group has none
    pthread_t thread;
    bool is_started;
    atomic_bool is_sent_home; // stopped by us, not by a signal
    bool is_cut_short;        // by that
    Status status;
    Error error;
};

typedef struct Crew {
    const bool *takes; // which routes of a pipeline with a buffer; NULL: all
    bool is_quiet;
    Group *groups;
    size_t group_count;
    Member *members;
    size_t count;
    Runner **runners;
    Watched *watched;
} Crew;

// ---------------------------------------------------------------------------------------------
// Ends
// ---------------------------------------------------------------------------------------------

static void report_end(const Member *member)
{
    if (member->group->is_quiet) {
        return;
    }
    Str route = member->pipeline->route_count == 1 ? member->pipeline->routes[0].name : STR("");
    LogScope pipeline = {NULL, "pipeline", member->pipeline->name};
    LogScope named = {&pipeline, "route", route};
    const LogScope *scope = route.len > 0 ? &named : &pipeline;
    // One that had an end to come to has done so, unless it was cut short.
    bool has_end = member->pipeline->until != UNTIL_FOREVER;
    bool stopped = interrupt_signal() != 0 || member->is_cut_short ||
                   (!has_end && atomic_load(&member->is_sent_home));
    if (member->status == STATUS_OK) {
        log_info(scope, stopped ? "stopped" : "done");
    } else if (is_reader_gone(member->status, &member->error)) {
        log_info(scope, "nobody reads standard output any more");
    } else {
        log_failure(LOG_ERROR, scope, "failed", &member->error);
    }
}

static void send_home(Member *member)
{
    atomic_store(&member->is_sent_home, true);
    runner_stop(member->runner, false);
}

static void end_with(const Member *member)
{
    Group *group = member->group;
    Member *filler = &group->members[0];
    if (group->log == NULL) {
        return;
    }
    if (member != filler) {
        if (member->status != STATUS_OK) {
            atomic_store(&group->has_failed, true);
        }
        bool is_last = atomic_fetch_sub(&group->routes_left, 1) == 1;
        bool has_end = group->pipeline->until != UNTIL_FOREVER;
        if (is_last && (!has_end || atomic_load(&group->has_failed))) {
            send_home(filler);
        }
    } else if (member->status != STATUS_OK) {
        for (size_t i = 1; i < group->count; i++) {
            send_home(&group->members[i]);
        }
    }
}

// An end is said at once: the others may run for ever.
static void *member_main(void *argument)
{
    Member *member = argument;
    member->status = runner_run(member->runner, &member->error);
    if (member->status != STATUS_OK && member->error.kind == ERROR_CANCELLED &&
        atomic_load(&member->is_sent_home)) {
        member->status = STATUS_OK; // why it was, another one says
        member->is_cut_short = true;
    }
    report_end(member);
    end_with(member);
    return NULL;
}

// The worse one first; a reader that has gone is no failure of the others.
static int worst_code(const Crew *crew)
{
    static const int order[] = {EXIT_INTERRUPTED, EXIT_FAILED, EXIT_USAGE, EXIT_PIPE};
    for (size_t o = 0; o < ARRAY_LEN(order); o++) {
        for (size_t i = 0; i < crew->count; i++) {
            if (ending_code(crew->members[i].status, &crew->members[i].error) == order[o]) {
                return order[o];
            }
        }
    }
    return EXIT_DONE;
}

// ---------------------------------------------------------------------------------------------
// Running
// ---------------------------------------------------------------------------------------------

static void fail_member(Member *member)
{
    report_end(member);
    end_with(member);
}

static void start_group(Group *group)
{
    if (group->members[0].status != STATUS_OK) {
        report_end(&group->members[0]); // there is no buffer to work with
        return;
    }
    for (size_t i = 0; i < group->count; i++) {
        Member *member = &group->members[i];
        int code = pthread_create(&member->thread, NULL, member_main, member);
        member->is_started = code == 0;
        if (code != 0) {
            member->status =
                error_set_errno(&member->error, ERROR_TRANSIENT, code, "start a thread");
            fail_member(member);
        }
    }
}

static void run_groups(Crew *crew)
{
    interrupt_watch(crew->runners, crew->count);
    for (size_t i = 0; i < crew->group_count; i++) {
        start_group(&crew->groups[i]);
    }
    for (size_t i = 0; i < crew->count; i++) {
        if (crew->members[i].is_started) {
            (void)pthread_join(crew->members[i].thread, NULL);
        }
    }
    interrupt_clear();
}

// ---------------------------------------------------------------------------------------------
// Making
// ---------------------------------------------------------------------------------------------

static size_t members_of(const Pipeline *pipeline)
{
    return pipeline->buffer == NULL ? 1 : pipeline->route_count + 1;
}

// Opened here, so that damage is told once, and before anything else happens. It is a failure of
// this pipeline only.
static void open_buffer(Group *group, Watched *watched, Arena *arena)
{
    Member *filler = &group->members[0];
    const char *directory = str_to_cstr(arena, disk_buffer_directory(group->pipeline, arena));
    filler->status = segment_log_open(directory, &group->log, &filler->error);
    for (size_t i = 0; i < group->count; i++) {
        watched[i].log = group->log;
        watched[i].filler = i == 0 ? NULL : filler->runner;
        watched[i].reader =
            i == 0 ? STR("") : settings_find(watched[i].pipeline->source_settings, "reader")->value;
    }
}

// Of a hub's log, which each pipeline opens by itself. What is wrong with it, they say.
static void watch_log(Member *member, Watched *watched, Arena *arena)
{
    const Settings *settings = member->pipeline->source_settings;
    Error none;
    if (member->pipeline->source != &disk_source) {
        return;
    }
    const char *directory = str_to_cstr(arena, settings_find(settings, "dir")->value);
    if (segment_log_open(directory, &member->log, &none) == STATUS_OK) {
        watched->log = member->log;
        watched->reader = settings_find(settings, "reader")->value;
    }
}

static Status add_group(Crew *crew, const Pipeline *pipeline, Arena *arena, Error *err)
{
    Group *group = &crew->groups[crew->group_count++];
    group->pipeline = pipeline;
    group->is_quiet = crew->is_quiet;
    group->members = &crew->members[crew->count];
    const Pipeline *parts =
        pipeline->buffer == NULL ? pipeline : disk_buffer_pipelines(pipeline, arena);
    for (size_t i = 0; i < members_of(pipeline); i++) {
        if (i > 0 && crew->takes != NULL && !crew->takes[i - 1]) {
            continue;
        }
        Member *member = &group->members[group->count];
        if (runner_new(&parts[i], NULL, &member->runner, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        group->count++;
        member->group = group;
        member->pipeline = &parts[i];
        crew->runners[crew->count] = member->runner;
        crew->watched[crew->count++] = (Watched){.pipeline = &parts[i], .runner = member->runner};
    }
    atomic_init(&group->routes_left, group->count - 1);
    if (pipeline->buffer == NULL) {
        watch_log(group->members, &crew->watched[crew->count - 1], arena);
    } else {
        open_buffer(group, &crew->watched[crew->count - group->count], arena);
    }
    return STATUS_OK;
}

static Status crew_make(Crew *crew, const Pipeline *pipelines, size_t count, Arena *arena,
                        Error *err)
{
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        most += members_of(&pipelines[i]);
    }
    *crew = (Crew){
        .takes = crew->takes,
        .is_quiet = crew->is_quiet,
        .groups = ARENA_ARRAY(arena, Group, count),
        .members = ARENA_ARRAY(arena, Member, most),
        .runners = ARENA_ARRAY(arena, Runner *, most),
        .watched = ARENA_ARRAY(arena, Watched, most),
    };
    for (size_t i = 0; i < count; i++) {
        if (add_group(crew, &pipelines[i], arena, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
    }
    size_t routes = 0;
    for (size_t i = 0; i < crew->count; i++) {
        routes += crew->watched[i].pipeline->route_count;
    }
    for (size_t i = 0; i < crew->count; i++) {
        runner_share(crew->runners[i], routes);
    }
    return STATUS_OK;
}

// In the order of the members, but what was only interrupted comes last.
static Status first_failure(const Crew *crew, Error *err)
{
    const Member *failed = NULL;
    for (size_t i = 0; i < crew->count; i++) {
        const Member *member = &crew->members[i];
        bool is_better = member->status != STATUS_OK &&
                         (failed == NULL || failed->error.kind == ERROR_CANCELLED);
        failed = is_better ? member : failed;
    }
    if (failed == NULL) {
        return STATUS_OK;
    }
    *err = failed->error;
    return failed->status;
}

static void crew_done(Crew *crew)
{
    for (size_t i = 0; i < crew->count; i++) {
        runner_free(crew->members[i].runner);
        segment_log_close(crew->members[i].log);
    }
    for (size_t i = 0; i < crew->group_count; i++) {
        segment_log_close(crew->groups[i].log);
    }
}

int crew_run(const Pipeline *pipelines, size_t count, const CrewOptions *options, Arena *arena)
{
    Crew crew = {0};
    Serving *serving = NULL;
    Error err = {0};
    Status status = crew_make(&crew, pipelines, count, arena, &err);
    if (status == STATUS_OK) {
        status = serve_start(options->metrics, crew.watched, crew.count, &serving, &err);
    }
    if (status != STATUS_OK) {
        crew_done(&crew);
        return report_error(&err);
    }
    for (size_t i = 0; i < count; i++) {
        tell_start(&pipelines[i]);
    }
    const Watched *last = &crew.watched[crew.count - 1];
    Progress *progress = options->has_progress
                             ? progress_start(options->progress, last->pipeline, last->runner)
                             : NULL;
    run_groups(&crew);
    progress_stop(progress);
    serve_stop(serving);
    int code = worst_code(&crew);
    crew_done(&crew);
    return code;
}

Status crew_run_routes(const Pipeline *pipeline, const bool *takes, ProgressMode progress,
                       Error *err)
{
    Arena arena = {0};
    Crew crew = {.takes = takes, .is_quiet = true};
    // The routes that do not run are not to be judged by that.
    Pipeline patient = disk_buffer_patient(pipeline, &arena);
    Status status = crew_make(&crew, &patient, 1, &arena, err);
    if (status == STATUS_OK) {
        const Watched *last = &crew.watched[crew.count - 1];
        Progress *shown = progress_start(progress, last->pipeline, last->runner);
        run_groups(&crew);
        progress_stop(shown);
        status = first_failure(&crew, err);
    }
    crew_done(&crew);
    arena_done(&arena);
    return status;
}
