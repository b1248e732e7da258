// What the sinks that write changes as text share: encode into a buffer, and hand it on when it is
// large enough.
#pragma once

#include "codec/codec.h"
#include "pipeline/sink.h"

typedef struct Events {
    Arena arena; // of the encoder
    Encoder encoder;
    Buf out; // encoded and not yet written
} Events;

/** Writes out events->out and empties it. */
typedef Status EventsFlush(Sink *sink, Error *err);

void events_init(Events *events, const CodecOptions *options);

/** Accepts one that was never initialised (zeroed). */
void events_done(Events *events);

/** Encode @changes, calling @flush whenever much has come together: between two changes, so that
 *  formats with one line a change are cut at line ends. */
MUST_CHECK Status events_write(Events *events, Sink *sink, const Change *changes, size_t count,
                               EventsFlush *flush, Error *err);

/** The last transaction is complete: encode what ends it, and flush. */
MUST_CHECK Status events_finish(Events *events, Sink *sink, EventsFlush *flush, Error *err);

/** Empty the buffer; memory that one huge change needed is given back. */
void events_reset(Events *events);
