/* Constant tensors: immutable once in a graph, shared by reference count between clones. */
#ifndef MC_GRAPH_TENSOR_H
#define MC_GRAPH_TENSOR_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"
#include "graph/dtype.h"
#include "graph/shape.h"

struct mc_bytes {
    const uint8_t *data;
    size_t size;
};

/* Where the bytes live: heap, a file mapping, or spill space. Reference counted, thread-safe. */
struct mc_storage;
int mc_storage_heap(size_t bytes, struct mc_storage **ret,
                    struct mc_err *err); /* 64-byte aligned */
int mc_storage_spill(struct mc_spill *spill, size_t bytes, struct mc_storage **ret,
                     struct mc_err *err);
/* Bytes owned elsewhere; release(owner) is called when the last reference goes, also on failure here. */
int mc_storage_foreign(const void *data, size_t bytes, void (*release)(void *owner), void *owner,
                       struct mc_storage **ret, struct mc_err *err);
/* A file mapping, taken over: closed when the last reference goes, also on failure here. */
int mc_storage_map(const struct mc_map *map, struct mc_storage **ret, struct mc_err *err);
struct mc_storage *mc_storage_ref(struct mc_storage *s);
void mc_storage_unref(struct mc_storage *s); /* accepts NULL */
void *mc_storage_data(const struct mc_storage *s);
size_t mc_storage_bytes(const struct mc_storage *s);

enum mc_tensor_form { /* how the file held the bytes; written back the same way while unchanged */
                      MC_TENSOR_RAW,      /* raw_data */
                      MC_TENSOR_FIELD,    /* float_data, int32_data, … */
                      MC_TENSOR_EXTERNAL, /* a file beside the model */
                      MC_TENSOR_SPARSE,   /* sparse initializer: dtype NONE, all of it in `extra` */
};

struct mc_tensor {
    atomic_int refs;
    enum mc_dtype dtype;
    enum mc_tensor_form form;
    struct mc_shape shape; /* all known */
    const uint8_t *data;   /* row-major, little endian; UNALIGNED when it lies in a file mapping */
    size_t bytes;          /* 0 with data NULL for string tensors, whose content stays in `extra`;
                              of a type newer than mcompress (dtype NONE): whatever the file has */
    struct mc_storage *storage;
    struct mc_bytes
        extra; /* the rest of the TensorProto (doc_string, string_data, unknown fields), packed */
};

enum { MC_SPILL_FROM = 1 << 20 }; /* tensors of at least this many bytes go to spill space */

/* A new tensor; *ret_data (if not NULL) is its writable content, zeroed, 64-byte aligned.
 * Above MC_SPILL_FROM bytes it lives in `spill` unless that is NULL.
 * Errors: MC_ESHAPE (unknown or overflowing), MC_EDTYPE (no fixed size), MC_ENOMEM, MC_EIO. */
int mc_tensor_new(enum mc_dtype dtype, const struct mc_shape *shape, struct mc_spill *spill,
                  struct mc_tensor **ret, void **ret_data, struct mc_err *err);
/* A tensor of zeros in address space without memory behind it: where its size is all that is asked for. Read-only.
 * Errors: MC_ESHAPE, MC_ENOMEM. */
int mc_tensor_blank(enum mc_dtype dtype, const struct mc_shape *shape, struct mc_tensor **ret,
                    struct mc_err *err);
/* A tensor over a part of a storage; takes its own reference. A string or sparse tensor has
 * storage NULL and gets its content by mc_tensor_set_extra; one of an unknown type (dtype NONE) takes all of
 * the storage behind offset. Errors as above, MC_EFORMAT if it does not fit into the storage. */
int mc_tensor_view(enum mc_dtype dtype, const struct mc_shape *shape, struct mc_storage *storage,
                   size_t offset, struct mc_tensor **ret, struct mc_err *err);
/* Give a tensor that no graph holds yet its `extra`; copied, freed with the tensor. Errors: MC_ENOMEM. */
int mc_tensor_set_extra(struct mc_tensor *t, const void *data, size_t bytes, struct mc_err *err);
struct mc_tensor *mc_tensor_ref(
    const struct mc_tensor *t);            /* casts const away; content stays immutable */
void mc_tensor_unref(struct mc_tensor *t); /* accepts NULL */
int64_t mc_tensor_count(const struct mc_tensor *t);
/* The content was copied and is not read again soon: what lies in a file mapping leaves memory, to come back
 * from the file when it is touched. */
void mc_tensor_cool(const struct mc_tensor *t);

#endif
