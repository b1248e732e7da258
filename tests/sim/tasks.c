// Threads as coroutines. The program is linked so that these functions stand in the place of
// pthreads and of the clock (-Wl,--wrap), and of io/wake and io/cancel: the runner, the routes and
// the copies are what they are in the product, and run one at a time, in an order that chance
// decides.
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "io/wake.h"
#include "sim.h"

enum { TASKS = 64, STACK_BYTES = 256 * 1024, BELLS = 64 };

typedef enum TaskState { TASK_FREE, TASK_READY, TASK_WAITING, TASK_OVER } TaskState;

typedef struct Task {
    jmp_buf context;
    jmp_buf base; // of its loop, on an empty stack
    bool is_made;
    TaskState state;
    uint32_t weight; // how likely it is to run
    const char *name;
    void *(*body)(void *);
    void *argument;
    const void *waits_for;
    int64_t until_us;
    bool timed_out;
    uint32_t number; // tells apart those that had the same slot
    char *stack;
} Task;

static Task tasks[TASKS];
static size_t task_count; // slots that were ever used since the reset
static Task *running;
static jmp_buf scheduler;
static uint32_t next_number;
static int64_t now_us;
static bool bells[BELLS]; // by descriptor; 0 is none
static bool bells_used[BELLS];
static int lock_waiters;

int64_t sim_now_us(void)
{
    return now_us;
}

void sim_advance_us(int64_t us)
{
    now_us += us;
}

void tasks_reset(void)
{
    for (size_t i = 0; i < task_count; i++) {
        tasks[i].state = TASK_FREE;
    }
    task_count = 0;
    running = NULL;
    memset(bells_used, 0, sizeof(bells_used));
    lock_waiters = 0;
}

const char *task_name(void)
{
    return running == NULL ? "world" : running->name;
}

// ---------------------------------------------------------------------------------------------
// Switching
// ---------------------------------------------------------------------------------------------

static void to_scheduler(void)
{
    if (_setjmp(running->context) == 0) {
        _longjmp(scheduler, 1);
    }
}

// The bottom of each stack. A task that was dropped in the middle begins again from here.
static void task_loop(void)
{
    Task *self = running;
    if (_setjmp(self->base) == 0) {
        _longjmp(scheduler, 1);
    }
    self = running;
    (void)self->body(self->argument);
    self->state = TASK_OVER;
    task_wake(self);
    _longjmp(scheduler, 1);
}

static void make_stack(Task *task)
{
    static ucontext_t context; // left for good at the first switch
    task->stack =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert(task->stack != MAP_FAILED);
    (void)getcontext(&context);
    context.uc_stack.ss_sp = task->stack;
    context.uc_stack.ss_size = STACK_BYTES;
    context.uc_link = NULL;
    makecontext(&context, task_loop, 0);
    Task *before = running;
    jmp_buf kept;
    memcpy(kept, scheduler, sizeof(kept)); // we may be inside another task
    running = task;
    if (_setjmp(scheduler) == 0) {
        (void)setcontext(&context);
    }
    memcpy(scheduler, kept, sizeof(kept));
    running = before;
    task->is_made = true;
}

static Task *start(const char *name, void *(*body)(void *), void *argument)
{
    size_t at = 0;
    while (at < task_count && tasks[at].state != TASK_FREE) {
        at++;
    }
    assert(at < TASKS);
    task_count = at == task_count ? at + 1 : task_count;
    Task *task = &tasks[at];
    if (!task->is_made) {
        make_stack(task);
    }
    static const uint32_t weights[] = {1, 4, 4, 16};
    memcpy(task->context, task->base, sizeof(task->context));
    task->state = TASK_READY;
    task->weight = weights[sim_below(4)];
    task->name = name;
    task->body = body;
    task->argument = argument;
    task->number = ++next_number;
    return task;
}

void task_start(const char *name, void *(*body)(void *), void *argument)
{
    (void)start(name, body, argument);
}

static void run(Task *task)
{
    running = task;
    if (_setjmp(scheduler) == 0) {
        _longjmp(task->context, 1);
    }
    running = NULL;
}

bool tasks_step(int64_t *ret_at_us)
{
    uint32_t total = 0;
    int64_t soonest = INT64_MAX;
    for (size_t i = 0; i < task_count; i++) {
        Task *task = &tasks[i];
        if (task->state == TASK_WAITING && task->until_us <= now_us) {
            task->state = TASK_READY;
            task->timed_out = true;
        }
        if (task->state == TASK_READY) {
            total += task->weight;
        } else if (task->state == TASK_WAITING && task->until_us < soonest) {
            soonest = task->until_us;
        }
    }
    *ret_at_us = soonest;
    if (total == 0) {
        return false;
    }
    uint32_t chosen = sim_below(total);
    for (size_t i = 0; i < task_count; i++) {
        if (tasks[i].state != TASK_READY) {
            continue;
        }
        if (chosen < tasks[i].weight) {
            run(&tasks[i]);
            return true;
        }
        chosen -= tasks[i].weight;
    }
    return true;
}

// ---------------------------------------------------------------------------------------------
// Waiting
// ---------------------------------------------------------------------------------------------

void task_yield(void)
{
    assert(running != NULL);
    to_scheduler();
}

void task_wait(const void *what, int64_t us)
{
    assert(running != NULL);
    running->state = TASK_WAITING;
    running->waits_for = what;
    running->until_us = us < 0 ? INT64_MAX : now_us + us;
    running->timed_out = false;
    to_scheduler();
}

void task_wake(const void *what)
{
    for (size_t i = 0; i < task_count; i++) {
        if (tasks[i].state == TASK_WAITING && tasks[i].waits_for == what) {
            tasks[i].state = TASK_READY;
        }
    }
}

void task_wake_all(void)
{
    for (size_t i = 0; i < task_count; i++) {
        if (tasks[i].state == TASK_WAITING) {
            tasks[i].state = TASK_READY;
        }
    }
}

// ---------------------------------------------------------------------------------------------
// In the place of pthreads and of the clock
// ---------------------------------------------------------------------------------------------

int __wrap_pthread_create(pthread_t *ret, const void *attributes, void *(*body)(void *),
                          void *argument);
int __wrap_pthread_join(pthread_t thread, void **ret);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
_Noreturn void __wrap___assert_fail(const char *what, const char *file, unsigned line,
                                    const char *function);

int __wrap_pthread_create(pthread_t *ret, const void *attributes, void *(*body)(void *),
                          void *argument)
{
    (void)attributes;
    Task *task = start("thread", body, argument);
    *ret = (pthread_t)(task - tasks + 1);
    if (sim_chance(500)) {
        task_yield();
    }
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret)
{
    (void)ret;
    Task *task = &tasks[thread - 1];
    while (task->state != TASK_OVER) {
        task_wait(task, -1);
    }
    task->state = TASK_FREE;
    return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    while (pthread_mutex_trylock(mutex) != 0) {
        lock_waiters++;
        task_wait(mutex, -1);
        lock_waiters--;
    }
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int code = __real_pthread_mutex_unlock(mutex);
    if (lock_waiters > 0) {
        task_wake(mutex);
    }
    return code;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    int64_t until_us = (int64_t)until->tv_sec * 1000000 + until->tv_nsec / 1000;
    int64_t left = until_us - now_us;
    if (left <= 0) {
        return ETIMEDOUT;
    }
    (void)__wrap_pthread_mutex_unlock(mutex);
    task_wait(cond, left);
    bool timed_out = running->timed_out;
    (void)__wrap_pthread_mutex_lock(mutex);
    return timed_out ? ETIMEDOUT : 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    task_wake(cond);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    task_wake(cond);
    return 0;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
    (void)id;
    ret->tv_sec = (time_t)(now_us / 1000000);
    ret->tv_nsec = (long)(now_us % 1000000 * 1000);
    return 0;
}

void __wrap___assert_fail(const char *what, const char *file, unsigned line, const char *function)
{
    sim_fail("%s:%u: %s(): assertion \"%s\" failed", file, line, function, what);
}

// ---------------------------------------------------------------------------------------------
// In the place of io/wake and io/cancel
// ---------------------------------------------------------------------------------------------

Status wake_init(Wake *wake, Error *err)
{
    (void)err;
    int fd = 1;
    while (fd < BELLS && bells_used[fd]) {
        fd++;
    }
    assert(fd < BELLS);
    bells_used[fd] = true;
    bells[fd] = false;
    wake->fd = fd;
    return STATUS_OK;
}

void wake_done(Wake *wake)
{
    if (wake->fd > 0) {
        bells_used[wake->fd] = false;
    }
    wake->fd = -1;
}

void wake_set(Wake *wake)
{
    assert(wake->fd > 0);
    bells[wake->fd] = true;
    task_wake(&bells[wake->fd]);
    task_wake(bells); // whoever waits for several
}

void wake_clear(Wake *wake)
{
    bells[wake->fd] = false;
}

void wake_wait(Wake *wake, int timeout_ms)
{
    sim_bell_wait(wake->fd, timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000);
    bells[wake->fd] = false;
}

bool sim_bell_is_set(int fd)
{
    return bells[fd];
}

void sim_bell_wait(int fd, int64_t us)
{
    if (bells[fd]) {
        task_yield();
    } else {
        task_wait(&bells[fd], us);
    }
}

void sim_bells_shake(void)
{
    for (int i = 0; i < BELLS; i++) {
        if (bells_used[i]) {
            task_wake(&bells[i]);
        }
    }
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    for (nfds_t i = 0; i < count; i++) {
        if (fds[i].fd > 0 && bells[fds[i].fd]) {
            task_yield();
            return 1;
        }
    }
    task_wait(bells, timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000);
    return 0;
}

Status cancel_init(Cancel *cancel, Error *err)
{
    (void)err;
    atomic_init(&cancel->is_set, false);
    cancel->fd = 0;
    return STATUS_OK;
}

void cancel_done(Cancel *cancel)
{
    cancel->fd = -1;
}

void cancel_wait(const Cancel *cancel, int timeout_ms)
{
    (void)cancel;
    (void)poll(NULL, 0, timeout_ms);
}

// Whoever waits looks at the token when it wakes.
void cancel_set(Cancel *cancel)
{
    atomic_store(&cancel->is_set, true);
    task_wake_all();
}

void cancel_reset(Cancel *cancel)
{
    atomic_store(&cancel->is_set, false);
}
