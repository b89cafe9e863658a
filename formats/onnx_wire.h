/* Wire format of model and tensor files. Private to formats/onnx_*.c. */
#ifndef MC_FORMATS_ONNX_WIRE_H
#define MC_FORMATS_ONNX_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "formats/onnx.pb-c.h"

/* Messages inside each other; the limit protobuf's own readers have. */
enum { MC_ONNX_DEPTH = 100 };

/* Unpack `size` bytes at `data`. Everything lies in the arena but TensorProto.raw_data, which point into
 * `data`: cost and memory do not grow with the weights.
 * path: for messages. Errors: MC_EFORMAT with the byte offset; MC_EUNSUP for groups, for strings with a NUL
 * byte and for more than 2 GB besides raw_data; MC_ENOMEM. */
int mc_onnx_unpack(const uint8_t *data, size_t size, const char *path, struct mc_arena *arena,
                   Onnx__ModelProto **ret, struct mc_err *err);

/* The same of a file that holds one message of another type, a `noun` ("tensor"). */
int mc_onnx_unpack_value(const uint8_t *data, size_t size, const char *path,
                         const ProtobufCMessageDescriptor *type, const char *noun,
                         struct mc_arena *arena, ProtobufCMessage **ret, struct mc_err *err);

/* Unpack the packed rest of a message (`extra`), or make an empty one; all of it lies in the arena.
 * NULL when out of memory. */
void *mc_onnx_unpack_extra(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                           struct mc_arena *arena);

/* Messages in a field of m: an array of *ret_n; none if the field holds no messages. */
ProtobufCMessage **mc_onnx_children(ProtobufCMessage *m, const ProtobufCFieldDescriptor *field,
                                    size_t *ret_n);

#endif
