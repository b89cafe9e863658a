/* ONNX files: bytes <-> graph. Knows no operators; see formats/onnx.proto for the schema. */
#ifndef MC_FORMATS_ONNX_H
#define MC_FORMATS_ONNX_H

#include "graph/graph.h"

/* Read a model. Weights stay in the file's mapping (and in those of its external files), so the cost does
 * not grow with them. path "-" is stdin (no external data). The result is verified.
 * Errors: MC_EOPEN, MC_EFORMAT (with the byte offset where known), MC_EUNSUP (IR or protobuf form). */
int mc_onnx_read(const char *path, struct mc_model **ret, struct mc_err *err);

struct mc_onnx_write_opts {
    bool external;          /* all tensors of at least external_from bytes go to PATH.data */
    uint64_t external_from; /* 0: 1024 */
};

/* A model written beside its path, complete and readable, but not yet in its place: a report is about the
 * file, so it is read back and measured before the old one is replaced. */
struct mc_onnx_staged;

/* External data is chosen by itself when the model had it or would exceed 2 GB. path "-" is stdout.
 * Errors: MC_EIO; MC_EUSAGE for external data to "-". */
int mc_onnx_stage(const struct mc_model *m, const char *path, const struct mc_onnx_write_opts *opts,
                  struct mc_onnx_staged **ret, struct mc_err *err);
/* Read what was written, through the reader every other file goes through. */
int mc_onnx_staged_read(const struct mc_onnx_staged *s, struct mc_model **ret, struct mc_err *err);
/* SHA-256 of the model's bytes (then of the external ones), lower-case hex, and their number together. */
int mc_onnx_staged_digest(const struct mc_onnx_staged *s, char ret_hex[65], uint64_t *ret_bytes,
                          struct mc_err *err);
/* Rename into place (external data first); frees s in any case. */
int mc_onnx_staged_commit(struct mc_onnx_staged *s, struct mc_err *err);
void mc_onnx_staged_abort(struct mc_onnx_staged *s); /* accepts NULL */

/* Stage and commit in one. */
int mc_onnx_write(const struct mc_model *m, const char *path, const struct mc_onnx_write_opts *opts,
                  struct mc_err *err);

/* Bytes mc_onnx_write would write to path, model and external data together. The model names the external
 * file, so the length of the name counts; path NULL: that of "model.onnx". Cost: no weights are touched. */
int mc_onnx_bytes(const struct mc_model *m, const char *path, const struct mc_onnx_write_opts *opts,
                  uint64_t *ret, struct mc_err *err);

/* SHA-256 of a model's file (and, if it has any, its external files in order of first use), lower-case hex,
 * and their bytes together. */
int mc_onnx_digest(const char *path, char ret_hex[65], uint64_t *ret_bytes, struct mc_err *err);

#endif
