// The pgoutput decoder, fed with anything. The first byte of the input says what the decoder knows
// about the stream, the rest is the message:
//   bits 0-1  protocol version - 1
//   bit  2    inside a stream segment
//   bit  3    streaming=parallel
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/limits.h"
#include "fuzz.h"
#include "pg/pgoutput.h"
#include "pg/pgoutput_encoder.h"

static PgoutputContext context_from_byte(uint8_t byte)
{
    PgoutputContext context = {.protocol_version = 1 + (byte & 3)};
    context.in_stream = (byte & 4) != 0 && context.protocol_version >= PGOUTPUT_VERSION_STREAMING;
    context.streaming_parallel =
        (byte & 8) != 0 && context.protocol_version >= PGOUTPUT_VERSION_PARALLEL;
    return context;
}

static Str schema_of(const PgoutputMessage *message)
{
    return message->kind == PGOUTPUT_RELATION ? message->relation.schema
           : message->kind == PGOUTPUT_TYPE   ? message->type.schema
                                              : (Str){0};
}

// Encoding what was decoded has to give the same bytes: nothing was dropped, invented or read from
// outside. (Reading every borrowed byte on the way lets the address sanitizer see the latter.)
static void check_accepted(const PgoutputContext *context, Str input,
                           const PgoutputMessage *message)
{
    Buf again;
    buf_init(&again, LIMIT_TEXT_BYTES);
    encode_pgoutput(&again, context, message);
    // That schema has two spellings.
    if (!str_is(schema_of(message), "pg_catalog")) {
        FUZZ_CHECK(str_equal(buf_view(&again), input));
    }
    buf_done(&again);
}

static void check_refused(const PgoutputMessage *message, const Error *err)
{
    const unsigned char *bytes = (const unsigned char *)message;
    for (size_t i = 0; i < sizeof(*message); i++) {
        FUZZ_CHECK(bytes[i] == 0xA5);
    }
    FUZZ_CHECK(err->kind == ERROR_DATA);
    FUZZ_CHECK(err->message[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    PgoutputContext context = context_from_byte(data[0]);
    Str input = {(const char *)data + 1, size - 1};
    Arena arena = {0};
    PgoutputMessage message;
    memset(&message, 0xA5, sizeof(message));
    Error err;
    if (pgoutput_decode(&context, input, &arena, &message, &err) == STATUS_OK) {
        check_accepted(&context, input, &message);
    } else {
        check_refused(&message, &err);
    }
    arena_done(&arena);
    return 0;
}
