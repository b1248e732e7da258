// sim --count N          the schedules of seeds 0 to N-1, on all processors
//     --from SEED        … from another seed on
//     --jobs N           processes; by default one a processor
//     --all              go on after a failure
//     --seed N --trace   one of them, step by step
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "sim.h"

enum { JOBS_MAX = 64 };

// The clock of the machine: clock_gettime() is the simulated one.
int __real_clock_gettime(clockid_t id, struct timespec *ret);

typedef struct Arguments {
    uint64_t from;
    uint64_t count;
    uint64_t jobs;
    bool goes_on; // after a failure
} Arguments;

/** What a process tells the first one. */
typedef struct Result {
    Seen seen;
    bool has_failed;
    bool has_failed_before;
    uint64_t seed;
    char failure[512];
} Result;

static void run_share(const Arguments *arguments, uint64_t job, Result *report)
{
    for (uint64_t i = job; i < arguments->count; i += arguments->jobs) {
        report->seed = arguments->from + i;
        if (!sim_run(report->seed)) {
            if (arguments->goes_on) {
                printf("seed %" PRIu64 ": %s\n", report->seed, sim_failure());
                report->has_failed_before = true;
                continue;
            }
            report->has_failed = true;
            (void)snprintf(report->failure, sizeof(report->failure), "%s", sim_failure());
            break;
        }
    }
    report->seen = sim_seen;
}

static void add(Seen *sum, const Seen *seen)
{
    const uint64_t *from = (const uint64_t *)seen;
    uint64_t *to = (uint64_t *)sum;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++) {
        to[i] += from[i];
    }
}

// Many schedules in which something never happens test less than they seem to.
static bool has_seen_all(const Seen *sum)
{
    enum { MANY = 10000 };
    const uint64_t *counts = (const uint64_t *)sum;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(*counts); i++) {
        if (sum->schedules >= MANY && counts[i] == 0) {
            printf("a count is 0: something was never simulated\n");
            return false;
        }
    }
    return true;
}

static bool tell(const Result *report, bool died, const char *program)
{
    if (!report->has_failed && !died) {
        return !report->has_failed_before;
    }
    printf("seed %" PRIu64 ": %s\n  %s --seed %" PRIu64 " --trace\n", report->seed,
           died ? "the simulation died" : report->failure, program, report->seed);
    return false;
}

static int run_all(const Arguments *arguments, const char *program)
{
    Result *reports = mmap(NULL, sizeof(Result) * JOBS_MAX, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t processes[JOBS_MAX];
    struct timespec began;
    struct timespec ended;
    (void)__real_clock_gettime(CLOCK_MONOTONIC, &began);
    for (uint64_t i = 0; i < arguments->jobs; i++) {
        (void)fflush(stdout);
        processes[i] = fork();
        if (processes[i] == 0) {
            run_share(arguments, i, &reports[i]);
            (void)fflush(stdout);
            _exit(reports[i].has_failed);
        }
    }
    Seen sum = {0};
    bool good = true;
    for (uint64_t i = 0; i < arguments->jobs; i++) {
        int status = 0;
        (void)waitpid(processes[i], &status, 0);
        bool is_told = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || reports[i].has_failed);
        good = tell(&reports[i], !is_told, program) && good;
        add(&sum, &reports[i].seen);
    }
    (void)__real_clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%" PRIu64 " schedules in %.1f s: %" PRIu64 " with a disk buffer, %" PRIu64
           " steps, %" PRIu64 " processes, %" PRIu64 " verifications, %" PRIu64 " crashes, %" PRIu64
           " faults, %" PRIu64 " changes, %" PRIu64 " commits, %" PRIu64 " copies, %" PRIu64
           " beside the stream, %" PRIu64 " too late, %" PRIu64 " held on disk, %" PRIu64
           " redelivered, %" PRIu64 " names that waited for a row, %" PRIu64
           " commits in between, %" PRIu64 " refusals, %" PRIu64 " letters, %" PRIu64
           " tried again, %" PRIu64 " dropped, %" PRIu64 " void, %" PRIu64
           " that others overtook\n",
           sum.schedules,
           (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9,
           sum.buffered, sum.steps, sum.lives, sum.verifications, sum.crashes, sum.faults,
           sum.changes, sum.commits, sum.copies, sum.side_copies, sum.vain_copies, sum.spilled,
           sum.redelivered, sum.asides, sum.cut, sum.refusals, sum.letters, sum.retried, sum.drops,
           sum.voided, sum.overtook);
    return has_seen_all(&sum) && good ? 0 : 1;
}

static bool take(char **argv, const char *name, uint64_t *ret, int *at)
{
    if (strcmp(argv[*at], name) != 0) {
        return false;
    }
    if (argv[*at + 1] == NULL || !str_to_uint64(str_from(argv[*at + 1]), ret)) {
        fprintf(stderr, "%s needs a number\n", name);
        exit(2);
    }
    (*at)++;
    return true;
}

int main(int argc, char **argv)
{
    Arguments arguments = {.count = 10000, .jobs = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN)};
    uint64_t seed = 0;
    bool one = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) {
            sim_tracing = true;
        } else if (strcmp(argv[i], "--all") == 0) {
            arguments.goes_on = true;
        } else if (take(argv, "--seed", &seed, &i)) {
            one = true;
        } else if (!take(argv, "--count", &arguments.count, &i) &&
                   !take(argv, "--from", &arguments.from, &i) &&
                   !take(argv, "--jobs", &arguments.jobs, &i)) {
            fprintf(stderr, "%s: unknown option \"%s\"\n", argv[0], argv[i]);
            return 2;
        }
    }
    if (one) {
        bool good = sim_run(seed);
        printf("seed %" PRIu64 ": %s\n", seed, good ? "good" : sim_failure());
        return good ? 0 : 1;
    }
    arguments.jobs = arguments.jobs < 1 ? 1 : arguments.jobs > JOBS_MAX ? JOBS_MAX : arguments.jobs;
    return run_all(&arguments, argv[0]);
}
