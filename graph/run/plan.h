/* Inside of a session: constants, plans, steps. Private to graph/run.
 *
 * A run is a path of segments, each with a plan of its own. A plan belongs to what was known before it: the
 * root to the shapes of the inputs, a child to what its parent left behind (path.c). Building a plan:
 *   infer every shape; what is known then is a constant (segment.c, constants.c)
 *   -> one step per node that can run now: its inputs are there, and the shapes of its outputs are known, or
 *      it is a boundary: a node that finds out the sizes of its results, or runs bodies (segment.c)
 *   -> join nodes into epilogues (fuse.c), quantised regions into steps on integers (fuse_integer.c)
 *   -> views, in-place results, lifetimes (alias.c) -> which steps a GPU does (place.c)
 *   -> setup of each step (plan.c) -> offsets (layout.c) -> copies between host and GPU (transfer.c)
 * Running it: bind pointers to the session's block, copy inputs in, run the steps, hand on what later
 * segments need (exec.c). With static shapes there is one segment, and nothing is allocated in a run.
 *
 * On a GPU there is a second block, in its memory, with the same offsets: a value is valid in one of the two, or in
 * both. The steps and the copies that they need are a list of actions, in an order fixed with the plan; runs of them
 * that are the same every time are recorded and replayed (replay.c). */
#ifndef MC_GRAPH_RUN_PLAN_H
#define MC_GRAPH_RUN_PLAN_H

#include "graph/ops/op.h"
#include "graph/ops/op_gpu.h"
#include "graph/run/live.h"
#include "graph/run/session.h"
#include "kernels/epilogue.h"

enum {
    MC_PLAN_CACHE = 4,  /* signatures of inputs */
    MC_PLAN_TOTAL = 32, /* plans of all segments, besides those of the path that runs */
};

struct mc_const {       /* a value with the same content in every run */
    struct mc_buf buf;  /* in the session's types; data NULL: no constant, or not looked at yet */
    enum mc_dtype type; /* as the model has it: half types are computed in another */
    void *owned;        /* to free; NULL where buf.data is borrowed from a tensor */
    struct mc_tensor *tensor; /* reference held while buf.data is borrowed from it, or NULL */
    bool raw;                 /* a step of some plan reads it as it is */
    bool cool; /* `owned` has no content now: it comes from the tensor before it is read */
    bool lazy; /* the weight of products only: has its content while they pack it */
};

enum { MC_SLOT_NONE = -1 }; /* constant: data is bound for good */

struct
    mc_region { /* of a slot in which a block is put together: holds nothing before step `first` */
    size_t at, bytes;
    int first;
};

struct mc_slot { /* a piece of memory, shared by a value, its views and in-place results */
    size_t bytes, offset;
    int first, last; /* steps between which it holds something; first -1: from before the first */
    /* Not in the session's block, since something in it comes from, or is left to, other segments: */
    bool external;
    int state; /* 1 + index of the session's state whose memory it is, for good; 0: none */
    const struct mc_region *regions; /* all of the slot, in its order; NULL: one from `first` on */
    size_t n_regions;
    const struct mc_value
        *source;            /* it is the memory of this live value; NULL: gets one in each run */
    struct mc_block *block; /* during a run; NULL for memory that is borrowed */
    void *data;
    size_t device; /* of an external slot: its offset in the session's block on the GPU */
};

enum mc_side { MC_SIDE_HOST = 1, MC_SIDE_DEVICE = 2, MC_SIDE_BOTH = 3 };

struct mc_pvalue {      /* a value in a plan */
    struct mc_buf buf;  /* dtype NONE: not in this plan */
    enum mc_dtype type; /* as inferred: half types are computed in another */
    int slot;
    size_t at; /* bytes into the slot */
    int state; /* 1 + index of the state that this value, or a view of it, is the output of; 0: none */
    int def;    /* step that makes it; -1: there from the start */
    int last;   /* last step that reads it; INT_MAX: stays to the end; -1: nobody */
    int uses;   /* reads by steps */
    bool live;  /* an earlier segment made it */
    bool apart; /* not to be joined into what reads it */
    /* With a GPU. An input is loaded to the sides where it is read; others are valid on these after the run. */
    uint8_t sides;
};

struct mc_step {
    struct mc_call call;         /* inputs of a node with bodies: also what those capture */
    struct mc_value **in, **out; /* as call.in/out; NULL: omitted */
    enum mc_dtype *in_type,
        *out_type;                   /* of a boundary: as inferred, NONE where that is not known */
    const struct mc_value *residual; /* value behind epilogue.residual, or NULL */
    const struct mc_value *bias;     /* the same behind epilogue.bias, where that is no constant */
    struct mc_epilogue epilogue;     /* call.epilogue points here where something was fused */
    const struct mc_node **joined;   /* [n_joined] nodes that the epilogue does */
    int n_joined;
    enum mc_dtype round;         /* half type that the result is rounded through, or NONE */
    int scratch_slot;            /* or MC_SLOT_NONE */
    const struct mc_op_gpu *gpu; /* runs on the GPU, by this row; NULL: on the CPU */
    const struct mc_kernels *cpu_kernels; /* with a GPU: call.k of a step of the CPU */
    const char *why;                      /* it runs on the CPU though the session has a GPU */
    bool ready;                           /* setup was called: teardown is due */
    bool skip;                            /* a view: nothing to run */
    bool lists;                           /* reads lists, and has no bodies */
    bool boundary; /* outputs are no values of this plan, but live after the step */
};

enum mc_action_kind {
    MC_ACTION_STEP,  /* run step `index` */
    MC_ACTION_UP,    /* copy value `index` to the GPU */
    MC_ACTION_DOWN,  /* copy value `index` to the host */
    MC_ACTION_KEEP,  /* put state `index` where it belongs */
    MC_ACTION_WATCH, /* hand out what step `index` made */
};
struct mc_action {
    enum mc_action_kind kind;
    int index;
};

struct mc_recorded { /* actions that are the same work in every run */
    int first, n;
    bool never; /* the GPU cannot record them */
    struct mc_gpu_recording *recording;
};

struct mc_upload;
struct mc_uploads { /* constants on the GPU, by their host memory */
    struct mc_upload *first;
    struct mc_upload_chunk *chunks; /* of small ones */
    size_t bytes;
};

struct mc_device_plan {
    size_t bytes; /* of the block on the GPU */
    struct mc_action *actions;
    int n_actions;
    struct mc_recorded *recorded; /* in order */
    int n_recorded;
    uint64_t generation; /* of the session's blocks when they were recorded */
    int runs;            /* since then */
    bool *fetched;       /* [n_values] what is handed out is on the host, since the last run */
    struct mc_uploads uploads;
};

struct mc_plan {
    struct mc_arena mem;
    struct mc_plan *parent, *children, *next; /* next: the parent's next child */
    void *key;                                /* what was known before it; heap */
    size_t key_bytes;
    bool final;               /* nothing is left to run after it */
    struct mc_const *consts;  /* [n_values] content known for this path only */
    struct mc_tensor **known; /* [n_values] the same before its first use, or NULL */
    struct mc_pvalue *values; /* [n_pvalues], as all by value index */
    size_t n_pvalues;
    struct mc_step *steps;
    int n_steps, n_fused;
    struct mc_slot *slots;
    size_t n_slots, cap_slots; /* slots is malloc'd: it grows */
    size_t bytes;              /* of the block */
    bool external;             /* there are such slots: pointers are bound in each run */
    uint64_t generation;       /* of the session's block that pointers point into; 0: none */
    struct mc_array *arrays; /* [n_values] outputs and kept values as handed out; of a final plan */
    uint64_t used;           /* session's clock when it ran last */
    const struct mc_node **took; /* nodes that need not run after this segment */
    size_t n_took;
    struct mc_value **carry; /* values made here that live on */
    struct mc_value **drop;  /* live values that nobody reads after this segment */
    struct mc_value **learn; /* live values whose content the next plan depends on */
    size_t n_carry, n_drop, n_learn;
    struct mc_device_plan *device; /* NULL: all on the CPU */
};

struct mc_bound { /* a state: input and output of a run in one memory */
    struct mc_value *in, *out;
    struct mc_buf buf; /* as the session computes it; with a GPU only where copies go */
    void *device;
    size_t bytes;
};

struct mc_session_input {
    struct mc_value *value;
    bool needed;
    int state;                    /* 1 + index of the state that it is; 0: none */
    const struct mc_array *given; /* of this run */
};

struct mc_body;

struct mc_device_session {
    struct mc_gpu *gpu; /* NULL: none, and nothing else is filled in */
    const struct mc_kernels *kernels;
    struct mc_pack_cache *packs;
    struct mc_uploads uploads; /* constants of all plans */
    void *block, *states;
    size_t block_bytes, state_bytes;
    const char *leave; /* operator types that stay on the CPU, or NULL */
    bool pending;      /* the last run was not waited for */
    bool failed;       /* waiting for it failed */
    size_t told;       /* bytes planned, as the report of the process knows */
};

struct mc_session {
    const struct mc_graph *g;
    struct mc_model
        *own; /* the copy that g is of, where the model could not run as it is; or NULL */
    bool
        inner; /* of a body: inputs and outputs are live values; packs and blocks are the outer session's */
    struct mc_pool *pool;
    enum mc_precision precision;
    unsigned flags;             /* enum mc_session_flags */
    struct mc_profile *profile; /* or NULL */
    const struct mc_kernels *kernels, *kernels64;
    struct mc_pack_cache *packs;
    struct mc_blocks *blocks;
    struct mc_arena mem;
    const struct mc_op **ops; /* [n_node_ids]; NULL: need not run */
    bool *pinned;             /* [n_values]: output or kept */
    bool *apart;              /* [n_values]: not to be joined into what reads it */
    struct mc_const *consts;  /* [n_values] for every signature */
    int n_inputs, n_outputs;
    struct mc_session_input *inputs; /* graph inputs and outer values without constant content */
    struct mc_array *declared;       /* [n_declared] those of them that must be given */
    int n_declared;
    struct mc_value **outputs;
    struct mc_bound *states;
    size_t n_states;
    struct mc_shape *signature; /* [n_inputs] of this run; rank -1: not given */
    struct mc_plan *roots, *last;
    size_t n_plans;
    uint64_t clock;
    void *key; /* of the plan that is looked for; grows */
    size_t key_bytes, key_cap;
    void *block; /* memory of the values of one segment, shared by all plans */
    size_t block_bytes;
    uint64_t generation; /* of the block: 1 is the first */
    struct mc_device_session gpu;
    struct mc_live *live; /* [n_values] what this run has made so far for later segments */
    struct mc_value **alive;
    size_t n_alive;              /* values that were set in `live` in this run */
    const struct mc_step *sizes; /* boundary step that runs */
    struct mc_body **bodies;     /* [n_node_ids] graphs of a node made ready to run */
    struct mc_arena handed;      /* lists as handed out after the last run */
    struct mc_session_watch watch;
    size_t *watched; /* [n_values]: 1 + number in `watch`, 0: none; NULL: nothing is watched */
};

/* ---- session.c ---- */

/* Bytes of a run for arrays of these shapes, without running; of its first segment. *ret_values, may be NULL: those
 * of its values alone, without the scratch of its steps, which grows with the number of threads. */
int mc_session_plan_bytes(struct mc_session *s, const struct mc_array *arrays, int n_arrays,
                          size_t *ret, size_t *ret_values, struct mc_err *err);
/* A session for a body of a node that `outer` runs. */
int mc_session_inner(struct mc_session *outer, const struct mc_graph *body, struct mc_session **ret,
                     struct mc_err *err);

/* ---- states.c ---- */

/* The states of a new session, whose outputs are pinned; memory of zeros. Errors: MC_EUSAGE naming what is no
 * such pair; MC_ENOMEM. */
int mc_states_make(struct mc_session *s, const struct mc_session_opts *o, struct mc_err *err);
void mc_states_free(struct mc_session *s);
/* Outputs of a final plan have the types and shapes of their states. Errors: MC_ESHAPE. */
int mc_states_check(const struct mc_session *s, const struct mc_plan *p, struct mc_err *err);

/* ---- watch.c ---- */

/* After the other wanted values. Errors: MC_EUSAGE naming a value that is not there; MC_ENOMEM. */
int mc_watch_make(struct mc_session *s, const struct mc_session_watch *w, struct mc_err *err);
/* Hand v with this content out if it is watched; the outputs of a step that has run, or was a view. */
int mc_watch_tell(const struct mc_session *s, const struct mc_value *v, const struct mc_buf *b,
                  struct mc_err *err);
int mc_watch_step(const struct mc_session *s, const struct mc_plan *p, const struct mc_step *st,
                  struct mc_err *err);

/* ---- path.c ---- */

/* The plan of the first segment for s->signature. */
int mc_path_root(struct mc_session *s, struct mc_plan **ret, struct mc_err *err);
/* Run all segments; s->last is the final plan then. Inputs are in s->inputs[].given, or live. */
int mc_path_run(struct mc_session *s, struct mc_err *err);
void mc_path_free(struct mc_session *s);

/* ---- constants.c ---- */

/* Type in which a session computes values declared as d. */
enum mc_dtype mc_run_dtype(enum mc_precision p, enum mc_dtype d);
/* Table for a node's float type: that for doubles if one of its values is double. */
const struct mc_kernels *mc_run_kernels(const struct mc_session *s, const struct mc_call *c);
/* Content of a tensor in the types of precision p. Errors: MC_EDTYPE, MC_ENOMEM. */
int mc_const_set(struct mc_const *c, enum mc_precision p, const struct mc_tensor *t,
                 struct mc_err *err);
void mc_const_clear(struct mc_const *c); /* also of a zeroed one */
/* Content that was given up, or was not there yet, comes to where it belongs. */
int mc_const_warm(struct mc_const *c, const struct mc_tensor *t, struct mc_err *err);
/* *ret = the constant content of v on the path to this plan or in all of them; NULL if it is computed in each
 * run. Converts on first use. */
int mc_plan_const(struct mc_session *s, struct mc_plan *p, const struct mc_value *v,
                  const struct mc_const **ret, struct mc_err *err);
/* Has v the same content in every run of the session? */
bool mc_session_const(const struct mc_session *s, const struct mc_value *v);
/* The content of a constant, which was given up or not there yet, comes to where it belongs. */
int mc_const_fill(struct mc_session *s, const struct mc_value *v, struct mc_err *err);
/* Decide which outputs of a needed node are constants; *ret_run: the node must run. */
int mc_plan_fold(struct mc_session *s, struct mc_plan *p, const struct mc_infer *inf,
                 const struct mc_node *n, bool *ret_run, struct mc_err *err);

/* ---- cool.c ---- */

/* Is v used as the weight of products alone, and larger than a few pages? */
bool mc_const_is_weight(const struct mc_session *s, const struct mc_value *v);
/* The same for what a node of constants gives. */
bool mc_const_is_late(const struct mc_session *s, const struct mc_value *v,
                      const struct mc_infer *inf);
/* Before its setup: the weights of a step have their content. Errors: of the types. */
int mc_plan_warm_step(struct mc_session *s, const struct mc_step *st, struct mc_err *err);
/* Give up the memory of constants that the step has packed and nobody reads; steps up to it are set up. */
void mc_plan_cool_step(struct mc_session *s, const struct mc_plan *p, const struct mc_step *st);
/* The same for all constants, once all steps are. */
void mc_plan_cool(struct mc_session *s, const struct mc_plan *p);

/* ---- eval.c ---- */

/* Run one node by itself. The dtype and shape of c->out are filled in and data is memory for it; node, op,
 * k, pool, in, out are given. Outputs of an MC_OP_SIZES node come with data NULL: they get their shape and
 * memory, to be freed by the caller, also after an error. Errors: of setup and run. */
int mc_eval_call(struct mc_call *c, struct mc_err *err);
/* mc_call.size by mc_alloc_aligned. */
int mc_eval_size(struct mc_call *c, int i, const struct mc_shape *shape, struct mc_err *err);

/* ---- plan.c ---- */

/* The plan of the segment after `parent` (NULL: the first), which has run. */
int mc_plan_new(struct mc_session *s, struct mc_plan *parent, struct mc_plan **ret,
                struct mc_err *err);
/* With all plans after it. Accepts NULL and half-built ones. */
void mc_plan_free(struct mc_session *s, struct mc_plan *p);

/* ---- segment.c ---- */

/* Mark the values that a node reads, by index: its inputs and what its bodies capture. */
void mc_segment_reads(const struct mc_node *n, bool *need);

/* Choose the nodes of a new plan and make its steps. Errors: MC_EUNSUP naming node and value if nothing that
 * is left can run. */
int mc_segment_make(struct mc_session *s, struct mc_plan *p, struct mc_err *err);

/* ---- step.c ---- */

/* Is v there for the steps of a plan: constant, live, or made by an earlier step? */
bool mc_step_has(const struct mc_session *s, const struct mc_plan *p, const struct mc_value *v);
/* The buffer of an input: a constant with its data, or a value that a step or the caller fills. */
int mc_step_use(struct mc_session *s, struct mc_plan *p, const struct mc_value *v,
                struct mc_buf *ret, struct mc_err *err);
/* Append the step of a node whose inputs are there. The rows of its outputs: inference's, or of known dtype. */
int mc_step_make(struct mc_session *s, struct mc_plan *p, const struct mc_infer *inf,
                 const struct mc_node *n, bool boundary, struct mc_err *err);
/* Record that step i makes its outputs and reads its inputs. */
void mc_step_number(struct mc_plan *p, int i);

/* ---- fuse.c ---- */

void mc_plan_fuse(struct mc_session *s, struct mc_plan *p);

/* ---- alias.c ---- */

/* Which slot each value is in: views, results in place, parts of blocks. Errors: MC_ENOMEM, of states. */
int mc_plan_alias(const struct mc_session *s, struct mc_plan *p, struct mc_err *err);
/* A slot for what is alive from step `first` to step `last`. */
int mc_plan_slot(struct mc_plan *p, size_t bytes, int first, int last, int *ret,
                 struct mc_err *err);

/* ---- layout.c ---- */

/* Where in the block each slot is. */
int mc_plan_layout(const struct mc_session *s, struct mc_plan *p, struct mc_err *err);
/* Bytes of the values in it that are there at once, at most; without the scratch of steps. Errors: MC_ENOMEM. */
int mc_plan_values(const struct mc_plan *p, size_t *ret, struct mc_err *err);

/* ---- place.c ---- */

/* The session's GPU, if its pool has one and it computes as one does; mc_device_close after everything else.
 * Errors: MC_ENOMEM. */
int mc_device_open(struct mc_session *s, const struct mc_session_opts *o, struct mc_err *err);
void mc_device_close(struct mc_session *s);
/* Around what the session has its GPU do: it is the thread's device then; the one before. */
struct mc_gpu *mc_device_enter(const struct mc_session *s);
void mc_device_leave(const struct mc_session *s, struct mc_gpu *before);
/* Which steps of a plan the GPU does; before their setup. */
int mc_place_steps(struct mc_session *s, struct mc_plan *p, struct mc_err *err);
/* The constants of a step are on the GPU, and so is what its epilogue adds. Errors: MC_ENOMEM, of the device. */
int mc_place_constants(struct mc_session *s, struct mc_plan *p, struct mc_step *st,
                       struct mc_err *err);

/* A step that the GPU could do stays on the CPU. */
void mc_place_leave(const struct mc_session *s, struct mc_step *st, const char *why);
/* Does a step read input i on the host? */
bool mc_place_host_in(const struct mc_step *st, int i);
/* ---- islands.c ---- */

/* Leave steps to the CPU where copies would be all that the GPU saves. Errors: MC_ENOMEM. */
int mc_islands_drop(struct mc_session *s, struct mc_plan *p, struct mc_err *err);

/* ---- fallback.c ---- */

/* Bytes on the GPU besides the values: states and constants of all plans. */
size_t mc_device_bytes(const struct mc_session *s);
/* Tell the report of the process (graph/run/device.h) how much that is with the values; over: nothing any more. */
void mc_device_tell(struct mc_session *s, bool over);
/* What is said of the GPU. */
void mc_device_stats(const struct mc_session *s, struct mc_session_stats *ret);

/* ---- upload.c ---- */

/* *ret = the constant at `host` in memory of the GPU, copied there at first; in `u`, or in `also` (may be NULL).
 * Errors: MC_ENOMEM, of the device. */
int mc_upload(struct mc_session *s, struct mc_uploads *u, const struct mc_uploads *also,
              const void *host, size_t bytes, void **ret, struct mc_err *err);
void mc_uploads_free(struct mc_session *s, struct mc_uploads *u);

/* ---- transfer.c ---- */

/* The actions of a plan whose slots have offsets. Errors: MC_ENOMEM. */
int mc_transfer_make(struct mc_session *s, struct mc_plan *p, struct mc_err *err);
/* Where a value is on the GPU; it is in a slot. */
void *mc_transfer_at(const struct mc_session *s, const struct mc_plan *p, const struct mc_value *v);

/* ---- replay.c ---- */

int mc_replay_run(struct mc_session *s, struct mc_plan *p, struct mc_err *err);
void mc_replay_free(struct mc_session *s, struct mc_plan *p);
/* What was made on the GPU and is handed out as value v comes to the host. */
int mc_replay_fetch(const struct mc_session *s, struct mc_plan *p, const struct mc_value *v,
                    struct mc_err *err);

/* ---- input.c ---- */

/* Copy what was given for input i into memory for it. */
int mc_input_load(const struct mc_session *s, int i, const struct mc_buf *to, void *dst,
                  struct mc_err *err);
/* x := the nearest value that a half type can hold. */
int mc_input_round(enum mc_dtype half, float *x, int64_t n, struct mc_err *err);
/* Is the shape known, and are there bytes for it? Errors: MC_ESHAPE, MC_EDATA naming the input. */
int mc_input_check(const char *name, const struct mc_array *a, struct mc_err *err);
/* Copy an array of an input declared as `want` into memory `dst` of the session's type in `to`. */
int mc_input_convert(const char *name, enum mc_dtype want, const struct mc_buf *to,
                     enum mc_dtype dtype, const void *src, void *dst, struct mc_err *err);

/* ---- handed.c ---- */

bool mc_handed_kind(enum mc_type_kind kind); /* a sequence or an optional? */
/* Input v, a sequence or an optional, is a from now on. Errors: MC_EDTYPE for another kind or other elements
 * than v is declared as, and for items of several kinds; those of mc_input_check. */
int mc_handed_in(struct mc_session *s, const struct mc_value *v, const struct mc_array *a,
                 struct mc_err *err);
/* Fill in what is handed out and is a list, after a run. */
int mc_handed_out(struct mc_session *s, struct mc_err *err);

/* ---- exec.c ---- */

/* Where a value is on the host. */
void *mc_plan_data(const struct mc_session *s, const struct mc_plan *p, const struct mc_value *v);
/* Run a step, boundary or not, and measure it. */
int mc_plan_step(struct mc_session *s, struct mc_step *st, struct mc_err *err);
/* Run one segment; earlier ones of its path have run. */
int mc_plan_exec(struct mc_session *s, struct mc_plan *p, struct mc_err *err);

/* ---- bodies.c ---- */

/* Values of its bodies that mean a value of the node's own graph without constant content, in order of
 * attributes and indices. Returns how many; fills ret unless it is NULL. */
size_t mc_body_captures(const struct mc_node *n, struct mc_value **ret);
/* Run a step with bodies: If, Loop, Scan. */
int mc_body_run(struct mc_session *s, struct mc_step *st, struct mc_err *err);
void mc_body_free(struct mc_body *b); /* accepts NULL */
/* Input i of a boundary step as it is; borrowed. */
struct mc_live mc_body_input(const struct mc_session *s, const struct mc_step *st, int i);
/* Output i of the step, if it is wanted, is l from now on. */
int mc_body_output(struct mc_session *s, const struct mc_step *st, size_t i,
                   const struct mc_live *l, struct mc_err *err);

/* ---- lists.c ---- */

/* Run a step on sequences or optionals. */
int mc_list_run(struct mc_session *s, struct mc_step *st, struct mc_err *err);

#endif
