// URI references (RFC 3986), with IRIs (RFC 3987) where they are asked for: what schemas call each
// other by.
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/** The parts of a reference, without what separates them. A part that is not there has ptr NULL;
 *  the path always is. */
typedef struct Uri {
    Str scheme;
    Str authority;
    Str path;
    Str query;
    Str fragment;
} Uri;

/** Cut @text into its parts, without looking at what they are made of. */
Uri uri_split(Str text);

/** What @reference means in a document at @base (RFC 3986 §5.2), without its fragment. @base may
 *  itself be relative, or empty. */
Str uri_resolve(Arena *arena, Str base, Str reference);

/** @text with each %xx taken for the byte that it stands for; false when one is broken. */
MUST_CHECK bool uri_decode(Arena *arena, Str text, Str *ret);

typedef enum UriForm {
    URI_REFERENCE = 0,
    URI_ABSOLUTE = 1, // has a scheme
    URI_UNICODE = 2,  // may have characters that are not ASCII
} UriForm;

/** @text, which is UTF-8, is a reference as the RFC has it. @form: a sum of UriForm. */
bool uri_is_valid(Str text, unsigned form);

/** An IPv4 address of four decimal numbers; an IPv6 address, without brackets and zone. */
bool uri_is_ipv4(Str text);
bool uri_is_ipv6(Str text);
