/* Which function is called, and what runtimes make of it. */
#include <string.h>

#include "graph/own/own_circulant.h"
#include "passes/circulant/circulant_run.h"

struct body {
    const char *function, *runs;
};

static const struct body bodies[] = {
    {"CirculantGemm", "expanded when it is loaded, then as a dense layer"},
    {"CirculantGemmWindow", "as it is, times rotations of the input"},
    {"CirculantGemmDft", "as it is, between products with DFT matrices"},
    {"CirculantGemmDft2", "as it is, between products with DFT matrices in two steps"},
    {"CirculantConv", "expanded when it is loaded, then as a dense layer"},
    {"CirculantConvDft", "as it is, between products with DFT matrices"},
    {NULL, NULL},
};

const char *mc_circulant_function(const struct mc_circulant_run *r, const struct mc_layer *l,
                                  int64_t b)
{
    struct mc_circulant_form f = mc_circulant_form_of(l, b);
    return mc_own_circulant_function(mc_circulant_form_p(&f), mc_circulant_form_q(&f), b,
                                     l->kind == MC_LAYER_CONV ? f.taps : 0, r->exact);
}

const char *mc_circulant_runs(const char *function)
{
    for (const struct body *k = bodies; k->function; k++)
        if (!strcmp(k->function, function))
            return k->runs;
    return NULL;
}

bool mc_circulant_is_call(const struct mc_node *n)
{
    const struct mc_own *own = mc_own_find(n);
    return own && mc_circulant_runs(own->name);
}
