/* A net of three layers of integers: 4 bits per channel in bytes, 4 bits in blocks, bytes around 128. */
#ifndef MC_TESTS_QUANT_TRAIN_NET_H
#define MC_TESTS_QUANT_TRAIN_NET_H

#include "../run/run_util.h"

#include <math.h>

static inline struct mc_value *scalar(struct mc_graph *g, const char *name, float x)
{
    return f32_const(g, name, 0, NULL, &x);
}

/* x through integers of u8 or i8 with scale s; bits < 8: cut to [0, 2^bits) before. */
static inline struct mc_value *quantised(struct mc_graph *g, const char *name, struct mc_value *x,
                                         float s, enum mc_dtype type, int zero, int bits)
{
    char text[6][32];
    static const char *const of[] = {"s", "z", "lo", "hi", "q", "dq"};
    int8_t z = (int8_t)zero;
    struct mc_value *in[3] = {x};
    for (int i = 0; i < 6; i++)
        snprintf(text[i], sizeof text[i], "%s.%s", name, of[i]);
    if (bits < 8) {
        in[1] = scalar(g, text[2], (float)-zero * s);
        in[2] = scalar(g, text[3], (float)((1 << bits) - 1 - zero) * s);
        in[0] = build_node(g, "Clip", name, 3, in, NULL);
    }
    in[1] = scalar(g, text[0], s);
    in[2] = build_const(g, text[1], type, 0, NULL, &z);
    in[0] = build_node(g, "QuantizeLinear", text[4], 3, in, NULL);
    return build_node(g, "DequantizeLinear", text[5], 3, in, NULL);
}

/* n draws from [lo, hi], both of which are there. */
static inline void draw(int8_t *q, int64_t n, int lo, int hi, uint64_t seed)
{
    float x[512];
    mc_rng_fill_normal(seed, 7, 0, x, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        int v = (int)lrintf(x[i] * (float)(hi - lo) / 4) + (hi + lo + 1) / 2;
        q[i] = (int8_t)(v < lo ? lo : v > hi ? hi : v);
    }
    q[0] = (int8_t)lo;
    q[1] = (int8_t)hi;
}

static inline struct mc_value *stored(struct mc_graph *g, const char *name, struct mc_value *q,
                                      struct mc_value *s, struct mc_value *z, int axis, int block)
{
    struct mc_value *in[3] = {q, s, z};
    struct mc_node *n;
    struct mc_value *y = build_node(g, "DequantizeLinear", name, z ? 3 : 2, in, &n);
    if (axis >= 0)
        assert_int_equal(mc_edit_attr_int(n, "axis", axis, NULL), 0);
    if (block)
        assert_int_equal(mc_edit_attr_int(n, "block_size", block, NULL), 0);
    return y;
}

static inline struct mc_value *bias(struct mc_graph *g, const char *name, int n, float x_scale,
                                    const float *w_scale, bool each)
{
    char text[2][32];
    int32_t b[8];
    float s[8];
    for (int i = 0; i < n; i++) {
        b[i] = 9 * i - 20;
        s[i] = x_scale * w_scale[each ? i : 0];
    }
    snprintf(text[0], sizeof text[0], "%s.q", name);
    snprintf(text[1], sizeof text[1], "%s.s", name);
    return stored(g, name, build_const(g, text[0], MC_DTYPE_I32, 1, DIMS(n), b),
                  f32_const(g, text[1], each, DIMS(n), s), NULL, each ? 0 : -1, 0);
}

static inline struct mc_model *net(void)
{
    static const float conv_s[] = {0.05F, 0.08F, 0.03F, 0.06F}, out_s[] = {0.004F};
    float block_s[4 * 8];
    int8_t q[512], packed[64];
    uint8_t middle = 128, u8[40];
    struct mc_model *m = build_model(21);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *in[3];
    struct mc_value *y = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-2, 3, 6, 6));
    in[0] = quantised(g, "in", y, 0.2F, MC_DTYPE_U8, 7, 4);
    draw(q, 4 * 27, -7, 7, 1);
    in[1] = stored(g, "conv.w", build_const(g, "conv.q", MC_DTYPE_I8, 4, DIMS(4, 3, 3, 3), q),
                   f32_const(g, "conv.s", 1, DIMS(4), conv_s), NULL, 0, 0);
    in[2] = bias(g, "conv.b", 4, 0.2F, conv_s, true);
    y = build_unary(g, "Relu", "relu", build_node(g, "Conv", "conv", 3, in, NULL));
    y = quantised(g, "before", y, 0.25F, MC_DTYPE_U8, 0, 4);
    y = build_node(g, "MaxPool", "pool", 1, &y, &n);
    assert_int_equal(mc_edit_attr_ints(n, "kernel_shape", DIMS(2, 2), 2, NULL), 0);
    assert_int_equal(mc_edit_attr_ints(n, "strides", DIMS(2, 2), 2, NULL), 0);
    y = quantised(g, "behind", y, 0.25F, MC_DTYPE_U8, 0, 4);
    y = build_unary(g, "Flatten", "flat", y);
    for (int i = 0; i < 32; i++)
        block_s[i] = 0.02F + 0.001F * (float)i;
    draw(q, 16 * 8, -8, 7, 2);
    for (int i = 0; i < 64; i++)
        packed[i] = (int8_t)((q[2 * i] & 15) | (q[2 * i + 1] << 4));
    in[0] = stored(g, "mid.w", build_const(g, "mid.q", MC_DTYPE_I4, 2, DIMS(16, 8), packed),
                   f32_const(g, "mid.s", 2, DIMS(4, 8), block_s), NULL, 0, 4);
    y = build_binary(g, "MatMul", "mid", y, in[0]);
    y = build_binary(g, "Add", "sum", y, random_const(g, "mid.b", 1, DIMS(8), 5));
    in[0] = quantised(g, "last", build_unary(g, "Tanh", "tanh", y), 1.0F / 128, MC_DTYPE_I8, 0, 8);
    draw(q, 40, -127, 127, 3);
    for (int i = 0; i < 40; i++)
        u8[i] = (uint8_t)(q[i] + 128);
    in[1] = stored(g, "out.w", build_const(g, "out.q", MC_DTYPE_U8, 2, DIMS(5, 8), u8),
                   f32_const(g, "out.s", 0, NULL, out_s),
                   build_const(g, "out.z", MC_DTYPE_U8, 0, NULL, &middle), -1, 0);
    in[2] = bias(g, "out.b", 5, 1.0F / 128, out_s, false);
    y = build_node(g, "Gemm", "out", 3, in, &n);
    assert_int_equal(mc_edit_attr_int(n, "transB", 1, NULL), 0);
    build_output(g, y);
    return m;
}

#endif
