#include "base/notice.h"

#include <stdarg.h>

#include "base/buf.h"
#include "base/limits.h"

void notice_tell(const Notice *notice, const char *format, ...)
{
    if (notice->tell == NULL) {
        return;
    }
    Buf message = {.max = LIMIT_TEXT_BYTES};
    va_list args;
    va_start(args, format);
    buf_vprintf(&message, format, args);
    va_end(args);
    notice->tell(notice->context, buf_cstring(&message));
    buf_done(&message);
}
