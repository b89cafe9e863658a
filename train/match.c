#include "train/match.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"
#include "graph/inline.h"
#include "graph/run/fold.h"

/* Batch axes without a name get one, so that what is of one batch is known to have one length. */
static int name_batch(struct mc_graph *g, struct mc_err *err)
{
    for (size_t i = 0; i < g->n_inputs; i++) {
        struct mc_value *v = g->inputs[i];
        struct mc_type t = v->type;
        if (t.kind != MC_TYPE_TENSOR || !t.ranked || t.rank < 1 || t.dim[0].value >= 0 ||
            t.dim[0].param)
            continue;
        struct mc_dim dim[MC_RANK_MAX];
        if (t.rank > MC_RANK_MAX)
            continue;
        memcpy(dim, t.dim, (size_t)t.rank * sizeof *dim);
        dim[0].param = "train.batch";
        if (!mc_edit_type(v, t.dtype, t.rank, dim))
            return mc_fail(err, MC_ENOMEM, "out of memory while training");
    }
    return 0;
}

int mc_side_new(const struct mc_model *m, const struct mc_infer_opts *infer, struct mc_side *ret,
                struct mc_err *err)
{
    size_t folded;
    bool calls = false;
    *ret = (struct mc_side){0};
    int rc = mc_model_clone(m, &ret->m, err);
    if (!rc)
        rc = mc_branches_fold(ret->m->graph, &folded, err);
    if (!rc)
        rc = mc_inline_needed(ret->m, &calls, err);
    if (!rc && calls)
        rc = mc_inline(ret->m, err);
    if (!rc) {
        mc_edit_fix_inputs(ret->m->graph);
        rc = name_batch(ret->m->graph, err);
    }
    if (!rc)
        rc = mc_infer_run(ret->m->graph, infer, &ret->inf, err);
    if (rc)
        mc_side_free(ret);
    return rc;
}

void mc_side_free(struct mc_side *s)
{
    mc_infer_free(s->inf);
    mc_model_free(s->m);
    *s = (struct mc_side){0};
}

int mc_side_counting(const struct mc_side *s, const char *name, int rank, struct mc_value **ret,
                     struct mc_err *err)
{
    const struct mc_graph *g = s->m->graph;
    if (!g->n_outputs)
        return mc_fail(err, MC_EUNSUP, "the model has no outputs");
    *ret = NULL;
    for (size_t i = 0; i < g->n_outputs && !*ret; i++) {
        const struct mc_vtype *t = mc_infer_of(s->inf, g->outputs[i]);
        if (name ? !strcmp(g->outputs[i]->name, name) : t->ranked && t->shape.rank == rank)
            *ret = g->outputs[i];
    }
    if (*ret)
        return 0;
    if (name)
        return mc_fail(err, MC_EUSAGE, "--output: the model has no output '%s'; its %s '%s'", name,
                       g->n_outputs > 1 ? "first is" : "only one is", g->outputs[0]->name);
    *ret = g->outputs[0];
    return 0;
}

static bool keeps_scores(const struct mc_node *n)
{
    static const char *const ops[] = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (mc_node_is(n, ops[i]))
            return true;
    return false;
}

struct mc_scores mc_side_scores(struct mc_value *output)
{
    struct mc_value *v = output;
    while (v->producer && keeps_scores(v->producer) && v->producer->in[0])
        v = v->producer->in[0];
    struct mc_node *n = v->producer;
    enum mc_scores_kind kind = MC_SCORES_PLAIN;
    if (n && (mc_node_is(n, "Softmax") || mc_node_is(n, "LogSoftmax")))
        kind = MC_SCORES_SOFTMAX;
    if (n && mc_node_is(n, "Sigmoid"))
        kind = MC_SCORES_SIGMOID;
    return (struct mc_scores){output, kind ? n->in[0] : output, kind, kind ? n : NULL};
}

/* ---- partners ---- */

static bool fits(const struct mc_side *s, const struct mc_value *a, const struct mc_side *teacher,
                 const struct mc_value *b)
{
    const struct mc_vtype *ta = mc_infer_of(s->inf, a), *tb = mc_infer_of(teacher->inf, b);
    if (!ta->ranked || !tb->ranked)
        return true;
    bool same = ta->shape.rank == tb->shape.rank;
    /* axis 0 is the batch, which each may have frozen in its own way */
    for (int i = 1; i < ta->shape.rank && same; i++)
        same = ta->shape.dim[i] < 0 || tb->shape.dim[i] < 0 || ta->shape.dim[i] == tb->shape.dim[i];
    return same;
}

static int unlike(const struct mc_side *s, const struct mc_value *a, const struct mc_side *teacher,
                  const struct mc_value *b, struct mc_err *err)
{
    char ta[MC_SHAPE_TEXT], tb[MC_SHAPE_TEXT];
    return mc_fail(err, MC_ESHAPE,
                   "'%s' is %s, but the teacher's '%s' is %s: the teacher must answer the same "
                   "question",
                   a->name, mc_shape_text(&mc_infer_of(s->inf, a)->shape, ta), b->name,
                   mc_shape_text(&mc_infer_of(teacher->inf, b)->shape, tb));
}

int mc_side_partner(const struct mc_side *s, const struct mc_side *teacher,
                    const struct mc_value *output, struct mc_value **ret, struct mc_err *err)
{
    const struct mc_graph *g = s->m->graph, *tg = teacher->m->graph;
    struct mc_value *found = mc_graph_value(tg, output->name);
    size_t place = 0;
    while (place < g->n_outputs && g->outputs[place] != output)
        place++;
    if (found && !found->is_output)
        found = NULL;
    if (!found && place < tg->n_outputs)
        found = tg->outputs[place];
    if (!found)
        return mc_fail(err, MC_ESHAPE, "the teacher has no output for '%s'", output->name);
    if (!fits(s, output, teacher, found))
        return unlike(s, output, teacher, found, err);
    *ret = found;
    return 0;
}

/* ---- inner values ---- */

static int named_pair(const struct mc_side *s, const struct mc_side *teacher, const char *text,
                      struct mc_pair *ret, struct mc_err *err)
{
    const char *eq = strchr(text, '=');
    size_t n = eq ? (size_t)(eq - text) : strlen(text);
    char mine[512];
    snprintf(mine, sizeof mine, "%.*s", (int)n, text);
    /* a name may hold '=' itself */
    if (mc_graph_value(s->m->graph, text))
        eq = NULL;
    const char *theirs = eq ? eq + 1 : text;
    ret->mine = mc_graph_value(s->m->graph, eq ? mine : text);
    ret->teachers = mc_graph_value(teacher->m->graph, theirs);
    if (!ret->mine)
        return mc_fail(err, MC_EUSAGE, "--blocks: the model has no value '%s'", eq ? mine : text);
    if (!ret->teachers)
        return mc_fail(err, MC_EUSAGE, "--blocks: the teacher has no value '%s'", theirs);
    if (!fits(s, ret->mine, teacher, ret->teachers))
        return unlike(s, ret->mine, teacher, ret->teachers, err);
    return 0;
}

static bool is_one_of(const struct mc_node *n, const char *const *ops)
{
    for (; *ops; ops++)
        if (mc_node_is(n, *ops))
            return true;
    return false;
}

static bool is_activation(const struct mc_node *n)
{
    static const char *const ops[] = {"Relu",      "Clip", "LeakyRelu", "PRelu", "Elu",  "Selu",
                                      "HardSwish", "Gelu", "Swish",     "Mish",  "Tanh", NULL};
    return is_one_of(n, ops);
}

/* A sum of two branches, or a value where blocks of layers end otherwise. */
static bool ends_block(const struct mc_node *n)
{
    static const char *const pools[] = {"MaxPool",
                                        "AveragePool",
                                        "GlobalAveragePool",
                                        "GlobalMaxPool",
                                        "LayerNormalization",
                                        "LSTM",
                                        "GRU",
                                        "RNN",
                                        NULL};
    if (mc_node_is(n, "Add"))
        return n->n_in == 2 && n->in[0] && n->in[1] && n->in[0]->producer && n->in[1]->producer &&
               !mc_node_is(n->in[0]->producer, "Constant") &&
               !mc_node_is(n->in[1]->producer, "Constant");
    return is_activation(n) || is_one_of(n, pools);
}

static bool same_type(const struct mc_side *s, const struct mc_value *a,
                      const struct mc_side *teacher, const struct mc_value *b)
{
    const struct mc_vtype *ta = mc_infer_of(s->inf, a), *tb = mc_infer_of(teacher->inf, b);
    return ta->ranked && tb->ranked && ta->dtype == tb->dtype &&
           mc_dtype_info(ta->dtype)->kind == MC_KIND_FLOAT && fits(s, a, teacher, b);
}

static size_t shared_pairs(const struct mc_side *s, const struct mc_side *teacher,
                           struct mc_pair *ret)
{
    const struct mc_graph *g = s->m->graph;
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *node = g->nodes[i];
        if (!ends_block(node) || !node->out[0])
            continue;
        struct mc_value *v = node->out[0], *t = mc_graph_value(teacher->m->graph, v->name);
        /* the activation behind it says the same */
        if (v->n_uses == 1 && v->uses[0].node && is_activation(v->uses[0].node))
            continue;
        if (t && t->producer && !strcmp(t->producer->op_type, node->op_type) &&
            same_type(s, v, teacher, t))
            ret[n++] = (struct mc_pair){v, t};
    }
    size_t keep = n < MC_PAIRS ? n : MC_PAIRS;
    for (size_t i = 0; i < keep; i++)
        ret[i] = ret[(i + 1) * n / keep - 1];
    return keep;
}

int mc_side_blocks(const struct mc_side *s, const struct mc_side *teacher, const json_t *names,
                   struct mc_pair **ret, size_t *ret_n, struct mc_err *err)
{
    size_t most = names ? json_array_size(names) : s->m->graph->n_nodes;
    struct mc_pair *pairs = calloc(most + 1, sizeof *pairs);
    if (!pairs)
        return mc_fail(err, MC_ENOMEM, "out of memory while training");
    int rc = 0;
    for (size_t i = 0; names && i < most && !rc; i++)
        rc = named_pair(s, teacher, json_string_value(json_array_get(names, i)), &pairs[i], err);
    if (rc) {
        free(pairs);
        return rc;
    }
    *ret = pairs;
    *ret_n = names ? most : shared_pairs(s, teacher, pairs);
    return 0;
}
