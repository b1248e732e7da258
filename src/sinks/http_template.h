// Text of a URL, a header or a JSON body with names in it, {{…}}, that an event fills in:
// docs/http.md has them all.
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "change/change.h"

typedef enum HttpTemplateKind {
    HTTP_TEMPLATE_URL,    // values are percent-encoded
    HTTP_TEMPLATE_HEADER, // and here have no control characters
    HTTP_TEMPLATE_BODY,   // and here are JSON, or inside quotes, text of it
} HttpTemplateKind;

typedef struct HttpPiece HttpPiece;

typedef struct HttpTemplate {
    HttpTemplateKind kind;
    HttpPiece *pieces;
    size_t count;
    bool has_names; // it is not the same for all events
    bool has_rows;  // some name is about a row
} HttpTemplate;

/** @text, borrowed. ERROR_CONFIG: a name that there is none of, or a body that is no JSON. */
MUST_CHECK Status http_template_parse(HttpTemplateKind kind, Str text, Arena *arena,
                                      HttpTemplate *ret, Error *err);

/** ERROR_CONFIG: it names a column that the table of @relation has not, or a key. */
MUST_CHECK Status http_template_check(const HttpTemplate *template, const Relation *relation,
                                      Error *err);

/** Append what @change makes of it; @event is the change in its format. ERROR_DATA: a value is not
 *  known, or cannot stand there. */
MUST_CHECK Status http_template_fill(const HttpTemplate *template, const Change *change, Str event,
                                     Buf *out, Error *err);
