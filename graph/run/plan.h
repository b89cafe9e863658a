/* Inside of a session: constants, plans, steps. Private to graph/run.
 *
 * Building a plan for one signature of input shapes:
 *   infer every shape; what is known then is a constant (plan.c, constants.c)
 *   -> one step per node that must run (plan.c) -> join nodes into epilogues (fuse.c)
 *   -> views, in-place results, lifetimes, offsets (layout.c) -> setup of each step (plan.c)
 * Running it: bind pointers to the session's block, copy inputs in, run the steps (exec.c). */
#ifndef MC_GRAPH_RUN_PLAN_H
#define MC_GRAPH_RUN_PLAN_H

#include "graph/ops/op.h"
#include "graph/run/session.h"
#include "kernels/epilogue.h"

enum { MC_PLAN_CACHE = 4 };

struct mc_const {      /* a value with the same content in every run */
    struct mc_buf buf; /* in the session's types; data NULL: no constant, or not looked at yet */
    void *owned;       /* to free; NULL where buf.data is borrowed from a tensor */
    struct mc_tensor *tensor; /* reference held while buf.data is borrowed from it, or NULL */
};

enum { MC_SLOT_NONE = -1 }; /* constant: data is bound for good */

struct mc_slot { /* a piece of the block, shared by a value, its views and in-place results */
    size_t bytes, offset;
    int first, last; /* steps between which it holds something; first -1: from before the first */
};

struct mc_pvalue {      /* a value in a plan */
    struct mc_buf buf;  /* dtype NONE: not in this plan */
    enum mc_dtype type; /* as inferred: half types are computed in another */
    int slot;
    int def;  /* step that makes it; -1: there from the start */
    int last; /* last step that reads it; INT_MAX: stays to the end; -1: nobody */
    int uses; /* reads by steps */
};

struct mc_step {
    struct mc_call call;
    struct mc_value **in, **out;     /* as call.in/out; NULL: omitted */
    const struct mc_value *residual; /* value behind epilogue.residual, or NULL */
    struct mc_epilogue epilogue;     /* call.epilogue points here where something was fused */
    enum mc_dtype round;             /* half type that the result is rounded through, or NONE */
    int scratch_slot;                /* or MC_SLOT_NONE */
    bool ready;                      /* setup was called: teardown is due */
    bool skip;                       /* a view: nothing to run */
};

struct mc_plan {
    struct mc_arena mem;
    struct mc_shape *signature; /* [n_inputs]; rank -1: not given */
    struct mc_const *consts;    /* [n_values] content known for this signature only */
    struct mc_tensor **known;   /* [n_values] the same before its first use, or NULL */
    struct mc_pvalue *values;   /* [n_pvalues], as all by value index */
    size_t n_pvalues;
    struct mc_step *steps;
    int n_steps, n_fused;
    struct mc_slot *slots;
    size_t n_slots, cap_slots; /* slots is malloc'd: it grows */
    size_t bytes;              /* of the block */
    uint64_t generation;       /* of the session's block that pointers point into; 0: none */
    struct mc_array *arrays;   /* [n_values] outputs and kept values as handed out */
    uint64_t used;             /* session's clock when it ran last */
};

struct mc_session_input {
    struct mc_value *value;
    bool needed;
    const struct mc_array *given; /* of this run */
};

struct mc_session {
    const struct mc_graph *g;
    struct mc_model
        *own; /* the copy that g is of, where the model could not run as it is; or NULL */
    struct mc_pool *pool;
    enum mc_precision precision;
    unsigned flags; /* enum mc_session_flags */
    const struct mc_kernels *kernels, *kernels64;
    struct mc_pack_cache *packs;
    struct mc_arena mem;
    const struct mc_op **ops; /* [n_node_ids]; NULL: need not run */
    bool *pinned;             /* [n_values]: output or kept */
    struct mc_const *consts;  /* [n_values] for every signature */
    int n_inputs, n_outputs;
    struct mc_session_input *inputs; /* graph inputs without constant content */
    struct mc_array *declared;       /* [n_declared] those of them that must be given */
    int n_declared;
    struct mc_value **outputs;
    struct mc_shape *signature; /* [n_inputs] of this run */
    struct mc_plan *plans[MC_PLAN_CACHE], *last;
    uint64_t clock;
    void *block; /* memory of the values of one run, shared by all plans */
    size_t block_bytes;
    uint64_t generation; /* of the block: 1 is the first */
};

/* ---- session.c ---- */

/* Bytes of the block for arrays of these shapes, without running. */
int mc_session_plan_bytes(struct mc_session *s, const struct mc_array *arrays, int n_arrays,
                          size_t *ret, struct mc_err *err);

/* ---- constants.c ---- */

/* Type in which a session computes values declared as d. */
enum mc_dtype mc_run_dtype(enum mc_precision p, enum mc_dtype d);
/* Table for a node's float type: that for doubles if one of its values is double. */
const struct mc_kernels *mc_run_kernels(const struct mc_session *s, const struct mc_call *c);
/* Content of a tensor in the types of precision p. Errors: MC_EDTYPE, MC_ENOMEM. */
int mc_const_set(struct mc_const *c, enum mc_precision p, const struct mc_tensor *t,
                 struct mc_err *err);
void mc_const_clear(struct mc_const *c); /* also of a zeroed one */
/* *ret = the constant content of v in this plan or in all of them; NULL if it is computed in each run.
 * Converts on first use. */
int mc_plan_const(struct mc_session *s, struct mc_plan *p, const struct mc_value *v,
                  const struct mc_const **ret, struct mc_err *err);
/* Decide which outputs of a needed node are constants; *ret_run: the node must run. */
int mc_plan_fold(struct mc_session *s, struct mc_plan *p, const struct mc_infer *inf,
                 const struct mc_node *n, bool *ret_run, struct mc_err *err);

/* ---- eval.c ---- */

/* Run one node by itself. The dtype and shape of c->out are filled in and data is memory for it; node, op,
 * k, pool, in, out are given. Outputs of an MC_OP_SIZES node come with data NULL: they get their shape and
 * memory, to be freed by the caller, also after an error. Errors: of setup and run. */
int mc_eval_call(struct mc_call *c, struct mc_err *err);
/* mc_call.size by mc_alloc_aligned. */
int mc_eval_size(struct mc_call *c, int i, const struct mc_shape *shape, struct mc_err *err);

/* ---- plan.c ---- */

int mc_plan_new(struct mc_session *s, struct mc_plan **ret, struct mc_err *err);
void mc_plan_free(struct mc_session *s, struct mc_plan *p); /* accepts NULL and half-built ones */
/* Record that step i makes its outputs and reads its inputs. */
void mc_step_number(struct mc_plan *p, int i);

/* ---- fuse.c ---- */

void mc_plan_fuse(struct mc_plan *p);

/* ---- layout.c ---- */

int mc_plan_alias(const struct mc_session *s, struct mc_plan *p, struct mc_err *err);
int mc_plan_layout(const struct mc_session *s, struct mc_plan *p, struct mc_err *err);

/* ---- exec.c ---- */

int mc_plan_exec(struct mc_session *s, struct mc_plan *p, struct mc_err *err);

#endif
