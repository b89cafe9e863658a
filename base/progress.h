/* Progress of long work, told to whoever asked. Libraries call it, cli draws it. */
#ifndef MC_BASE_PROGRESS_H
#define MC_BASE_PROGRESS_H

#include <stddef.h>

struct mc_progress {
    /* what: a short phrase that stays the same while one stage runs, up to its first ':', behind which
     * figures may stand that change; done/total in any one unit, total <= 0 when unknown. May be called from the thread that runs the stage only. */
    void (*fn)(void *ctx, const char *what, double done, double total);
    void *ctx;
};

/* Accepts NULL, and a struct without fn. */
static inline void mc_progress_tell(const struct mc_progress *p, const char *what, double done,
                                    double total)
{
    if (p && p->fn)
        p->fn(p->ctx, what, done, total);
}

#endif
