#include "base/table.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { COLUMNS_MAX = 16, GAP = 2, SHORTEST = 16 };

struct mc_table {
    char columns[COLUMNS_MAX + 1];
    size_t n_columns, n, cap;
    char **cells;
    bool failed;
};

struct mc_table *mc_table_new(const char *columns)
{
    struct mc_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    snprintf(t->columns, sizeof t->columns, "%s", columns);
    t->n_columns = strlen(t->columns);
    return t;
}

void mc_table_free(struct mc_table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        free(t->cells[i]);
    free(t->cells);
    free(t);
}

void mc_table_cell(struct mc_table *t, const char *fmt, ...)
{
    if (!t || t->failed)
        return;
    char *text;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0) {
        t->failed = true;
        return;
    }
    /* Names come from files: a control character must not reach a terminal. */
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127)
            *c = '?';
    if (!MC_GROW(t->cells, t->n, t->cap)) {
        free(text);
        t->failed = true;
        return;
    }
    t->cells[t->n++] = text;
}

/* Columns on the screen: bytes that begin a UTF-8 character. */
static int width_of(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

/* Bytes of the first n characters of s. */
static size_t prefix_of(const char *s, int n)
{
    size_t i = 0;
    for (; s[i]; i++)
        if ((s[i] & 0xc0) != 0x80 && n-- == 0)
            break;
    return i;
}

static void print_cell(FILE *out, const char *text, int width, bool right, bool last)
{
    int have = width_of(text);
    if (have > width) {
        int head = (width - 2) / 2, tail = width - 2 - head;
        fprintf(out, "%.*s..%s", (int)prefix_of(text, head), text,
                text + prefix_of(text, have - tail));
    } else if (right) {
        fprintf(out, "%*s%s", width - have, "", text);
    } else {
        fprintf(out, "%s%*s", text, last ? 0 : width - have, "");
    }
}

static void fit(const struct mc_table *t, int *width, int indent, int limit)
{
    int total = indent;
    for (size_t c = 0; c < t->n_columns; c++) {
        width[c] = 0;
        for (size_t i = c; i < t->n; i += t->n_columns) {
            int w = width_of(t->cells[i]);
            width[c] = w > width[c] ? w : width[c];
        }
        total += width[c] + (c ? GAP : 0);
    }
    for (size_t c = 0; c < t->n_columns && total > limit; c++) {
        if (!isupper((unsigned char)t->columns[c]) || width[c] <= SHORTEST)
            continue;
        int w = width[c] - (total - limit);
        w = w < SHORTEST ? SHORTEST : w;
        total -= width[c] - w;
        width[c] = w;
    }
}

int mc_table_print(const struct mc_table *t, FILE *out, int indent, int width)
{
    if (!t || t->failed)
        return -1;
    int widths[COLUMNS_MAX];
    fit(t, widths, indent, width);
    for (size_t i = 0; i < t->n; i += t->n_columns) {
        size_t last = t->n_columns; /* no blanks at the end of a line */
        while (last > 1 && (i + last > t->n || !*t->cells[i + last - 1]))
            last--;
        fprintf(out, "%*s", indent, "");
        for (size_t c = 0; c < last; c++) {
            if (c)
                fprintf(out, "%*s", GAP, "");
            print_cell(out, t->cells[i + c], widths[c],
                       tolower((unsigned char)t->columns[c]) == 'r', c + 1 == last);
        }
        fputc('\n', out);
    }
    return 0;
}
