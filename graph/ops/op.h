/* The operator table: what a node means, its shapes, its cost, how it runs.
 *
 * One file per operator family in this folder; each ends with
 *     const struct mc_op mc_ops_FAMILY[] = {{…}, {…}, {0}};
 * and is one word in meson.build's list, from which the registry is generated.
 *
 * Versions: a row holds for node->version >= since up to the next row of that name. Where versions differ
 * only in a detail (axes as attribute or input), one row with the lowest `since` reads node->version. */
#ifndef MC_GRAPH_OPS_OP_H
#define MC_GRAPH_OPS_OP_H

#include "base/threads.h"
#include "graph/graph.h"
#include "graph/infer.h"

struct mc_kernels;
struct mc_pack_cache;
struct mc_epilogue;

struct mc_buf {          /* a value during a run: dense, row-major, 64-byte aligned */
    enum mc_dtype dtype; /* MC_DTYPE_NONE: omitted */
    bool constant;       /* same content in every run: may be packed at setup */
    struct mc_shape shape;
    void *data; /* at setup only constants have data */
};

/* A node made ready to run for one signature of shapes. */
struct mc_call {
    const struct mc_node *node;
    const struct mc_op *op;
    int n_in, n_out;
    struct mc_buf *in, *out;
    const struct mc_kernels *k; /* kernel table for this node's float type */
    struct mc_pool *pool;
    struct mc_pack_cache *packs;        /* packed constants shared by all plans of a session */
    const struct mc_epilogue *epilogue; /* what the planner fused behind this node, or NULL */
    const struct mc_chain
        *chain; /* what it made of several nodes (graph/ops/fused_step.h), or NULL */
    const struct mc_norm *norm;
    struct mc_integer *integer; /* graph/ops/integer_step.h */
    struct mc_xnor *xnor;       /* graph/ops/xnor_step.h */
    void *state;                /* of setup; released by the op's teardown */
    uint64_t
        packed; /* set by setup: bit i if run() does not read input i, a constant, since it is packed */
    size_t scratch_bytes; /* set by setup: arena space for the length of this call */
    void *scratch;        /* 64-byte aligned */
    /* Memory for output i of an MC_OP_SIZES node; called through mc_op_size. */
    int (*size)(struct mc_call *c, int i, const struct mc_shape *shape, struct mc_err *err);
    void *size_ctx; /* of whoever gave `size` */
};

enum mc_op_flags {
    MC_OP_VIEW = 1,        /* output 0 has the bytes of input 0 (Reshape, Flatten, Identity) */
    MC_OP_INPLACE = 2,     /* output 0 may be written over input 0 when shape and dtype are equal */
    MC_OP_INPLACE_ANY = 4, /* … over any input of equal shape and dtype */
    MC_OP_RANDOM = 8,      /* never folded */
    /* run() honours call->epilogue behind output 0: residual, activation, and, where the node
     * has no third input, bias. Of a convolution also scale; a bias then has the third input in it. */
    MC_OP_EPILOGUE = 16,
    MC_OP_HOST = 32, /* works on shapes; inputs and outputs stay on the host */
    /* The sizes of outputs depend on the data (NonZero, Unique, Compress): infer leaves those dimensions
     * MC_DIM_ANY, c->out[i].data is NULL when run() begins, and run() calls mc_op_size for every wanted
     * output before it writes there. Where a shape is known once the contents of an input are (Reshape,
     * Range, Expand, Tile), the flag is not needed: such a node is planned when that input is there. */
    MC_OP_SIZES = 64,
    /* Runs graphs (If, Loop, Scan): has no run(), graph/run does it. infer checks arguments only. */
    MC_OP_BODY = 128,
    /* Makes or reads sequences or optionals: no run(), as with MC_OP_BODY. */
    MC_OP_LIST = 256,
    /* Output i may be written over input i when shape and dtype are equal, for every i. */
    MC_OP_INPLACE_PAIRS = 512,
    /* Attribute `offsets`, one element index for each part. Output i is the part of vector input 0 from offset i
     * on; or the result is a vector whose part from offset i on is input i, and which may have its inputs' memory in
     * it already. run() copies what is not in its place yet. */
    MC_OP_PARTS = 1024,
    MC_OP_PACKS = 2048,
    /* Makes a weight of the small form in which the file holds it: never folded into the file, and always into what a
     * session keeps, however much larger it is. */
    MC_OP_WEIGHT = 4096,
};

struct mc_op {
    const char *domain; /* "" is ai.onnx */
    const char *name;   /* NULL closes a table */
    int since;
    unsigned flags;
    /* Fill in c->out from c->in and attributes. Also checks attributes: run() may rely on it.
     * Errors: MC_ESHAPE, MC_EDTYPE, MC_EUNSUP (a mode not implemented), with mc_op_fail. */
    int (*infer)(struct mc_infer_ctx *c, struct mc_err *err);
    /* Optional, once per plan: choose, pack constants, set scratch_bytes. */
    int (*setup)(struct mc_call *c, struct mc_err *err);
    /* Compute. Data-dependent errors only (an index out of range): MC_EDATA. */
    int (*run)(struct mc_call *c, struct mc_err *err);
    void (*teardown)(struct mc_call *c); /* also after a setup that failed */
    /* Multiply-accumulates of one run, from shapes alone; NULL: none worth counting. Unknown: -1. */
    double (*macs)(const struct mc_infer_ctx *c);
    /* If the operator is y = f(x) with a form that an epilogue can hold (Relu, Clip with constants), fill
     * it in and return true. */
    bool (*as_epilogue)(const struct mc_node *n, struct mc_epilogue *e);
};

/* Row for a node, or NULL: unknown operator, or a version below the oldest row. */
const struct mc_op *mc_op_find(const struct mc_node *n);
const struct mc_op *mc_op_lookup(const char *domain, const char *name, int version);
/* All rows, for `list operators`; i from 0, NULL at the end. */
const struct mc_op *mc_op_at(size_t i);

/* Standard message for a node: "Conv 'name': …". */
int mc_op_fail(struct mc_err *err, int code, const struct mc_node *n, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* In run() of an MC_OP_SIZES node: the wanted output i has this shape; sets its shape and data (64-byte
 * aligned, content undefined). Once for each output. Errors: MC_ENOMEM. */
int mc_op_size(struct mc_call *c, int i, const struct mc_shape *shape, struct mc_err *err);

/* Helpers for infer functions (graph/ops/op.c). Arity: at least min_in inputs, none of those left out, and at
 * most max_in (-1: any number). */
int mc_op_arity(const struct mc_infer_ctx *c, int min_in, int max_in, struct mc_err *err);
/* out[i] = dtype and shape of in[0]. */
int mc_op_same(struct mc_infer_ctx *c, struct mc_err *err);
int mc_op_need_float(const struct mc_infer_ctx *c, int i, struct mc_err *err);

#endif
