// What the reports of `weir check` share, and `--format json`: the report for programs.
// docs/check.md has the fields.
#pragma once

#include "pipeline/runner.h"

/** "primary key", "full", …: what tells an updated or deleted row. */
const char *check_identity_name(const Relation *relation);

/** Print what must be mended and what should be known, as text; nothing when there is nothing. */
void check_print_findings(const Report *report);

/** Print one pipeline as an object; @is_first: of the document's array, which it begins. */
void check_json_pipeline(const Pipeline *pipeline, const PipelineRoute *route,
                         const CheckResult *result, bool columns, bool is_ready, bool is_first);

/** Print `,"findings":[…]`. */
void check_json_findings(const Report *report);

/** Print the end of the document. */
void check_json_end(bool is_ready);
