#include "passes/prune/mask_site.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "passes/pattern.h"

/* Operators and the input that is their weight. The last axis counts as -1; `turned` is the attribute that exchanges the
 * last two. */
static const struct place {
    const char *domain, *op;
    int slot, x, axis, x_axis;
    const char *turned, *x_turned;
} places[] = {
    {"", "Conv", 1, 0, 1, 1, NULL, NULL},
    {"", "ConvTranspose", 1, 0, 0, 1, NULL, NULL},
    {"", "Gemm", 1, 0, -2, -1, "transB", "transA"},
    {"", "Gemm", 0, 1, -1, -2, "transA", "transB"},
    {"", "MatMul", 1, 0, -2, -1, NULL, NULL},
    {"", "MatMul", 0, 1, -1, -2, NULL, NULL},
    {"", "LSTM", 1, 0, -1, -1, NULL, NULL},
    {"", "GRU", 1, 0, -1, -1, NULL, NULL},
    {"", "RNN", 1, 0, -1, -1, NULL, NULL},
    {"", "LSTM", 2, -1, -1, -1, NULL, NULL},
    {"", "GRU", 2, -1, -1, -1, NULL, NULL},
    {"", "RNN", 2, -1, -1, -1, NULL, NULL},
    {"com.microsoft", "FusedConv", 1, 0, 1, 1, NULL, NULL},
    {"com.microsoft", "FusedGemm", 1, 0, -2, -1, "transB", "transA"},
    {"com.microsoft", "FusedMatMul", 1, 0, -2, -1, "transB", "transA"},
    {"com.microsoft", "Attention", 1, 0, 0, -1, NULL, NULL},
};

static const char *reason(const struct mc_value *v, const struct mc_tensor *t)
{
    if (v->is_output)
        return "its weight is an output of the model";
    if (t->shape.rank < 2 || mc_tensor_count(t) == 0)
        return "its weight is no matrix";
    for (size_t i = 0; i < v->n_uses; i++)
        if (v->uses[i].slot < 0)
            return "a body of the graph reads its weight too";
    return NULL;
}

static void add(struct mc_mask_sites *s, struct mc_node *n, const struct place *p, bool *seen)
{
    struct mc_value *v = (size_t)p->slot < n->n_in ? n->in[p->slot] : NULL;
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    bool own = t && !v->outer && (v->tensor || mc_node_is(v->producer, "Constant"));
    const struct mc_value *x = p->x >= 0 ? n->in[p->x] : NULL;
    if (!own || seen[v->index] || t->dtype == MC_DTYPE_NONE || mc_dtype_info(t->dtype)->bits < 8 ||
        mc_dtype_info(t->dtype)->kind != MC_KIND_FLOAT || (x && mc_constant(x)))
        return;
    int rank = t->shape.rank, axis = p->axis < 0 ? rank + p->axis : p->axis, x_axis = p->x_axis;
    if (p->turned && mc_node_int(n, p->turned, 0) != 0 && rank >= 2)
        axis = 2 * rank - 3 - axis;
    if (p->x_turned && mc_node_int(n, p->x_turned, 0) != 0)
        x_axis = -3 - x_axis;
    seen[v->index] = true;
    struct mc_mask_site *m = &s->item[s->n++];
    *m = (struct mc_mask_site){n, v, reason(v, t), axis, 0, x, x_axis, -1, 1};
    if (m->why)
        return;
    bool back = mc_node_is(n, "ConvTranspose");
    int64_t groups = mc_node_int(n, "group", 1);
    m->run = t->shape.dim[axis];
    if (p->axis < 0 || groups < 2 || m->run % (back ? groups : 1) || t->shape.dim[0] % groups)
        return;
    m->groups = back ? 1 : groups;
    m->out_axis = back ? -1 : 0;
    m->run /= back ? groups : 1;
}

int mc_mask_sites_find(const struct mc_graph *g, struct mc_mask_sites *ret, struct mc_err *err)
{
    struct mc_mask_sites s = {mc_calloc(g->n_values + 1, sizeof *s.item), 0};
    bool *seen = mc_calloc(g->n_values + 1, sizeof *seen);
    int rc = s.item && seen ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < g->n_nodes && !rc; i++)
        for (size_t k = 0; k < sizeof places / sizeof *places; k++)
            if (!strcmp(g->nodes[i]->op_type, places[k].op) &&
                !strcmp(g->nodes[i]->domain, places[k].domain))
                add(&s, g->nodes[i], &places[k], seen);
    free(seen);
    if (rc)
        mc_mask_sites_free(&s);
    else
        *ret = s;
    return rc;
}

int mc_mask_sites_select(struct mc_mask_sites *s, const char *option, const char *text, bool keeps,
                         struct mc_err *err)
{
    struct mc_pattern pattern;
    size_t hits = 0;
    if (!text)
        return 0;
    int rc = mc_pattern_open(option, text, &pattern, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < s->n; i++) {
        struct mc_mask_site *m = &s->item[i];
        bool hit = mc_pattern_fits(&pattern, mc_node_label(m->node)) ||
                   mc_pattern_fits(&pattern, m->value->name);
        hits += hit;
        if (hit != keeps && !m->why)
            m->why = keeps ? "--only does not name it" : "--skip names it";
    }
    rc = hits ? 0 : mc_pattern_missed(&pattern, NULL, err);
    mc_pattern_close(&pattern);
    return rc;
}

void mc_mask_sites_free(struct mc_mask_sites *s)
{
    free(s->item);
    *s = (struct mc_mask_sites){0};
}
