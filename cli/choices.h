/* --choices and --choices-out: which option for which layer, as a file that people edit. */
#ifndef MC_CLI_CHOICES_H
#define MC_CLI_CHOICES_H

#include <jansson.h>

#include "base/err.h"
#include "base/io.h"

/* Errors: MC_EOPEN, MC_EFORMAT with file, line and column. */
int mc_choices_read(const char *path, json_t **ret, struct mc_err *err);

/* Opened before the work, so that it is known early whether it can be written; committed by the caller. */
int mc_choices_open(const char *path, struct mc_out **ret, struct mc_err *err);
/* `search` of a pass's report; NULL: the pass searched nothing. Errors: MC_EUSAGE for that. */
int mc_choices_put(struct mc_out *out, const char *path, const json_t *search, struct mc_err *err);

#endif
