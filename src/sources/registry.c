#include "pipeline/source.h"

extern const SourceOps postgres_source;

const SourceOps *const source_registry[] = {
    &postgres_source,
    NULL,
};
