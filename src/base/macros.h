// Attributes and small macros that every other header may use.
#pragma once

/** The caller must look at the result; ignoring it does not compile. */
#define MUST_CHECK __attribute__((warn_unused_result))

/** Argument number @at is a printf format whose own arguments start at number @first. */
#define PRINTF_LIKE(at, first) __attribute__((format(printf, at, first)))

/** Call @fn with the variable's address when it leaves scope: for files, connections and locks. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

/** Allocates @...: the analyzers may assume the result is not NULL. */
#define RETURNS_NONNULL __attribute__((returns_nonnull))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
