/* Einsum: axes of one label go together. */
#include "graph/ops/equation.h"
#include "passes/couple/couple_table.h"

static bool has(const struct mc_term *t, int label, int *ret_axis)
{
    for (int d = 0; d < t->rank; d++)
        if (t->label[d] == label) {
            *ret_axis = d;
            return true;
        }
    return false;
}

/* One axis of every operand that has the label; false where an operand has it twice. */
static bool gather(const struct mc_couple *w, const struct mc_equation *e, int label,
                   struct mc_couple_at *at, int *ret_n)
{
    *ret_n = 0;
    for (int i = 0; i < e->n; i++) {
        int axis, times = 0;
        for (int d = 0; d < e->in[i].rank; d++)
            times += e->in[i].label[d] == label;
        if (times > 1)
            return false;
        if (has(&e->in[i], label, &axis))
            at[(*ret_n)++] = (struct mc_couple_at){w->n->in[i], axis};
    }
    return true;
}

static void einsum(struct mc_couple *w)
{
    const struct mc_node *n = w->n;
    int rank[MC_EQUATION_TERMS];
    struct mc_equation e;
    bool known = n->n_in <= MC_EQUATION_TERMS;
    for (size_t i = 0; i < n->n_in && known; i++) {
        const struct mc_shape *s = mc_couple_shape(w, n->in[i]);
        known = s != NULL;
        rank[i] = s ? s->rank : 0;
    }
    struct mc_err ignored;
    if (!known || mc_equation_parse(n, (int)n->n_in, rank, &e, &ignored)) {
        mc_couple_hold_node(w, "an equation that is not understood");
        return;
    }
    for (int label = 0; label < MC_LABELS; label++) {
        struct mc_couple_at at[MC_EQUATION_TERMS];
        int count, axis, constants = 0;
        if (!gather(w, &e, label, at, &count)) {
            for (int i = 0; i < e.n; i++)
                for (int d = 0; d < e.in[i].rank; d++)
                    if (e.in[i].label[d] == label)
                        mc_couple_hold(w, mc_couple_axis(w, n->in[i], d),
                                       "an Einsum takes its diagonal");
            continue;
        }
        if (!count)
            continue;
        bool stays = has(&e.out, label, &axis);
        const struct mc_units *u =
            mc_couple_together(w, at, count, "what it is multiplied with stays");
        if (stays)
            mc_couple_put(w, n->out[0], axis, u);
        for (int i = 0; i < count; i++)
            constants += mc_couple_shape(w, at[i].v)->dim[at[i].axis] != 1;
        for (int i = 0; i < count; i++)
            mc_couple_role(w, at[i].v, at[i].axis,
                           !stays          ? MC_ROLE_READS
                           : constants > 1 ? MC_ROLE_ALONG
                                           : MC_ROLE_MAKES);
    }
}

const struct mc_couple_rule mc_couple_einsum[] = {
    {"", " Einsum ", einsum, NULL},
    {0},
};
