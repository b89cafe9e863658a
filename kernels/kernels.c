#include "kernels/kernels.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/fill.h"

static void fill_ref_f32(struct mc_kernels *k)
{
    mc_gemm_fill_ref_f32(&k->gemm);
    mc_conv_fill_ref_f32(&k->conv);
    mc_elementwise_fill_ref_f32(&k->elementwise);
    mc_nn_fill_ref_f32(&k->nn);
}

static void fill_ref_f64(struct mc_kernels *k)
{
    mc_gemm_fill_ref_f64(&k->gemm);
    mc_conv_fill_ref_f64(&k->conv);
    mc_elementwise_fill_ref_f64(&k->elementwise);
    mc_nn_fill_ref_f64(&k->nn);
}

static bool always(void)
{
    return true;
}

/* From the reference upwards: a table holds what its own level and all lower ones put into it. */
static const struct level {
    const char *name;
    bool (*runs)(void); /* on this CPU */
    void (*fill)(struct mc_kernels *k);
} levels[] = {
    {"ref", always, fill_ref_f32},
};
enum { LEVELS = sizeof levels / sizeof levels[0] };

static struct mc_kernels tables[LEVELS], ref_f64 = {.name = "ref", .elem_bytes = 8};
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static void fill(void)
{
    fill_ref_f64(&ref_f64);
    for (int i = 0; i < LEVELS; i++) {
        if (i > 0)
            tables[i] = tables[i - 1];
        tables[i].name = levels[i].name;
        tables[i].elem_bytes = 4;
        if (levels[i].runs())
            levels[i].fill(&tables[i]);
    }
}

const struct mc_kernels *mc_kernels_get(const char *name, int elem_bytes)
{
    pthread_once(&filled, fill);
    if (!name)
        name = getenv("MCOMPRESS_KERNELS");
    if (elem_bytes == 8)
        return !name || !strcmp(name, "ref") ? &ref_f64 : NULL;
    if (elem_bytes != 4)
        return NULL;
    for (int i = LEVELS - 1; i >= 0; i--) {
        if (levels[i].runs() && (!name || !strcmp(name, levels[i].name)))
            return &tables[i];
    }
    return NULL;
}
