#include "graph/run/order.h"

#include <stdlib.h>

#include "base/mem.h"

struct entry {
    int64_t key, index;
};

static int by_key(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

int mc_order_make(struct mc_dataset *d, int64_t first, int64_t n, struct mc_order *ret,
                  struct mc_err *err)
{
    *ret = (struct mc_order){0};
    if (!d->class->group || n < 1)
        return 0;
    struct entry *e = mc_calloc((size_t)n, sizeof *e);
    struct mc_order o = {mc_calloc((size_t)n, sizeof *o.index),
                         mc_calloc((size_t)n, sizeof *o.end)};
    int rc = e && o.index && o.end ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (int64_t i = 0; !rc && i < n; i++) {
        e[i].index = first + i;
        rc = mc_dataset_group(d, first + i, &e[i].key, err);
    }
    if (rc)
        goto out;
    /* Groups have no order of their own: each goes where its first sample is. */
    qsort(e, (size_t)n, sizeof *e, by_key);
    int64_t group = 0, start = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || e[i].key != group) {
            group = e[i].key;
            start = e[i].index;
        }
        e[i].key = start;
    }
    qsort(e, (size_t)n, sizeof *e, by_key);
    for (int64_t i = n; i-- > 0;) {
        o.index[i] = e[i].index;
        o.end[i] = i + 1 < n && e[i + 1].key == e[i].key ? o.end[i + 1] : i + 1;
    }
    *ret = o;
out:
    free(e);
    if (rc)
        mc_order_free(&o);
    return rc;
}

void mc_order_free(struct mc_order *o)
{
    free(o->index);
    free(o->end);
    *o = (struct mc_order){0};
}
