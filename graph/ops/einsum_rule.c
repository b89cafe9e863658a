/* Gradient of Einsum: that of an operand is the Einsum of the gradient and the other operands. */
#include "graph/grad/rule.h"
#include "graph/ops/equation.h"

enum { LETTERS = MC_LABEL_ELLIPSIS, TEXT = (MC_EQUATION_TERMS + 2) * (MC_RANK_MAX + 2) };

struct
    terms { /* the equation with a letter for each label, the dimensions of an ellipsis as well */
    struct mc_equation e;
    char letter[MC_LABELS];
};

static char letter_of(int label)
{
    return (char)(label < 26 ? 'A' + label : 'a' + label - 26);
}

static bool has(const struct mc_term *t, int label)
{
    for (int d = 0; d < t->rank; d++)
        if (t->label[d] == label)
            return true;
    return false;
}

/* False: more labels than letters. */
static bool name_labels(struct terms *t)
{
    bool used[MC_LABELS] = {0};
    int next = 0;
    for (int i = 0; i <= t->e.n; i++) {
        const struct mc_term *term = i < t->e.n ? &t->e.in[i] : &t->e.out;
        for (int d = 0; d < term->rank; d++)
            used[term->label[d]] = true;
    }
    for (int l = 0; l < MC_LABELS; l++) {
        if (l < LETTERS) {
            t->letter[l] = letter_of(l);
            continue;
        }
        while (next < LETTERS && used[next])
            next++;
        if (used[l] && next == LETTERS)
            return false;
        t->letter[l] = letter_of(next < LETTERS ? next++ : 0);
    }
    return true;
}

static char *write_term(const struct terms *t, const struct mc_term *term, char *to)
{
    for (int d = 0; d < term->rank; d++)
        *to++ = t->letter[term->label[d]];
    return to;
}

/* Operands beside i, or the result, have the label. */
static bool elsewhere(const struct mc_equation *e, int i, int label)
{
    bool found = has(&e->out, label);
    for (int j = 0; j < e->n && !found; j++)
        found = j != i && has(&e->in[j], label);
    return found;
}

/* Whether a dimension of operand i may be repeated, here or by another operand: then its gradient is expanded to
 * its shape, and what is too much summed. */
static bool may_broadcast(const struct mc_grad *g, const struct mc_node *n,
                          const struct mc_equation *e, int i)
{
    const struct mc_shape *x = &mc_grad_type(g, n->in[i])->shape;
    for (int d = 0; d < x->rank; d++) {
        int label = e->in[i].label[d];
        if (x->dim[d] == 1 || !elsewhere(e, i, label))
            return true;
        for (int j = 0; j < e->n; j++) {
            const struct mc_shape *other = &mc_grad_type(g, n->in[j])->shape;
            for (int k = 0; k < other->rank; k++)
                if (e->in[j].label[k] == label &&
                    (other->dim[k] != x->dim[d] || x->dim[d] == MC_DIM_ANY))
                    return true;
        }
    }
    return false;
}

static void operand_back(struct mc_grad *g, struct mc_node *n, const struct terms *t, int i)
{
    const struct mc_equation *e = &t->e;
    struct mc_value *in[MC_EQUATION_TERMS] = {mc_grad_of(g, n, 0)};
    struct mc_term seen = {0};
    char text[TEXT], *to = write_term(t, &e->out, text);
    int64_t axes[MC_RANK_MAX];
    size_t n_in = 1, n_axes = 0;
    for (int d = 0; d < e->in[i].rank; d++) {
        int label = e->in[i].label[d];
        if (has(&seen, label)) {
            mc_grad_refuse(g, n, "a label twice in one operand (a diagonal) has no gradient yet");
            return;
        }
        if (elsewhere(e, i, label))
            seen.label[seen.rank++] = (uint8_t)label;
        else
            axes[n_axes++] = d;
    }
    for (int j = 0; j < e->n; j++) {
        if (j == i)
            continue;
        *to++ = ',';
        to = write_term(t, &e->in[j], to);
        in[n_in++] = n->in[j];
    }
    *to++ = '-';
    *to++ = '>';
    *write_term(t, &seen, to) = 0;
    struct mc_value *d = mc_grad_emit(g, "", "Einsum", in, n_in);
    mc_emit_string(g, "equation", text);
    if (n_axes) {
        struct mc_value *at = mc_grad_ints(g, axes, n_axes);
        d = mc_emit(g, "Unsqueeze", d, at);
    }
    if (may_broadcast(g, n, e, i)) {
        d = mc_emit(g, "Expand", d, mc_grad_shape(g, n->in[i]));
        d = mc_grad_sum_to(g, d, d, n->in[i]);
    }
    mc_grad_give(g, n, i, d);
}

static void einsum_rule(struct mc_grad *g, struct mc_node *n)
{
    struct terms t;
    int rank[MC_EQUATION_TERMS];
    struct mc_err err;
    bool known = n->n_in <= MC_EQUATION_TERMS;
    for (size_t i = 0; i < n->n_in && known; i++) {
        rank[i] = mc_grad_rank(g, n->in[i]);
        known = rank[i] >= 0;
    }
    if (!known || mc_equation_parse(n, (int)n->n_in, rank, &t.e, &err) || !name_labels(&t)) {
        mc_grad_refuse(g, n, "its equation cannot be turned round: the ranks must be known");
        return;
    }
    for (int i = 0; i < t.e.n; i++)
        if (mc_grad_wants(g, n, i))
            operand_back(g, n, &t, i);
}

const struct mc_rule mc_rules_einsum[] = {
    {"", "Einsum", 12, einsum_rule},
    {0},
};
