// The disk buffer's log on the simulated disk. It is compiled in here because a process that dies
// has to lose what these files keep in static variables.
#include <dirent.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "buffers/segment_log.h"
#include "sim.h"

static ssize_t random_bytes(void *ret, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)ret)[i] = (uint8_t)sim_below(256);
    }
    return (ssize_t)len;
}

#define stat(path, ret)            sim_stat(path, ret)
#define opendir(path)              sim_opendir(path)
#define readdir(directory)         sim_readdir(directory)
#define closedir(directory)        0
#define getrandom(ret, len, flags) random_bytes(ret, len)

#include "buffers/segment_log.c"
#include "buffers/segment_recover.c"

void segments_forget(void)
{
    open_logs = NULL;
    (void)pthread_mutex_init(&open_lock, NULL);
}

// Segments of a few records, so that they are begun and dropped all the time.
Status __real_segment_log_begin(SegmentLog *log, uint64_t segment_bytes, uint64_t *ret_segment,
                                Error *err);
Status __wrap_segment_log_begin(SegmentLog *log, uint64_t segment_bytes, uint64_t *ret_segment,
                                Error *err);

Status __wrap_segment_log_begin(SegmentLog *log, uint64_t segment_bytes, uint64_t *ret_segment,
                                Error *err)
{
    enum { FILES_MANY = 100 };
    bool is_small = files_count() < FILES_MANY;
    return __real_segment_log_begin(log, is_small ? 200 + sim_below(4000) : segment_bytes,
                                    ret_segment, err);
}

void __real_segment_log_passed(SegmentLog *log, Str name, Position position);
void __wrap_segment_log_passed(SegmentLog *log, Str name, Position position);

void __wrap_segment_log_passed(SegmentLog *log, Str name, Position position)
{
    targets_check_passed(name, position);
    __real_segment_log_passed(log, name, position);
}
