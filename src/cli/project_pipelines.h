// From a project file to pipelines: shared by the commands that take one.
#pragma once

#include "config/option.h"
#include "pipeline/runner.h"

/** Whether a command that takes a project or a connection was given the former: a file or a folder,
 *  or what cannot be a connection; or nothing. */
bool project_is_named(const StrList *arguments, Arena *arena);

/**
 * The pipelines of the project at @path, in @arena. @state: directory for the state, empty: what
 * the file says (relative to it) or the default. @until: as --until takes it, empty: none.
 */
MUST_CHECK Status project_pipelines(Str path, Str state, Str until, Arena *arena, Pipeline **ret,
                                    size_t *ret_count, Error *err);

/** The project that a command was given as its first argument; none: the folder it runs in. */
Str project_path(const StrList *arguments);

/** That of this name among @pipelines. */
MUST_CHECK Status project_find(Pipeline *pipelines, size_t count, Str name, Pipeline **ret,
                               Error *err);
