#include "graph/grad/batchnorm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/grad/rule.h"

enum { MEAN = 3, VAR = 4 }; /* inputs; the running ones are outputs 1 and 2 */

static bool is_batchnorm(const struct mc_node *n)
{
    return !strcmp(n->op_type, "BatchNormalization") &&
           (!n->domain[0] || !strcmp(n->domain, MC_GRAD_DOMAIN));
}

/* Has its running statistics as outputs. */
static bool trains(const struct mc_node *n)
{
    return is_batchnorm(n) && n->n_out > 2 && n->out[1] && n->out[2] &&
           (n->domain[0] || mc_node_int(n, "training_mode", 0));
}

/* The constant itself, where v is an Identity of one. */
static struct mc_value *root(struct mc_value *v)
{
    while (v->producer && mc_node_is(v->producer, "Identity"))
        v = v->producer->in[0];
    return v;
}

static bool may_train(const struct mc_node *n)
{
    return is_batchnorm(n) && !n->domain[0] && n->version > 0 && n->n_in == 5 &&
           mc_constant(n->in[MEAN]) && mc_constant(n->in[VAR]) &&
           (n->version >= 9 || mc_node_int(n, "spatial", 1)) && n->n_out >= 1 && n->out[0];
}

/* Output i made, with a name after the constant that it moves. */
static int add_output(struct mc_node *n, size_t i, const struct mc_value *of, struct mc_err *err)
{
    char hint[256];
    if (i < n->n_out && n->out[i])
        return 0;
    snprintf(hint, sizeof hint, "%.200s.running", of->name);
    struct mc_value *v = mc_edit_fresh(n->graph, hint);
    return v ? mc_edit_set_output(n, i, v, err) : mc_fail(err, MC_ENOMEM, "out of memory");
}

/* last[v->index]: what the running statistic v has become so far; NULL: nothing yet. */
static int train(struct mc_node *n, struct mc_value **last, struct mc_err *err)
{
    static const char *const old[] = {"spatial", "is_test", "consumed_inputs"};
    int rc = mc_edit_attr_int(n, "training_mode", 1, err);
    for (int i = 0; i < 3 && !rc; i++)
        mc_edit_attr_remove(n, old[i]);
    for (int i = 0; i < 2 && !rc; i++) {
        struct mc_value *v = root(n->in[MEAN + i]), *now = last[v->index];
        rc = mc_edit_set_input(n, (size_t)(MEAN + i), now ? now : v, err);
        rc = rc ? rc : add_output(n, (size_t)(1 + i), v, err);
        last[v->index] = rc ? NULL : n->out[1 + i];
    }
    n->version = n->version < 15 ? 15 : n->version;
    return rc;
}

int mc_batchnorm_train(struct mc_graph *g, size_t *ret_n, struct mc_err *err)
{
    struct mc_value **last = mc_calloc(g->n_values + 1, sizeof *last);
    int rc = last ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    *ret_n = 0;
    for (size_t i = 0; i < g->n_nodes && !rc; i++)
        if (may_train(g->nodes[i])) {
            rc = train(g->nodes[i], last, err);
            ++*ret_n;
        }
    free(last);
    return rc;
}

int mc_batchnorm_stats(const struct mc_graph *g, struct mc_batchnorm_stat **ret, size_t *ret_n,
                       struct mc_err *err)
{
    struct mc_batchnorm_stat *list = mc_calloc(2 * g->n_nodes + 1, sizeof *list);
    size_t *at = mc_calloc(g->n_values + 1, sizeof *at); /* 1 + the pair whose last value this is */
    size_t n = 0;
    if (!list || !at) {
        free(list);
        free(at);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < 2 && trains(g->nodes[i]); k++) {
            struct mc_value *in = g->nodes[i]->in[MEAN + k], *out = g->nodes[i]->out[1 + k];
            size_t pair = at[in->index];
            if (!pair && !mc_constant(in))
                continue;
            if (!pair) {
                list[n].in = in;
                pair = ++n;
            }
            list[pair - 1].out = out;
            at[out->index] = pair;
        }
    free(at);
    *ret = list;
    *ret_n = n;
    return 0;
}
