/* protobuf-c alone copies every weight, has no limit on recursion (a small file overflows the stack) and
 * does not say where a file is broken. So a scanner, driven by the generated descriptors, goes first: it
 * checks the whole file and copies it to a skeleton in which each raw_data is replaced by its number. That
 * skeleton is unpacked, and the numbers become pointers into the file. */
#include "formats/onnx_wire.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum wire {
    WIRE_VARINT = 0,
    WIRE_64 = 1,
    WIRE_BYTES = 2,
    WIRE_GROUP = 3,
    WIRE_END = 4,
    WIRE_32 = 5
};

/* Nested lengths are written before they are known, so always as five bytes. */
enum { PADDED = 5, PADDED_MAX = INT_MAX, FIELD_NUMBER_MAX = (1 << 29) - 1 };

struct payload {
    const uint8_t *data;
    size_t size;
};

struct scan {
    const char *path, *noun; /* noun: what the file should hold */
    const uint8_t *data;
    size_t at;
    uint8_t *out;
    size_t n_out, cap_out;
    struct payload *payloads;
    size_t n_payloads, cap_payloads;
    size_t n_unknown; /* fields so far that the schema does not have */
    struct mc_err *err;
};

/* The message that is being scanned. */
struct level {
    const ProtobufCMessageDescriptor *type;
    size_t end;
    int depth;
    uint64_t unknown_in; /* a bit for each field that holds a message with unknown fields in it */
};

static int broken(struct scan *s, size_t at, const char *what)
{
    return mc_fail(s->err, MC_EFORMAT, "'%s' is not a valid ONNX %s: %s at byte %zu", s->path,
                   s->noun, what, at);
}

static int no_memory(struct scan *s)
{
    return mc_fail(s->err, MC_ENOMEM, "out of memory reading '%s'", s->path);
}

static int emit(struct scan *s, const void *data, size_t n)
{
    if (n > s->cap_out - s->n_out) {
        size_t cap;
        if (!mc_size_add(s->n_out, n, &cap) || !mc_size_add(cap, cap / 2 + 4096, &cap))
            return no_memory(s);
        uint8_t *p = realloc(s->out, cap);
        if (!p)
            return no_memory(s);
        s->out = p;
        s->cap_out = cap;
    }
    if (n)
        memcpy(s->out + s->n_out, data, n);
    s->n_out += n;
    return 0;
}

static int emit_varint(struct scan *s, uint64_t v)
{
    uint8_t b[10];
    size_t n = 0;
    for (; v > 127; v >>= 7)
        b[n++] = (uint8_t)(v | 128);
    b[n++] = (uint8_t)v;
    return emit(s, b, n);
}

static int read_varint(struct scan *s, size_t end, uint64_t *ret)
{
    uint64_t v = 0;
    size_t start = s->at;
    for (int shift = 0; s->at < end; shift += 7) {
        uint8_t b = s->data[s->at++];
        if (shift == 63 && b > 1)
            return broken(s, start, "a number longer than 64 bits");
        v |= (uint64_t)(b & 127) << shift;
        if (b < 128) {
            *ret = v;
            return 0;
        }
    }
    return broken(s, start, "a number cut off");
}

static enum wire natural_wire(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return WIRE_32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return WIRE_64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
    default: return WIRE_VARINT;
    }
}

/* May this field come in this wire type? Repeated numbers may be packed or not. */
static bool wire_fits(const ProtobufCFieldDescriptor *f, enum wire wire)
{
    return wire == natural_wire(f->type) ||
           (wire == WIRE_BYTES && f->label == PROTOBUF_C_LABEL_REPEATED);
}

static int check_packed(struct scan *s, enum wire element, size_t end)
{
    size_t start = s->at;
    if (element == WIRE_32 || element == WIRE_64) {
        if ((end - start) % (element == WIRE_32 ? 4 : 8))
            return broken(s, start, "a list of numbers cut off");
        return 0;
    }
    int rc = 0;
    uint64_t v;
    while (!rc && s->at < end)
        rc = read_varint(s, end, &v);
    s->at = start;
    return rc;
}

static int too_large(struct scan *s)
{
    return mc_fail(s->err, MC_EUNSUP, "'%s' has more than 2 GB besides raw tensor data", s->path);
}

/* A message that may come once may still come in parts, which are merged; protobuf-c does that, but loses
 * unknown fields of all parts but the last. */
static int note_part(struct scan *s, struct level *in, const ProtobufCFieldDescriptor *f,
                     size_t unknown_before)
{
    uint64_t bit = UINT64_C(1) << (f - in->type->fields);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return 0;
    if (in->unknown_in & bit)
        return mc_fail(
            s->err, MC_EUNSUP,
            "'%s': %s.%s comes in parts and has fields newer than mcompress, up to byte %zu",
            s->path, in->type->short_name, f->name, s->at);
    if (s->n_unknown > unknown_before)
        in->unknown_in |= bit;
    return 0;
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *type, size_t end,
                        int depth);

static int scan_nested(struct scan *s, struct level *in, const ProtobufCFieldDescriptor *f,
                       size_t end)
{
    static const uint8_t room[PADDED];
    size_t head = s->n_out, unknown = s->n_unknown;
    int rc = emit(s, room, PADDED);
    if (!rc)
        rc = scan_message(s, f->descriptor, end, in->depth + 1);
    if (!rc)
        rc = note_part(s, in, f, unknown);
    if (rc)
        return rc;
    size_t n = s->n_out - head - PADDED;
    if (n > PADDED_MAX)
        return too_large(s);
    for (int i = 0; i < PADDED; i++, n >>= 7)
        s->out[head + (size_t)i] = (uint8_t)((n & 127) | (i < PADDED - 1 ? 128 : 0));
    return 0;
}

static int leave_payload(struct scan *s, const uint8_t *data, size_t n)
{
    uint64_t number = s->n_payloads;
    if (!MC_GROW(s->payloads, s->n_payloads, s->cap_payloads))
        return no_memory(s);
    s->payloads[s->n_payloads++] = (struct payload){data, n};
    s->at += n;
    int rc = emit_varint(s, sizeof number);
    return rc ? rc : emit(s, &number, sizeof number);
}

/* The content of a length-prefixed field, s->at to end; f is NULL for an unknown one. */
static int scan_bytes(struct scan *s, struct level *in, const ProtobufCFieldDescriptor *f,
                      size_t end)
{
    const uint8_t *p = s->data + s->at, *nul;
    size_t n = end - s->at;
    int rc = 0;
    if (f && f->type == PROTOBUF_C_TYPE_MESSAGE)
        return scan_nested(s, in, f, end);
    if (f && f->type == PROTOBUF_C_TYPE_BYTES && f->label != PROTOBUF_C_LABEL_REPEATED &&
        in->type == &onnx__tensor_proto__descriptor)
        return leave_payload(s, p, n);
    if (f && f->type == PROTOBUF_C_TYPE_STRING && n && (nul = memchr(p, 0, n)))
        return mc_fail(s->err, MC_EUNSUP, "'%s': %s.%s has a NUL byte at byte %zu", s->path,
                       in->type->short_name, f->name, s->at + (size_t)(nul - p));
    if (f && natural_wire(f->type) != WIRE_BYTES)
        rc = check_packed(s, natural_wire(f->type), end);
    if (!rc && n > PADDED_MAX)
        rc = too_large(s);
    if (!rc)
        rc = emit_varint(s, n);
    s->at = end;
    return rc ? rc : emit(s, p, n);
}

/* What follows a tag. */
static int scan_content(struct scan *s, struct level *in, const ProtobufCFieldDescriptor *f,
                        enum wire wire)
{
    uint64_t v, size = wire == WIRE_32 ? 4 : 8;
    int rc;
    if (wire == WIRE_VARINT) {
        rc = read_varint(s, in->end, &v);
        return rc ? rc : emit_varint(s, v);
    }
    if (wire == WIRE_BYTES && (rc = read_varint(s, in->end, &size)))
        return rc;
    if (size > in->end - s->at)
        return mc_fail(s->err, MC_EFORMAT,
                       "'%s' is not a valid ONNX %s, or cut off: %llu bytes wanted at byte %zu, "
                       "%zu are there",
                       s->path, s->noun, (unsigned long long)size, s->at, in->end - s->at);
    if (wire == WIRE_BYTES)
        return scan_bytes(s, in, f, s->at + (size_t)size);
    s->at += (size_t)size;
    return emit(s, s->data + s->at - size, (size_t)size);
}

static int scan_field(struct scan *s, struct level *in)
{
    size_t start = s->at;
    uint64_t tag;
    int rc = read_varint(s, in->end, &tag);
    if (rc)
        return rc;
    uint64_t number = tag >> 3;
    enum wire wire = tag & 7;
    if (!number || number > FIELD_NUMBER_MAX || wire > WIRE_32)
        return broken(s, start, "no field of a message");
    if (wire == WIRE_GROUP || wire == WIRE_END)
        return mc_fail(s->err, MC_EUNSUP,
                       "'%s' uses a protobuf group, which ONNX does not, at byte %zu", s->path,
                       start);
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(in->type, (unsigned)number);
    if (f && !wire_fits(f, wire))
        return mc_fail(s->err, MC_EFORMAT,
                       "'%s' is not a valid ONNX %s: %s.%s of a wrong type at byte %zu", s->path,
                       s->noun, in->type->short_name, f->name, start);
    s->n_unknown += !f;
    rc = emit_varint(s, tag);
    return rc ? rc : scan_content(s, in, f, wire);
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *type, size_t end,
                        int depth)
{
    struct level in = {.type = type, .end = end, .depth = depth};
    if (depth > MC_ONNX_DEPTH)
        return mc_fail(s->err, MC_EFORMAT,
                       "'%s' is not a valid ONNX %s: messages nested more than %d deep at byte %zu",
                       s->path, s->noun, MC_ONNX_DEPTH, s->at);
    int rc = 0;
    while (!rc && s->at < end)
        rc = scan_field(s, &in);
    return rc;
}

/* ---- from skeleton to tree ---- */

static void *arena_alloc(void *arena, size_t bytes)
{
    return mc_arena_alloc(arena, bytes);
}

static void arena_keep(void *arena, void *p)
{
    (void)arena;
    (void)p;
}

ProtobufCMessage **mc_onnx_children(ProtobufCMessage *m, const ProtobufCFieldDescriptor *field,
                                    size_t *ret_n)
{
    void *member = (char *)m + field->offset;
    const void *quantifier = (char *)m + field->quantifier_offset;
    *ret_n = 0;
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return NULL;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        *ret_n = *(const size_t *)quantifier;
        return *(ProtobufCMessage ***)member;
    }
    bool other =
        (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(const uint32_t *)quantifier != field->id;
    if (!other && *(ProtobufCMessage **)member)
        *ret_n = 1;
    return member;
}

void *mc_onnx_unpack_extra(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size,
                           struct mc_arena *arena)
{
    static const uint8_t nothing[1];
    ProtobufCAllocator alloc = {arena_alloc, arena_keep, arena};
    return protobuf_c_message_unpack(type, &alloc, size, size ? data : nothing);
}

/* Turn the numbers that the scanner left in raw_data into the bytes they stand for. */
static void place_payloads(ProtobufCMessage *m, const struct payload *payloads)
{
    if (m->descriptor == &onnx__tensor_proto__descriptor) {
        Onnx__TensorProto *t = (Onnx__TensorProto *)m;
        if (t->has_raw_data) {
            uint64_t number;
            memcpy(&number, t->raw_data.data, sizeof number);
            t->raw_data.data = (uint8_t *)payloads[number].data;
            t->raw_data.len = payloads[number].size;
        }
    }
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        size_t n;
        ProtobufCMessage **child = mc_onnx_children(m, &m->descriptor->fields[i], &n);
        for (size_t k = 0; k < n; k++)
            place_payloads(child[k], payloads);
    }
}

static int unpack(struct scan *s, const ProtobufCMessageDescriptor *type, size_t size,
                  struct mc_arena *arena, ProtobufCMessage **ret)
{
    int rc = scan_message(s, type, size, 1);
    if (!rc && s->n_out > PADDED_MAX)
        rc = too_large(s);
    if (rc)
        goto out;
    /* An empty message has no skeleton. */
    *ret = mc_onnx_unpack_extra(type, s->out, s->n_out, arena);
    if (*ret)
        place_payloads(*ret, s->payloads);
    else
        rc = no_memory(s); /* the scanner let nothing else through */
out:
    free(s->out);
    free(s->payloads);
    return rc;
}

int mc_onnx_unpack(const uint8_t *data, size_t size, const char *path, struct mc_arena *arena,
                   Onnx__ModelProto **ret, struct mc_err *err)
{
    struct scan s = {.path = path, .noun = "model", .data = data, .err = err};
    ProtobufCMessage *m;
    if (!size)
        return mc_fail(err, MC_EFORMAT, "'%s' is not an ONNX model: it is empty", path);
    int rc = unpack(&s, &onnx__model_proto__descriptor, size, arena, &m);
    if (!rc)
        *ret = (Onnx__ModelProto *)m;
    return rc;
}

int mc_onnx_unpack_value(const uint8_t *data, size_t size, const char *path,
                         const ProtobufCMessageDescriptor *type, const char *noun,
                         struct mc_arena *arena, ProtobufCMessage **ret, struct mc_err *err)
{
    struct scan s = {.path = path, .noun = noun, .data = data, .err = err};
    return unpack(&s, type, size, arena, ret);
}
