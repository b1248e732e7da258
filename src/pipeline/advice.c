#include "pipeline/advice.h"

#define ANOTHER_NAME "another name (--name NAME; in weir.yml, the key of the pipeline)"

static const Advice of_pipelines = {
    .another_name = ANOTHER_NAME,
    .start_anew =
        "Start again under " ANOTHER_NAME ", which copies the tables anew; with existing=truncate "
        "(…?existing=truncate behind the sink's URL; in weir.yml, a key of its connection) into "
        "tables that have rows.",
    .fill_anew = "Fill this target anew under another name: in weir.yml { connection: …, name: "
                 "NAME, existing: truncate }; with weir stream, --name NAME and "
                 "…?existing=truncate.",
};

static const Advice *current = &of_pipelines;

const Advice *advice(void)
{
    return current;
}

void advice_set(const Advice *given)
{
    current = given;
}
