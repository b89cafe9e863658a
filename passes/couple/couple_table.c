#include <string.h>

#include "passes/couple/couple_state.h"
#include "passes/couple/couple_table.h"

/* One line a file of rules. */
static const struct mc_couple_rule *const tables[] = {
    mc_couple_linear, mc_couple_einsum,    mc_couple_point,  mc_couple_norm,  mc_couple_reduce,
    mc_couple_cell,   mc_couple_attention, mc_couple_rotary, mc_couple_quant, mc_couple_fused,
    mc_couple_alike,  mc_couple_reshape,   mc_couple_join,   mc_couple_slice, mc_couple_gather,
    mc_couple_pad,    mc_couple_grow,      mc_couple_space,
};

static bool is_named(const char *names, const char *word, size_t length)
{
    for (const char *p = strstr(names, word); p; p = strstr(p + 1, word))
        if (p > names && p[-1] == ' ' && p[length] == ' ')
            return true;
    return false;
}

const struct mc_couple_rule *mc_couple_rule_of(const struct mc_node *n)
{
    size_t length = strlen(n->op_type);
    for (size_t i = 0; i < sizeof tables / sizeof *tables && length; i++)
        for (const struct mc_couple_rule *r = tables[i]; r->names; r++)
            if (!strcmp(r->domain, n->domain) && is_named(r->names, n->op_type, length))
                return r;
    return NULL;
}
