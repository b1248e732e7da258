// io/file in memory, for the disk buffer's log. What was synced survives a power cut; of what was
// written since, any part of the tail does. What was written survives a process that only dies.
#include <assert.h>
#include <dirent.h>
#include <sys/stat.h>

#include "io/file.h"
#include "sim.h"

enum { FILES = 192, FILE_BYTES = 256 * 1024, PATH_SIZE = 48 };

typedef struct Disk {
    char path[PATH_SIZE];
    bool exists;
    bool is_locked;
    uint32_t opens; // one that is removed can still be read by whoever has it open
    uint32_t size;
    uint32_t synced_size;
    char bytes[FILE_BYTES];
    char synced[FILE_BYTES];
} Disk;

static Disk disks[FILES];
static uint32_t disk_count; // that were ever used in this schedule

void files_init(void)
{
    disk_count = 0;
}

static void cut_power(Disk *disk)
{
    uint32_t tail = disk->size > disk->synced_size ? disk->size - disk->synced_size : 0;
    uint32_t kept = sim_below(tail + 1);
    memcpy(disk->bytes, disk->synced, disk->synced_size);
    disk->size = disk->synced_size + kept;
    if (kept > 0 && sim_chance(300)) {
        disk->bytes[disk->synced_size + sim_below(kept)] ^= 0x10;
    }
}

void files_crash(void)
{
    bool power_is_cut = sim_chance(500);
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
    while (at < disk_count && (disks[at].exists || disks[at].opens > 0)) {
        at++;
    }
    assert(at < FILES);
    disk_count = MAX(disk_count, at + 1);
    Disk *disk = &disks[at];
    disk->exists = true;
    disk->is_locked = false;
    disk->opens = 0;
    disk->size = disk->synced_size = 0;
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
    disk->opens++;
    disk->is_locked = disk->is_locked || locks;
    *file = (File){(int)(disk - disks) * 2 + locks, path};
    return STATUS_OK;
}

Status file_open(File *file, const char *path, Error *err)
{
    *file = FILE_CLOSED;
    if (!sim_call_briefly("file open")) {
        return sim_error(NULL, "file open", err);
    }
    Disk *disk = find(path);
    disk = disk == NULL ? make(path) : disk;
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

void file_close(File *file)
{
    if (file->fd >= 0) {
        Disk *disk = disk_of(file);
        disk->opens--;
        disk->is_locked = disk->is_locked && file->fd % 2 == 0;
        file->fd = -1;
    }
}

Status file_remove(const char *path, Error *err)
{
    if (!sim_call_briefly("file remove")) {
        return sim_error(NULL, "file remove", err);
    }
    Disk *disk = find(path);
    if (disk != NULL) {
        disk->exists = false;
    }
    return STATUS_OK;
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
    return STATUS_OK;
}

Status file_sync(const File *file, Error *err)
{
    Disk *disk = disk_of(file);
    if (!sim_call_briefly("file sync")) {
        return error_set(err, ERROR_FATAL, "file sync fails (%s)", error_kind_name(ERROR_FATAL));
    }
    memcpy(disk->synced, disk->bytes, disk->size);
    disk->synced_size = disk->size;
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
