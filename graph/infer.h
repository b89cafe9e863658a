/* Types, shapes and small constant contents of every value, known or symbolic, in a table beside the graph.
 *
 * One mechanism serves three users: `info` and the verifier with dynamic axes as symbols, the planner with
 * one concrete signature of inputs, and constant folding. */
#ifndef MC_GRAPH_INFER_H
#define MC_GRAPH_INFER_H

#include "graph/graph.h"

/* A small vector of integers of which some elements are known only as a dimension symbol: what Shape gives
 * of [batch,1,28,28], carried through Gather, Concat, Slice, Unsqueeze and arithmetic to Reshape. */
struct mc_partial {
    int n;          /* elements, at most MC_PARTIAL_MAX; rank is 0 or 1, see mc_vtype.shape */
    int64_t *value; /* valid where sym[i] == 0 */
    int64_t *sym;   /* 0, or a negative dimension as in graph/shape.h */
};
enum { MC_PARTIAL_MAX = 64 };

struct mc_vtype {
    enum mc_dtype dtype; /* MC_DTYPE_NONE: not known */
    bool ranked;         /* false: not even the rank is known, shape is void */
    struct mc_shape shape;
    const struct mc_tensor *known;    /* whole content, or NULL */
    const struct mc_partial *partial; /* or NULL; only where `known` is NULL */
};

struct mc_infer; /* owns its table and the tensors in it */

/* Evaluate a node whose inputs are all known: called by inference to fold; in[i] NULL for omitted inputs.
 * Fills ret[i] with new tensors. Return 0, or MC_EUNSUP to leave the node unfolded. Supplied by graph/run. */
typedef int mc_infer_eval(void *ctx, const struct mc_node *node, const struct mc_tensor *const *in,
                          struct mc_tensor **ret, struct mc_err *err);

struct mc_infer_input {
    const char *name;
    enum mc_dtype dtype;
    struct mc_shape shape;
};

struct mc_infer_opts {
    const struct mc_infer_input *inputs; /* overrides what the graph declares; n_inputs may be 0 */
    size_t n_inputs;
    mc_infer_eval *eval; /* NULL: nothing is folded, only partial contents travel */
    void *eval_ctx;
    int64_t
        eval_limit;  /* fold a node only if its outputs have at most this many elements; 0: 65536 */
    bool strict;     /* an unknown operator is an error; otherwise its outputs are unknown */
    bool undeclared; /* use no declared types but those of inputs */
    bool flat; /* look into no bodies and calls: their nodes' outputs have their declared types */
    /* What a run has computed already: rows with a dtype hold whatever the graph says, by value index; nodes
     * that are not looked at, by id. Either may be NULL. */
    const struct mc_vtype *given;
    const bool *skip;
};

/* Infer everything, in the order of the (verified) graph; opts may be NULL.
 * Inputs: a negative dimension in opts->inputs stands for what the graph declares there. A known one where
 * the graph declares a name gives that name its value everywhere; if two inputs disagree on a name, it is
 * unknown elsewhere. Where an input contradicts its declaration, declared shapes of other values are ignored.
 * Declared types of other values are hints: they fill what inference leaves open, and where they contradict
 * it the whole declaration is dropped and counted (exporters write wrong ones). Every dimension still unknown
 * becomes a symbol of its own. Bodies of nodes are inferred too, and from them the outputs of If (what both
 * branches have in common), Loop and Scan; calls of model-local functions are looked through. What does not
 * fit in a body that may never run is no error: its outputs are unknown. Outputs of unknown operators have
 * their declared types. Errors: MC_ESHAPE/MC_EDTYPE naming operator, node and values where a
 * node's inputs do not fit it, MC_EUNSUP naming operator, domain, version, node when strict. */
int mc_infer_run(const struct mc_graph *g, const struct mc_infer_opts *opts, struct mc_infer **ret,
                 struct mc_err *err);
void mc_infer_free(struct mc_infer *inf);

/* Borrowed row of a value of this graph or of a body in it (for any of its runs); one that knows nothing for
 * values made since. */
const struct mc_vtype *mc_infer_of(const struct mc_infer *inf, const struct mc_value *v);
/* Name of a symbol dimension ("batch"), or NULL. */
const char *mc_infer_symbol(const struct mc_infer *inf, int64_t dim);
/* Declarations of outputs and inner values that were dropped: how many, and the text of the i-th, NULL from
 * MC_INFER_CONFLICTS on. */
enum { MC_INFER_CONFLICTS = 16 };
size_t mc_infer_n_conflicts(const struct mc_infer *inf);
const char *mc_infer_conflict(const struct mc_infer *inf, size_t i);
/* Multiply-accumulates of one run of a node; 0 where none are worth counting, -1 where that is unknown
 * (shape, operator, a call, how often a body runs). */
double mc_infer_macs(const struct mc_infer *inf, const struct mc_node *n);

/* ---- for operator rows ---- */

struct mc_infer_ctx {
    const struct mc_node *node;
    int n_in, n_out;
    const struct mc_vtype *const *in; /* NULL: omitted */
    struct mc_vtype *const *out;      /* NULL: not wanted; otherwise zeroed, to be filled in */
    struct mc_infer *inf;
};

/* New partial content of n elements, owned by the table; NULL when out of memory. */
struct mc_partial *mc_infer_partial(struct mc_infer_ctx *c, int n);
/* Integer contents of input i for a shape-like argument: fills value/sym (as mc_partial) from known or
 * partial content, at most `max`. Returns the count, or -1 if nothing is known. */
int mc_infer_ints(const struct mc_infer_ctx *c, int i, int64_t *value, int64_t *sym, int max);

#endif
