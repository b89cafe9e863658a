/* Comma- or tab-separated text: rows of fields. */
#ifndef MC_FORMATS_CSV_H
#define MC_FORMATS_CSV_H

#include "formats/stream.h"

struct mc_csv;

/* The separator is the first of tab, ';' and ',' that the first line holds outside quotes. what: for messages,
 * borrowed. Errors: MC_ENOMEM; those of the stream. */
int mc_csv_open(const struct mc_stream_src *src, const char *what, struct mc_csv **ret,
                struct mc_err *err);
void mc_csv_close(struct mc_csv *c); /* accepts NULL */

/* The next row that is not empty; *ret_n is 0 at the end. Fields are NUL-terminated, without their quotes and
 * without spaces around; valid until the next call. Errors: MC_EFORMAT with line and column. */
int mc_csv_row(struct mc_csv *c, char ***ret_fields, size_t *ret_n, struct mc_err *err);
/* Line on which the last row began, from 1. */
size_t mc_csv_line(const struct mc_csv *c);

#endif
