// One regular file that one process writes, and plain writing to descriptors like standard output.
// Every error names the path; its kind says whether trying again can help.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "io/cancel.h"

typedef struct File {
    int fd; // -1: closed
    const char *path;
} File;

#define FILE_CLOSED ((File){.fd = -1})

/** @err about a failed call: "<action> "<path>": <why>", its kind and a hint. Returns FAIL. */
Status file_error(Error *err, int code, const char *action, const char *path);

/** ERROR_CONFIG when file_open() could not succeed. Makes and changes nothing. *ret_exists: the
 *  file is there. */
MUST_CHECK Status file_check(const char *path, bool *ret_exists, Error *err);

/** The same for all paths that lead to the file, which need not be there. In @arena. */
Str file_identity(const char *path, Arena *arena);

/** Make the directory @path and those above it that are missing, for this user only. A power cut
 *  does not take them away. One that is there is fine. */
MUST_CHECK Status file_make_directory(const char *path, Error *err);

/**
 * Open @path (borrowed for as long as it is open) for reading and writing, making it when it is
 * missing. Its name survives a power cut. It is locked: ERROR_CONFIG when another process, or
 * another File, has it.
 */
MUST_CHECK Status file_open(File *file, const char *path, Error *err);

/** The same; one that it makes is readable for its owner only. One that is there keeps its rights.
 */
MUST_CHECK Status file_open_private(File *file, const char *path, Error *err);

/**
 * Make an empty file that is readable for its owner only, before somebody else opens it; one that
 * is there stays as it is. No descriptor is opened: closing one would end the locks that SQLite has
 * on the file in this process. Its name need not survive a power cut.
 */
MUST_CHECK Status file_make_private(const char *path, Error *err);

/** Open a file that is there for reading only. It is not locked. */
MUST_CHECK Status file_open_read(File *file, const char *path, Error *err);

/**
 * Make a file in @directory that has no name, for this File alone: whatever ends the process,
 * nothing is left of it. @path (borrowed for as long as it is open) is for messages, and what it
 * may be called for a moment begins with it.
 */
MUST_CHECK Status file_open_unnamed(File *file, const char *directory, const char *path,
                                    Error *err);

/** Remove the file; a power cut does not bring it back. One that is not there is removed already.
 */
MUST_CHECK Status file_remove(const char *path, Error *err);

/** The same of one of several: a power cut may bring it back until file_sync_directory_of(). A file
 *  system with a journal then brings back none that was removed before one that stays away. */
MUST_CHECK Status file_unlink(const char *path, Error *err);

/** What was made in and removed from the directory that @path is in survives a power cut. */
MUST_CHECK Status file_sync_directory_of(const char *path, Error *err);

/**
 * Give the file @from, which is whole, the name @to in the same directory: after a crash or a power
 * cut there is all of it or nothing. It replaces nothing: ERROR_TRANSIENT when something has that
 * name by now (EEXIST).
 */
MUST_CHECK Status file_put_in_place(const char *from, const char *to, Error *err);

/** The same, in place of the file that has that name by now, if there is one: after a crash there
 * is all of either. */
MUST_CHECK Status file_replace(const char *from, const char *to, Error *err);

MUST_CHECK Status file_size(const File *file, uint64_t *ret, Error *err);

/** ERROR_CONFIG when the path leads elsewhere now: the file was removed, moved or replaced. */
MUST_CHECK Status file_is_in_place(const File *file, Error *err);

/** All of @data at @offset. After a failure any part of it may have been written. */
MUST_CHECK Status file_write(const File *file, uint64_t offset, Str data, Error *err);

/** Exactly @len bytes at @offset; fewer are an error. */
MUST_CHECK Status file_read(const File *file, uint64_t offset, char *ret, size_t len, Error *err);

MUST_CHECK Status file_truncate(const File *file, uint64_t size, Error *err);

/** @len bytes at @offset are zeros from now on, and take no room. The file keeps its size. */
MUST_CHECK Status file_punch(const File *file, uint64_t offset, uint64_t len, Error *err);

/**
 * What was written survives a power cut. A failure is ERROR_FATAL: the kernel may have dropped the
 * pages, and a second attempt would succeed without them.
 */
MUST_CHECK Status file_sync(const File *file, Error *err);

/** Unlock and close. Accepts a closed file. */
void file_close(File *file);

/**
 * All of @data to @fd, which may be a pipe, a socket, a terminal or a file; @name is for messages.
 * Gives up with ERROR_CANCELLED while nobody takes the data and @cancel (may be NULL) is set. A
 * closed pipe is ERROR_FATAL with os_errno EPIPE, and so is a full device.
 */
MUST_CHECK Status stream_write(int fd, const char *name, Str data, Cancel *cancel, Error *err);
