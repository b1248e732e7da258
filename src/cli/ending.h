// How a pipeline begins and ends, as the commands that run one tell it.
#pragma once

#include "pipeline/runner.h"

/** One log line: what starts, from where to where. */
void tell_start(const Pipeline *pipeline);

/** The program that read standard output has ended: no failure that anybody wants to hear of. */
bool is_reader_gone(Status status, const Error *err);

/** The exit code of one pipeline; nothing is printed. */
int ending_code(Status status, const Error *err);
