#include "formats/onnx_value_file.h"

#include <stdlib.h>
#include <string.h>

#include "formats/onnx_data.pb-c.h"
#include "formats/onnx_parts.h"
#include "formats/onnx_wire.h"

/* A number that names no type in use, where a file is something else that happens to parse. */
enum { TYPE_PLAUSIBLE = 1000 };

struct source {
    struct mc_onnx_reader r;
    struct mc_arena *mem; /* of what is made */
    const char *name;
};

static int check_type(const char *path, const Onnx__TensorProto *p, struct mc_err *err)
{
    if (!p->has_data_type || p->data_type <= MC_DTYPE_NONE || p->data_type > TYPE_PLAUSIBLE)
        return mc_fail(err, MC_EFORMAT, "'%s' holds no tensor: it has no element type", path);
    if (p->data_type >= MC_DTYPE_COUNT)
        return mc_fail(err, MC_EUNSUP, "'%s' holds elements of type %d, which is not known", path,
                       (int)p->data_type);
    if (p->data_type == MC_DTYPE_STRING)
        return mc_fail(err, MC_EUNSUP, "'%s' holds strings, which cannot be run", path);
    return 0;
}

static int read_tensor(struct source *s, Onnx__TensorProto *p, struct mc_array *ret)
{
    struct mc_tensor *t;
    int rc = check_type(s->r.path, p, s->r.err);
    if (!rc)
        rc = mc_onnx_read_tensor(&s->r, p, "tensor", s->name, true, &t);
    if (rc)
        return rc;
    /* The arena's blocks are aligned to 16 bytes only. */
    uint8_t *block = mc_arena_alloc(s->mem, t->bytes + MC_ALIGN);
    if (block) {
        block += -(uintptr_t)block % MC_ALIGN;
        if (t->bytes)
            memcpy(block, t->data, t->bytes);
        *ret = (struct mc_array){s->name, t->dtype, t->shape, block, t->bytes};
    }
    mc_tensor_unref(t);
    return block ? 0 : mc_onnx_no_memory(&s->r);
}

/* Is what is there (of each kind, by its number) what the message says? kind -1: it says nothing. */
static int check_items(const struct source *s, const char *noun, const size_t count[6], int kind)
{
    int kinds = 0, there = 0;
    for (int i = 0; i < 6; i++)
        if (count[i]) {
            kinds++;
            there = i;
        }
    if (kind < 0)
        return mc_fail(s->r.err, MC_EFORMAT, "'%s' holds no %s: it has no kind of items", s->r.path,
                       noun);
    if (kinds > 1 || (there && there != kind))
        return mc_fail(s->r.err, MC_EFORMAT,
                       "'%s' is not a valid ONNX %s: its items are of other kinds than it says",
                       s->r.path, noun);
    if (there == ONNX__SEQUENCE_PROTO__DATA_TYPE__SPARSE_TENSOR ||
        there == ONNX__SEQUENCE_PROTO__DATA_TYPE__MAP)
        return mc_fail(s->r.err, MC_EUNSUP, "'%s' holds %s, which cannot be run", s->r.path,
                       there == ONNX__SEQUENCE_PROTO__DATA_TYPE__MAP ? "maps" : "sparse tensors");
    return 0;
}

static int read_optional(struct source *s, Onnx__OptionalProto *p, struct mc_array *ret);

static int read_sequence(struct source *s, Onnx__SequenceProto *p, struct mc_array *ret)
{
    const size_t count[6] = {0,
                             p->n_tensor_values,
                             p->n_sparse_tensor_values,
                             p->n_sequence_values,
                             p->n_map_values,
                             p->n_optional_values};
    int rc = check_items(s, "sequence", count, p->has_elem_type ? p->elem_type : -1);
    if (rc)
        return rc;
    size_t n = p->n_tensor_values + p->n_sequence_values + p->n_optional_values;
    struct mc_array *item = mc_arena_array(s->mem, n + 1, sizeof *item);
    if (!item)
        return mc_onnx_no_memory(&s->r);
    for (size_t i = 0; i < n && !rc; i++)
        rc = p->n_tensor_values     ? read_tensor(s, p->tensor_values[i], &item[i])
             : p->n_sequence_values ? read_sequence(s, p->sequence_values[i], &item[i])
                                    : read_optional(s, p->optional_values[i], &item[i]);
    *ret = (struct mc_array){s->name, MC_DTYPE_NONE, mc_shape_of(1, (const int64_t[]){(int64_t)n}),
                             item, n * sizeof *item};
    return rc;
}

static int read_optional(struct source *s, Onnx__OptionalProto *p, struct mc_array *ret)
{
    const size_t count[6] = {0,
                             p->tensor_value != NULL,
                             p->sparse_tensor_value != NULL,
                             p->sequence_value != NULL,
                             p->map_value != NULL,
                             p->optional_value != NULL};
    int rc = check_items(s, "optional", count, p->has_elem_type ? p->elem_type : -1);
    if (rc)
        return rc;
    if (p->tensor_value)
        return read_tensor(s, p->tensor_value, ret);
    if (p->sequence_value)
        return read_sequence(s, p->sequence_value, ret);
    if (p->optional_value)
        return read_optional(s, p->optional_value, ret);
    *ret = (struct mc_array){s->name, MC_DTYPE_NONE, {.rank = -1}, NULL, 0};
    return 0;
}

static int read_value(struct source *s, ProtobufCMessage *m, struct mc_array *ret)
{
    const char *name;
    Onnx__TensorProto *tensor = NULL;
    Onnx__SequenceProto *sequence = NULL;
    Onnx__OptionalProto *optional = NULL;
    if (m->descriptor == &onnx__sequence_proto__descriptor)
        name = (sequence = (Onnx__SequenceProto *)m)->name;
    else if (m->descriptor == &onnx__optional_proto__descriptor)
        name = (optional = (Onnx__OptionalProto *)m)->name;
    else
        name = (tensor = (Onnx__TensorProto *)m)->name;
    s->name = mc_arena_strdup(s->mem, name ? name : "");
    if (!s->name)
        return mc_onnx_no_memory(&s->r);
    return tensor     ? read_tensor(s, tensor, ret)
           : sequence ? read_sequence(s, sequence, ret)
                      : read_optional(s, optional, ret);
}

int mc_onnx_value_file(const char *path, enum mc_type_kind kind, struct mc_arena *mem,
                       struct mc_array *ret, struct mc_err *err)
{
    bool sequence = kind == MC_TYPE_SEQUENCE, optional = kind == MC_TYPE_OPTIONAL;
    struct mc_onnx_files files;
    struct source s = {.r = {.path = path, .files = &files, .err = err}, .mem = mem};
    struct mc_array made;
    ProtobufCMessage *m;
    mc_onnx_files_init(&files, path);
    int rc = mc_onnx_map(path, &s.r.file, NULL, NULL, err);
    if (!rc)
        rc = mc_onnx_unpack_value(mc_storage_data(s.r.file), mc_storage_bytes(s.r.file), path,
                                  sequence   ? &onnx__sequence_proto__descriptor
                                  : optional ? &onnx__optional_proto__descriptor
                                             : &onnx__tensor_proto__descriptor,
                                  sequence   ? "sequence"
                                  : optional ? "optional"
                                             : "tensor",
                                  &s.r.tree, &m, err);
    if (!rc)
        rc = mc_model_new(&s.r.m, err);
    if (!rc)
        rc = read_value(&s, m, &made);
    if (!rc)
        *ret = made;
    mc_model_free(s.r.m);
    mc_arena_free(&s.r.tree);
    mc_onnx_files_close(&files);
    mc_storage_unref(s.r.file);
    return rc;
}
