#include "step_model.h"

#include <stdlib.h>

#include "graph/edit.h"
#include "graph/grad/activation_join.h"
#include "graph/grad/backward.h"
#include "graph/grad/batchnorm.h"
#include "graph/run/fold.h"
#include "graph/run/session.h"

static int loss_node(struct mc_graph *g, struct mc_value **ret, struct mc_err *err)
{
    struct mc_value *labels = mc_edit_value(g, STEP_LABELS), *loss = mc_edit_value(g, STEP_LOSS);
    const struct mc_dim dim = {.value = -1, .param = "labels"};
    struct mc_node *n;
    if (!labels || !loss || !mc_edit_type(labels, MC_DTYPE_I64, 1, &dim))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_edit_input(g, labels, err);
    struct mc_value *in[] = {g->outputs[0], labels};
    rc = rc ? rc
            : mc_edit_node(g, g->n_nodes, "SoftmaxCrossEntropyLoss", "", 13, "", in, 2, &loss, 1,
                           &n, err);
    *ret = loss;
    return rc ? rc : mc_edit_output(g, loss, err);
}

static int differentiate(struct step_model *s, struct mc_value *loss,
                         const struct mc_update_opts *o, struct mc_weights *w, struct mc_err *err)
{
    size_t n = 0;
    struct mc_value **wrt = calloc(2 * w->n + 1, sizeof *wrt), **grad = wrt + w->n;
    struct mc_value **of = calloc(w->n + 1, sizeof *of);
    const char **why = calloc(w->n + 1, sizeof *why);
    int rc = wrt && why && of ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < w->n && !rc; i++)
        if (!w->list[i].why)
            wrt[n++] = w->list[i].value;
    s->first_backward = s->g->n_nodes;
    rc = rc ? rc : mc_backward(s->g, loss, wrt, n, NULL, grad, why, err);
    for (size_t i = 0, k = 0; i < w->n && !rc; i++)
        of[i] = w->list[i].why ? NULL : grad[k++];
    size_t before = s->g->n_nodes;
    const struct mc_node *first = rc ? NULL : s->g->nodes[s->first_backward];
    rc = rc ? rc : mc_update_build(s->g, w, of, o, &s->u, err);
    if (!rc && s->g->n_nodes > before)
        s->first_backward = first->pos;
    free(wrt);
    free(of);
    free(why);
    return rc;
}

int step_model_new(struct mc_model *m, const struct mc_update_opts *o, struct step_model *ret,
                   struct mc_err *err)
{
    struct step_model s = {.m = m, .g = m->graph};
    struct mc_weights w = {0};
    struct mc_value *loss = NULL;
    size_t n;
    int rc = mc_prepare(m, NULL, err);
    rc = rc ? rc : mc_activation_join(s.g, NULL, err);
    rc = rc ? rc : loss_node(s.g, &loss, err);
    rc = rc ? rc : mc_weights_find(s.g, &(struct mc_weights_opts){0}, &w, err);
    rc = rc ? rc : mc_batchnorm_train(s.g, &n, err);
    rc = rc ? rc : differentiate(&s, loss, o, &w, err);
    mc_weights_free(&w);
    if (rc)
        step_model_free(&s);
    else
        *ret = s;
    return rc;
}

void step_model_free(struct step_model *s)
{
    mc_update_free(&s->u);
    mc_model_free(s->m);
}

int step_model_session(const struct step_model *s, const struct mc_session_opts *o,
                       struct mc_session **ret, struct mc_err *err)
{
    struct mc_session_opts opts = *o;
    struct mc_session_state pair[8];
    for (size_t i = 0; i < s->u.n_states; i++)
        pair[i] = (struct mc_session_state){s->u.states[i].in, s->u.states[i].out};
    opts.state = pair;
    opts.n_state = s->u.n_states;
    int rc = mc_session_new(s->g, &opts, ret, err);
    for (size_t i = 0; i < s->u.n_states && !rc; i++) {
        const struct mc_state *st = &s->u.states[i];
        size_t elem = st->dtype == MC_DTYPE_F64 ? 8 : 4;
        if (st->initial)
            rc = mc_session_store(*ret, st->in, st->initial, (size_t)st->count * elem, err);
    }
    return rc;
}
