/* ONNX messages made field by field, right or wrong, for the tests of formats/onnx_*.c. Field numbers are
 * those of formats/onnx.proto. A message given to another one is freed. */
#ifndef MC_TESTS_FORMATS_ONNX_BYTES_H
#define MC_TESTS_FORMATS_ONNX_BYTES_H

#include "files.h"

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_GROUP = 3, WIRE_32 = 5 };

void put_varint(struct buf *b, uint64_t v);
void put_tag(struct buf *b, int field, enum wire wire);
void put_int(struct buf *b, int field, int64_t v);
void put_text(struct buf *b, int field, const char *text);
void put_bytes(struct buf *b, int field, const void *data, size_t n);
void put_message(struct buf *b, int field, struct buf message);

/* TensorProto without content; name may be NULL. */
struct buf make_tensor(const char *name, int dtype, int rank, const int64_t *dims);
/* An external one of 4 floats; offset and length may be NULL. */
struct buf make_external(const char *name, const char *location, const char *offset,
                         const char *length);
struct buf make_node(const char *op, const char *in, const char *out);
/* GraphProto x -> Identity -> y, to be added to. */
struct buf make_graph(void);
/* ModelProto of IR 8, opset 17. */
struct buf make_model(struct buf graph);
/* make_model(make_graph() with this initializer). */
struct buf make_model_with(struct buf tensor);
/* Save make_model(graph with an initializer "w" of this many uint8 zeros): a hole at the end of the file. */
const char *save_large(const char *name, struct buf graph, int64_t bytes);

#endif
