#include "pipeline/source.h"

const SourceOps *const source_registry[] = {
    NULL,
};
