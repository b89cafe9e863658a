/* Text in aligned columns. */
#ifndef MC_BASE_TABLE_H
#define MC_BASE_TABLE_H

#include <stdio.h>

/* Life cycle: new, cells row by row, print, free. A lack of memory is remembered and makes print fail. */
struct mc_table;
/* One letter per column: 'l' left, 'r' right; an upper-case letter may be shortened in the middle where
 * the table would be too wide. NULL when out of memory; the functions below accept that. */
struct mc_table *mc_table_new(const char *columns);
void mc_table_cell(struct mc_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Each line begins with `indent` spaces; at most `width` columns where shortening can do it.
 * Returns 0, or -1 when memory ran out. */
int mc_table_print(const struct mc_table *t, FILE *out, int indent, int width);
void mc_table_free(struct mc_table *t);

#endif
