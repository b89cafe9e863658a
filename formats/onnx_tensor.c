/* TensorProto -> struct mc_tensor. Raw and external bytes stay where they are; numbers in typed fields are
 * laid out as raw bytes would be. */
#include "formats/onnx_parts.h"

#include <stdlib.h>
#include <string.h>

#include "formats/onnx_wire.h"

/* A tensor while it is being read. */
struct source {
    struct mc_onnx_reader *r;
    Onnx__TensorProto *p;
    const char *what, *name; /* "initializer", "w" */
    enum mc_dtype dtype;
    struct mc_shape shape;
    size_t bytes; /* that shape and type ask for; 0 for types without a size */
    bool sized;
};

static bool is_external(const Onnx__TensorProto *p)
{
    return p->has_data_location && p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

/* Where in the file the tensor's raw bytes are, for messages. */
static size_t offset_of(const struct source *s)
{
    return (size_t)(s->p->raw_data.data - (const uint8_t *)mc_storage_data(s->r->file));
}

static int read_shape(struct source *s)
{
    Onnx__TensorProto *p = s->p;
    char text[MC_SHAPE_TEXT];
    if (p->n_dims > MC_RANK_MAX)
        return mc_fail(s->r->err, MC_EUNSUP, "'%s': %s '%s' has rank %zu; at most %d is supported",
                       s->r->path, s->what, s->name, p->n_dims, MC_RANK_MAX);
    for (size_t i = 0; i < p->n_dims; i++)
        if (p->dims[i] < 0)
            return mc_fail(s->r->err, MC_EFORMAT, "'%s': %s '%s' has the negative dimension %lld",
                           s->r->path, s->what, s->name, (long long)p->dims[i]);
    s->shape = mc_shape_of((int)p->n_dims, p->dims);
    int64_t count = mc_shape_count(&s->shape);
    s->sized = mc_dtype_info(s->dtype)->bits > 0;
    if (count < 0 || (s->sized && !mc_dtype_bytes(s->dtype, count, &s->bytes)))
        return mc_fail(s->r->err, MC_EFORMAT, "'%s': %s '%s' of shape %s is too large to exist",
                       s->r->path, s->what, s->name, mc_shape_text(&s->shape, text));
    p->n_dims = 0;
    return 0;
}

static int size_mismatch(const struct source *s, size_t have)
{
    char text[MC_SHAPE_TEXT];
    return mc_fail(s->r->err, MC_EFORMAT,
                   "'%s': %s '%s' of shape %s and type %s needs %zu bytes, the file has %zu",
                   s->r->path, s->what, s->name, mc_shape_text(&s->shape, text),
                   mc_dtype_name(s->dtype), s->bytes, have);
}

/* Of a type without a size there is as much as the file has. */
static int view(struct source *s, struct mc_storage *storage, size_t offset, size_t bytes,
                enum mc_tensor_form form, struct mc_tensor **ret)
{
    int rc = mc_tensor_view(s->dtype, &s->shape, storage, offset, ret, s->r->err);
    if (!rc) {
        (*ret)->bytes = bytes;
        (*ret)->form = form;
    }
    return rc;
}

static int read_raw(struct source *s, struct mc_tensor **ret)
{
    Onnx__TensorProto *p = s->p;
    if (s->sized && p->raw_data.len != s->bytes) {
        char text[MC_SHAPE_TEXT];
        return mc_fail(
            s->r->err, MC_EFORMAT,
            "'%s': %s '%s' of shape %s and type %s needs %zu bytes, there are %zu at byte %zu",
            s->r->path, s->what, s->name, mc_shape_text(&s->shape, text), mc_dtype_name(s->dtype),
            s->bytes, p->raw_data.len, offset_of(s));
    }
    int rc = view(s, s->r->file, offset_of(s), p->raw_data.len, MC_TENSOR_RAW, ret);
    p->has_raw_data = 0;
    return rc;
}

/* Strings stay packed: nobody computes with them. */
static int read_strings(struct source *s, struct mc_tensor **ret)
{
    char text[MC_SHAPE_TEXT];
    if ((int64_t)s->p->n_string_data != mc_shape_count(&s->shape) || is_external(s->p))
        return mc_fail(s->r->err, MC_EFORMAT, "'%s': %s '%s' of shape %s has %zu strings",
                       s->r->path, s->what, s->name, mc_shape_text(&s->shape, text),
                       s->p->n_string_data);
    return view(s, NULL, 0, 0, MC_TENSOR_FIELD, ret);
}

/* ---- external ---- */

/* A whole decimal number and nothing else. */
static bool parse_size(const char *text, size_t *ret)
{
    size_t v = 0;
    if (!*text)
        return false;
    for (; *text; text++)
        if (*text < '0' || *text > '9' || !mc_size_mul(v, 10, &v) ||
            !mc_size_add(v, (size_t)(*text - '0'), &v))
            return false;
    *ret = v;
    return true;
}

/* Find where external bytes are. Keys that the writer makes anew (also the checksum, which is that of the
 * old file) are taken out of the message, others stay. */
static int locate(struct source *s, struct mc_storage **ret, size_t *ret_offset, size_t *ret_bytes)
{
    Onnx__TensorProto *p = s->p;
    const char *location = "";
    size_t kept = 0, offset = 0, length = 0, end;
    bool has_length = false;
    for (size_t i = 0; i < p->n_external_data; i++) {
        Onnx__StringStringEntryProto *e = p->external_data[i];
        const char *key = e->key ? e->key : "", *value = e->value ? e->value : "";
        bool number = true;
        if (!strcmp(key, "location"))
            location = value;
        else if (!strcmp(key, "offset"))
            number = parse_size(value, &offset);
        else if (!strcmp(key, "length"))
            has_length = number = parse_size(value, &length);
        else if (strcmp(key, "checksum") && strcmp(key, "basepath"))
            p->external_data[kept++] = e;
        if (!number)
            return mc_fail(s->r->err, MC_EFORMAT, "'%s': %s '%s' has external data of %s '%s'",
                           s->r->path, s->what, s->name, key, value);
    }
    int rc = mc_onnx_files_get(s->r->files, location, s->name, ret, s->r->err);
    if (rc)
        return rc;
    size_t size = mc_storage_bytes(*ret);
    if (!has_length)
        length = s->sized ? s->bytes : offset <= size ? size - offset : 0;
    if (s->sized && length != s->bytes)
        return size_mismatch(s, length);
    if (!mc_size_add(offset, length, &end) || end > size)
        return mc_fail(s->r->err, MC_EFORMAT,
                       "'%s': %s '%s' is at byte %zu (%zu bytes) of '%s', which has only %zu bytes",
                       s->r->path, s->what, s->name, offset, length, location, size);
    p->n_external_data = kept;
    p->has_data_location = 0;
    *ret_offset = offset;
    *ret_bytes = length;
    return 0;
}

static int read_external(struct source *s, struct mc_tensor **ret)
{
    struct mc_storage *storage;
    size_t offset, bytes;
    int rc = locate(s, &storage, &offset, &bytes);
    if (!rc)
        rc = view(s, storage, offset, bytes, MC_TENSOR_EXTERNAL, ret);
    s->r->m->external = true;
    return rc;
}

/* ---- typed fields ---- */

/* Fill dst from the low `width` bytes of n integers of `size` bytes (little endian). */
static void narrow(uint8_t *dst, const void *src, size_t n, size_t size, size_t width)
{
    for (size_t i = 0; i < n; i++)
        memcpy(dst + i * width, (const uint8_t *)src + i * size, width);
}

struct field {
    const void *data;
    size_t n, size; /* elements, bytes of one */
    size_t width;   /* bytes of one that count */
};

/* The typed field that holds elements of a type. Types below 8 bits are packed as in raw_data, one byte in
 * each number. */
static struct field field_of(const Onnx__TensorProto *p, enum mc_dtype dtype)
{
    size_t bits = mc_dtype_info(dtype)->bits;
    switch (dtype) {
    case MC_DTYPE_F32:
    case MC_DTYPE_C64: return (struct field){p->float_data, p->n_float_data, 4, 4};
    case MC_DTYPE_F64:
    case MC_DTYPE_C128: return (struct field){p->double_data, p->n_double_data, 8, 8};
    case MC_DTYPE_I64: return (struct field){p->int64_data, p->n_int64_data, 8, 8};
    case MC_DTYPE_U32:
    case MC_DTYPE_U64: return (struct field){p->uint64_data, p->n_uint64_data, 8, bits / 8};
    default: return (struct field){p->int32_data, p->n_int32_data, 4, bits < 8 ? 1 : bits / 8};
    }
}

static int read_field(struct source *s, struct mc_tensor **ret)
{
    Onnx__TensorProto *p = s->p;
    struct mc_storage *storage;
    if (!s->sized)
        return view(s, NULL, 0, 0, MC_TENSOR_FIELD, ret);
    struct field f = field_of(p, s->dtype);
    size_t have = 0;
    if (!mc_size_mul(f.n, f.width, &have) || have != s->bytes)
        return size_mismatch(s, have);
    int rc = mc_storage_heap(s->bytes, &storage, s->r->err);
    if (rc)
        return rc;
    narrow(mc_storage_data(storage), f.data, f.n, f.size, f.width);
    rc = view(s, storage, 0, s->bytes, MC_TENSOR_FIELD, ret);
    mc_storage_unref(storage);
    /* These two are the same bytes in both forms. The others stay in `extra` as they are: a file may hold
     * an int8 as -1 or as 255, and that is its own affair. */
    if (f.data == p->float_data)
        p->n_float_data = 0;
    if (f.data == p->double_data)
        p->n_double_data = 0;
    return rc;
}

/* ---- */

static int set_rest(struct mc_onnx_reader *r, struct mc_tensor *t, const ProtobufCMessage *p)
{
    size_t n = protobuf_c_message_get_packed_size(p);
    if (!n)
        return 0;
    uint8_t *buf = malloc(n);
    if (!buf)
        return mc_onnx_no_memory(r);
    protobuf_c_message_pack(p, buf);
    int rc = mc_tensor_set_extra(t, buf, n, r->err);
    free(buf);
    return rc;
}

int mc_onnx_read_tensor(struct mc_onnx_reader *r, Onnx__TensorProto *p, const char *what,
                        const char *name, bool named, struct mc_tensor **ret)
{
    struct source s = {.r = r, .p = p, .what = what, .name = name};
    struct mc_tensor *t = NULL;
    if (p->data_type > MC_DTYPE_NONE && p->data_type < MC_DTYPE_COUNT) {
        s.dtype = (enum mc_dtype)p->data_type;
        p->has_data_type = 0;
    }
    int rc = read_shape(&s);
    if (rc)
        return rc;
    if (s.dtype == MC_DTYPE_STRING)
        rc = read_strings(&s, &t);
    else if (is_external(p))
        rc = read_external(&s, &t);
    else if (p->has_raw_data)
        rc = read_raw(&s, &t);
    else
        rc = read_field(&s, &t);
    if (rc)
        return rc;
    if (named && p->name && *p->name)
        p->name = NULL;
    rc = set_rest(r, t, &p->base);
    if (rc)
        mc_tensor_unref(t);
    else
        *ret = t;
    return rc;
}

int mc_onnx_read_sparse(struct mc_onnx_reader *r, Onnx__SparseTensorProto *p,
                        struct mc_tensor **ret)
{
    struct mc_shape none = {0};
    struct mc_tensor *t = NULL;
    int rc = mc_onnx_inline_external(r, &p->base);
    if (!rc)
        rc = mc_tensor_view(MC_DTYPE_NONE, &none, NULL, 0, &t, r->err);
    if (!rc)
        rc = set_rest(r, t, &p->base);
    if (rc) {
        mc_tensor_unref(t);
        return rc;
    }
    t->form = MC_TENSOR_SPARSE;
    *ret = t;
    return 0;
}

/* ---- messages that stay packed ---- */

static int inline_tensor(struct mc_onnx_reader *r, Onnx__TensorProto *p)
{
    struct source s = {.r = r, .p = p, .what = "tensor", .name = p->name ? p->name : ""};
    if (!is_external(p))
        return 0;
    if (p->data_type > MC_DTYPE_NONE && p->data_type < MC_DTYPE_COUNT)
        s.dtype = (enum mc_dtype)p->data_type;
    size_t rank = p->n_dims, offset, bytes;
    struct mc_storage *storage;
    int rc = read_shape(&s);
    p->n_dims = rank;
    if (!rc)
        rc = locate(&s, &storage, &offset, &bytes);
    if (rc)
        return rc;
    p->has_raw_data = 1;
    p->raw_data.data = (uint8_t *)mc_storage_data(storage) + offset;
    p->raw_data.len = bytes;
    return 0;
}

int mc_onnx_inline_external(struct mc_onnx_reader *r, ProtobufCMessage *m)
{
    if (m->descriptor == &onnx__tensor_proto__descriptor)
        return inline_tensor(r, (Onnx__TensorProto *)m);
    int rc = 0;
    for (unsigned i = 0; !rc && i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        size_t n;
        ProtobufCMessage **child = mc_onnx_children(m, f, &n);
        for (size_t k = 0; !rc && k < n; k++)
            rc = mc_onnx_inline_external(r, child[k]);
    }
    return rc;
}
