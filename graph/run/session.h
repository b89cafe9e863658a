/* A graph made ready to run.
 *
 * A session holds a model's constants (packed once), and one plan per signature of input shapes in a small
 * LRU cache. A plan knows every shape, every lifetime and one arena; with static shapes a run allocates
 * nothing. The graph must stay unchanged while the session lives. */
#ifndef MC_GRAPH_RUN_SESSION_H
#define MC_GRAPH_RUN_SESSION_H

#include "base/threads.h"
#include "graph/dataset.h"
#include "graph/graph.h"

struct mc_session;
struct mc_profile;

enum mc_precision {
    MC_PRECISION_MODEL =
        0, /* float32 (and half types computed in float32), float64 where the model has it */
    MC_PRECISION_F64, /* everything float in float64 through the reference kernels: a definition */
};

/* What a plan leaves out, to check it against itself; and what the caller can take. */
enum mc_session_flags {
    MC_SESSION_NO_FUSE = 1,  /* every node runs by itself */
    MC_SESSION_NO_REUSE = 2, /* every result has memory of its own */
    /* Inputs and what is handed out may be sequences and optionals (graph/dataset.h): the caller knows of
     * them. Otherwise a model that takes them, or a run that gives one, is an error. */
    MC_SESSION_LISTS = 4,
    /* What is between DequantizeLinear and QuantizeLinear is computed with floats, as ONNX defines it, where
     * integers would do within one step of the result's scale. */
    MC_SESSION_FLOAT = 8,
    /* With a GPU, mc_session_run returns when the work is on its way: mc_session_wait comes before results are
     * looked at. */
    MC_SESSION_ASYNC = 16,
};

/* A graph input and a graph output of the same type and static shape that are one buffer of the session: what a run
 * leaves in the output is the input of the next. Not given to mc_session_run. */
struct mc_session_state {
    const char *in, *out;
};

/* Value names[i] is there, and will not be for long: it is copied or used up. Of half types as float32, not rounded.
 * A non-zero return ends the run and is passed up. */
typedef int mc_session_watch_fn(void *ctx, size_t i, const struct mc_array *value,
                                struct mc_err *err);
/* Values that are handed out while a run makes them, instead of being kept to its end. Those that are the same in all
 * runs are not, nor are lists, and what no output needs. */
struct mc_session_watch {
    const char *const *names; /* of the session's graph; different; valid as long as the session */
    size_t n;
    mc_session_watch_fn *fn;
    void *ctx;
};

struct mc_session_opts {
    struct mc_pool
        *pool; /* NULL: serial. With a GPU the session computes there what can be done there, at
                           * MC_PRECISION_MODEL and without `kernels` */
    enum mc_precision precision;
    const char
        *kernels; /* "ref", "plain", "avx2", "avx512", "avx512vnni"; NULL: the best this CPU has */
    const char *const *keep; /* names of inner values to keep for mc_session_value */
    size_t n_keep;
    const char *const *only; /* compute only these outputs (or inner values); NULL: all outputs */
    size_t n_only;
    const struct mc_session_state *state; /* zero at first */
    size_t n_state;
    const char *const *apart; /* values that are made as they are, joined with no other node */
    size_t n_apart;
    const struct mc_session_watch *watch; /* or NULL */
    unsigned flags;                       /* enum mc_session_flags */
    struct mc_profile *profile; /* gets the time of every step, graph/run/profile.h; or NULL */
};

/* Only the nodes that the wanted values need are looked at.
 * Errors: MC_EUNSUP naming operator, domain, version and node of what cannot run; MC_EUSAGE for a wanted
 * value that the graph does not have; MC_ENOMEM. */
int mc_session_new(const struct mc_graph *g, const struct mc_session_opts *opts,
                   struct mc_session **ret, struct mc_err *err);
void mc_session_free(struct mc_session *s);

/* Run on host arrays, matched to graph inputs by name; integers and floats are converted to the input's
 * type where that loses nothing that matters (u8 -> f32, f64 -> f32, i32 -> i64); what is in sequences and
 * optionals must be of the declared type. An initializer that is an input too may be given. NaN and infinity are results like others. Results stay valid until the next run.
 *
 * Half types: float16 and bfloat16 values are computed and handed out as float32. Inputs, results of Cast
 * to a half type, and outputs are rounded through it; values between are not, so results are closer to
 * the exact ones than those of a runtime that stores halves.
 * Errors: MC_ESHAPE/MC_EDTYPE/MC_EDATA naming the input; MC_EUNSUP naming a node whose shapes depend on
 * data; what the operators give. */
int mc_session_run(struct mc_session *s, const struct mc_array *inputs, int n_inputs,
                   struct mc_err *err);

/* What the last run of a session with MC_SESSION_ASYNC queued is done, and its outputs are there. Nothing to do
 * elsewhere. Errors: those of the run that only show now, each once. */
int mc_session_wait(struct mc_session *s, struct mc_err *err);

/* Content of a state by the name of its input, in the type that the session computes it in (float64 at
 * MC_PRECISION_F64): put there, or copied from there. bytes must be its size.
 * Errors: MC_EUSAGE for a name that is none, or another size. */
int mc_session_store(struct mc_session *s, const char *state, const void *data, size_t bytes,
                     struct mc_err *err);
int mc_session_fetch(const struct mc_session *s, const char *state, void *data, size_t bytes,
                     struct mc_err *err);

/* Number of outputs; output i of the last run; a kept or output value by name (NULL if not there, or where the GPU
 * that has it does not answer any more). */
int mc_session_n_outputs(const struct mc_session *s);
const struct mc_array *mc_session_output(const struct mc_session *s, int i);
const struct mc_array *mc_session_value(const struct mc_session *s, const char *name);

/* The order and types of the inputs that must be given (those without an initializer); dims < 0 are free,
 * rank -1: not declared; dtype NONE: a sequence or an optional. Those that the wanted values do not need may be left out of a run. */
int mc_session_n_inputs(const struct mc_session *s);
const struct mc_array *mc_session_input(const struct mc_session *s, int i);

/* What a run for arrays of these shapes takes, without running: its values (of the first segment, where the plan
 * is cut), packed constants, states; of a session with a GPU there, all constants with it. The data of the arrays is not looked at. Makes the plan.
 * Errors: as mc_session_run before anything runs. */
int mc_session_peak(struct mc_session *s, const struct mc_array *inputs, int n_inputs, size_t *ret,
                    struct mc_err *err);

struct mc_session_stats {
    size_t plans, arena_bytes, packed_bytes; /* of the last plan; of all packed constants */
    size_t state_bytes;
    size_t nodes, fused_nodes;
    /* With a GPU: steps of `nodes` that the CPU runs, not counting those that only rename; copies between the two in a
     * run; bytes there, of all plans: values, states, constants as they are and packed. */
    size_t fallback_nodes, copies;
    size_t gpu_bytes, gpu_arena_bytes, gpu_state_bytes, gpu_constant_bytes, gpu_packed_bytes;
    size_t recorded_nodes; /* steps that are done as part of a recording */
    size_t parts; /* of a run: its recordings, and each step and copy that is in none of them */
};
void mc_session_stats(const struct mc_session *s, struct mc_session_stats *ret);

struct mc_session_fallback { /* an operator type that the CPU ran, though the session has a GPU */
    const char *op_type;
    const char *why;
    size_t nodes;
};
/* Of the last run, i from 0, in the order of their first step; false at the end. */
bool mc_session_fallback(const struct mc_session *s, int i, struct mc_session_fallback *ret);

/* Note for the report of the process (graph/run/device.h) what the session left to the CPU; done when it is freed. */
void mc_session_note(const struct mc_session *s);

#endif
