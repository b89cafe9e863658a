#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

int mc_fail(struct mc_err *err, int code, const char *fmt, ...)
{
    if (!err)
        return code;
    /* The arguments may point into err->msg (a message wrapped by its caller): format aside. */
    char line[MC_ERR_MSG];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n < 0)
        line[0] = 0;
    if (n >= (int)sizeof line)
        snprintf(line + sizeof line - 5, 5, " ...");
    size_t i = 0;
    for (; line[i]; i++) {
        unsigned char c = (unsigned char)line[i];
        err->msg[i] = c < 32 || c == 127 ? '?' : (char)c;
    }
    err->msg[i] = 0;
    err->code = code;
    return code;
}

const char *mc_code_name(int code)
{
    switch (code) {
    case MC_OK: return "ok";
    case MC_EFAIL: return "failed";
    case MC_ENOMEM: return "out of memory";
    case MC_EIO: return "write error";
    case MC_EUSAGE: return "usage";
    case MC_EOPEN: return "unreadable";
    case MC_EFORMAT: return "malformed";
    case MC_EUNSUP: return "unsupported";
    case MC_ESHAPE: return "shape mismatch";
    case MC_EDTYPE: return "type mismatch";
    case MC_EDATA: return "unusable data";
    case MC_EGATE: return "gate missed";
    case MC_EINTR: return "interrupted";
    }
    return "unknown";
}
