#include "graph/shape.h"

#include <stdio.h>
#include <string.h>

int64_t mc_shape_span(const struct mc_shape *s, int from, int to)
{
    int64_t n = 1;
    bool zero = false;
    for (int i = from; i < to; i++) {
        if (s->dim[i] < 0)
            return -1;
        zero |= s->dim[i] == 0;
    }
    if (zero)
        return 0;
    for (int i = from; i < to; i++)
        if (__builtin_mul_overflow(n, s->dim[i], &n))
            return -1;
    return n;
}

int64_t mc_shape_count(const struct mc_shape *s)
{
    return mc_shape_span(s, 0, s->rank);
}

bool mc_shape_known(const struct mc_shape *s)
{
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] < 0)
            return false;
    return true;
}

bool mc_shape_equal(const struct mc_shape *a, const struct mc_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i] || a->dim[i] == MC_DIM_ANY)
            return false;
    return true;
}

struct mc_shape mc_shape_of(int rank, const int64_t *dims)
{
    struct mc_shape s = {.rank = rank};
    for (int i = 0; i < rank; i++)
        s.dim[i] = dims[i];
    return s;
}

const char *mc_shape_text(const struct mc_shape *s, char ret[MC_SHAPE_TEXT])
{
    size_t at = 0;
    ret[at++] = '[';
    for (int i = 0; i < s->rank; i++) {
        const char *sep = i ? "," : "";
        int n = s->dim[i] < 0
                    ? snprintf(ret + at, MC_SHAPE_TEXT - at, "%s?", sep)
                    : snprintf(ret + at, MC_SHAPE_TEXT - at, "%s%lld", sep, (long long)s->dim[i]);
        at += (size_t)n; /* 12 dimensions of at most 20 characters always fit */
    }
    snprintf(ret + at, MC_SHAPE_TEXT - at, "]");
    return ret;
}

bool mc_shape_broadcast(const struct mc_shape *a, const struct mc_shape *b, struct mc_shape *ret)
{
    struct mc_shape r = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 0; i < r.rank; i++) {
        int ia = i - (r.rank - a->rank), ib = i - (r.rank - b->rank);
        int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
        if (da == 1)
            r.dim[i] = db;
        else if (db == 1 || da == db)
            r.dim[i] = da;
        else if (da >= 0 && db >= 0)
            return false;
        else if (da < 0 && db < 0)
            r.dim[i] = MC_DIM_ANY;
        else
            r.dim[i] = da < 0 ? db : da;
    }
    *ret = r;
    return true;
}

int mc_shape_axis(int64_t axis, int rank)
{
    if (axis < -(int64_t)rank || axis >= rank)
        return -1;
    return (int)(axis < 0 ? axis + rank : axis);
}
