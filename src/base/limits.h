// Every limit of the program in one place. A size that comes from outside is compared with one of
// these before memory is taken for it.
#pragma once

#include <stddef.h>

enum {
    LIMIT_COLUMNS = 1664,         // MaxTupleAttributeNumber in Postgres's htup_details.h is 1664
    LIMIT_NAME_BYTES = 1024,      // identifiers; Postgres's own limit is 63
    LIMIT_URL_BYTES = 16 * 1024,  // a connection on the command line
    LIMIT_CONFIG_BYTES = 4 << 20, // a configuration file
    LIMIT_TABLES = 100000,        // tables in one pipeline
    LIMIT_ROUTES = 64,            // routes of one pipeline
    LIMIT_CHECKPOINT_VALUE = 16 << 20, // one value of a checkpoint
    LIMIT_IDENTIFIER_SLOT = 63,        // NAMEDATALEN - 1: slots, publications, tables
    LIMIT_HTTP_BODY = 1 << 20,         // of a request that is posted to us
    LIMIT_DEAD_LETTERS = 10000,        // kept for one route
    LIMIT_JSON_BYTES = 16 << 20,       // a JSON document that is read into a tree
    LIMIT_HUB_FILES = 10000,           // models of a hub, and as many files of systems
    LIMIT_HUB_BYTES = 256 << 20,       // all of them together
};

// A pgoutput message holds at most one old and one new row, each limited by Postgres's
// MaxAllocSize.
#define LIMIT_MESSAGE_BYTES ((size_t)2 << 30)

// A text buffer that has no tighter limit of its own: one row as JSON, with every byte escaped.
#define LIMIT_TEXT_BYTES ((size_t)8 << 30)
