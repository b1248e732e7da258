// Force-included into every file of src/ (see meson.build): calls with a safer replacement do not
// compile. The libc headers come first, so that only our calls and not their declarations are hit.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BANNED(call) this_call_is_banned_##call

// No bounds: use Buf, Str or snprintf.
#undef strcpy
#define strcpy(a, b) BANNED(strcpy)
#undef strcat
#define strcat(a, b) BANNED(strcat)
#undef strncpy
#define strncpy(a, b, n) BANNED(strncpy)
#undef strncat
#define strncat(a, b, n) BANNED(strncat)
#undef strtok
#define strtok(a, b) BANNED(strtok)
#undef sprintf
#define sprintf(...) BANNED(sprintf)
#undef vsprintf
#define vsprintf(...) BANNED(vsprintf)
#undef gets
#define gets(a) BANNED(gets)

// No way to see a failure: use the checked parsers of base/str.h.
#undef atoi
#define atoi(a) BANNED(atoi)
#undef atol
#define atol(a) BANNED(atol)
#undef atoll
#define atoll(a) BANNED(atoll)
#undef atof
#define atof(a) BANNED(atof)
#undef sscanf
#define sscanf(...) BANNED(sscanf)

// One static result for all threads: use the _r forms.
#undef gmtime
#define gmtime(a) BANNED(gmtime)
#undef localtime
#define localtime(a) BANNED(localtime)
#undef ctime
#define ctime(a) BANNED(ctime)
#undef asctime
#define asctime(a) BANNED(asctime)

// Unbounded stack.
#undef alloca
#define alloca(a) BANNED(alloca)

// Memory belongs to arenas; base/mem.c alone takes these bans back.
#undef malloc
#define malloc(n) BANNED(malloc)
#undef calloc
#define calloc(n, s) BANNED(calloc)
#undef realloc
#define realloc(p, n) BANNED(realloc)
#undef strdup
#define strdup(s) BANNED(strdup)
