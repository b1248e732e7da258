// A status for people.
#pragma once

#include "control/status.h"

/** What the row says of one that runs, it does not do now. */
void status_row_stopped(StatusRow *row);

/** Print the table, and below it what is to be said of single routes. */
void status_table_print(const StatusRows *rows);
