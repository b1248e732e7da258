#include "config/text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"

Status text_file_read(const char *path, size_t max, Arena *arena, Str *ret, Error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(err, ERROR_CONFIG, errno, "open \"%s\"", path);
    }
    CLEANUP(buf_done) Buf text;
    buf_init(&text, max);
    char part[16 * 1024];
    ssize_t got = 0;
    while (!text.overflowed && (got = read(fd, part, sizeof(part))) > 0) {
        buf_bytes(&text, part, (size_t)got);
    }
    int code = errno;
    (void)close(fd);
    if (got < 0) {
        return error_set_errno(err, ERROR_CONFIG, code, "read \"%s\"", path);
    }
    if (text.overflowed) {
        return error_set(err, ERROR_CONFIG, "\"%s\" is larger than %zu bytes", path, max);
    }
    *ret = str_copy(arena, buf_view(&text));
    return STATUS_OK;
}
