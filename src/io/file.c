#include "io/file.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

// ---------------------------------------------------------------------------------------------
// Errors
// ---------------------------------------------------------------------------------------------

static ErrorKind kind_of(int code)
{
    switch (code) {
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EFBIG:
    case ENXIO:
    case ENODEV:
    case EINVAL:
        return ERROR_CONFIG;
    case EIO:
    case EBADF:
    case EPIPE:
        return ERROR_FATAL;
    default: // no space, no memory, no free descriptors, …
        return ERROR_TRANSIENT;
    }
}

static const char *directory_of(const char *path, char copy[static PATH_MAX])
{
    (void)snprintf(copy, PATH_MAX, "%s", path);
    return dirname(copy);
}

static void add_hint(Error *err, int code, const char *path)
{
    char copy[PATH_MAX];
    switch (code) {
    case ENOSPC:
    case EDQUOT:
        error_hint(err, "Make room on the device or quota of \"%s\": nothing is lost meanwhile.",
                   path);
        break;
    case EACCES:
    case EPERM:
        error_hint(err,
                   "Give the user of this process the right to write to \"%s\" and its "
                   "directory.",
                   path);
        break;
    case EROFS:
        error_hint(err, "Mount the file system of \"%s\" for writing, or name another place.",
                   path);
        break;
    case ENOENT:
        error_hint(err, "mkdir -p '%s'", directory_of(path, copy));
        break;
    case EIO:
        error_hint(err, "Look into the system's log for errors of the disk.");
        break;
    case EFBIG:
        error_hint(err, "Raise the limit on the size of files: ulimit -f unlimited");
        break;
    default:
        break;
    }
}

Status file_error(Error *err, int code, const char *action, const char *path)
{
    error_set_errno(err, kind_of(code), code, "%s \"%s\"", action, path);
    add_hint(err, code, path);
    return STATUS_FAIL;
}

// ---------------------------------------------------------------------------------------------
// Opening
// ---------------------------------------------------------------------------------------------

static Status not_regular(const char *path, mode_t mode, Error *err)
{
    const char *what = S_ISDIR(mode) ? "a directory" : "not a regular file";
    error_set(err, ERROR_CONFIG, "\"%s\" is %s", path, what);
    return S_ISDIR(mode)
               ? error_hint(err, "Name a file in it.")
               : error_hint(err, "Only a regular file can be continued; for a pipe or a device use "
                                 "stdout: and a redirection.");
}

Status file_check(const char *path, bool *ret_exists, Error *err)
{
    char copy[PATH_MAX];
    struct stat info;
    if (strlen(path) >= PATH_MAX) {
        return file_error(err, ENAMETOOLONG, "open", path);
    }
    if (stat(path, &info) == 0) {
        if (!S_ISREG(info.st_mode)) {
            return not_regular(path, info.st_mode, err);
        }
        if (eaccess(path, R_OK | W_OK) != 0) {
            return file_error(err, errno, "open", path);
        }
        *ret_exists = true;
        return STATUS_OK;
    }
    if (errno != ENOENT) {
        return file_error(err, errno, "open", path);
    }
    const char *directory = directory_of(path, copy);
    if (stat(directory, &info) != 0) {
        return file_error(err, errno, "make", path);
    }
    if (!S_ISDIR(info.st_mode)) {
        return file_error(err, ENOTDIR, "make", path);
    }
    if (eaccess(directory, W_OK | X_OK) != 0) {
        return file_error(err, errno, "make", path);
    }
    *ret_exists = false;
    return STATUS_OK;
}

Str file_identity(const char *path, Arena *arena)
{
    char copy[PATH_MAX];
    char name[PATH_MAX];
    char real[PATH_MAX];
    if (realpath(path, real) != NULL) {
        return str_copy(arena, str_from(real));
    }
    (void)snprintf(name, sizeof(name), "%s", path);
    const char *directory = realpath(directory_of(path, copy), real);
    return directory == NULL ? str_copy(arena, str_from(path))
                             : str_from(arena_printf(arena, "%s/%s", real, basename(name)));
}

// A file whose directory was not synced can be gone after a power cut, with all that was synced
// into it. Some file systems cannot sync directories (EINVAL), and then need not.
Status file_sync_directory_of(const char *path, Error *err)
{
    char copy[PATH_MAX];
    const char *directory = directory_of(path, copy);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return file_error(err, errno, "open directory", directory);
    }
    int code = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    if (code != 0 && code != EINVAL) {
        return error_set_errno(err, ERROR_FATAL, code, "sync directory \"%s\"", directory);
    }
    return STATUS_OK;
}

Status file_make_directory(const char *path, Error *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof(part)) {
        return file_error(err, ENAMETOOLONG, "make directory", path);
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        (void)snprintf(part, sizeof(part), "%.*s", (int)i, path);
        if (mkdir(part, 0700) == 0) {
            if (file_sync_directory_of(part, err) != STATUS_OK) {
                return STATUS_FAIL;
            }
        } else if (errno != EEXIST) {
            return file_error(err, errno, "make directory", part);
        }
    }
    return STATUS_OK;
}

static Status lock(const File *file, Error *err)
{
    if (flock(file->fd, LOCK_EX | LOCK_NB) == 0) {
        return STATUS_OK;
    }
    if (errno != EWOULDBLOCK) {
        return file_error(err, errno, "lock", file->path);
    }
    error_set(err, ERROR_CONFIG, "another process is writing \"%s\"", file->path);
    return error_hint(err, "Stop it, or name another file.");
}

static Status open_with(mode_t mode, File *file, const char *path, Error *err)
{
    bool exists;
    *file = FILE_CLOSED;
    if (file_check(path, &exists, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    File opened = {.path = path};
    opened.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, mode);
    if (opened.fd < 0) {
        return file_error(err, errno, exists ? "open" : "make", path);
    }
    struct stat info;
    Status status = STATUS_OK;
    if (fstat(opened.fd, &info) != 0) {
        status = file_error(err, errno, "look at", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = not_regular(path, info.st_mode, err);
    }
    if (status != STATUS_OK || lock(&opened, err) != STATUS_OK ||
        file_sync_directory_of(path, err) != STATUS_OK) {
        file_close(&opened);
        return STATUS_FAIL;
    }
    *file = opened;
    return STATUS_OK;
}

Status file_open(File *file, const char *path, Error *err)
{
    return open_with(0666, file, path, err);
}

Status file_open_private(File *file, const char *path, Error *err)
{
    return open_with(0600, file, path, err);
}

Status file_make_private(const char *path, Error *err)
{
    return mknod(path, S_IFREG | 0600, 0) == 0 || errno == EEXIST
               ? STATUS_OK
               : file_error(err, errno, "make", path);
}

Status file_open_read(File *file, const char *path, Error *err)
{
    *file = (File){.fd = -1, .path = path};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return file_error(err, errno, "open", path);
    }
    *file = (File){.fd = fd, .path = path};
    return STATUS_OK;
}

// Not every file system can make a file without a name. Then it has one for a moment.
Status file_open_unnamed(File *file, const char *directory, const char *path, Error *err)
{
    *file = FILE_CLOSED;
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        Arena scratch = {0};
        char *name = arena_printf(&scratch, "%s.XXXXXX", path);
        fd = mkostemp(name, O_CLOEXEC);
        if (fd >= 0) {
            (void)unlink(name);
        }
        arena_done(&scratch);
    }
    if (fd < 0) {
        return file_error(err, errno, "make", path);
    }
    *file = (File){.fd = fd, .path = path};
    return STATUS_OK;
}

Status file_unlink(const char *path, Error *err)
{
    return unlink(path) == 0 || errno == ENOENT ? STATUS_OK
                                                : file_error(err, errno, "remove", path);
}

Status file_remove(const char *path, Error *err)
{
    return file_unlink(path, err) == STATUS_OK ? file_sync_directory_of(path, err) : STATUS_FAIL;
}

static Status sync_path(const char *path, Error *err)
{
    File file;
    Status status = file_open_read(&file, path, err);
    if (status == STATUS_OK) {
        status = file_sync(&file, err);
    }
    file_close(&file);
    return status;
}

Status file_put_in_place(const char *from, const char *to, Error *err)
{
    if (sync_path(from, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    int failed = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (failed != 0 && (errno == EINVAL || errno == ENOSYS)) { // as on NFS
        failed = link(from, to) == 0 ? unlink(from) : -1;
    }
    if (failed != 0) {
        return file_error(err, errno, "make", to);
    }
    return file_sync_directory_of(to, err);
}

Status file_replace(const char *from, const char *to, Error *err)
{
    if (sync_path(from, err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return rename(from, to) == 0 ? file_sync_directory_of(to, err)
                                 : file_error(err, errno, "replace", to);
}

void file_close(File *file)
{
    if (file->fd >= 0) {
        // Nothing is lost by ignoring the result: what counts was synced.
        (void)close(file->fd);
    }
    *file = FILE_CLOSED;
}

// ---------------------------------------------------------------------------------------------
// Contents
// ---------------------------------------------------------------------------------------------

Status file_size(const File *file, uint64_t *ret, Error *err)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0) {
        return file_error(err, errno, "look at", file->path);
    }
    *ret = (uint64_t)info.st_size;
    return STATUS_OK;
}

Status file_is_in_place(const File *file, Error *err)
{
    struct stat ours;
    struct stat there;
    if (fstat(file->fd, &ours) != 0) {
        return file_error(err, errno, "look at", file->path);
    }
    if (stat(file->path, &there) == 0 && there.st_dev == ours.st_dev &&
        there.st_ino == ours.st_ino) {
        return STATUS_OK;
    }
    error_set(err, ERROR_CONFIG, "\"%s\" was removed, moved or replaced while it was written",
              file->path);
    return error_hint(err, "Put the file back before starting again.");
}

Status file_write(const File *file, uint64_t offset, Str data, Error *err)
{
    assert(file->fd >= 0);
    size_t done = 0;
    while (done < data.len) {
        ssize_t wrote = pwrite(file->fd, data.ptr + done, data.len - done, (off_t)(offset + done));
        if (wrote >= 0) {
            done += (size_t)wrote;
        } else if (errno != EINTR) {
            return file_error(err, errno, "write to", file->path);
        }
    }
    return STATUS_OK;
}

Status file_read(const File *file, uint64_t offset, char *ret, size_t len, Error *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t got = pread(file->fd, ret + done, len - done, (off_t)(offset + done));
        if (got == 0) {
            return error_set(err, ERROR_FATAL,
                             "\"%s\" ends before byte %" PRIu64 ", which was there", file->path,
                             offset + len);
        }
        if (got > 0) {
            done += (size_t)got;
        } else if (errno != EINTR) {
            return file_error(err, errno, "read", file->path);
        }
    }
    return STATUS_OK;
}

Status file_truncate(const File *file, uint64_t size, Error *err)
{
    while (ftruncate(file->fd, (off_t)size) != 0) {
        if (errno != EINTR) {
            return file_error(err, errno, "truncate", file->path);
        }
    }
    return STATUS_OK;
}

Status file_punch(const File *file, uint64_t offset, uint64_t len, Error *err)
{
    while (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                     (off_t)len) != 0) {
        if (errno != EINTR) {
            return file_error(err, errno, "make a hole in", file->path);
        }
    }
    return STATUS_OK;
}

Status file_sync(const File *file, Error *err)
{
    // It also writes the file's new size, which is needed to read the data back.
    if (fdatasync(file->fd) != 0) {
        int code = errno;
        error_set_errno(err, ERROR_FATAL, code, "sync \"%s\"", file->path);
        add_hint(err, code, file->path);
        return STATUS_FAIL;
    }
    return STATUS_OK;
}

// ---------------------------------------------------------------------------------------------
// Streams
// ---------------------------------------------------------------------------------------------

static bool is_regular(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

// Until @fd takes PIPE_BUF bytes without blocking.
static Status wait_writable(int fd, const char *name, Cancel *cancel, Error *err)
{
    struct pollfd wait[2] = {
        {.fd = fd, .events = POLLOUT},
        {.fd = cancel_fd(cancel), .events = POLLIN},
    };
    while (poll(wait, 2, -1) < 0) {
        if (errno != EINTR && errno != EAGAIN) {
            return error_set_errno(err, ERROR_FATAL, errno, "wait for %s", name);
        }
    }
    if (wait[0].revents == 0 && cancel_is_set(cancel)) {
        return error_set(err, ERROR_CANCELLED, "cancelled while nobody read %s", name);
    }
    return STATUS_OK;
}

// A full device is worth no wait, as it is for a file of ours: in a stream there is no place to go
// back to, and who has redirected it waits for an end.
static Status stream_error(int code, const char *name, Error *err)
{
    bool full = code == ENOSPC || code == EDQUOT;
    error_set_errno(err, full ? ERROR_FATAL : kind_of(code), code, "write to %s", name);
    if (code == EPIPE) {
        return error_hint(err, "The program that was reading has ended.");
    }
    return full ? error_hint(err, "Make room on its device and start again.") : STATUS_FAIL;
}

Status stream_write(int fd, const char *name, Str data, Cancel *cancel, Error *err)
{
    // A blocking write of more than a pipe has room for could not be cancelled. O_NONBLOCK is no
    // way out: it would also apply to whoever else has the terminal or pipe open.
    size_t step = is_regular(fd) ? SSIZE_MAX : PIPE_BUF;
    size_t done = 0;
    while (done < data.len) {
        if (step == PIPE_BUF && wait_writable(fd, name, cancel, err) != STATUS_OK) {
            return STATUS_FAIL;
        }
        ssize_t wrote = write(fd, data.ptr + done, MIN(data.len - done, step));
        if (wrote >= 0) {
            done += (size_t)wrote;
        } else if (errno != EINTR && errno != EAGAIN) {
            return stream_error(errno, name, err);
        }
    }
    return STATUS_OK;
}
