// The http sink, for its own files: options, and what becomes of them (http_options.c); events and
// requests (http.c).
#pragma once

#include "codec/codec.h"
#include "io/http_client.h"
#include "io/webhook_signature.h"
#include "pipeline/sink.h"
#include "sinks/http_template.h"

typedef enum HttpBatch { BATCH_NONE, BATCH_ARRAY, BATCH_NDJSON } HttpBatch;

enum { HTTP_OPS = CHANGE_SCHEMA + 1 };

typedef struct HttpSink {
    Sink base;
    // Options.
    Str url_option;
    StrList method_option;
    StrList header_option;
    Str body_option;
    StrList ops_option;
    int batch; // HttpBatch
    int64_t batch_events;
    int64_t batch_bytes;
    int scheme; // WebhookScheme
    Str secret;
    Str signature_header;
    Str ca_file;
    int64_t timeout_ms;
    CodecOptions codec;
    // What http_validate() makes of them, in the options' arena.
    HttpTemplate url;
    const char *shown;             // the URL in messages: a path may be a secret
    const char *methods[HTTP_OPS]; // by ChangeOp
    bool is_wanted[HTTP_OPS];      // by ChangeOp
    HttpTemplate *headers;         // whole lines, "Name: value"
    size_t header_count;
    bool has_type; // one of them is Content-Type
    HttpTemplate body_template;
    bool has_body;  // that is what is sent, and not the event
    bool has_lines; // the format has no event for each change, but lines
    Str key;        // by which is signed
    // While it runs.
    Arena arena;
    Arena scratch; // of a request
    HttpClient *client;
    Pause pause;
    Encoder encoder;
    Buf encoded;             // by the encoder, and not yet taken
    Transaction transaction; // of the last change; its origin is not to be used
    bool has_transaction;
    uint64_t line; // of has_lines: in the transaction
    // The request that is being put together.
    Buf target; // method, URL and headers, each with a NUL behind it
    Buf body;
    Buf ids; // of its events, ID_BYTES each
    size_t count;
    Buf filled; // the next one's target
    Buf event;  // and what it says
    // Events of a write that was refused, which the receiver has: they come again, to find which.
    Buf taken; // ids
    size_t taken_at;
    bool is_trying;
} HttpSink;

extern const Option http_options[];

/** SinkOps.validate */
MUST_CHECK Status http_validate(Sink *base, Error *err);
