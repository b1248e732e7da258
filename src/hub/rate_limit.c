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

int64_t rate_limit_wait(RateLimit *limit, int64_t count, int64_t now_us)
{
    assert(limit->per_second == 0 || count <= limit->size);
    if (limit->per_second == 0) {
        return 0;
    }
    fill(limit, now_us);
    int64_t missing = MAX(count * TOKEN - limit->level, (int64_t)0);
    return (missing + limit->per_second - 1) / limit->per_second;
}

int64_t rate_limit_take(RateLimit *limit, int64_t now_us)
{
    int64_t us = rate_limit_wait(limit, 1, now_us);
    if (us == 0 && limit->per_second > 0) {
        limit->level -= TOKEN;
    }
    return us;
}

int64_t rate_limit_tokens(RateLimit *limit, int64_t now_us)
{
    if (limit->per_second == 0) {
        return INT64_MAX;
    }
    fill(limit, now_us);
    return limit->level / TOKEN;
}

void rate_limit_give_back(RateLimit *limit, int64_t count)
{
    if (limit->per_second > 0) {
        limit->level = MIN(limit->level + count * TOKEN, limit->size * TOKEN);
    }
}
