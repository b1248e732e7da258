#include "base/notice.h"

#include <stdarg.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/secret.h"

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
    Buf shown = {.max = LIMIT_TEXT_BYTES};
    secret_hide(&shown, buf_view(&message));
    notice->tell(notice->context, buf_cstring(&shown));
    buf_done(&shown);
    buf_done(&message);
}
