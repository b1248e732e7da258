// What `weir verify` prints.
#pragma once

#include "pipeline/verify.h"

typedef enum VerifyVerdict {
    VERDICT_EQUAL,
    VERDICT_DIFFERENT, // at least one row
    VERDICT_UNKNOWN,   // it could not be compared
} VerifyVerdict;

VerifyVerdict verify_verdict(const VerifyTable *table);

/** One route's tables, and what differs in them. */
void verify_print_text(const Pipeline *pipeline, const PipelineRoute *route,
                       const VerifyResult *result, bool is_first);

/** The same as an element of the document's array, with the brackets in front of the first. */
void verify_print_json(const Pipeline *pipeline, const PipelineRoute *route,
                       const VerifyResult *result, bool is_first);

/** Close the document. @is_equal: everything was compared, and is. */
void verify_print_json_end(bool is_first, bool is_equal);
