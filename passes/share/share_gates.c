/* Gates of LSTM and GRU: W = GateWeight(W0, A) in place of W, and so R. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own.h"
#include "passes/layer/layer_named.h"
#include "passes/layer/layer_row.h"
#include "passes/layer/layer_slot.h"
#include "passes/share/share_gate.h"
#include "passes/share/share_report.h"
#include "passes/share/share_run.h"

enum { W_SLOT = 1, R_SLOT = 2 };

struct fit { /* of one weight */
    int64_t dirs, gates, units;
    float *w0, *a; /* [d,n,m], [d,g,n] */
    double error, total;
    uint64_t bytes;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for gates");
}

/* ---- which weights ---- */

/* Whether a weight is one of cells alone, all of one kind; otherwise *ret_why, or NULL there where no cell reads it. */
static bool is_gates(const struct mc_share_weight *w, struct fit *ret, const char **ret_why)
{
    const struct mc_value *base = mc_share_base(w->value);
    bool cell = mc_layer_cell(w->node, &ret->gates, &ret->dirs);
    *ret_why = NULL;
    if (!cell)
        return false;
    *ret_why = w->reason;
    if (w->reason)
        return false;
    *ret_why = "it has one gate only";
    if (ret->gates < 2)
        return false;
    *ret_why = "something else reads the weight too";
    for (size_t i = 0; i < base->n_uses; i++) {
        const struct mc_use *u = &base->uses[i];
        if (strcmp(u->node->op_type, w->node->op_type) || *u->node->domain ||
            (u->slot != W_SLOT && u->slot != R_SLOT))
            return false;
    }
    const struct mc_shape *s = &w->tensor->shape;
    *ret_why = "the weight's shape does not fit the operator";
    if (s->rank != 3 || s->dim[0] != ret->dirs || s->dim[1] % ret->gates)
        return false;
    ret->units = s->dim[1] / ret->gates;
    *ret_why = "weights of its type cannot be shared between gates";
    return w->tensor->dtype == MC_DTYPE_F32;
}

/* ---- fitting ---- */

static int make(struct mc_share_run *r, const struct mc_share_weight *w, struct fit *f,
                struct mc_err *err)
{
    struct mc_share_view v;
    int rc = mc_share_view(r, w, &v, err);
    if (rc)
        return rc;
    size_t units = (size_t)(f->dirs * f->units);
    f->w0 = mc_calloc(units * (size_t)w->n + 1, sizeof *f->w0);
    f->a = mc_calloc(units * (size_t)f->gates + 1, sizeof *f->a);
    f->bytes = 4 * units * ((uint64_t)w->n + (uint64_t)f->gates);
    rc = f->w0 && f->a
             ? mc_share_gate_fit(&v.x, f->dirs, f->gates, f->w0, f->a, &f->error, &f->total, err)
             : no_memory(err);
    mc_share_view_free(&v);
    return rc;
}

/* W as the cell gets it. */
static void spread(const struct mc_share_weight *w, const struct fit *f, float *q)
{
    for (int64_t row = 0; row < w->m; row++) {
        int64_t dir = row / (f->gates * f->units), unit = row % f->units;
        const float *w0 = f->w0 + (dir * f->units + unit) * w->n;
        for (int64_t j = 0; j < w->n; j++)
            q[row * w->n + j] = f->a[row] * w0[j];
    }
}

static int shift(struct mc_share_run *r, size_t at, const struct fit *f, struct mc_err *err)
{
    const struct mc_share_weight *weight = &r->weight[at];
    float *w, *q = mc_calloc((size_t)weight->m, ((size_t)weight->n + 1) * sizeof *q);
    int rc = q ? mc_share_read(r, weight, &w, err) : no_memory(err);
    if (!rc) {
        spread(weight, f, q);
        rc = mc_share_shift(r, r->model, &r->norm.layers, at, w, q, err);
        free(w);
    }
    free(q);
    return rc;
}

/* ---- the file ---- */

static int constant(struct mc_graph *g, const char *hint, const char *suffix, int rank,
                    const int64_t *dims, const float *x, struct mc_value **ret, struct mc_err *err)
{
    char name[1024];
    struct mc_shape shape = mc_shape_of(rank, dims);
    struct mc_tensor *t;
    snprintf(name, sizeof name, "%.900s%s", hint, suffix);
    int rc = mc_constant_make(x, &shape, MC_DTYPE_F32, g->model->spill, &t, err);
    if (rc)
        return rc;
    *ret = mc_edit_constant(g, name, t);
    mc_tensor_unref(t);
    return *ret ? 0 : no_memory(err);
}

static int place(const struct mc_share_weight *w, const struct fit *f, struct mc_err *err)
{
    struct mc_value *base = mc_share_base(w->value), *in[2];
    struct mc_graph *g = base->graph;
    struct mc_value *x = mc_edit_fresh(g, base->name);
    struct mc_own_form form = {.shape = w->tensor->shape};
    struct mc_node *node;
    size_t pos = base->producer ? base->producer->pos + 1 : 0;
    int rc = x ? 0 : no_memory(err);
    if (!rc)
        rc = constant(g, base->name, "_gates", 3, (int64_t[]){f->dirs, f->units, w->n}, f->w0,
                      &in[0], err);
    if (!rc)
        rc = constant(g, base->name, "_scale", 4, (int64_t[]){f->dirs, f->gates, f->units, 1}, f->a,
                      &in[1], err);
    if (!rc)
        rc =
            mc_own_call(g, pos, "GateWeight", "", in, 2, &x, 1, mc_own_set_form, &form, &node, err);
    return rc ? rc : mc_edit_replace_uses(base, x, err);
}

static int report(struct mc_share_job *job, const struct mc_share_weight *w, const struct fit *f,
                  const char *why, struct mc_err *err)
{
    bool ok = true;
    json_t *o = mc_layer_row(w->node, "shared", why, &ok);
    mc_json_put(o, "weight", mc_json_text(w->value->name), &ok);
    mc_json_put(o, "rows", json_integer(w->m), &ok);
    mc_json_put(o, "columns", json_integer(w->n), &ok);
    mc_json_put(o, "form", why ? json_null() : json_string("gates"), &ok);
    char choice[40];
    snprintf(choice, sizeof choice, "one of %lld", (long long)f->gates);
    mc_json_put(o, "choice", why ? json_null() : json_string(choice), &ok);
    mc_json_put(o, "bytes_before", mc_json_size(w->tensor->bytes), &ok);
    mc_json_put(o, "bytes_after", mc_json_size(why ? w->tensor->bytes : f->bytes), &ok);
    mc_json_put(o, "error", mc_json_real(why || f->total <= 0 ? NAN : sqrt(f->error / f->total)),
                &ok);
    mc_json_add(job->rows, o, &ok);
    return ok ? 0 : no_memory(err);
}

/* ---- all ---- */

static int share(struct mc_share_job *job, struct mc_share_run *r, size_t i, struct fit *f,
                 struct mc_err *err)
{
    int rc = make(r, &r->weight[i], f, err);
    if (!rc)
        rc = report(job, &r->weight[i], f, NULL, err);
    if (!rc)
        rc = shift(r, i, f, err);
    if (!rc)
        rc = place(&r->weight[i], f, err);
    free(f->w0);
    free(f->a);
    f->w0 = f->a = NULL;
    return rc;
}

int mc_share_gates(struct mc_share_job *job, struct mc_err *err)
{
    struct mc_share_run r;
    const char *why, *last = "the model has no LSTM and no GRU";
    size_t shared = 0;
    struct fit f = {0};
    int rc = mc_share_open(job, false, &r, err);
    for (size_t i = 0; !rc && i < r.n_weights; i++) {
        shared += is_gates(&r.weight[i], &f, &why);
        last = why ? why : last;
    }
    for (size_t i = 0; !rc && i < r.norm.layers.n_others; i++)
        if (mc_layer_cell(r.norm.layers.others[i].sites[0].node, &f.gates, &f.dirs))
            last = mc_layer_call(job->model) ? "its weights are in a smaller form already"
                                             : r.norm.layers.others[i].reason;
    if (!rc && !shared)
        rc = mc_fail(err, MC_EUNSUP, "--gates finds no cell to share the gates of: %s", last);
    if (!rc && !job->ctx->dry_run)
        rc = mc_share_measure(&r, err);
    for (size_t i = 0; !rc && i < r.n_weights; i++) {
        bool fits = is_gates(&r.weight[i], &f, &why);
        mc_progress_tell(job->ctx->progress, "gates", (double)i, (double)r.n_weights);
        if (fits)
            rc = share(job, &r, i, &f, err);
        else if (why)
            rc = report(job, &r.weight[i], &f, why, err);
    }
    mc_share_close(&r);
    if (!rc)
        mc_edit_sweep(job->model->graph);
    return rc;
}
