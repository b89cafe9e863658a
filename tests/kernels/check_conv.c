#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "check_conv.h"
#include "tol.h"

struct conv_case {
    struct mc_conv c;
    const float *w;
    int64_t x_count, w_count, y_count;
    bool in_place; /* the residual is y */
};

static int64_t product(const int64_t size[3])
{
    return size[0] * size[1] * size[2];
}

void check_conv_shape(struct check *c, struct mc_conv *v)
{
    static const int tile[] = {64, 16, 4}, most[] = {150, 20, 7}; /* of an axis, by rank */
    int rank = 1 + (int)check_below(c, 3);
    v->n = check_size(c, 2, 5);
    for (int i = 0; i < 3; i++) {
        bool used = i >= 3 - rank;
        bool pointwise = check_below(c, 4) == 0;
        v->kernel[i] = used && !pointwise ? 1 + check_below(c, rank == 3 ? 3 : 5) : 1;
        v->stride[i] = used && check_below(c, 3) == 0 ? 1 + check_below(c, 3) : 1;
        v->dilation[i] = used && check_below(c, 3) == 0 ? 1 + check_below(c, 3) : 1;
        int64_t span = (v->kernel[i] - 1) * v->dilation[i];
        v->pad[i] = used && check_coin(c) ? check_below(c, (uint32_t)span + 2) : 0;
        int64_t end = used && check_coin(c) ? check_below(c, (uint32_t)span + 2) : 0;
        v->in[i] = used ? check_size(c, tile[rank - 1], most[rank - 1]) : 1;
        if (used && check_below(c, 8) == 0)
            v->pad[i] = -(int64_t)check_below(c, 4);
        if (v->in[i] + v->pad[i] + end < span + 1)
            v->in[i] = span + 1 - v->pad[i];
        v->out[i] = (v->in[i] + v->pad[i] + end - span - 1) / v->stride[i] + 1;
    }
    switch (check_below(c, 4)) {
    case 0: /* each output channel from one input channel */
        v->group = check_size(c, 8, 20);
        v->c = v->group;
        v->oc = v->group * (1 + check_below(c, 3));
        break;
    case 1:
        v->group = 2 + check_below(c, 3);
        v->c = v->group * check_size(c, 4, 9);
        v->oc = v->group * check_size(c, 6, 14);
        break;
    default:
        v->group = 1;
        v->c = check_size(c, 16, check_coin(c) ? 60 : 8);
        v->oc = check_size(c, 12, 60);
    }
}

static void draw(struct check *c, struct conv_case *t)
{
    *t = (struct conv_case){0};
    struct mc_conv *v = &t->c;
    bool specials = check_below(c, 8) == 0;
    check_conv_shape(c, v);
    t->x_count = v->n * v->c * product(v->in);
    t->w_count = v->oc * (v->c / v->group) * product(v->kernel);
    t->y_count = v->n * v->oc * product(v->out);
    v->x = check_floats(c, t->x_count, specials);
    t->w = check_floats(c, t->w_count, specials && check_coin(c));
    struct mc_epilogue *e = &v->epilogue;
    e->act = check_below(c, MC_ACT_HARDSWISH + 1);
    e->lo = e->act == MC_ACT_CLAMP ? 0 : 0.1;
    e->hi = check_coin(c) ? INFINITY : 6;
    if (check_coin(c))
        e->bias = check_floats(c, v->oc, false);
    if (check_coin(c))
        e->scale = check_floats(c, v->oc, false);
    if (check_coin(c))
        e->residual = check_floats(c, t->y_count, false);
    t->in_place = e->residual && check_coin(c);
    check_describe(
        c,
        "n %d c %d oc %d group %d in %d,%d,%d out %d,%d,%d kernel %d,%d,%d stride %d,%d,%d "
        "dilation %d,%d,%d pad %d,%d,%d act %d%s%s%s%s%s",
        (int)v->n, (int)v->c, (int)v->oc, (int)v->group, (int)v->in[0], (int)v->in[1],
        (int)v->in[2], (int)v->out[0], (int)v->out[1], (int)v->out[2], (int)v->kernel[0],
        (int)v->kernel[1], (int)v->kernel[2], (int)v->stride[0], (int)v->stride[1],
        (int)v->stride[2], (int)v->dilation[0], (int)v->dilation[1], (int)v->dilation[2],
        (int)v->pad[0], (int)v->pad[1], (int)v->pad[2], (int)e->act, e->scale ? " scale" : "",
        e->bias ? " bias" : "", e->residual ? " residual" : "", t->in_place ? " in place" : "",
        specials ? " specials" : "");
}

static void call(struct check *c, const struct mc_kernels *k, struct mc_conv *v, const void *w,
                 struct mc_pool *pool)
{
    void *packed = check_alloc(c, k->conv.pack_w_bytes(v), MC_ALIGN);
    void *scratch = check_alloc(c, k->conv.scratch_bytes(v, mc_pool_threads(pool)), MC_ALIGN);
    k->conv.pack_w(v, w, packed, pool);
    v->packed_w = packed;
    k->conv.run(v, scratch, pool);
}

/* The result in f64, or (absolute) the sum of |terms|: what rounding errors are measured by. */
static double *reference(struct check *c, const struct conv_case *t, bool absolute)
{
    double *(*to_f64)(struct check *, const float *, int64_t) = absolute ? check_abs : check_widen;
    struct mc_conv v = t->c;
    v.x = to_f64(c, t->c.x, t->x_count);
    v.epilogue.scale = to_f64(c, t->c.epilogue.scale, v.oc);
    v.epilogue.bias = to_f64(c, t->c.epilogue.bias, v.oc);
    v.epilogue.residual = to_f64(c, t->c.epilogue.residual, t->y_count);
    if (absolute)
        v.epilogue.act = MC_ACT_NONE;
    double *y = check_alloc(c, (size_t)t->y_count * sizeof *y, sizeof *y);
    v.y = y;
    call(c, c->ref, &v, to_f64(c, t->w, t->w_count), c->pool[0]);
    return y;
}

static void test(struct check *c)
{
    struct conv_case t;
    draw(c, &t);
    const double *want = reference(c, &t, false), *scale = reference(c, &t, true);
    double k = (double)(t.w_count / t.c.oc);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        struct mc_conv v = t.c;
        float *y = check_alloc(c, (size_t)t.y_count * sizeof *y, sizeof *y);
        if (t.in_place) {
            memcpy(y, v.epilogue.residual, (size_t)t.y_count * sizeof *y);
            v.epilogue.residual = y;
        }
        v.y = y;
        call(c, c->k, &v, t.w, c->pool[p]);
        if (p == 0)
            check_close(c, "y", y, want, scale, tol_sum(k),
                        v.epilogue.act > MC_ACT_LEAKY ? TOL_ACT : 0, t.y_count);
        else
            check_same(c, "another number of threads", y, first, (size_t)t.y_count * sizeof *y);
        first = y;
    }
}

struct timing {
    const struct mc_kernels *k;
    struct mc_conv c;
    void *scratch;
};

static void ours(void *ctx)
{
    const struct timing *t = ctx;
    t->k->conv.run(&t->c, t->scratch, NULL);
}

static void bench(struct check *c)
{
    static const struct {
        int n, c, oc, group, size, kernel, stride;
    } shapes[] = {
        {64, 64, 64, 1, 56, 3, 1},    {64, 128, 128, 1, 28, 3, 1}, {64, 256, 256, 1, 14, 3, 1},
        {64, 512, 512, 1, 7, 3, 1},   {64, 32, 32, 1, 14, 3, 1},   {64, 256, 64, 1, 56, 1, 1},
        {64, 64, 128, 1, 28, 3, 2},   {64, 64, 128, 1, 28, 1, 2},  {64, 1, 32, 1, 28, 3, 1},
        {8, 3, 64, 1, 224, 7, 2},     {1, 64, 64, 1, 56, 3, 1},    {1, 512, 512, 1, 7, 3, 1},
        {64, 64, 64, 64, 28, 3, 1},   {64, 64, 64, 64, 28, 3, 2},  {64, 128, 128, 128, 14, 3, 1},
        {64, 256, 256, 256, 7, 3, 1}, {64, 128, 128, 8, 14, 3, 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct timing t = {.k = c->k};
        struct mc_conv *v = &t.c;
        int kernel = shapes[i].kernel, size = shapes[i].size, stride = shapes[i].stride;
        int out = (size + kernel / 2 * 2 - kernel) / stride + 1;
        *v = (struct mc_conv){
            .n = shapes[i].n,
            .c = shapes[i].c,
            .oc = shapes[i].oc,
            .group = shapes[i].group,
            .in = {1, size, size},
            .out = {1, out, out},
            .kernel = {1, kernel, kernel},
            .stride = {1, stride, stride},
            .dilation = {1, 1, 1},
            .pad = {0, kernel / 2, kernel / 2},
        };
        int64_t k = v->c / v->group * product(v->kernel);
        v->x = check_floats(c, v->n * v->c * product(v->in), false);
        v->y = check_alloc(c, (size_t)(v->n * v->oc * product(v->out)) * sizeof(float), MC_ALIGN);
        float *w = check_floats(c, v->oc * k, false);
        void *packed = check_alloc(c, c->k->conv.pack_w_bytes(v), MC_ALIGN);
        c->k->conv.pack_w(v, w, packed, NULL);
        v->packed_w = packed;
        v->epilogue.bias = check_floats(c, v->oc, false);
        v->epilogue.act = MC_ACT_CLAMP;
        v->epilogue.hi = INFINITY;
        t.scratch = check_alloc(c, c->k->conv.scratch_bytes(v, 1), MC_ALIGN);
        int64_t moved = v->n * (v->c * product(v->in) + v->oc * product(v->out));
        struct bench b = {
            .flops = 2.0 * (double)(v->n * v->oc * product(v->out)) * (double)k,
            .bytes = v->group == v->c && v->group > 1 ? (double)moved * 4 : 0, /* of x and y */
            .fn = ours,
            .ctx = &t,
        };
        bench_line(&b, "conv %s n%d %d>%d %dx%d k%d s%d g%d", c->k->name, (int)v->n, (int)v->c,
                   (int)v->oc, size, size, kernel, stride, (int)v->group);
    }
}

const struct check_row check_conv = {"conv", 400, test, bench};
