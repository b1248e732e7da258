// The codecs that codec/registry.c lists.
#pragma once

#include "codec/codec.h"

extern const Codec weir_codec;
extern const Codec wal2json1_codec;
extern const Codec wal2json2_codec;
