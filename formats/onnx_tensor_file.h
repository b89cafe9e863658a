/* One tensor in a file of its own, as the test data of ONNX models has them. */
#ifndef MC_FORMATS_ONNX_TENSOR_FILE_H
#define MC_FORMATS_ONNX_TENSOR_FILE_H

#include "graph/tensor.h"

/* *ret_name: what the file calls it, "" if it does not; malloc'd. Content may lie in the mapped file; that of
 * strings is in `extra`. Errors: MC_EOPEN; MC_EFORMAT truncated or no tensor; MC_EUNSUP for an element type
 * that is not known; MC_ENOMEM. */
int mc_onnx_tensor_file(const char *path, struct mc_tensor **ret, char **ret_name,
                        struct mc_err *err);

#endif
