#include "graph/run/fold.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/edit.h"
#include "graph/infer.h"
#include "graph/run/plan.h"
#include "kernels/kernels.h"

/* A table without a graph: inference of one node keeps what it makes in it. */
static int empty_table(struct mc_model **ret_m, struct mc_infer **ret_inf, struct mc_err *err)
{
    int rc = mc_model_new(ret_m, err);
    if (rc)
        return rc;
    if (!(*ret_m)->graph && !((*ret_m)->graph = mc_edit_graph(*ret_m, NULL, NULL, "")))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    return mc_infer_run((*ret_m)->graph, &(struct mc_infer_opts){0}, ret_inf, err);
}

struct job { /* one node with everything it needs to run */
    struct mc_call call;
    struct mc_vtype *type; /* inputs, then outputs */
    const struct mc_vtype **in;
    struct mc_vtype **out;
    struct mc_const *consts; /* inputs in computing types */
    void **result;           /* outputs that are not computed in the tensors themselves */
};

static int job_infer(struct job *j, struct mc_infer *inf, const struct mc_tensor *const *in,
                     struct mc_err *err)
{
    const struct mc_node *n = j->call.node;
    for (size_t i = 0; i < n->n_in; i++)
        if (in[i]) {
            j->type[i] = (struct mc_vtype){in[i]->dtype, true, in[i]->shape, in[i], NULL};
            j->in[i] = &j->type[i];
        }
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i])
            j->out[i] = &j->type[n->n_in + i];
    struct mc_infer_ctx c = {n, (int)n->n_in, (int)n->n_out, j->in, j->out, inf};
    int rc = j->call.op->infer(&c, err);
    bool sizes = j->call.op->flags & MC_OP_SIZES;
    for (size_t i = 0; i < n->n_out && !rc; i++)
        if (j->out[i] && (!j->out[i]->dtype ||
                          (!sizes && (!j->out[i]->ranked || !mc_shape_known(&j->out[i]->shape)))))
            rc = mc_op_fail(err, MC_EUNSUP, n, "the shape depends on data");
    return rc;
}

/* Output tensors, and buffers of the computing type over them or beside them. */
static int job_outputs(struct job *j, struct mc_tensor **made, struct mc_err *err)
{
    const struct mc_node *n = j->call.node;
    for (size_t i = 0; i < n->n_out; i++) {
        const struct mc_vtype *t = j->out[i];
        size_t bytes;
        void *data;
        if (!t)
            continue;
        struct mc_buf *b = &j->call.out[i];
        *b = (struct mc_buf){mc_run_dtype(MC_PRECISION_MODEL, t->dtype), false, t->shape, NULL};
        if (j->call.op->flags & MC_OP_SIZES)
            continue;
        int rc = mc_tensor_new(t->dtype, &t->shape, n->graph->model->spill, &made[i], &data, err);
        if (rc)
            return rc;
        b->data = data;
        if (b->dtype == t->dtype)
            continue;
        j->result[i] = mc_dtype_bytes(b->dtype, mc_shape_count(&b->shape), &bytes)
                           ? mc_alloc_aligned(bytes)
                           : NULL;
        b->data = j->result[i];
        if (!b->data)
            return mc_op_fail(err, MC_ENOMEM, n, "out of memory");
    }
    return 0;
}

/* Tensors of the sizes that run() asked for; results that are computed in the declared type are moved there. */
static int job_sized(struct job *j, struct mc_tensor **made, struct mc_err *err)
{
    const struct mc_node *n = j->call.node;
    for (size_t i = 0; i < n->n_out; i++) {
        const struct mc_buf *b = &j->call.out[i];
        void *data;
        if (!j->out[i])
            continue;
        int rc = mc_tensor_new(j->out[i]->dtype, &b->shape, n->graph->model->spill, &made[i], &data,
                               err);
        if (rc)
            return rc;
        if (b->dtype == j->out[i]->dtype && made[i]->bytes)
            memcpy(data, b->data, made[i]->bytes);
    }
    return 0;
}

static int job_run(struct job *j, const struct mc_tensor *const *in, struct mc_tensor **made,
                   struct mc_err *err)
{
    const struct mc_node *n = j->call.node;
    bool wide = false;
    int rc = job_outputs(j, made, err);
    for (size_t i = 0; i < n->n_in && !rc; i++)
        if (in[i]) {
            rc = mc_const_set(&j->consts[i], MC_PRECISION_MODEL, in[i], err);
            j->call.in[i] = j->consts[i].buf;
            wide |= in[i]->dtype == MC_DTYPE_F64;
        }
    for (size_t i = 0; i < n->n_out; i++)
        wide |= j->call.out[i].dtype == MC_DTYPE_F64;
    j->call.k = mc_kernels_get("ref", wide ? 8 : 4);
    if (!rc)
        rc = mc_eval_call(&j->call, err);
    if (j->call.op->flags & MC_OP_SIZES) {
        for (size_t i = 0; i < n->n_out; i++)
            j->result[i] = j->call.out[i].data;
        rc = rc ? rc : job_sized(j, made, err);
    }
    for (size_t i = 0; i < n->n_out && !rc; i++)
        if (j->result[i] && j->call.out[i].dtype != made[i]->dtype)
            rc = mc_dtype_from_f32(made[i]->dtype, j->result[i], (void *)(uintptr_t)made[i]->data,
                                   (size_t)mc_tensor_count(made[i]), err);
    return rc;
}

int mc_fold_eval(void *ctx, const struct mc_node *n, const struct mc_tensor *const *in,
                 struct mc_tensor **ret, struct mc_err *err)
{
    (void)ctx;
    const struct mc_op *op = mc_op_find(n);
    if (!op || (op->flags & (MC_OP_RANDOM | MC_OP_BODY | MC_OP_LIST)))
        return mc_fail(err, MC_EUNSUP, "node '%s' cannot be computed ahead", mc_node_label(n));
    struct mc_arena mem = {0};
    struct mc_model *m = NULL;
    struct mc_infer *inf = NULL;
    size_t k = n->n_in + n->n_out + 1;
    struct job j = {.call = {.node = n, .op = op, .n_in = (int)n->n_in, .n_out = (int)n->n_out}};
    j.call.in = mc_arena_array(&mem, k, sizeof *j.call.in);
    j.type = mc_arena_array(&mem, k, sizeof *j.type);
    j.in = mc_arena_array(&mem, k, sizeof *j.in);
    j.out = mc_arena_array(&mem, k, sizeof *j.out);
    j.consts = mc_arena_array(&mem, k, sizeof *j.consts);
    j.result = mc_arena_array(&mem, k, sizeof *j.result);
    struct mc_tensor **made = mc_arena_array(&mem, k, sizeof(void *));
    int rc;
    if (!j.call.in || !j.type || !j.in || !j.out || !j.consts || !j.result || !made) {
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
        goto out;
    }
    j.call.out = j.call.in + n->n_in;
    if ((rc = empty_table(&m, &inf, err)) || (rc = job_infer(&j, inf, in, err)) ||
        (rc = job_run(&j, in, made, err)))
        goto out;
    for (size_t i = 0; i < n->n_out; i++) {
        ret[i] = made[i];
        made[i] = NULL;
    }
out:
    for (size_t i = 0; made && j.consts && j.result && i < k; i++) {
        mc_tensor_unref(made[i]);
        mc_const_clear(&j.consts[i]);
        free(j.result[i]);
    }
    mc_infer_free(inf);
    mc_model_free(m);
    mc_arena_free(&mem);
    return rc;
}
