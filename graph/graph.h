/* The model in memory.
 *
 * It knows no operators: every node, attribute, type and unknown field of a file is kept and written back.
 * What the rooms above need to see is a field here; what they do not is kept packed in `extra` (the
 * protobuf message of the same kind with the modelled fields left out). Everything but tensors lives in
 * the model's arena and dies with it. Reading the fields is free; changing them goes through graph/edit.h,
 * which keeps uses, positions and names consistent.
 *
 * Life cycle: mc_model_new (or a reader in formats/) -> passes edit a mc_model_clone that shares tensors
 * -> mc_verify -> a writer -> mc_model_free. */
#ifndef MC_GRAPH_GRAPH_H
#define MC_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "graph/tensor.h"

struct mc_graph;
struct mc_node;

struct mc_dim {
    int64_t value;     /* >= 0, or -1: unknown */
    const char *param; /* name of a dynamic axis ("batch"), or NULL */
};

enum mc_type_kind {
    MC_TYPE_NONE,     /* nothing declared */
    MC_TYPE_TENSOR,   /* dtype, and dims if ranked */
    MC_TYPE_SEQUENCE, /* these two: dtype of the tensors in it, where that is known; the rest is in */
    MC_TYPE_OPTIONAL, /* mc_value.info */
    MC_TYPE_OTHER,    /* map, sparse, opaque: only there */
};

struct mc_type { /* as the file declares it; inference results live in graph/infer.h */
    enum mc_type_kind kind;
    enum mc_dtype dtype;
    bool ranked;
    int rank;
    struct mc_dim *dim;
};

struct mc_use {
    struct mc_node *node;
    int slot; /* node->in[slot] is the value; -1: captured by a body of the node, as */
    struct mc_value *proxy; /* this value of the body; NULL where slot >= 0 */
};

/* An edge: what one node (or an input, or an initializer) gives and others take. */
struct mc_value {
    const char *name; /* unique in its graph */
    uint32_t index;   /* graph->values[index] == this; never reused: key of side tables */
    struct mc_graph *graph;
    struct mc_node *producer; /* NULL: graph input, initializer, or outer value */
    int slot;                 /* producer->out[slot] */
    struct mc_tensor
        *tensor; /* content of an initializer (also one that is a graph input), or NULL */
    struct mc_value *outer;   /* in a body: the value of the enclosing graph that this name means */
    bool is_input, is_output; /* of its graph */
    struct mc_type type;
    struct mc_bytes
        info; /* ValueInfoProto as read (doc, denotations, non-tensor types); an edit of the
                             type clears it */
    struct mc_use *uses;
    size_t n_uses, cap_uses;
};

enum mc_attr_type { /* numbers of AttributeProto.AttributeType */
                    MC_ATTR_NONE = 0,
                    MC_ATTR_FLOAT = 1,
                    MC_ATTR_INT = 2,
                    MC_ATTR_STRING = 3,
                    MC_ATTR_TENSOR = 4,
                    MC_ATTR_GRAPH = 5,
                    MC_ATTR_FLOATS = 6,
                    MC_ATTR_INTS = 7,
                    MC_ATTR_STRINGS = 8,
                    MC_ATTR_TENSORS = 9,
                    MC_ATTR_GRAPHS = 10,
                    MC_ATTR_SPARSE = 11, /* sparse tensors and type protos stay in `extra` */
                    MC_ATTR_SPARSES = 12,
                    MC_ATTR_TYPE = 13,
                    MC_ATTR_TYPES = 14,
};

struct mc_attr {
    const char *name;
    const char *ref; /* in a function body: name of the function's attribute that gives the value */
    enum mc_attr_type type;
    size_t n; /* elements of a list; 1 for TENSOR and GRAPH */
    int64_t i;
    float f;
    struct mc_bytes s; /* also NUL-terminated */
    int64_t *ints;
    float *floats;
    struct mc_bytes *strings;
    struct mc_tensor **tensors;
    struct mc_graph **graphs;
    struct mc_tensor *cache; /* of graph/constant.h: the numbers of a Constant node as a tensor */
    struct mc_bytes extra;
};

struct mc_node {
    const char *name; /* may be "" */
    const char *op_type;
    const char *domain;   /* "" is ai.onnx, never "ai.onnx" */
    const char *overload; /* "" */
    int version; /* opset version of `domain` the node was written for; 0: unknown, not imported */
    uint32_t id; /* never reused in its graph: key of side tables; < graph->n_node_ids */
    size_t pos;  /* graph->nodes[pos] == this */
    struct mc_graph *graph;
    size_t n_in, n_out, n_attr;
    struct mc_value **in;  /* NULL: optional input left out */
    struct mc_value **out; /* NULL: optional output not wanted */
    struct mc_attr *attr;
    struct mc_bytes extra;
};

struct mc_graph {
    struct mc_model *model;
    size_t index;                 /* model->graphs[index] == this */
    struct mc_graph *parent;      /* of a body; NULL for the main graph and for functions */
    struct mc_node *owner;        /* node whose attribute holds this body */
    struct mc_function *function; /* of a function's body and all bodies in it; NULL elsewhere */
    const char *name;
    struct mc_node **nodes; /* in topological order once verified */
    size_t n_nodes, cap_nodes;
    uint32_t n_node_ids;
    struct mc_value **values; /* by index; NULL: removed */
    size_t n_values, cap_values;
    struct mc_value **inputs; /* in order; includes initializers that are also inputs */
    size_t n_inputs, cap_inputs;
    struct mc_value **outputs;
    size_t n_outputs, cap_outputs;
    struct mc_value **inits; /* values with a tensor, in file order */
    size_t n_inits, cap_inits;
    struct mc_value **infos; /* values listed in value_info, in file order */
    size_t n_infos, cap_infos;
    struct mc_bytes
        extra; /* doc_string, sparse_initializer, quantization_annotation, metadata, unknown */
    struct mc_names *names; /* name -> value */
};

struct mc_opset {
    const char *domain; /* "" is ai.onnx */
    int64_t version;
    struct mc_bytes extra; /* the domain where the file spells it another way, unknown fields */
};

struct mc_meta {
    const char *key, *value;
};

struct mc_function {
    struct mc_model *model;
    const char *name, *domain, *overload;
    struct mc_graph *body; /* inputs and outputs carry no types */
    struct mc_opset *opsets;
    size_t n_opsets;
    const char **attrs; /* names of attributes without a default */
    size_t n_attrs;
    struct mc_attr *defaults; /* attributes with one */
    size_t n_defaults;
    struct mc_bytes extra;
};

struct mc_model {
    struct mc_arena arena;
    int64_t ir_version;
    struct mc_opset *opsets;
    size_t n_opsets, cap_opsets;
    struct mc_meta *meta; /* metadata_props */
    size_t n_meta, cap_meta;
    struct mc_function **functions;
    size_t n_functions, cap_functions;
    struct mc_graph *graph;
    struct mc_graph **graphs; /* every graph ever made for this model, for mc_model_free */
    size_t n_graphs, cap_graphs;
    struct mc_bytes extra; /* producer, model version, doc, training_info, configuration, unknown */
    bool external;         /* read from, and so written to, a model with external data */
    struct mc_spill *spill; /* new large tensors; owned by the caller, may be NULL */
};

/* An empty model: no main graph (mc_edit_graph makes it), no imports. */
int mc_model_new(struct mc_model **ret, struct mc_err *err);
void mc_model_free(struct mc_model *m); /* accepts NULL and half-built models */
/* Deep copy of everything but tensors, which are shared. Cost: nodes + values, no weights. */
int mc_model_clone(const struct mc_model *m, struct mc_model **ret, struct mc_err *err);

/* Version imported for a domain ("" or "ai.onnx" for ONNX itself); 0 if not imported. Nodes of functions
 * follow the function's own imports: mc_graph_opset. */
int64_t mc_model_opset(const struct mc_model *m, const char *domain);
const struct mc_function *mc_model_function(const struct mc_model *m, const char *domain,
                                            const char *name, const char *overload);
const char *mc_model_meta(const struct mc_model *m, const char *key); /* NULL if absent */

int64_t mc_graph_opset(const struct mc_graph *g, const char *domain);

/* NULL if the graph itself has no such name (outer scopes are not searched). */
struct mc_value *mc_graph_value(const struct mc_graph *g, const char *name);

/* Attribute by name, NULL if absent; the getters return the fallback then, or on another type. */
const struct mc_attr *mc_node_attr(const struct mc_node *n, const char *name);
int64_t mc_node_int(const struct mc_node *n, const char *name, int64_t missing);
float mc_node_float(const struct mc_node *n, const char *name, float missing);
const char *mc_node_string(const struct mc_node *n, const char *name, const char *missing);
/* Borrowed array; *ret_n = 0 and NULL if absent. */
const int64_t *mc_node_ints(const struct mc_node *n, const char *name, size_t *ret_n);

bool mc_node_is(const struct mc_node *n, const char *op_type); /* of ai.onnx */
/* Name for messages and reports: the node's name, else that of its first output. */
const char *mc_node_label(const struct mc_node *n);

#endif
