#include "graph/grad/segment_cut.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/edit.h"
#include "graph/grad/rule.h"
#include "graph/ops/op.h"

struct mc_segments {
    struct mc_graph *g;
    struct mc_infer *inf;
    struct mc_node *loss; /* the last node of the forward part */
    size_t n_values, n_ids;
    struct mc_node **node; /* [n] of the forward part that depend on data, in order */
    int n;
    int *place;              /* [n_ids] 1 + number in `node`; 0: none */
    int *segment;            /* [n] */
    double *bytes;           /* [n_values] of one value */
    struct mc_value **again; /* [n_values] the same value, computed once more */
    bool *dynamic;           /* [n_values] depends on data */
};

static int nomem(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while cutting the step graph");
}

/* ---- what there is ---- */

static bool is_batchnorm(const struct mc_node *n)
{
    return strcmp(n->op_type, "BatchNormalization") == 0;
}

/* May n be there twice? */
static bool may_repeat(const struct mc_node *n)
{
    const struct mc_op *op = mc_op_find(n);
    if (!op || op->flags & (MC_OP_RANDOM | MC_OP_SIZES | MC_OP_BODY | MC_OP_LIST))
        return false;
    for (size_t i = 0; i < n->n_attr; i++)
        if (n->attr[i].graphs || n->attr[i].ref)
            return false;
    return true;
}

/* Reads the shape of its input alone: that is known without computing it. */
static bool reads_shape(const struct mc_node *n)
{
    return mc_node_is(n, "Shape") || mc_node_is(n, "Size");
}

static bool is_state(const struct mc_recompute_opts *o, const struct mc_value *v)
{
    for (size_t i = 0; i < o->session->n_state; i++)
        if (!strcmp(o->session->state[i].in, v->name))
            return true;
    return false;
}

/* Which values depend on the inputs of a run, and are not just their shapes. */
static void mark_dynamic(struct mc_segments *s, const struct mc_recompute_opts *o)
{
    for (size_t i = 0; i < s->g->n_inputs; i++)
        s->dynamic[s->g->inputs[i]->index] =
            !s->g->inputs[i]->tensor && !is_state(o, s->g->inputs[i]);
    for (size_t i = 0; i <= s->loss->pos; i++) {
        const struct mc_node *n = s->g->nodes[i];
        const struct mc_op *op = mc_op_find(n);
        bool any = !op || op->flags & (MC_OP_RANDOM | MC_OP_BODY);
        for (size_t k = 0; k < n->n_in && !reads_shape(n); k++)
            any |= n->in[k] && s->dynamic[n->in[k]->index];
        for (size_t k = 0; k < n->n_out; k++)
            if (n->out[k] && any)
                s->dynamic[n->out[k]->index] = true;
    }
}

/* Nodes that the loss needs. */
static void list_nodes(struct mc_segments *s, bool *need)
{
    need[s->loss->out[0]->index] = true;
    for (size_t i = s->loss->pos + 1; i-- > 0;) {
        const struct mc_node *n = s->g->nodes[i];
        bool any = false;
        for (size_t k = 0; k < n->n_out; k++)
            any |= n->out[k] && need[n->out[k]->index];
        for (size_t k = 0; k < n->n_in && any; k++)
            if (n->in[k])
                need[n->in[k]->index] = true;
    }
    for (size_t i = 0; i <= s->loss->pos; i++) {
        struct mc_node *n = s->g->nodes[i];
        bool any = false;
        for (size_t k = 0; k < n->n_out; k++)
            any |= n->out[k] && need[n->out[k]->index] && s->dynamic[n->out[k]->index];
        if (!any)
            continue;
        s->node[s->n++] = n;
        s->place[n->id] = s->n;
    }
}

static void measure_values(struct mc_segments *s)
{
    for (size_t i = 0; i < s->n_values; i++) {
        const struct mc_vtype *t = s->g->values[i] ? mc_infer_of(s->inf, s->g->values[i]) : NULL;
        size_t elem = 0;
        if (!t || !t->ranked || !mc_dtype_bytes(t->dtype, 1, &elem))
            continue;
        s->bytes[i] = (double)elem;
        for (int d = 0; d < t->shape.rank; d++)
            s->bytes[i] *= t->shape.dim[d] > 0 ? (double)t->shape.dim[d] : 1;
    }
}

static int infer(struct mc_segments *s, const struct mc_recompute_opts *o, struct mc_err *err)
{
    struct mc_infer_input *in = calloc((size_t)o->n_inputs + 1, sizeof *in);
    size_t n = 0;
    if (!in)
        return nomem(err);
    for (int i = 0; i < o->n_inputs; i++) {
        const struct mc_value *v = mc_graph_value(s->g, o->inputs[i].name);
        if (v)
            in[n++] = (struct mc_infer_input){v->name, v->type.dtype, o->inputs[i].shape};
    }
    struct mc_infer_opts opts = {.inputs = in, .n_inputs = n};
    int rc = mc_infer_run(s->g, &opts, &s->inf, err);
    free(in);
    return rc;
}

int mc_segments_find(struct mc_graph *g, const char *loss, const struct mc_recompute_opts *o,
                     struct mc_segments **ret, struct mc_err *err)
{
    const struct mc_value *v = mc_graph_value(g, loss);
    if (!v || !v->producer)
        return mc_fail(err, MC_EUSAGE, "the graph has no loss '%s'", loss);
    struct mc_segments *s = calloc(1, sizeof *s);
    bool *need = calloc(g->n_values + 1, sizeof *need);
    int rc = s && need ? 0 : nomem(err);
    if (!rc) {
        s->g = g;
        s->loss = v->producer;
        s->n_values = g->n_values;
        s->n_ids = g->n_node_ids;
        s->node = calloc(g->n_nodes + 1, sizeof *s->node);
        s->segment = calloc(g->n_nodes + 1, sizeof *s->segment);
        s->place = calloc(s->n_ids + 1, sizeof *s->place);
        s->bytes = calloc(s->n_values + 1, sizeof *s->bytes);
        s->again = calloc(s->n_values + 1, sizeof *s->again);
        s->dynamic = calloc(s->n_values + 1, sizeof *s->dynamic);
        if (!s->node || !s->segment || !s->place || !s->bytes || !s->again || !s->dynamic)
            rc = nomem(err);
    }
    rc = rc ? rc : infer(s, o, err);
    if (!rc) {
        mark_dynamic(s, o);
        list_nodes(s, need);
        measure_values(s);
        *ret = s;
    } else {
        mc_segments_free(s);
    }
    free(need);
    return rc;
}

void mc_segments_free(struct mc_segments *s)
{
    if (!s)
        return;
    mc_infer_free(s->inf);
    free(s->node);
    free(s->segment);
    free(s->place);
    free(s->bytes);
    free(s->again);
    free(s->dynamic);
    free(s);
}

int mc_segments_nodes(const struct mc_segments *s)
{
    return s->n;
}

/* ---- cuts ---- */

static bool is_forward(const struct mc_segments *s, const struct mc_node *n)
{
    return n->pos <= s->loss->pos;
}

/* Does the backward part read v? */
static bool is_saved(const struct mc_segments *s, const struct mc_value *v)
{
    for (size_t i = 0; i < v->n_uses; i++)
        if (!is_forward(s, v->uses[i].node) && !reads_shape(v->uses[i].node))
            return true;
    return false;
}

/* Bytes kept for the backward part up to node i (sum[i]), and that go over from the nodes before i to those from i
 * on (cross[i]). */
static void weigh(const struct mc_segments *s, double *sum, double *cross)
{
    for (int i = 0; i < s->n; i++) {
        double saved = 0;
        for (size_t k = 0; k < s->node[i]->n_out; k++) {
            const struct mc_value *v = s->node[i]->out[k];
            int last = i;
            for (size_t u = 0; v && u < v->n_uses; u++) {
                const struct mc_node *n = v->uses[u].node;
                int at = n->id < s->n_ids ? s->place[n->id] - 1 : -1;
                last = at > last ? at : last;
            }
            saved += v && is_saved(s, v) ? s->bytes[v->index] : 0;
            for (int j = i + 1; v && j <= last; j++)
                cross[j] += s->bytes[v->index];
        }
        sum[i] = (i ? sum[i - 1] : 0) + saved;
    }
}

/* Near the k-th of n equal shares, where least goes over. */
static int cut_at(const struct mc_segments *s, const double *sum, const double *cross, int k, int n,
                  int from)
{
    double total = sum[s->n - 1], share = total / n;
    int best = -1;
    for (int i = from + 1; i < s->n; i++) {
        double off = (sum[i - 1] - k * share) / share;
        if (off < -0.5 || off > 0.5)
            continue;
        if (best < 0 || cross[i] < cross[best] ||
            (cross[i] == cross[best] && sum[i - 1] <= k * share))
            best = i;
    }
    return best;
}

static int cut(struct mc_segments *s, int n, struct mc_err *err)
{
    double *sum = calloc(2 * (size_t)s->n + 2, sizeof *sum), *cross = sum + s->n + 1;
    if (!sum)
        return nomem(err);
    weigh(s, sum, cross);
    int at = 0, segment = 0;
    for (int k = 1; k < n && s->n > 0 && sum[s->n - 1] > 0; k++) {
        int next = cut_at(s, sum, cross, k, n, at);
        if (next < 0)
            continue;
        while (at < next)
            s->segment[at++] = segment;
        segment++;
    }
    while (at < s->n)
        s->segment[at++] = segment;
    free(sum);
    return 0;
}

/* ---- once more ---- */

/* Number of the segment whose node makes v, -1 if none does. */
static int segment_of(const struct mc_segments *s, const struct mc_value *v)
{
    const struct mc_node *n = v->producer;
    return n && n->id < s->n_ids && s->place[n->id] ? s->segment[s->place[n->id] - 1] : -1;
}

/* Is v there for the segment's own nodes alone, so that it need not be kept? Statistics of a batch are few, and
 * running ones move once. */
static bool is_inner(const struct mc_segments *s, const struct mc_value *v)
{
    int segment = segment_of(s, v);
    if (segment < 0 || !s->dynamic[v->index] || v->is_output || !may_repeat(v->producer) ||
        (is_batchnorm(v->producer) && v->slot > 0))
        return false;
    for (size_t i = 0; i < v->n_uses; i++) {
        const struct mc_node *n = v->uses[i].node;
        if (v->uses[i].slot < 0)
            return false;
        if (!is_forward(s, n) || reads_shape(n))
            continue;
        if (n->id >= s->n_ids || !s->place[n->id] || s->segment[s->place[n->id] - 1] != segment)
            return false;
    }
    return true;
}

static int copy_attrs(const struct mc_node *from, struct mc_node *to, struct mc_err *err)
{
    for (size_t i = 0; i < from->n_attr; i++) {
        const struct mc_attr *src = &from->attr[i];
        struct mc_attr *dst = mc_edit_attr_new(to, src->name, src->type);
        if (!dst)
            return nomem(err);
        const char *name = dst->name;
        *dst = *src; /* arrays are never changed, and belong to the model */
        dst->name = name;
        dst->cache = NULL;
        for (size_t k = 0; src->tensors && k < src->n; k++)
            mc_tensor_ref(src->tensors[k]);
    }
    return 0;
}

/* Node n once more at position pos. Outputs that are needed are in s->again with n's own value as mark. */
static int repeat_node(struct mc_segments *s, struct mc_node *n, size_t pos, struct mc_err *err)
{
    struct mc_value **in = calloc(n->n_in + n->n_out + 1, sizeof *in), **out = in + n->n_in;
    struct mc_node *copy;
    int rc = in ? 0 : nomem(err);
    for (size_t k = 0; k < n->n_in && !rc; k++)
        in[k] = n->in[k] && s->again[n->in[k]->index] ? s->again[n->in[k]->index] : n->in[k];
    for (size_t k = 0; k < n->n_out && !rc; k++) {
        struct mc_value *v = n->out[k];
        if (!v || (k > 0 && !s->again[v->index])) /* every node makes its first result */
            continue;
        out[k] = mc_edit_fresh(s->g, v->name);
        if (!out[k])
            rc = nomem(err);
        if (s->again[v->index])
            s->again[v->index] = out[k];
    }
    rc = rc ? rc
            : mc_edit_node(s->g, pos, n->op_type, n->domain, n->version, "", in, n->n_in, out,
                           n->n_out, &copy, err);
    rc = rc ? rc : copy_attrs(n, copy, err);
    free(in);
    return rc;
}

/* Mark what is needed again for segment k: s->again[v] = v. Returns the first node that reads some of it. */
static struct mc_node *mark(struct mc_segments *s, int k)
{
    struct mc_node *first = NULL;
    for (int i = s->n; i-- > 0;) {
        bool any = false;
        struct mc_node *n = s->node[i];
        for (size_t o = 0; o < n->n_out && s->segment[i] == k; o++) {
            struct mc_value *v = n->out[o];
            if (!v || !is_inner(s, v))
                continue;
            for (size_t u = 0; u < v->n_uses; u++) {
                struct mc_node *reader = v->uses[u].node;
                if (is_forward(s, reader) || reads_shape(reader))
                    continue;
                s->again[v->index] = v;
                first = first && first->pos < reader->pos ? first : reader;
            }
            any |= s->again[v->index] != NULL;
        }
        for (size_t j = 0; j < n->n_in && any; j++) {
            struct mc_value *v = n->in[j];
            if (v && segment_of(s, v) == k && is_inner(s, v))
                s->again[v->index] = v;
        }
    }
    return first;
}

/* Gradients read what was computed again. */
static int rewire(struct mc_segments *s, struct mc_value *v, struct mc_err *err)
{
    int rc = 0;
    for (size_t u = v->n_uses; u-- > 0 && !rc;) {
        struct mc_use use = v->uses[u];
        if (!is_forward(s, use.node) && !reads_shape(use.node) && use.slot >= 0)
            rc = mc_edit_set_input(use.node, (size_t)use.slot, s->again[v->index], err);
    }
    return rc;
}

static int note_apart(struct mc_segments *s, const struct mc_value *v, struct mc_recompute *ret,
                      struct mc_err *err)
{
    struct mc_arena *a = &s->g->model->arena;
    if (!ret->apart && !(ret->apart = mc_arena_array(a, 2 * s->n_values + 1, sizeof(char *))))
        return nomem(err);
    ret->apart[ret->n_apart++] = v->name;
    ret->apart[ret->n_apart++] = s->again[v->index]->name;
    return 0;
}

static double work(const struct mc_segments *s, const struct mc_node *n)
{
    double macs = mc_infer_macs(s->inf, n), bytes = 0;
    for (size_t i = 0; i < n->n_out; i++)
        bytes += n->out[i] ? s->bytes[n->out[i]->index] : 0;
    return macs > 0 ? macs : bytes;
}

static int repeat_segment(struct mc_segments *s, int k, struct mc_recompute *ret, double *cost,
                          struct mc_err *err)
{
    struct mc_node *first = mark(s, k);
    int rc = 0;
    for (int i = 0; i < s->n && first && !rc; i++) {
        bool any = false;
        struct mc_node *n = s->node[i];
        for (size_t o = 0; o < n->n_out && s->segment[i] == k; o++)
            any |= n->out[o] && s->again[n->out[o]->index];
        if (!any)
            continue;
        rc = repeat_node(s, n, first->pos, err);
        ret->n_nodes++;
        *cost += work(s, n);
    }
    for (int i = 0; i < s->n && first && !rc; i++)
        for (size_t o = 0; o < s->node[i]->n_out && s->segment[i] == k && !rc; o++) {
            struct mc_value *v = s->node[i]->out[o];
            if (!v || !s->again[v->index])
                continue;
            rc = is_saved(s, v) ? note_apart(s, v, ret, err) : 0;
            rc = rc ? rc : rewire(s, v, err);
        }
    return rc;
}

int mc_segments_repeat(struct mc_segments *s, int n, int repeat, struct mc_recompute *ret,
                       double *ret_cost, struct mc_err *err)
{
    int rc = cut(s, n, err);
    *ret_cost = 0;
    for (int k = repeat; k-- > 0 && !rc;)
        rc = repeat_segment(s, k, ret, ret_cost, err);
    return rc;
}
