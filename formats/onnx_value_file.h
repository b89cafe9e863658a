/* One value in a file of its own, as the test data of ONNX models has them: a TensorProto, a SequenceProto or
 * an OptionalProto. */
#ifndef MC_FORMATS_ONNX_VALUE_FILE_H
#define MC_FORMATS_ONNX_VALUE_FILE_H

#include "base/mem.h"
#include "graph/dataset.h"
#include "graph/graph.h"

/* *ret is in `mem`, aligned, and named as the file names it ("" if it does not), items as the whole.
 * kind: SEQUENCE, OPTIONAL, or a tensor otherwise: a file does not tell which of them it is.
 * Errors: MC_EOPEN; MC_EFORMAT truncated, not of that kind, or a list of several kinds of items; MC_EUNSUP for
 * strings, maps, sparse tensors and unknown element types; MC_ENOMEM. */
int mc_onnx_value_file(const char *path, enum mc_type_kind kind, struct mc_arena *mem,
                       struct mc_array *ret, struct mc_err *err);

#endif
