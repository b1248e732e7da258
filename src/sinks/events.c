#include "sinks/events.h"

#include "base/limits.h"

enum {
    FLUSH_BYTES = 256 << 10,
    KEEP_BYTES = 4 << 20, // memory kept between two flushes
    CANCEL_CHECK_CHANGES = 1024,
};

void events_init(Events *events, const CodecOptions *options)
{
    *events = (Events){.out = {.max = LIMIT_TEXT_BYTES}};
    encoder_init(&events->encoder, options, &events->arena);
}

void events_done(Events *events)
{
    encoder_done(&events->encoder);
    buf_done(&events->out);
    arena_done(&events->arena);
}

void events_reset(Events *events)
{
    if (events->out.capacity > KEEP_BYTES) {
        buf_done(&events->out);
    } else {
        buf_reset(&events->out);
    }
}

static Status encode(Events *events, const Change *change, Error *err)
{
    if (encoder_encode(&events->encoder, change, &events->out, err) == STATUS_OK &&
        buf_check(&events->out, "the encoded change", err) == STATUS_OK) {
        return STATUS_OK;
    }
    char position[POSITION_TEXT_SIZE];
    position_format(change_position(change), position);
    return error_wrap(err, "%s at %s", change_op_name(change->op), position);
}

Status events_write(Events *events, Sink *sink, const Change *changes, size_t count,
                    EventsFlush *flush, Error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (i % CANCEL_CHECK_CHANGES == 0 && cancel_is_set(sink->context.cancel)) {
            return error_set(err, ERROR_CANCELLED, "cancelled");
        }
        if (encode(events, &changes[i], err) != STATUS_OK ||
            (events->out.len >= FLUSH_BYTES && flush(sink, err) != STATUS_OK)) {
            return STATUS_FAIL;
        }
    }
    return STATUS_OK;
}

Status events_finish(Events *events, Sink *sink, EventsFlush *flush, Error *err)
{
    encoder_finish(&events->encoder, &events->out);
    if (buf_check(&events->out, "the encoded transaction", err) != STATUS_OK) {
        return STATUS_FAIL;
    }
    return events->out.len == 0 ? STATUS_OK : flush(sink, err);
}
