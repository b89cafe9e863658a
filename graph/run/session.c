#include "graph/run/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/ops/pack.h"
#include "graph/run/expand.h"
#include "graph/run/plan.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"

static int nomem(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static int kernels(struct mc_session *s, const char *name, struct mc_err *err)
{
    s->kernels64 = mc_kernels_get("ref", 8);
    s->kernels = mc_kernels_get(name, 4);
    if (!s->kernels)
        return mc_fail(err, MC_EUSAGE, "this machine has no kernels named '%s'",
                       name ? name : getenv("MCOMPRESS_KERNELS"));
    return 0;
}

static int pin(struct mc_session *s, const char *name, struct mc_value **ret, struct mc_err *err)
{
    struct mc_value *v = mc_graph_value(s->g, name);
    if (!v)
        return mc_fail(err, MC_EUSAGE, "the model has no value '%s'", name);
    s->pinned[v->index] = true;
    *ret = v;
    return 0;
}

static int wanted(struct mc_session *s, const struct mc_session_opts *o, struct mc_err *err)
{
    size_t n = o->only ? o->n_only : s->g->n_outputs;
    s->outputs = mc_arena_array(&s->mem, n + 1, sizeof *s->outputs);
    s->pinned = mc_arena_array(&s->mem, s->g->n_values + 1, sizeof *s->pinned);
    s->apart = mc_arena_array(&s->mem, s->g->n_values + 1, sizeof *s->apart);
    if (!s->outputs || !s->pinned || !s->apart)
        return nomem(err);
    s->n_outputs = (int)n;
    for (size_t i = 0; i < n; i++) {
        const char *name = o->only ? o->only[i] : s->g->outputs[i]->name;
        int rc = pin(s, name, &s->outputs[i], err);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < o->n_apart; i++) {
        const struct mc_value *v = mc_graph_value(s->g, o->apart[i]);
        if (v) /* otherwise there is nothing to join */
            s->apart[v->index] = true;
    }
    for (size_t i = 0; i < o->n_keep; i++) {
        struct mc_value *unused;
        int rc = pin(s, o->keep[i], &unused, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* Backwards from what is wanted. Nodes are in topological order, so one sweep from the end sees every user
 * of a node before the node. */
static int needed(struct mc_session *s, bool *need, struct mc_err *err)
{
    const struct mc_graph *g = s->g;
    s->ops = mc_arena_array(&s->mem, g->n_node_ids + (size_t)1, sizeof *s->ops);
    s->consts = mc_arena_array(&s->mem, g->n_values + 1, sizeof *s->consts);
    if (!s->ops || !s->consts)
        return nomem(err);
    memcpy(need, s->pinned, g->n_values * sizeof *need);
    for (size_t i = g->n_nodes; i-- > 0;) {
        const struct mc_node *n = g->nodes[i];
        bool runs = false;
        for (size_t j = 0; j < n->n_out; j++)
            runs |= n->out[j] && need[n->out[j]->index];
        if (!runs)
            continue;
        const struct mc_op *op = mc_op_find(n);
        if (!op)
            return mc_fail(err, MC_EUNSUP,
                           "node '%s': operator %s of domain '%s' version %d is not known",
                           mc_node_label(n), n->op_type, n->domain, n->version);
        s->ops[n->id] = op;
        mc_segment_reads(n, need);
    }
    return 0;
}

/* What a body takes from around it is given like an input. */
static void captures(struct mc_session *s, const bool *need)
{
    for (size_t i = 0; i < s->g->n_values; i++) {
        struct mc_value *v = s->g->values[i];
        if (v && v->outer && need[i] && !mc_constant(v))
            s->inputs[s->n_inputs++] = (struct mc_session_input){.value = v, .needed = true};
    }
}

static struct mc_shape declared_shape(const struct mc_type *t)
{
    struct mc_shape s = {.rank = -1};
    if (t->kind != MC_TYPE_TENSOR || !t->ranked || t->rank > MC_RANK_MAX)
        return s;
    s.rank = t->rank;
    for (int i = 0; i < t->rank; i++)
        s.dim[i] = t->dim[i].value >= 0 ? t->dim[i].value : MC_DIM_ANY;
    return s;
}

static int inputs(struct mc_session *s, const bool *need, struct mc_err *err)
{
    const struct mc_graph *g = s->g;
    size_t most = (s->inner ? g->n_values : g->n_inputs) + 1;
    s->inputs = mc_arena_array(&s->mem, most, sizeof *s->inputs);
    s->declared = mc_arena_array(&s->mem, g->n_inputs + 1, sizeof *s->declared);
    s->signature = mc_arena_array(&s->mem, most, sizeof *s->signature);
    s->live = mc_arena_array(&s->mem, g->n_values + 1, sizeof *s->live);
    s->alive = mc_arena_array(&s->mem, g->n_values + 1, sizeof *s->alive);
    if (!s->inputs || !s->declared || !s->signature || !s->live || !s->alive)
        return nomem(err);
    for (size_t i = 0; i < g->n_inputs; i++) {
        struct mc_value *v = g->inputs[i];
        if (mc_constant(v))
            continue;
        struct mc_session_input *in = &s->inputs[s->n_inputs++];
        *in = (struct mc_session_input){.value = v, .needed = need[v->index]};
        for (size_t k = 0; k < s->n_states; k++)
            in->state = s->states[k].in == v ? (int)k + 1 : in->state;
        if (s->inner || in->state)
            continue;
        bool tensor = v->type.kind == MC_TYPE_TENSOR && v->type.dtype != MC_DTYPE_NONE;
        bool list = mc_handed_kind(v->type.kind) && s->flags & MC_SESSION_LISTS;
        if (need[v->index] && !tensor && !list)
            return mc_fail(err, MC_EUNSUP, "input '%s' is no tensor of a known type", v->name);
        if (!v->tensor)
            s->declared[s->n_declared++] = (struct mc_array){
                v->name, tensor ? v->type.dtype : MC_DTYPE_NONE, declared_shape(&v->type), NULL, 0};
    }
    if (s->inner)
        captures(s, need);
    return 0;
}

/* Everything but kernels, packs and blocks, which may be those of an outer session. */
static int prepare(struct mc_session *s, const struct mc_session_opts *o, struct mc_err *err)
{
    bool *need = mc_calloc(s->g->n_values + 1, sizeof *need);
    if (!need)
        return nomem(err);
    int rc = wanted(s, o, err);
    rc = rc ? rc : mc_watch_make(s, o->watch, err);
    rc = rc ? rc : mc_states_make(s, o, err);
    rc = rc ? rc : needed(s, need, err);
    rc = rc ? rc : inputs(s, need, err);
    free(need);
    return rc;
}

int mc_session_new(const struct mc_graph *g, const struct mc_session_opts *opts,
                   struct mc_session **ret, struct mc_err *err)
{
    static const struct mc_session_opts none;
    const struct mc_session_opts *o = opts ? opts : &none;
    struct mc_model *own;
    int rc = mc_expand(g, &own, err);
    if (rc)
        return rc;
    g = own ? own->graph : g;
    struct mc_session *s = mc_calloc(1, sizeof *s);
    if (!s) {
        mc_model_free(own);
        return nomem(err);
    }
    s->own = own;
    s->g = g;
    s->pool = o->pool;
    s->precision = o->precision;
    s->flags = o->flags;
    s->profile = o->profile;
    s->blocks = mc_calloc(1, sizeof *s->blocks);
    rc = s->blocks ? kernels(s, o->kernels, err) : nomem(err);
    rc = rc ? rc : mc_pack_cache_new(&s->packs, err);
    rc = rc ? rc : mc_device_open(s, o, err);
    struct mc_gpu *before = mc_device_enter(s);
    rc = rc ? rc : prepare(s, o, err);
    mc_device_leave(s, before);
    if (rc)
        mc_session_free(s);
    else
        *ret = s;
    return rc;
}

int mc_session_inner(struct mc_session *outer, const struct mc_graph *body, struct mc_session **ret,
                     struct mc_err *err)
{
    static const struct mc_session_opts none;
    struct mc_session *s = mc_calloc(1, sizeof *s);
    if (!s)
        return nomem(err);
    s->g = body;
    s->inner = true;
    s->pool = outer->pool;
    s->precision = outer->precision;
    s->flags = outer->flags;
    s->kernels = outer->kernels;
    s->kernels64 = outer->kernels64;
    s->packs = outer->packs;
    s->blocks = outer->blocks;
    int rc = prepare(s, &none, err);
    if (rc)
        mc_session_free(s);
    else
        *ret = s;
    return rc;
}

void mc_session_free(struct mc_session *s)
{
    if (!s)
        return;
    struct mc_gpu *before = mc_device_enter(s);
    mc_session_note(s);
    mc_device_tell(s, true);
    mc_path_free(s);
    mc_live_clear(s);
    for (size_t i = 0; s->bodies && i < s->g->n_node_ids; i++)
        mc_body_free(s->bodies[i]);
    for (size_t i = 0; s->consts && i < s->g->n_values; i++)
        mc_const_clear(&s->consts[i]);
    mc_device_close(s);
    mc_device_leave(s, before);
    if (!s->inner) {
        mc_pack_cache_free(s->packs);
        mc_blocks_free(s->blocks);
    }
    mc_states_free(s);
    mc_arena_free(&s->mem);
    mc_arena_free(&s->handed);
    free(s->key);
    free(s->block);
    mc_model_free(s->own);
    free(s);
}

/* ---- running ---- */

static int check_input(const struct mc_value *v, const struct mc_array *a, struct mc_err *err)
{
    struct mc_shape want = declared_shape(&v->type);
    if (mc_array_is_list(a)) {
        char text[MC_ARRAY_TEXT];
        return mc_fail(err, MC_EDTYPE, "input '%s' is a tensor in the model, but the data is %s",
                       v->name, mc_array_text(a, text));
    }
    bool fits = want.rank < 0 || want.rank == a->shape.rank;
    for (int i = 0; fits && i < want.rank; i++)
        fits = want.dim[i] < 0 || want.dim[i] == a->shape.dim[i];
    if (!fits || !mc_shape_known(&a->shape)) {
        char w[MC_SHAPE_TEXT], g[MC_SHAPE_TEXT];
        return mc_fail(err, MC_ESHAPE, "input '%s' has shape %s in the model, but the data has %s",
                       v->name, want.rank < 0 ? "any" : mc_shape_text(&want, w),
                       mc_shape_text(&a->shape, g));
    }
    return mc_input_check(v->name, a, err);
}

/* Match the arrays with the inputs; their shapes are the signature. */
static int match(struct mc_session *s, const struct mc_array *arrays, int n, struct mc_err *err)
{
    for (int i = 0; i < s->n_inputs; i++)
        s->inputs[i].given = NULL;
    for (int j = 0; j < n; j++) {
        int i = 0;
        while (i < s->n_inputs && strcmp(s->inputs[i].value->name, arrays[j].name))
            i++;
        if (i == s->n_inputs)
            return mc_fail(err, MC_EDATA, "the model has no input '%s'", arrays[j].name);
        const struct mc_value *v = s->inputs[i].value;
        if (s->inputs[i].state)
            return mc_fail(err, MC_EDATA, "input '%s' is a state of the session and not given",
                           v->name);
        int rc = mc_handed_kind(v->type.kind) && s->flags & MC_SESSION_LISTS
                     ? mc_handed_in(s, v, &arrays[j], err)
                     : check_input(v, &arrays[j], err);
        if (rc)
            return rc;
        s->inputs[i].given = &arrays[j];
    }
    for (int i = 0; i < s->n_inputs; i++) {
        const struct mc_session_input *in = &s->inputs[i];
        if (mc_live_there(&s->live[in->value->index]))
            s->signature[i].rank = -1; /* a list, or what is in an optional */
        else if (in->state)
            s->signature[i] = s->states[in->state - 1].buf.shape;
        else if (in->given)
            s->signature[i] = in->given->shape;
        else if (in->value->tensor)
            s->signature[i] = in->value->tensor->shape;
        else if (in->needed)
            return mc_fail(err, MC_EDATA, "input '%s' is missing", in->value->name);
        else
            s->signature[i].rank = -1;
    }
    return 0;
}

int mc_session_run(struct mc_session *s, const struct mc_array *arrays, int n_arrays,
                   struct mc_err *err)
{
    s->last = NULL;
    mc_live_clear(s);
    mc_blocks_age(s->blocks);
    struct mc_gpu *before = mc_device_enter(s);
    int rc = match(s, arrays, n_arrays, err);
    rc = rc ? rc : mc_path_run(s, err);
    rc = rc ? rc : mc_handed_out(s, err);
    if (s->gpu.gpu)
        mc_device_tell(s, false);
    struct mc_err unused; /* what else went wrong is not another run's fault */
    if (rc && s->gpu.gpu)
        mc_gpu_wait(s->gpu.gpu, &unused);
    mc_device_leave(s, before);
    s->gpu.pending = s->gpu.gpu && !rc;
    if (!rc && !(s->flags & MC_SESSION_ASYNC))
        rc = mc_session_wait(s, err);
    if (rc)
        s->last = NULL;
    return rc;
}

static bool is_state(const struct mc_session *s, const struct mc_value *v)
{
    for (size_t i = 0; i < s->n_states; i++)
        if (s->states[i].out == v)
            return true;
    return false;
}

int mc_session_wait(struct mc_session *s, struct mc_err *err)
{
    if (!s->gpu.pending)
        return 0;
    s->gpu.pending = false;
    struct mc_gpu *before = mc_device_enter(s);
    int rc = mc_gpu_wait(s->gpu.gpu, err);
    for (size_t i = 0; s->last && i < s->g->n_values && !rc; i++) {
        const struct mc_value *v = s->g->values[i];
        if (s->pinned[i] && v && !is_state(s, v)) /* those are large, and seldom looked at */
            rc = mc_replay_fetch(s, s->last, v, err);
    }
    mc_device_leave(s, before);
    if (rc)
        s->last = NULL;
    return rc;
}

int mc_session_plan_bytes(struct mc_session *s, const struct mc_array *arrays, int n_arrays,
                          size_t *ret, size_t *ret_values, struct mc_err *err)
{
    struct mc_plan *p;
    size_t outside = 0;
    s->last = NULL;
    mc_live_clear(s);
    struct mc_gpu *before = mc_device_enter(s);
    int rc = match(s, arrays, n_arrays, err);
    if (!rc)
        rc = mc_path_root(s, &p, err);
    mc_device_leave(s, before);
    if (rc)
        return rc;
    for (size_t i = 0; !p->device && i < p->n_slots; i++)
        outside += p->slots[i].external && !p->slots[i].state ? p->slots[i].bytes : 0;
    *ret = p->device ? p->device->bytes : p->bytes + outside;
    if (ret_values && (rc = mc_plan_values(p, ret_values, err)))
        return rc;
    if (ret_values)
        *ret_values += outside;
    return 0;
}

static size_t state_bytes(const struct mc_session *s)
{
    size_t sum = 0;
    for (size_t i = 0; i < s->n_states; i++)
        sum += s->states[i].bytes;
    return sum;
}

int mc_session_peak(struct mc_session *s, const struct mc_array *arrays, int n_arrays, size_t *ret,
                    struct mc_err *err)
{
    size_t values;
    int rc = mc_session_plan_bytes(s, arrays, n_arrays, &values, NULL, err);
    if (rc)
        return rc;
    if (s->gpu.gpu) { /* its block is no smaller than that of any plan */
        size_t block = values > s->gpu.block_bytes ? values : s->gpu.block_bytes;
        *ret = block + mc_device_bytes(s);
        return 0;
    }
    /* Planning packs weights, so they are counted after it. */
    *ret = values + mc_pack_bytes(s->packs) + state_bytes(s);
    return 0;
}

/* ---- looking ---- */

int mc_session_n_outputs(const struct mc_session *s)
{
    return s->n_outputs;
}

/* A value of the last run as it is handed out. */
static const struct mc_array *hand_out(const struct mc_session *s, const struct mc_value *v)
{
    if (!s->last || s->gpu.pending)
        return NULL;
    if (s->last->device) {
        struct mc_err unused;
        struct mc_gpu *before = mc_device_enter(s);
        int rc = mc_replay_fetch(s, s->last, v, &unused);
        mc_device_leave(s, before);
        if (rc)
            return NULL;
    }
    return &s->last->arrays[v->index];
}

const struct mc_array *mc_session_output(const struct mc_session *s, int i)
{
    return i >= 0 && i < s->n_outputs ? hand_out(s, s->outputs[i]) : NULL;
}

const struct mc_array *mc_session_value(const struct mc_session *s, const char *name)
{
    const struct mc_value *v = mc_graph_value(s->g, name);
    return v && s->pinned[v->index] ? hand_out(s, v) : NULL;
}

int mc_session_n_inputs(const struct mc_session *s)
{
    return s->n_declared;
}

const struct mc_array *mc_session_input(const struct mc_session *s, int i)
{
    return i >= 0 && i < s->n_declared ? &s->declared[i] : NULL;
}

void mc_session_stats(const struct mc_session *s, struct mc_session_stats *ret)
{
    *ret = (struct mc_session_stats){.packed_bytes = mc_pack_bytes(s->packs),
                                     .plans = s->n_plans,
                                     .state_bytes = state_bytes(s)};
    mc_device_stats(s, ret);
    for (const struct mc_plan *p = s->last; p; p = p->parent) {
        ret->arena_bytes = p->bytes > ret->arena_bytes ? p->bytes : ret->arena_bytes;
        ret->nodes += (size_t)p->n_steps;
        ret->fused_nodes += (size_t)p->n_fused;
    }
    if (s->last)
        ret->arena_bytes += s->blocks->peak;
}
