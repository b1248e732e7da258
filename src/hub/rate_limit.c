#include "hub/rate_limit.h"

#include <assert.h>

#include "base/macros.h"

// A token a second is a millionth of one in a microsecond: so all is counted exactly.
enum { TOKEN = 1000000 };

void rate_limit_init(RateLimit *limit, int64_t per_second, int64_t size, int64_t now_us)
{
    assert(per_second == 0 || size > 0);
    *limit =
        (RateLimit){.per_second = per_second, .size = size, .level = size * TOKEN, .at_us = now_us};
}

static void fill(RateLimit *limit, int64_t now_us)
{
    int64_t missing = limit->size * TOKEN - limit->level;
    int64_t elapsed_us = MAX(now_us - limit->at_us, (int64_t)0);
    // However long it was, not more than there is room for.
    int64_t useful_us = MIN(elapsed_us, missing / limit->per_second + 1);
    limit->level += MIN(useful_us * limit->per_second, missing);
    limit->at_us = now_us;
}

int64_t rate_limit_take(RateLimit *limit, int64_t now_us)
{
    if (limit->per_second == 0) {
        return 0;
    }
    fill(limit, now_us);
    if (limit->level < TOKEN) {
        return (TOKEN - limit->level + limit->per_second - 1) / limit->per_second;
    }
    limit->level -= TOKEN;
    return 0;
}
