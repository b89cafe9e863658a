#include "passes/quant/cost/quant_cost_table.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const struct row {
    const char *kind, *form;
    double a, b, ns;
} rows[] = {
/* Written by tests/bench/quant_cost.py; a kind's rows stand together, by form, a and b. */
#include "passes/quant/cost/quant_cost_rows.inc"
};

enum { ROWS = sizeof rows / sizeof *rows };
static const double LEAST =
    400; /* what a node costs that does nothing; smaller figures are noise */

static bool matches(const struct row *r, const char *kind, const char *form)
{
    return !strcmp(r->kind, kind) && !strcmp(r->form, form);
}

/* Between the points (x0, y0) and (x1, y1), on logarithms. */
static double between(double x, double x0, double y0, double x1, double y1)
{
    if (x0 == x1)
        return y0;
    double t = (log(x) - log(x0)) / (log(x1) - log(x0));
    return exp(log(y0) + t * (log(y1) - log(y0)));
}

/* Along b, of the rows from `first` on that have its a. */
static double along(size_t first, double b, size_t *ret_end)
{
    size_t end = first;
    const struct row *r = rows;
    while (end < ROWS && matches(&r[end], r[first].kind, r[first].form) && r[end].a == r[first].a)
        end++;
    *ret_end = end;
    size_t i = first;
    while (i < end && r[i].b < b)
        i++;
    if (i == first)
        return fmax(r[first].ns, LEAST);
    if (i == end)
        return fmax(r[end - 1].ns, LEAST) * b / r[end - 1].b;
    return between(b, r[i - 1].b, fmax(r[i - 1].ns, LEAST), r[i].b, fmax(r[i].ns, LEAST));
}

double mc_quant_cost_of(const char *kind, const char *form, double a, double b)
{
    size_t i = 0, end;
    double before = 0, before_a = 0, power = 1;
    form = form ? form : "other";
    if (!strcmp(kind, "dense") || !strcmp(kind, "lstm") || !strcmp(kind, "conv1") ||
        !strcmp(kind, "conv3"))
        power = 2;
    if (!strcmp(kind, "batched"))
        power = 3;
    a = fmax(a, 1);
    b = fmax(b, 1);
    while (i < ROWS && !matches(&rows[i], kind, form))
        i++;
    if (i == ROWS)
        return strcmp(kind, "Add") ? mc_quant_cost_of("Add", NULL, a, 1) : LEAST;
    for (; i < ROWS && matches(&rows[i], kind, form); i = end) {
        double here = along(i, b, &end);
        if (a <= rows[i].a)
            return before_a > 0 ? between(a, before_a, before, rows[i].a, here) : here;
        before = here;
        before_a = rows[i].a;
    }
    return before * pow(a / before_a, power);
}
