/* Parts of the ONNX reader and writer. Private to formats/onnx_*.c. */
#ifndef MC_FORMATS_ONNX_PARTS_H
#define MC_FORMATS_ONNX_PARTS_H

#include "base/err.h"
#include "base/io.h"
#include "base/mem.h"
#include "formats/onnx.pb-c.h"
#include "graph/graph.h"

/* ---- files of external data ---- */

struct mc_onnx_file {
    char *location; /* as the model spells it */
    uint64_t device, inode;
    struct mc_storage *storage; /* the whole file, mapped */
};

/* Files that one model refers to, in order of first use. */
struct mc_onnx_files {
    const char *model; /* path of the model: locations are relative to its folder */
    int dir;           /* that folder; -1: not open */
    struct mc_onnx_file *files;
    size_t n_files, cap_files;
};

/* A whole file as a storage that unmaps it when its last reference goes. The last two may be NULL. */
int mc_onnx_map(const char *path, struct mc_storage **ret, uint64_t *ret_device,
                uint64_t *ret_inode, struct mc_err *err);
void mc_onnx_files_init(struct mc_onnx_files *f, const char *model);
/* Use the file at `path` for this location, wherever it is. */
int mc_onnx_files_add(struct mc_onnx_files *f, const char *location, const char *path,
                      struct mc_err *err);
/* The file at a location, mapped; borrowed. tensor: for messages.
 * Errors: MC_EOPEN if missing; MC_EFORMAT if it is not a plain file inside the folder. */
int mc_onnx_files_get(struct mc_onnx_files *f, const char *location, const char *tensor,
                      struct mc_storage **ret, struct mc_err *err);
void mc_onnx_files_close(struct mc_onnx_files *f); /* storages live on in their tensors */

/* ---- reading ---- */

struct mc_onnx_reader {
    const char *path; /* for messages */
    struct mc_model *m;
    struct mc_storage *file; /* the model's own bytes */
    struct mc_onnx_files *files;
    struct mc_arena tree; /* the protobuf messages, and scratch */
    struct mc_err *err;
};

/* Open a model whose bytes are at `bytes_at` (usually path itself); files: initialised by the caller.
 * Not verified. */
int mc_onnx_load(const char *bytes_at, const char *path, struct mc_onnx_files *files,
                 struct mc_model **ret, struct mc_err *err);

/* Hand m over if it is sound, else free it; messages name the path. */
int mc_onnx_verify(struct mc_model *m, const char *path, struct mc_model **ret, struct mc_err *err);

/* A tensor over the file's bytes where these are raw. what, name: "initializer", "w".
 * named: the name is somebody else's matter and does not go into `extra`. */
int mc_onnx_read_tensor(struct mc_onnx_reader *r, Onnx__TensorProto *p, const char *what,
                        const char *name, bool named, struct mc_tensor **ret);
int mc_onnx_read_sparse(struct mc_onnx_reader *r, Onnx__SparseTensorProto *p,
                        struct mc_tensor **ret);
/* Pull external data of all tensors below a message that stays packed into their raw_data. */
int mc_onnx_inline_external(struct mc_onnx_reader *r, ProtobufCMessage *m);

/* What is left of a message once the modelled fields are cleared, packed into the model's arena. */
int mc_onnx_pack_rest(struct mc_onnx_reader *r, const ProtobufCMessage *p, struct mc_bytes *ret);
int mc_onnx_no_memory(struct mc_onnx_reader *r);

int mc_onnx_read_graph(struct mc_onnx_reader *r, Onnx__GraphProto *p, struct mc_graph *parent,
                       struct mc_node *owner, struct mc_graph **ret);
int mc_onnx_read_function(struct mc_onnx_reader *r, Onnx__FunctionProto *p);
int mc_onnx_read_attr(struct mc_onnx_reader *r, Onnx__AttributeProto *p, struct mc_graph *g,
                      struct mc_node *n, struct mc_attr *a);
int mc_onnx_read_opset(struct mc_onnx_reader *r, Onnx__OperatorSetIdProto *p, struct mc_opset *o);

/* ---- writing ---- */

struct mc_onnx_placed {
    const struct mc_tensor *tensor;
    uint64_t offset;
};

/* A model as protobuf messages that borrow the model's strings and weights. Zeroed before use. */
struct mc_onnx_tree {
    struct mc_arena arena;
    Onnx__ModelProto *model;
    const char *location;          /* of external data; NULL: there is none */
    uint64_t from;                 /* tensors of at least this many bytes are external */
    struct mc_onnx_placed *placed; /* in the order of their offsets */
    size_t n_placed, cap_placed;
    uint32_t *slots; /* hash table over placed, by address: number + 1, or 0 */
    size_t n_slots;
    uint64_t data_end; /* bytes of external data */
};

/* Fill t->model from m, and place external tensors if t has a location. Errors: MC_ENOMEM. */
int mc_onnx_tree_make(struct mc_onnx_tree *t, const struct mc_model *m, struct mc_err *err);
void mc_onnx_tree_free(struct mc_onnx_tree *t);

/* The next three return NULL when out of memory. name: of an initializer, or NULL. */
Onnx__TensorProto *mc_onnx_tree_tensor(struct mc_onnx_tree *t, const struct mc_tensor *x,
                                       const char *name);
Onnx__AttributeProto *mc_onnx_tree_attr(struct mc_onnx_tree *t, const struct mc_attr *a);
Onnx__GraphProto *mc_onnx_tree_graph(struct mc_onnx_tree *t, const struct mc_graph *g);

#endif
