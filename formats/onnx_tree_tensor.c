/* struct mc_tensor and struct mc_attr -> protobuf messages, and where external tensors go. */
#include "formats/onnx_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/onnx_wire.h"

/* ---- external data ---- */

/* Offsets of small tensors suit vector loads, those of large ones mapping into memory. */
enum { ALIGN_SMALL = 64, ALIGN_LARGE = 4096, LARGE = 1 << 20 };

static size_t slot_of(const struct mc_onnx_tree *t, const struct mc_tensor *x)
{
    uint64_t h = (uint64_t)(uintptr_t)x->data * UINT64_C(0x9e3779b97f4a7c15);
    size_t i = (size_t)(h >> 32) & (t->n_slots - 1);
    for (; t->slots[i]; i = (i + 1) & (t->n_slots - 1)) {
        const struct mc_tensor *y = t->placed[t->slots[i] - 1].tensor;
        if (y->data == x->data && y->bytes == x->bytes)
            break;
    }
    return i;
}

/* Keep the table at most half full. */
static bool grow_slots(struct mc_onnx_tree *t)
{
    if (2 * (t->n_placed + 1) <= t->n_slots)
        return true;
    size_t n = t->n_slots ? 2 * t->n_slots : 64;
    uint32_t *slots = n <= UINT32_MAX ? mc_calloc(n, sizeof *slots) : NULL;
    if (!slots)
        return false;
    free(t->slots);
    t->slots = slots;
    t->n_slots = n;
    for (size_t i = 0; i < t->n_placed; i++)
        t->slots[slot_of(t, t->placed[i].tensor)] = (uint32_t)i + 1;
    return true;
}

/* Bytes that several values share are written once: a model with tied weights must not grow. */
static bool place(struct mc_onnx_tree *t, const struct mc_tensor *x, uint64_t *ret_offset)
{
    if (!grow_slots(t))
        return false;
    size_t slot = slot_of(t, x);
    if (!t->slots[slot]) {
        uint64_t align = x->bytes >= LARGE ? ALIGN_LARGE : ALIGN_SMALL;
        if (!MC_GROW(t->placed, t->n_placed, t->cap_placed))
            return false;
        uint64_t offset = (t->data_end + align - 1) / align * align;
        t->placed[t->n_placed++] = (struct mc_onnx_placed){x, offset};
        t->slots[slot] = (uint32_t)t->n_placed;
        t->data_end = offset + x->bytes;
    }
    *ret_offset = t->placed[t->slots[slot] - 1].offset;
    return true;
}

static Onnx__StringStringEntryProto *entry(struct mc_onnx_tree *t, const char *key,
                                           const char *value)
{
    Onnx__StringStringEntryProto *e = mc_arena_alloc(&t->arena, sizeof *e);
    if (e) {
        onnx__string_string_entry_proto__init(e);
        e->key = (char *)key;
        e->value = mc_arena_strdup(&t->arena, value);
    }
    return e && e->value ? e : NULL;
}

static bool put_external(struct mc_onnx_tree *t, const struct mc_tensor *x, Onnx__TensorProto *p)
{
    uint64_t offset;
    char number[24];
    size_t n = p->n_external_data + 3;
    Onnx__StringStringEntryProto **list = mc_arena_array(&t->arena, n, sizeof *list);
    if (!list || !place(t, x, &offset) || !(list[0] = entry(t, "location", t->location)))
        return false;
    snprintf(number, sizeof number, "%" PRIu64, offset);
    if (!(list[1] = entry(t, "offset", number)))
        return false;
    snprintf(number, sizeof number, "%zu", x->bytes);
    if (!(list[2] = entry(t, "length", number)))
        return false;
    if (n > 3)
        memcpy(list + 3, p->external_data, (n - 3) * sizeof *list);
    p->external_data = list;
    p->n_external_data = n;
    p->has_data_location = 1;
    p->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    return true;
}

/* ---- tensors ---- */

static bool goes_out(const struct mc_onnx_tree *t, const struct mc_tensor *x)
{
    return t->location && x->data && (x->bytes >= t->from || x->form == MC_TENSOR_EXTERNAL);
}

Onnx__TensorProto *mc_onnx_tree_tensor(struct mc_onnx_tree *t, const struct mc_tensor *x,
                                       const char *name)
{
    Onnx__TensorProto *p = mc_onnx_unpack_extra(&onnx__tensor_proto__descriptor, x->extra.data,
                                                x->extra.size, &t->arena);
    if (!p)
        return NULL;
    if (name)
        p->name = (char *)name;
    p->dims = (int64_t *)x->shape.dim;
    p->n_dims = (size_t)x->shape.rank;
    if (x->dtype != MC_DTYPE_NONE) {
        p->has_data_type = 1;
        p->data_type = x->dtype;
    }
    bool is_float = x->dtype == MC_DTYPE_F32 || x->dtype == MC_DTYPE_C64;
    bool is_double = x->dtype == MC_DTYPE_F64 || x->dtype == MC_DTYPE_C128;
    if (goes_out(t, x)) {
        p->n_int32_data = p->n_int64_data = p->n_uint64_data = 0;
        if (!put_external(t, x, p))
            return NULL;
    } else if (x->form == MC_TENSOR_FIELD && is_float) {
        p->float_data = (float *)x->data;
        p->n_float_data = x->bytes / sizeof *p->float_data;
    } else if (x->form == MC_TENSOR_FIELD && is_double) {
        p->double_data = (double *)x->data;
        p->n_double_data = x->bytes / sizeof *p->double_data;
    } else if (x->form != MC_TENSOR_FIELD) {
        p->has_raw_data = 1;
        p->raw_data = (ProtobufCBinaryData){x->bytes, (uint8_t *)x->data};
    }
    return p;
}

/* ---- attributes ---- */

static bool put_strings(struct mc_onnx_tree *t, const struct mc_attr *a, Onnx__AttributeProto *p)
{
    p->strings = mc_arena_array(&t->arena, a->n, sizeof *p->strings);
    if (!p->strings)
        return false;
    for (p->n_strings = 0; p->n_strings < a->n; p->n_strings++) {
        struct mc_bytes s = a->strings[p->n_strings];
        p->strings[p->n_strings] = (ProtobufCBinaryData){s.size, (uint8_t *)s.data};
    }
    return true;
}

static bool put_tensors(struct mc_onnx_tree *t, const struct mc_attr *a, Onnx__AttributeProto *p)
{
    Onnx__TensorProto **list = mc_arena_array(&t->arena, a->n, sizeof *list);
    for (size_t i = 0; list && i < a->n; i++)
        if (!(list[i] = mc_onnx_tree_tensor(t, a->tensors[i], NULL)))
            return false;
    if (a->type == MC_ATTR_TENSOR) {
        p->t = list && a->n ? list[0] : NULL;
    } else {
        p->tensors = list;
        p->n_tensors = a->n;
    }
    return list != NULL;
}

static bool put_graphs(struct mc_onnx_tree *t, const struct mc_attr *a, Onnx__AttributeProto *p)
{
    Onnx__GraphProto **list = mc_arena_array(&t->arena, a->n, sizeof *list);
    for (size_t i = 0; list && i < a->n; i++)
        if (!(list[i] = mc_onnx_tree_graph(t, a->graphs[i])))
            return false;
    if (a->type == MC_ATTR_GRAPH) {
        p->g = list && a->n ? list[0] : NULL;
    } else {
        p->graphs = list;
        p->n_graphs = a->n;
    }
    return list != NULL;
}

static bool put_value(struct mc_onnx_tree *t, const struct mc_attr *a, Onnx__AttributeProto *p)
{
    switch (a->type) {
    case MC_ATTR_FLOAT:
        p->has_f = 1;
        p->f = a->f;
        return true;
    case MC_ATTR_INT:
        p->has_i = 1;
        p->i = a->i;
        return true;
    case MC_ATTR_STRING:
        p->has_s = 1;
        p->s = (ProtobufCBinaryData){a->s.size, (uint8_t *)a->s.data};
        return true;
    case MC_ATTR_FLOATS:
        p->floats = a->floats;
        p->n_floats = a->n;
        return true;
    case MC_ATTR_INTS:
        p->ints = a->ints;
        p->n_ints = a->n;
        return true;
    case MC_ATTR_STRINGS: return put_strings(t, a, p);
    case MC_ATTR_TENSOR:
    case MC_ATTR_TENSORS: return put_tensors(t, a, p);
    case MC_ATTR_GRAPH:
    case MC_ATTR_GRAPHS: return put_graphs(t, a, p);
    default: return true;
    }
}

Onnx__AttributeProto *mc_onnx_tree_attr(struct mc_onnx_tree *t, const struct mc_attr *a)
{
    Onnx__AttributeProto *p = mc_onnx_unpack_extra(&onnx__attribute_proto__descriptor,
                                                   a->extra.data, a->extra.size, &t->arena);
    if (!p)
        return NULL;
    p->name = (char *)a->name;
    if (a->type != MC_ATTR_NONE) {
        p->has_type = 1;
        p->type = (Onnx__AttributeProto__AttributeType)a->type;
    }
    if (a->ref) {
        p->ref_attr_name = (char *)a->ref;
        return p;
    }
    return put_value(t, a, p) ? p : NULL;
}
