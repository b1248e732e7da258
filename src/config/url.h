// A connection as one writes it on a command line, turned into settings.
//
//   postgres://user@host:port/db?sslmode=require&schema=mirror    also postgresql://
//   host=db.example dbname=shop                                   libpq's keyword string
//   duckdb:shop.duckdb?mode=history                               NAME:PATH?OPTION=VALUE&…
//   https://host/path?batch=array&of=theirs                       what is no option stays in it
//   stdout:  null:  -                                             - is stdout:
#pragma once

#include "config/option.h"

/** A connector that can be named. */
typedef struct EndpointKind {
    const char *name;
    const Option *options;
} EndpointKind;

typedef struct Endpoint {
    size_t kind; // index of the connector
    Settings settings;
    Str id; // the endpoint without secrets, paths made absolute: for messages and to tell two apart
    Str name; // a short word for it: the database's or the file's name
} Endpoint;

/**
 * Parse @text by the @count connectors of @kinds. Text is copied to @arena. An unknown scheme, or a
 * plain file name, is ERROR_CONFIG with what was probably meant. No message holds a password.
 */
MUST_CHECK Status endpoint_parse(Str text, const EndpointKind *kinds, size_t count, Arena *arena,
                                 Endpoint *ret, Error *err);

/** The id of what is not a URL: "duckdb:/data/shop.duckdb". */
Str endpoint_path_id(const char *kind, Str path, Arena *arena);
