// What schema_run.c, which checks values, shares with schema_message.c, which says what is wrong.
#pragma once

#include "model/schema_program.h"

/** The way to the part of the value that is looked at. */
typedef struct InstancePath {
    const struct InstancePath *outer; // NULL: the whole
    Str name;                         // of the member; ptr NULL: an item
    uint32_t index;
} InstancePath;

struct SchemaValidator {
    const Schema *schema;
    RegexScratch regex;
    Arena scratch;  // of one instruction
    Arena messages; // of the problems
    Buf evaluated;  // 64-bit words of those Evaluated sets that are in use
    uint64_t steps; // left
    uint32_t depth;
    const char *given_up; // why; NULL: not
    bool is_reporting;
    bool is_part; // of the whole value only members are known
    uint32_t problem_count;
    SchemaProblem problems[SCHEMA_PROBLEMS_MAX];
};

/** @value, at @path, is not what @instruction asks for.
 */
void schema_report(SchemaValidator *on, const Block *block, const Instruction *instruction,
                   const JsonValue *value, const InstancePath *path);

/** The same with a reason of the caller's, at @keyword. */
void schema_report_as(SchemaValidator *on, const Block *block, const char *keyword,
                      const InstancePath *path, const char *format, ...) PRINTF_LIKE(5, 6);

/** "price" or "items/0": how people read a JSON Pointer. Empty for the whole. */
Str schema_path_name(Str pointer);

/** @value as text for a message, cut when it is long. */
const char *schema_value_text(SchemaValidator *on, const JsonValue *value);
