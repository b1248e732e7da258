// Frames of the replication stream of any bytes: what is in one lies within it, positions go
// forward only, or it is refused. An input is frames: two bytes of length, the frame.
#include <libpq-fe.h>

#include "base/reader.h"
#include "fuzz.h"
#include "pg/replication.h"

static Reader frames;
static const char *frame_end;

// NOLINTNEXTLINE(bugprone-reserved-identifier): the linker's name
int __wrap_PQgetCopyData(PGconn *conn, char **buffer, int async);

int __wrap_PQgetCopyData(PGconn *conn, char **buffer, int async)
{
    uint16_t len;
    Str frame;
    if (!reader_u16(&frames, &len) ||
        !reader_bytes(&frames, len % 512 < reader_left(&frames) ? len % 512 : reader_left(&frames),
                      &frame) ||
        frame.len == 0) {
        return 0; // nothing has arrived
    }
    *buffer = malloc(frame.len); // libpq's own, which PQfreemem() gives back
    FUZZ_CHECK(*buffer != NULL);
    memcpy(*buffer, frame.ptr, frame.len);
    frame_end = *buffer + frame.len;
    return (int)frame.len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Replication replication;
    Error err = {0};
    Frame frame;
    Status status;
    frames = reader_from(data, size);
    replication_init(&replication, NULL, 60000, 60000);
    Lsn head = 0;
    Lsn received = 0;
    while ((status = replication_next(&replication, &frame, &err)) == STATUS_OK) {
        FUZZ_CHECK(replication.head >= head && replication.received >= received);
        head = replication.head;
        received = replication.received;
        if (frame.kind == FRAME_DATA) {
            FUZZ_CHECK(frame.data.ptr >= frame.buffer &&
                       frame.data.ptr + frame.data.len == frame_end);
        }
        replication_release(&frame);
    }
    FUZZ_CHECK(status == STATUS_AGAIN || (err.kind == ERROR_DATA && err.message[0] != '\0'));
    return 0;
}
