/* Convolution and its gradients on the device against sums in double: a shape for every way they are computed, what
 * follows a sum, all precisions, recordings. Run with and without the libraries (MC_SIM_MISSING). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"
#include "tests/kernels/tol.h"

static uint64_t draws;
static struct mc_gpu *gpu;

/* n, channels, filters, groups; in, kernel, stride, dilation, padding before and after; and what is computed: bit 0 y,
 * 1 dx, 2 dw and db. */
static const struct shape {
    const char *what, *sizes;
} shapes[] = {
    {"3x3", "2 32 40 1  1,9,9 1,3,3 1,1,1 1,1,1 0,1,1 0,1,1 7"},
    {"5x5 of one channel", "6 1 32 1  1,20,20 1,5,5 1,1,1 1,1,1 0,2,2 0,2,2 7"},
    {"stride 2", "2 33 64 1  1,14,13 1,3,3 1,2,2 1,1,1 0,1,1 0,1,1 7"},
    {"dilated", "1 20 48 1  1,15,11 1,3,3 1,1,1 1,2,3 0,2,3 0,2,3 7"},
    {"one dimension", "2 48 64 1  1,1,50 1,1,3 1,1,1 1,1,1 0,0,1 0,0,1 7"},
    {"three dimensions", "1 16 32 1  5,6,7 2,3,3 1,1,2 1,1,1 0,1,1 0,1,1 7"},
    {"groups", "2 32 80 2  1,7,7 1,3,3 1,1,1 1,1,1 0,1,1 0,1,1 7"},
    {"padding of one side", "2 32 32 1  1,8,8 1,3,3 1,2,2 1,1,1 0,0,0 0,1,1 7"},
    {"cut off", "2 32 32 1  1,8,9 1,3,3 1,1,1 1,1,1 0,-1,-2 0,1,0 7"},
    {"large tiles", "3 16 66 1  1,76,76 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 1"},
    {"large tiles, few channels", "3 9 66 1  1,76,76 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 1"},
    {"large tiles, back", "3 66 16 1  1,76,76 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 2"},
    {"large tiles, back, few", "3 66 9 1  1,76,76 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 2"},
    {"middle tiles", "8 20 40 1  1,33,33 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 1"},
    {"middle tiles, few channels", "8 7 40 1  1,33,33 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 1"},
    {"middle tiles, back", "8 40 20 1  1,33,33 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 2"},
    {"middle tiles, back, few", "8 40 7 1  1,33,33 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 2"},
    {"few filters", "2 32 8 1  1,8,7 1,3,3 1,1,1 1,1,1 0,1,1 0,1,1 7"},
    {"wide tiles", "20 20 8 1  1,30,30 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 1"},
    {"wide tiles, few channels", "20 5 7 1  1,30,30 1,2,1 1,1,1 1,1,1 0,0,1 0,0,0 3"},
    {"wide tiles, back", "20 8 20 1  1,30,30 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 2"},
    {"points", "3 128 132 1  1,8,9 1,1,1 1,1,1 1,1,1 0,0,0 0,0,0 7"},
    {"points with steps", "3 64 128 1  1,7,7 1,1,1 1,2,2 1,1,1 0,0,0 0,0,0 7"},
    {"depthwise", "2 24 24 24  1,14,14 1,3,3 1,1,1 1,1,1 0,1,1 0,1,1 7"},
    {"depthwise, stride 2", "3 10 20 10  1,13,14 1,5,5 1,2,2 1,1,1 0,2,2 0,2,2 7"},
    {"depthwise, all dimensions", "2 6 12 6  4,5,6 2,3,5 1,2,1 1,1,1 1,1,2 0,1,2 7"},
    {"one image", "1 96 96 1  1,4,4 1,3,3 1,1,1 1,1,1 0,1,1 0,1,1 7"},
    {"no image", "0 32 32 1  1,4,4 1,3,3 1,1,1 1,1,1 0,1,1 0,1,1 7"},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

enum after { NOTHING, RELU, RELU_RESIDUAL, SCALED, IN_PLACE, SCALED_IN_PLACE, AFTERS };

struct array { /* the same on the host in float and in double, and on the device */
    float *host, *device;
    double *wide;
    int64_t n;
};

static void put(const struct array *x)
{
    struct mc_err err;
    assert_int_equal(mc_gpu_put(gpu, x->device, x->host, (size_t)x->n * sizeof(float), &err), 0);
}

static struct array array(int64_t n)
{
    struct array x = {.n = n};
    struct mc_err err;
    void *p;
    assert_non_null(x.host = mc_calloc((size_t)n + 1, sizeof *x.host));
    assert_non_null(x.wide = mc_calloc((size_t)n + 1, sizeof *x.wide));
    mc_rng_fill_normal(1, 1000 + draws++, 0, x.host, (size_t)n);
    for (int64_t i = 0; i < n; i++)
        x.wide[i] = (double)x.host[i];
    assert_int_equal(mc_gpu_alloc(gpu, (size_t)n * sizeof(float), &p, &err), 0);
    x.device = p;
    put(&x);
    return x;
}

static void drop(struct array *x)
{
    free(x->host);
    free(x->wide);
    mc_gpu_free(gpu, x->device);
}

static float *get(const struct array *x)
{
    struct mc_err err = {0};
    float *y = mc_calloc((size_t)x->n + 1, sizeof *y);
    assert_non_null(y);
    int rc = mc_gpu_get(gpu, y, x->device, (size_t)x->n * sizeof(float), &err);
    if (rc)
        print_message("%s\n", err.msg);
    assert_int_equal(rc, 0);
    return y;
}

struct sample {
    const char *what;
    struct mc_conv c;
    enum after after;
    unsigned only;
    struct array x, w, y, dy, dx, dw, db, scale[2], bias[2], residual[2]; /* [1]: of dx */
};

static int64_t product(const int64_t size[3])
{
    return size[0] * size[1] * size[2];
}

static void draw(struct sample *s, const struct shape *from, enum after after)
{
    *s = (struct sample){.what = from->what, .after = after};
    struct mc_conv *c = &s->c;
    long v[23], end[3];
    const char *at = from->sizes;
    for (int i = 0; i < 23; i++) {
        char *next;
        v[i] = strtol(at, &next, 10);
        assert_true(next > at);
        at = *next == ',' ? next + 1 : next;
    }
    c->n = v[0];
    c->c = v[1];
    c->oc = v[2];
    c->group = v[3];
    s->only = (unsigned)v[22];
    for (int d = 0; d < 3; d++) {
        c->in[d] = v[4 + d];
        c->kernel[d] = v[7 + d];
        c->stride[d] = v[10 + d];
        c->dilation[d] = v[13 + d];
        c->pad[d] = v[16 + d];
        end[d] = v[19 + d];
        int64_t extent = (c->kernel[d] - 1) * c->dilation[d] + 1;
        c->out[d] = (c->in[d] + c->pad[d] + end[d] - extent) / c->stride[d] + 1;
    }
    int64_t x = c->n * c->c * product(c->in), y = c->n * c->oc * product(c->out);
    s->x = array(x);
    s->w = array(c->oc * (c->c / c->group) * product(c->kernel));
    s->y = array(y);
    s->dy = array(y);
    s->dx = array(x);
    s->dw = array(s->w.n);
    s->db = array(c->oc);
    for (int back = 0; back < 2; back++) {
        s->scale[back] = array(back ? c->c : c->oc);
        s->bias[back] = array(back ? c->c : c->oc);
        s->residual[back] = array(back ? x : y);
    }
}

static void release(struct sample *s)
{
    struct array *all[] = {&s->x,       &s->w,           &s->y,          &s->dy,       &s->dx,
                           &s->dw,      &s->db,          &s->scale[0],   &s->scale[1], &s->bias[0],
                           &s->bias[1], &s->residual[0], &s->residual[1]};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        drop(all[i]);
}

static struct mc_epilogue epilogue(const struct sample *s, bool back)
{
    struct mc_epilogue e = {.act = MC_ACT_NONE};
    if (s->after == NOTHING)
        return e;
    e.bias = s->bias[back].device;
    if (s->after == SCALED || s->after == SCALED_IN_PLACE)
        e.scale = s->scale[back].device;
    e.act = e.scale ? MC_ACT_GELU : MC_ACT_CLAMP;
    e.hi = INFINITY;
    if (s->after == RELU_RESIDUAL)
        e.residual = s->residual[back].device;
    if (s->after == IN_PLACE || s->after == SCALED_IN_PLACE)
        e.residual = back ? s->dx.device : s->y.device;
    return e;
}

/* What is in place has the residual before. */
static void prepare(const struct sample *s)
{
    for (int back = 0; back < 2; back++) {
        const struct array *to = back ? &s->dx : &s->y;
        if (s->after == IN_PLACE || s->after == SCALED_IN_PLACE)
            memcpy(to->host, s->residual[back].host, (size_t)to->n * sizeof(float));
        put(to);
    }
}

static void compute(const struct mc_kernels *k, unsigned only, const struct mc_conv *c,
                    const struct mc_conv_grad *g)
{
    if (only & 1)
        k->conv.run(c, NULL, NULL);
    if (only & 2)
        k->conv_grad.input(g, NULL, NULL);
    if (only & 4)
        k->conv_grad.weight(g, NULL, NULL);
}

static void on_device(const struct sample *s)
{
    const struct mc_kernels *k = mc_gpu_kernels(gpu);
    struct mc_conv c = s->c;
    struct mc_conv_grad g = {.c = s->c,
                             .x = s->x.device,
                             .w = s->w.device,
                             .dy = s->dy.device,
                             .dx = s->dx.device,
                             .dw = s->dw.device,
                             .db = s->after == NOTHING ? NULL : s->db.device};
    c.epilogue = epilogue(s, false);
    c.x = s->x.device;
    c.w = s->w.device;
    c.y = s->y.device;
    g.c.epilogue = epilogue(s, true);
    compute(k, s->only, &c, &g);
}

static double *zeros(int64_t n)
{
    double *x = mc_calloc((size_t)n + 1, sizeof *x);
    assert_non_null(x);
    return x;
}

static void check(const struct sample *s, const char *name, const struct array *got,
                  const double *want, const double *by, double relative, double absolute_by)
{
    float *y = get(got);
    for (int64_t i = 0; i < got->n; i++) {
        double err = fabs((double)y[i] - want[i]);
        double limit = relative * by[i] + absolute_by * fmax(1, fabs(want[i]));
        if (!(err <= limit)) {
            print_message("%s, after %d: %s[%d] is %.9g, not %.9g: off by %.3g, %.3g allowed\n",
                          s->what, (int)s->after, name, (int)i, (double)y[i], want[i], err, limit);
            fail();
        }
    }
    free(y);
}

struct sums { /* y, dx, dw and db, and sums of the terms' magnitudes */
    double *of[4], *size[4];
};

/* One image, filter, channel and tap: each product goes to all three results. */
static void add_tap(const struct sample *s, const struct sums *r, int64_t x0, int64_t w, int64_t y0,
                    const int64_t k[3])
{
    const struct mc_conv *c = &s->c;
    int64_t o[3], i[3];
    double weight = s->w.wide[w];
    for (o[0] = 0; o[0] < c->out[0]; o[0]++)
        for (o[1] = 0; o[1] < c->out[1]; o[1]++)
            for (o[2] = 0; o[2] < c->out[2]; o[2]++) {
                bool inside = true;
                for (int d = 0; d < 3; d++) {
                    i[d] = o[d] * c->stride[d] + k[d] * c->dilation[d] - c->pad[d];
                    inside = inside && i[d] >= 0 && i[d] < c->in[d];
                }
                if (!inside)
                    continue;
                int64_t x = x0 + (i[0] * c->in[1] + i[1]) * c->in[2] + i[2];
                int64_t y = y0 + (o[0] * c->out[1] + o[1]) * c->out[2] + o[2];
                double term[3] = {weight * s->x.wide[x], weight * s->dy.wide[y],
                                  s->x.wide[x] * s->dy.wide[y]};
                int64_t at[3] = {y, x, w};
                for (int j = 0; j < 3; j++) {
                    r->of[j][at[j]] += term[j];
                    r->size[j][at[j]] += fabs(term[j]);
                }
            }
}

static void add_all(const struct sample *s, const struct sums *r)
{
    const struct mc_conv *c = &s->c;
    int64_t ic = c->c / c->group, oc = c->oc / c->group, in = product(c->in), out = product(c->out);
    for (int64_t n = 0; n < c->n; n++)
        for (int64_t f = 0; f < c->oc; f++) {
            int64_t y = (n * c->oc + f) * out, w = f * ic * product(c->kernel), k[3];
            for (int64_t j = 0; j < ic; j++)
                for (k[0] = 0; k[0] < c->kernel[0]; k[0]++)
                    for (k[1] = 0; k[1] < c->kernel[1]; k[1]++)
                        for (k[2] = 0; k[2] < c->kernel[2]; k[2]++)
                            add_tap(s, r, (n * c->c + f / oc * ic + j) * in, w++, y, k);
            for (int64_t o = 0; o < out; o++) {
                r->of[3][f] += s->dy.wide[y + o];
                r->size[3][f] += fabs(s->dy.wide[y + o]);
            }
        }
}

static void finish(const struct sample *s, const struct sums *r, bool back)
{
    const struct mc_conv *c = &s->c;
    bool scaled = s->after == SCALED || s->after == SCALED_IN_PLACE;
    bool more = s->after == RELU_RESIDUAL || s->after == IN_PLACE || s->after == SCALED_IN_PLACE;
    int64_t channels = back ? c->c : c->oc, plane = product(back ? c->in : c->out);
    for (int64_t i = 0; i < (back ? s->dx.n : s->y.n) && s->after != NOTHING; i++) {
        int64_t channel = i / plane % channels;
        double scale = scaled ? s->scale[back].wide[channel] : 1,
               bias = s->bias[back].wide[channel];
        double residual = more ? s->residual[back].wide[i] : 0;
        double v = r->of[back][i] * scale + bias + residual;
        r->of[back][i] = scaled ? v * erfc(-v * 0.70710678118654752440) / 2 : v > 0 ? v : 0;
        r->size[back][i] = r->size[back][i] * fabs(scale) + fabs(bias) + fabs(residual);
    }
}

/* more: of the relative error, for factors that are rounded. */
static void check_all(const struct sample *s, double more)
{
    const struct array *got[4] = {&s->y, &s->dx, &s->dw, &s->db};
    static const char *const names[] = {"y", "dx", "dw", "db"};
    const struct mc_conv *c = &s->c;
    struct sums r;
    for (int i = 0; i < 4; i++) {
        r.of[i] = zeros(got[i]->n);
        r.size[i] = zeros(got[i]->n);
    }
    add_all(s, &r);
    finish(s, &r, false);
    finish(s, &r, true);
    double taps = (double)product(c->kernel), positions = (double)(c->n * product(c->out));
    double terms[4] = {(double)(c->c / c->group) * taps, (double)(c->oc / c->group) * taps,
                       positions, positions};
    for (int i = 0; i < 4; i++) {
        bool made = s->only & (1u << (i < 3 ? i : 2)) && (i < 3 || s->after != NOTHING);
        if (made)
            check(s, names[i], got[i], r.of[i], r.size[i], tol_sum(terms[i]) + (i < 3 ? more : 0),
                  i < 2 && s->after != NOTHING ? TOL_ACT : 0);
        free(r.of[i]);
        free(r.size[i]);
    }
}

static void open_with(enum mc_gpu_precision precision)
{
    struct mc_gpu_opts o = {.precision = precision};
    struct mc_err err;
    int rc = mc_gpu_open("cuda", &o, &gpu, &err);
    if (rc)
        print_message("%s\n", err.msg);
    assert_int_equal(rc, 0);
    mc_gpu_enter(gpu);
}

static void shut(void)
{
    mc_gpu_enter(NULL);
    mc_gpu_close(gpu);
    gpu = NULL;
}

static void ways(void **state)
{
    (void)state;
    open_with(MC_GPU_FP32);
    for (int i = 0; i < SHAPES; i++) {
        struct sample s;
        draw(&s, &shapes[i], (enum after)(i % AFTERS));
        prepare(&s);
        on_device(&s);
        check_all(&s, 0);
        release(&s);
    }
    shut();
}

/* Everything that may follow, where a library computes the sums and where it does not. */
static void epilogues(void **state)
{
    (void)state;
    static const char *const of[] = {"3x3",       "groups",    "padding of one side", "points",
                                     "depthwise", "one image", "three dimensions"};
    open_with(MC_GPU_FP32);
    for (size_t j = 0; j < sizeof of / sizeof of[0]; j++)
        for (int after = 0; after < AFTERS; after++) {
            struct sample s;
            int i = 0;
            while (strcmp(shapes[i].what, of[j]) != 0)
                i++;
            draw(&s, &shapes[i], (enum after)after);
            prepare(&s);
            on_device(&s);
            check_all(&s, 0);
            release(&s);
        }
    shut();
}

/* float32 stays what it is; where less is allowed, errors are those of factors with fewer bits. */
static void precisions(void **state)
{
    (void)state;
    static const double more[] = {0, 0x1p-10, 0x1p-7};
    for (int p = MC_GPU_TF32; p <= MC_GPU_BF16; p++) {
        open_with((enum mc_gpu_precision)p);
        for (int i = 0; i < SHAPES; i++) {
            struct sample s;
            draw(&s, &shapes[i], i % 2 ? NOTHING : RELU);
            if (s.y.n + s.x.n < 100000) {
                prepare(&s);
                on_device(&s);
                check_all(&s, more[p]);
            }
            release(&s);
        }
        shut();
    }
}

/* A recording does what calls do, bit for bit, with the numbers that are there when it is replayed. */
static void recorded(void **state)
{
    (void)state;
    open_with(MC_GPU_FP32);
    for (int i = 0; i < SHAPES; i++) {
        struct sample s;
        struct mc_gpu_recording *r;
        struct mc_err err = {0};
        draw(&s, &shapes[i], (enum after)((i + 1) % AFTERS));
        const struct array *of[4] = {&s.y, &s.dx, &s.dw, &s.db};
        float *direct[4];
        if (s.y.n + s.x.n < 100000) {
            on_device(&s);
            assert_int_equal(mc_gpu_record_begin(gpu, &err), 0);
            on_device(&s);
            assert_int_equal(mc_gpu_record_end(gpu, &r, &err), 0);
            mc_rng_fill_normal(1, 7, 0, s.x.host, (size_t)s.x.n);
            put(&s.x);
            prepare(&s);
            on_device(&s);
            for (int j = 0; j < 4; j++)
                direct[j] = get(of[j]);
            prepare(&s);
            put(&s.dw);
            assert_int_equal(mc_gpu_replay(gpu, r, &err), 0);
            for (int j = 0; j < 4; j++) {
                float *replayed = get(of[j]);
                assert_memory_equal(direct[j], replayed, (size_t)of[j]->n * sizeof(float));
                free(replayed);
                free(direct[j]);
            }
            mc_gpu_recording_free(gpu, r);
        }
        release(&s);
    }
    shut();
}

/* [ways]: these alone, for orders of threads. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ways), cmocka_unit_test(epilogues),
                                       cmocka_unit_test(precisions), cmocka_unit_test(recorded)};
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
