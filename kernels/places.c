#include "kernels/places.h"

#include <string.h>

#include "kernels/body_put.h"

int64_t mc_places_find(const struct mc_places *p)
{
    int64_t n = 1, base = 0, at[MC_PLACES_RANK] = {0};
    for (int d = 0; d < p->rank; d++)
        n *= p->dim[d];
    for (int64_t i = 0; i < n; i++) {
        int64_t place = base;
        for (int j = 0; j < p->depth; j++) {
            int64_t k = i * p->depth + j;
            int64_t v = p->index_bytes == 4 ? ((const int32_t *)p->index)[k]
                                            : ((const int64_t *)p->index)[k];
            v += v < 0 ? p->size[j] : 0;
            if (v < 0 || v >= p->size[j])
                return k;
            place += v * p->step[j];
        }
        p->place[i] = place;
        for (int d = p->rank - 1; d >= 0; d--) {
            base += p->stride[d];
            if (++at[d] < p->dim[d])
                break;
            base -= at[d] * p->stride[d];
            at[d] = 0;
        }
    }
    return -1;
}

#define ROW(type, name, least, most)                                                               \
    static void row_##name(enum mc_put_fn fn, int64_t n, const void *from, void *to)               \
    {                                                                                              \
        const type *x = from;                                                                      \
        type *y = to;                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = mc_put_of_##name(fn, y[i], x[i]);                                               \
    }
INTEGERS(ROW)
ROW(float, F32, 0, 0)
ROW(double, F64, 0, 0)

static void row_truth(enum mc_put_fn fn, int64_t n, const void *from, void *to)
{
    for (int64_t i = 0; i < n; i++)
        ((uint8_t *)to)[i] = mc_put_truth(fn, ((const uint8_t *)to)[i], ((const uint8_t *)from)[i]);
}

void mc_places_put(const struct mc_put *p)
{
#define ENTRY(type, name, least, most) [MC_ELEM_##name] = row_##name,
    static void (*const rows[MC_ELEM_COUNT])(enum mc_put_fn, int64_t, const void *, void *) = {
        INTEGERS(ENTRY)[MC_ELEM_F32] = row_F32, [MC_ELEM_F64] = row_F64};
#undef ENTRY
    size_t row = (size_t)p->inner * (size_t)p->elem_bytes;
    for (int64_t i = 0; i < p->n; i++) {
        const char *from = (const char *)p->src + (size_t)i * row;
        char *to = (char *)p->dst + (size_t)p->place[i] * row;
        if (p->fn == MC_PUT_REPLACE)
            memcpy(to, from, row);
        else if (p->truth)
            row_truth(p->fn, p->inner, from, to);
        else
            rows[p->type](p->fn, p->inner, from, to);
    }
}
