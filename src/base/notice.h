// What a user should know and is no error. The library does not log: who runs a part of it gives a
// Notice, and decides what becomes of the message.
#pragma once

#include "base/macros.h"

typedef struct Notice {
    void (*tell)(void *context, const char *message); // NULL: nobody wants to know
    void *context;
} Notice;

/** One sentence, as errors are written. Thread: that of the part it was given to. */
void notice_tell(const Notice *notice, const char *format, ...) PRINTF_LIKE(2, 3);
