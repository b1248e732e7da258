// Places with names at which tests end the process, as a power cut would: of every step behind
// which something has become durable, and of every one before it. There are none in a release.
#pragma once

#ifdef WEIR_CRASH_POINTS
/** SIGKILL to ourselves, when the environment has WEIR_CRASH_POINT=@name, or @name:n the n-th time
 *  that the process comes here. Any thread. */
void crash_point(const char *name);
#    define CRASH_POINT(name) crash_point(name)
#else
#    define CRASH_POINT(name) ((void)0)
#endif
