#include "base/crash_point.h"

#ifdef WEIR_CRASH_POINTS

#    include <signal.h>
#    include <stdatomic.h>
#    include <stdlib.h>
#    include <string.h>
#    include <unistd.h>

#    include "base/str.h"

void crash_point(const char *name)
{
    static atomic_int passed;
    const char *wanted = getenv("WEIR_CRASH_POINT");
    size_t len = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, len) != 0 ||
        (wanted[len] != '\0' && wanted[len] != ':')) {
        return;
    }
    int64_t time = 1;
    if (wanted[len] == ':' && !str_to_int64(str_from(wanted + len + 1), &time)) {
        return;
    }
    if (atomic_fetch_add(&passed, 1) + 1 == time) {
        (void)kill(getpid(), SIGKILL);
    }
}

#endif
