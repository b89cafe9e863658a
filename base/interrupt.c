#include "base/interrupt.h"

#include <stdatomic.h>

static atomic_int requested;

void mc_interrupt_request(void)
{
    atomic_store_explicit(&requested, 1, memory_order_relaxed);
}

void mc_interrupt_clear(void)
{
    atomic_store_explicit(&requested, 0, memory_order_relaxed);
}

int mc_interrupt_check(struct mc_err *err)
{
    if (!atomic_load_explicit(&requested, memory_order_relaxed))
        return 0;
    return mc_fail(err, MC_EINTR, "interrupted; nothing was written");
}
