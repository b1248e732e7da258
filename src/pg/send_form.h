// Values of Postgres's own types in the form of their send functions, made from their text: what a
// server takes without reading digits. For COPY BINARY and for arrays in binary.
//
// The forms are those of the types' *_send() and *_recv() in src/backend/utils/adt, which are the
// same in every version.
#pragma once

#include "base/buf.h"
#include "change/value.h"

typedef struct PgSendForm {
    uint32_t type_oid;
    uint32_t element_oid; // of an array of such values: the type, or one that it is cast from
    const char *element;  // its name
    bool (*write)(Str text, Buf *out);
} PgSendForm;

/** The form of the type; NULL: it has none here. Valid for ever. */
const PgSendForm *pg_send_form(uint32_t type_oid);

/**
 * Append the length of @value, which is a text or NULL, and its bytes. False: it is not what the
 * type's output function writes, so that only the server can tell what it is; then @out is as it
 * was.
 */
MUST_CHECK bool pg_send_value(const PgSendForm *form, Value value, Buf *out);
