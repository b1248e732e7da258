// io/file in memory, for the disk buffer's log and for spills. What was synced survives a power
// cut; of what was written since, any part of the tail does. What was written survives a process
// that only dies.
//
// A sync that fails forgets what it was to keep, as Linux does: it is read as before, for as long
// as there is memory for it, but the next sync passes it over and succeeds.
#include <assert.h>
#include <dirent.h>
#include <sys/stat.h>

#include "io/file.h"
#include "sim.h"

enum { FILES = 192, FILE_BYTES = 256 * 1024, PATH_SIZE = 48 };

// Bytes of a file: from the first up to the second.
typedef struct Range {
    uint32_t from;
    uint32_t to;
} Range;

typedef struct Disk {
    char path[PATH_SIZE];
    bool exists;
    bool is_locked;
    uint32_t removed_at; // in which order: a power cut may undo that; 0: it may not
    uint32_t opens;      // one that is removed can still be read by whoever has it open
    uint32_t size;
    uint32_t synced_size;
    Range dirty; // written since the last sync
    Range lost;  // a sync of it failed
    char bytes[FILE_BYTES];
    char synced[FILE_BYTES];
} Disk;

static Disk disks[FILES];
static uint32_t removals;
static uint32_t disk_count; // that were ever used in this schedule

void files_init(void)
{
    disk_count = 0;
    removals = 0;
}

// What is behind the end of what was synced, and was never on the disk, is zeros there.
static void grow_synced(Disk *disk, uint32_t size)
{
    if (size > disk->synced_size) {
        memset(disk->synced + disk->synced_size, 0, size - disk->synced_size);
    }
    disk->synced_size = size;
}

// The memory of what was lost is needed for something else: it is read from the disk again.
static void evict(Disk *disk)
{
    sim_trace("  what a sync lost is read from the disk");
    for (uint32_t i = disk->lost.from; i < MIN(disk->lost.to, disk->size); i++) {
        if (i < disk->dirty.from || i >= disk->dirty.to) {
            disk->bytes[i] = '\0';
            if (i < disk->synced_size) {
                disk->bytes[i] = disk->synced[i];
            }
        }
    }
    disk->lost = (Range){0};
}

// Both, and what is between them.
static Range join(Range a, Range b)
{
    return a.to == 0 ? b : (Range){MIN(a.from, b.from), MAX(a.to, b.to)};
}

static void cut_power(Disk *disk)
{
    uint32_t tail = disk->size > disk->synced_size ? disk->size - disk->synced_size : 0;
    uint32_t kept = sim_below(tail + 1);
    memcpy(disk->bytes, disk->synced, disk->synced_size);
    disk->size = disk->synced_size + kept;
    disk->dirty = disk->lost = (Range){0};
    if (kept > 0 && sim_chance(300)) {
        disk->bytes[disk->synced_size + sim_below(kept)] ^= 0x10;
    }
}

// The directory is synced.
static void keep_removals(void)
{
    removals = 0;
    for (uint32_t i = 0; i < disk_count; i++) {
        disks[i].removed_at = 0;
    }
}

// Of what was removed since it was synced, the last ones come back.
static void undo_removals(void)
{
    uint32_t kept = sim_below(removals + 1);
    for (uint32_t i = 0; i < disk_count; i++) {
        disks[i].exists = disks[i].exists || disks[i].removed_at > kept;
    }
    keep_removals();
}

void files_crash(void)
{
    bool power_is_cut = sim_chance(500);
    if (power_is_cut && removals > 0) {
        undo_removals();
    }
    for (uint32_t i = 0; i < disk_count; i++) {
        disks[i].opens = 0;
        disks[i].is_locked = false;
        if (disks[i].exists && power_is_cut) {
            cut_power(&disks[i]);
        }
    }
}

void files_check_closed(void)
{
    for (uint32_t i = 0; i < disk_count; i++) {
        sim_check(disks[i].opens == 0, "\"%s\" was left open", disks[i].path);
    }
}

uint32_t files_count(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < disk_count; i++) {
        count += disks[i].exists;
    }
    return count;
}

// ---------------------------------------------------------------------------------------------
// Opening
// ---------------------------------------------------------------------------------------------

static Disk *find(const char *path)
{
    for (uint32_t i = 0; i < disk_count; i++) {
        if (disks[i].exists && strcmp(disks[i].path, path) == 0) {
            return &disks[i];
        }
    }
    return NULL;
}

static Disk *make(const char *path)
{
    uint32_t at = 0;
    while (at < disk_count &&
           (disks[at].exists || disks[at].opens > 0 || disks[at].removed_at > 0)) {
        at++;
    }
    assert(at < FILES);
    disk_count = MAX(disk_count, at + 1);
    Disk *disk = &disks[at];
    disk->exists = true;
    disk->is_locked = false;
    disk->removed_at = 0;
    disk->opens = 0;
    disk->size = disk->synced_size = 0;
    disk->dirty = disk->lost = (Range){0};
    (void)snprintf(disk->path, sizeof(disk->path), "%s", path);
    return disk;
}

static Disk *disk_of(const File *file)
{
    assert(file->fd >= 0);
    return &disks[file->fd / 2];
}

// Whether this File has the lock is in the descriptor.
static Status open_disk(File *file, const char *path, Disk *disk, bool locks)
{
    if (disk->lost.to > 0 && sim_chance(200)) {
        evict(disk);
    }
    disk->opens++;
    disk->is_locked = disk->is_locked || locks;
    *file = (File){(int)(disk - disks) * 2 + locks, path};
    return STATUS_OK;
}

Status file_open_private(File *file, const char *path, Error *err)
{
    *file = FILE_CLOSED;
    if (!sim_call_briefly("file open")) {
        return sim_error(NULL, "file open", err);
    }
    Disk *disk = find(path);
    disk = disk == NULL ? make(path) : disk;
    keep_removals(); // it syncs the directory
    sim_check(!disk->is_locked, "\"%s\" is written by two", path);
    return open_disk(file, path, disk, true);
}

Status file_open_read(File *file, const char *path, Error *err)
{
    *file = FILE_CLOSED;
    if (!sim_call_briefly("file open to read")) {
        return sim_error(NULL, "file open", err);
    }
    Disk *disk = find(path);
    if (disk == NULL) {
        return error_set(err, ERROR_CONFIG, "\"%s\" is not there", path);
    }
    return open_disk(file, path, disk, false);
}

// It is gone with whoever has it open.
Status file_open_unnamed(File *file, const char *directory, const char *path, Error *err)
{
    (void)directory;
    *file = FILE_CLOSED;
    if (!sim_call_briefly("file make unnamed")) {
        return sim_error(NULL, "file make", err);
    }
    Disk *disk = make(path);
    disk->exists = false;
    return open_disk(file, path, disk, false);
}

void file_close(File *file)
{
    if (file->fd >= 0) {
        Disk *disk = disk_of(file);
        disk->opens--;
        disk->is_locked = disk->is_locked && file->fd % 2 == 0;
        file->fd = -1;
    }
}

Status file_unlink(const char *path, Error *err)
{
    if (!sim_call_briefly("file remove")) {
        return sim_error(NULL, "file remove", err);
    }
    Disk *disk = find(path);
    if (disk != NULL) {
        disk->exists = false;
        disk->removed_at = ++removals;
    }
    return STATUS_OK;
}

Status file_sync_directory_of(const char *path, Error *err)
{
    (void)path;
    if (!sim_call_briefly("directory sync")) {
        return sim_error(NULL, "directory sync", err);
    }
    keep_removals();
    return STATUS_OK;
}

Status file_remove(const char *path, Error *err)
{
    return file_unlink(path, err) == STATUS_OK ? file_sync_directory_of(path, err) : STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Bytes
// ---------------------------------------------------------------------------------------------

Status file_size(const File *file, uint64_t *ret, Error *err)
{
    (void)err;
    *ret = disk_of(file)->size;
    return STATUS_OK;
}

Status file_write(const File *file, uint64_t offset, Str data, Error *err)
{
    Disk *disk = disk_of(file);
    bool works = sim_call_briefly("file write");
    size_t len = works ? data.len : sim_below((uint32_t)data.len + 1);
    sim_check(offset <= disk->size, "a file is written with a hole");
    assert(offset + len <= FILE_BYTES);
    if (len > 0) {
        memcpy(disk->bytes + offset, data.ptr, len);
        disk->dirty = join(disk->dirty, (Range){(uint32_t)offset, (uint32_t)(offset + len)});
    }
    disk->size = (uint32_t)MAX((uint64_t)disk->size, offset + len);
    return works ? STATUS_OK : sim_error(NULL, "file write", err);
}

Status file_read(const File *file, uint64_t offset, char *ret, size_t len, Error *err)
{
    const Disk *disk = disk_of(file);
    if (!sim_call_briefly("file read")) {
        return sim_error(NULL, "file read", err);
    }
    sim_check(offset + len <= disk->size, "more of a file is read than it has");
    memcpy(ret, disk->bytes + offset, len);
    return STATUS_OK;
}

Status file_truncate(const File *file, uint64_t size, Error *err)
{
    Disk *disk = disk_of(file);
    if (!sim_call_briefly("file truncate")) {
        return sim_error(NULL, "file truncate", err);
    }
    sim_check(size <= disk->size, "a file is made longer");
    disk->size = (uint32_t)size;
    disk->dirty.to = MIN(disk->dirty.to, disk->size);
    disk->dirty.from = MIN(disk->dirty.from, disk->dirty.to);
    return STATUS_OK;
}

Status file_punch(const File *file, uint64_t offset, uint64_t len, Error *err)
{
    Disk *disk = disk_of(file);
    if (!sim_call_briefly("file punch")) {
        return sim_error(NULL, "file punch", err);
    }
    uint64_t end = MIN(offset + len, (uint64_t)disk->size);
    memset(disk->bytes + offset, 0, end > offset ? end - offset : 0);
    return STATUS_OK;
}

Status file_sync(const File *file, Error *err)
{
    Disk *disk = disk_of(file);
    bool works = sim_call_briefly("file sync");
    Range dirty = disk->dirty;
    disk->dirty = (Range){0};
    if (!works) {
        disk->lost = join(disk->lost, dirty);
        return error_set(err, ERROR_FATAL, "file sync fails (%s)", error_kind_name(ERROR_FATAL));
    }
    grow_synced(disk, disk->size);
    memcpy(disk->synced + dirty.from, disk->bytes + dirty.from, dirty.to - dirty.from);
    return STATUS_OK;
}

Status file_error(Error *err, int code, const char *action, const char *path)
{
    return error_set_errno(err, ERROR_FATAL, code, "%s \"%s\"", action, path);
}

// ---------------------------------------------------------------------------------------------
// The directory: there is one
// ---------------------------------------------------------------------------------------------

Status file_make_directory(const char *path, Error *err)
{
    (void)path;
    return sim_call_briefly("make directory") ? STATUS_OK : sim_error(NULL, "make directory", err);
}

int sim_stat(const char *path, struct stat *ret)
{
    const Disk *disk = find(path);
    *ret = (struct stat){.st_mode = disk == NULL ? S_IFDIR : S_IFREG,
                         .st_size = disk == NULL ? 0 : disk->size};
    return 0;
}

static uint32_t listed;

DIR *sim_opendir(const char *path)
{
    (void)path;
    listed = 0;
    return (DIR *)(void *)&listed;
}

struct dirent *sim_readdir(DIR *directory)
{
    static struct dirent entry;
    (void)directory;
    for (; listed < disk_count; listed++) {
        if (disks[listed].exists) {
            (void)snprintf(entry.d_name, PATH_SIZE, "%s", strrchr(disks[listed].path, '/') + 1);
            listed++;
            return &entry;
        }
    }
    return NULL;
}
