/* Errors: a code for the program, one line for the user.
 *
 * What can fail returns 0 or a negative MC_E… and takes `struct mc_err *err` last. The error is made in
 * one place, by `return mc_fail(err, MC_ESHAPE, "Conv '%s': …", …)`, and passed up unchanged. `err` may be
 * NULL where the caller only wants the code.
 */
#ifndef MC_BASE_ERR_H
#define MC_BASE_ERR_H

enum mc_code {
    MC_OK = 0,
    MC_EFAIL = -1,   /* could not be done: numerical failure, no convergence, an internal limit */
    MC_ENOMEM = -2,  /* memory, or --mem, exhausted */
    MC_EIO = -3,     /* writing failed: disk full, unwritable folder */
    MC_EUSAGE = -4,  /* the command line or an option's value */
    MC_EOPEN = -5,   /* an input is missing or cannot be read */
    MC_EFORMAT = -6, /* an input is malformed: truncated, hostile, not what it claims to be */
    MC_EUNSUP = -7,  /* an input is well formed but needs what mcompress cannot do */
    MC_ESHAPE = -8,  /* shapes that do not fit each other */
    MC_EDTYPE = -9,  /* an element type that does not fit */
    MC_EDATA = -10,  /* samples or labels that cannot be used; NaN in weights */
    MC_EGATE = -11,  /* a gate or target was missed; results are complete */
    MC_EINTR = -12,  /* Ctrl-C */
};

enum { MC_ERR_MSG = 512 };

struct mc_err {
    int code; /* 0 or one of enum mc_code */
    char msg[MC_ERR_MSG];
};

/* Fill err (if not NULL) with one line of text and return code. Control characters are replaced, so that
 * names from a hostile file cannot break the line. An error already present is overwritten. */
int mc_fail(struct mc_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Short lower-case name of a code, "ok" for 0; for logs and reports. */
const char *mc_code_name(int code);

#endif
