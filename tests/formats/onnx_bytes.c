#include "onnx_bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void put_varint(struct buf *b, uint64_t v)
{
    for (; v > 127; v >>= 7)
        put_le(b, (v & 127) | 128, 1);
    put_le(b, v, 1);
}

void put_tag(struct buf *b, int field, enum wire wire)
{
    put_varint(b, (uint64_t)field << 3 | wire);
}

void put_int(struct buf *b, int field, int64_t v)
{
    put_tag(b, field, WIRE_VARINT);
    put_varint(b, (uint64_t)v);
}

void put_bytes(struct buf *b, int field, const void *data, size_t n)
{
    put_tag(b, field, WIRE_BYTES);
    put_varint(b, n);
    put(b, data, n);
}

void put_text(struct buf *b, int field, const char *text)
{
    put_bytes(b, field, text, strlen(text));
}

void put_message(struct buf *b, int field, struct buf message)
{
    put_bytes(b, field, message.p, message.n);
    buf_free(&message);
}

struct buf make_tensor(const char *name, int dtype, int rank, const int64_t *dims)
{
    struct buf b = {0};
    for (int i = 0; i < rank; i++)
        put_int(&b, 1, dims[i]);
    put_int(&b, 2, dtype);
    if (name)
        put_text(&b, 8, name);
    return b;
}

static void put_entry(struct buf *b, int field, const char *key, const char *value)
{
    struct buf e = {0};
    put_text(&e, 1, key);
    put_text(&e, 2, value);
    put_message(b, field, e);
}

struct buf make_external(const char *name, const char *location, const char *offset,
                         const char *length)
{
    struct buf b = make_tensor(name, 1, 1, (const int64_t[]){4});
    put_entry(&b, 13, "location", location);
    if (offset)
        put_entry(&b, 13, "offset", offset);
    if (length)
        put_entry(&b, 13, "length", length);
    put_int(&b, 14, 1);
    return b;
}

struct buf make_node(const char *op, const char *in, const char *out)
{
    struct buf b = {0};
    put_text(&b, 1, in);
    put_text(&b, 2, out);
    put_text(&b, 4, op);
    return b;
}

static struct buf named(const char *name)
{
    struct buf b = {0};
    put_text(&b, 1, name);
    return b;
}

struct buf make_graph(void)
{
    struct buf b = {0};
    put_message(&b, 1, make_node("Identity", "x", "y"));
    put_text(&b, 2, "main");
    put_message(&b, 11, named("x"));
    put_message(&b, 12, named("y"));
    return b;
}

struct buf make_model(struct buf graph)
{
    struct buf b = {0}, opset = {0};
    put_int(&b, 1, 8);
    put_int(&opset, 2, 17);
    put_message(&b, 8, opset);
    put_message(&b, 7, graph);
    return b;
}

struct buf make_model_with(struct buf tensor)
{
    struct buf g = make_graph();
    put_message(&g, 5, tensor);
    return make_model(g);
}

const char *save_large(const char *name, struct buf graph, int64_t bytes)
{
    struct buf t = make_tensor("w", 2, 1, &bytes), file = {0}, opset = {0};
    put_tag(&t, 9, WIRE_BYTES);
    put_varint(&t, (uint64_t)bytes);
    put_tag(&graph, 5, WIRE_BYTES);
    put_varint(&graph, t.n + (uint64_t)bytes);
    put(&graph, t.p, t.n);
    put_int(&file, 1, 8);
    put_int(&opset, 2, 17);
    put_message(&file, 8, opset);
    put_tag(&file, 7, WIRE_BYTES);
    put_varint(&file, graph.n + (uint64_t)bytes);
    put(&file, graph.p, graph.n);
    buf_free(&t);
    buf_free(&graph);
    off_t size = (off_t)file.n + bytes;
    const char *path = save(name, file);
    if (truncate(path, size)) {
        perror(path);
        exit(99);
    }
    return path;
}
