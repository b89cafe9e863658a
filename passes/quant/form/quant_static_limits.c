#include <string.h>

#include "passes/quant/form/quant_region_kind.h"

/* Integers that the model has already stay as they are, and so does what is next to them. */
static bool beside_integers(const struct mc_quant_site *s, const struct mc_value *x)
{
    if (x->producer && strstr(x->producer->op_type, "uantizeLinear"))
        return true;
    for (size_t i = 0; s->y && i < s->y->n_uses; i++)
        if (strstr(s->y->uses[i].node->op_type, "uantizeLinear"))
            return true;
    return false;
}

void mc_quant_static_limits(struct mc_quant_sites *sites, const struct mc_quant_stats *stats)
{
    for (size_t i = 0; i < sites->n; i++) {
        struct mc_quant_site *s = &sites->item[i];
        for (size_t k = 0; k < s->node->n_in; k++) {
            if (s->in_body || s->reason || !mc_quant_site_reads(s, k))
                continue;
            const struct mc_quant_stat *x = mc_quant_stat_of(stats, s->node->in[k]);
            const char *why = NULL;
            if (beside_integers(s, s->node->in[k]))
                why = "it stands beside integers that the model has already";
            else if (!x || (!x->fixed && !x->hist.n))
                why = "its input was never seen in calibration";
            else if (!x->fixed && x->hist.nan)
                why = "its input holds NaN";
            else if (!x->fixed && x->hist.infinite)
                why = "its input holds infinity";
            else if (!x->fixed && x->hist.min == x->hist.max)
                why = "its input is one number throughout calibration, which tells no range";
            if (why && !s->why[MC_QUANT_STATIC])
                s->why[MC_QUANT_STATIC] = why;
            if (why && !s->why[MC_QUANT_STATIC16])
                s->why[MC_QUANT_STATIC16] = why;
        }
    }
}
