/* check [--kernel NAME] [--level ref|plain|avx2|avx512|avx512vnni|cuda] [--seed N] [--case N] [--rounds N] [--bench]
 * --rounds: so many cases of each row at most. */
#include "check.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "bench.h"
#include "check_device.h"
#include "tol.h"

#define CHECK_ROW(name)        extern const struct check_row check_##name;
#define CHECK_DEVICE_ROW(name) CHECK_ROW(name)
#include "check_rows.h"
#undef CHECK_ROW
#undef CHECK_DEVICE_ROW

static const struct {
    const struct check_row *row;
    bool of_devices;
} rows[] = {
#define CHECK_ROW(name)        {&check_##name, false},
#define CHECK_DEVICE_ROW(name) {&check_##name, true},
#include "check_rows.h"
#undef CHECK_ROW
#undef CHECK_DEVICE_ROW
};
enum { ROWS = sizeof rows / sizeof rows[0], GUARD = 128, GUARD_BYTE = 0xa5 };

struct check_block {
    struct check_block *next;
    unsigned char *base;
    size_t front, bytes, behind;
};

void check_describe(struct check *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->what, sizeof c->what, fmt, ap);
    va_end(ap);
}

void check_fail(struct check *c, const char *fmt, ...)
{
    if (c->failed)
        return;
    c->failed = true;
    printf("  FAILED case %d: %s: ", (int)c->round, c->what);
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

uint32_t check_below(struct check *c, uint32_t n)
{
    return mc_rng_below(c->seed, c->round, c->draw++, n);
}

bool check_coin(struct check *c)
{
    return check_below(c, 2);
}

int64_t check_size(struct check *c, int64_t tile, int64_t most)
{
    static const int primes[] = {2, 3, 5, 7, 13, 17, 31, 53, 97};
    int64_t size = 1;
    switch (check_below(c, 6)) {
    case 0: break;
    case 1: size = primes[check_below(c, sizeof primes / sizeof primes[0])]; break;
    case 2: size = tile * (1 + check_below(c, 3)); break;
    case 3: size = tile * (1 + check_below(c, 3)) + 1; break;
    case 4: size = tile * (1 + check_below(c, 3)) - 1; break;
    case 5: size = 1 + check_below(c, (uint32_t)most); break;
    }
    return size < 1 ? 1 : size > most ? most : size;
}

void *check_alloc(struct check *c, size_t bytes, size_t align)
{
    struct check_block *b = mc_calloc(1, sizeof *b);
    size_t shift =
        align < MC_ALIGN ? align * (1 + check_below(c, (uint32_t)(MC_ALIGN / align - 1))) : 0;
    if (!b)
        abort();
    b->front = GUARD + shift;
    b->bytes = bytes;
    b->behind = c->k->device && c->draw % 2
                    ? 0
                    : GUARD; /* without: a memory checker sees what is read there */
    size_t all = b->front + bytes + b->behind;
    b->base = c->k->device ? check_device_alloc(all) : mc_alloc_aligned(all);
    if (!b->base)
        abort();
    memset(b->base, GUARD_BYTE, all);
    memset(b->base + b->front, 0xff, bytes); /* NaN in f32 and f64 */
    b->next = c->blocks;
    c->blocks = b;
    return b->base + b->front;
}

static void free_blocks(struct check *c)
{
    while (c->blocks) {
        struct check_block *b = c->blocks;
        for (size_t i = 0; i < b->front + b->behind; i++) {
            size_t at = i < b->front ? i : i + b->bytes;
            if (b->base[at] != GUARD_BYTE) {
                check_fail(c, "byte %td outside a block of %zu was written",
                           (ptrdiff_t)at - (ptrdiff_t)b->front, b->bytes);
                break;
            }
        }
        c->blocks = b->next;
        if (c->k->device)
            check_device_free(b->base);
        else
            free(b->base);
        free(b);
    }
}

float *check_floats(struct check *c, int64_t n, bool specials)
{
    float *x = check_alloc(c, (size_t)n * sizeof *x, sizeof *x);
    mc_rng_fill_normal(c->seed, c->round << 20 | c->draw++, 0, x, (size_t)n);
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0, -0.0f};
    for (int i = 0; specials && n > 0 && i < 3; i++)
        x[check_below(c, (uint32_t)n)] = odd[check_below(c, sizeof odd / sizeof odd[0])];
    return x;
}

double *check_widen(struct check *c, const float *x, int64_t n)
{
    if (!x)
        return NULL;
    double *wide = check_alloc(c, (size_t)n * sizeof *wide, sizeof *wide);
    for (int64_t i = 0; i < n; i++)
        wide[i] = x[i];
    return wide;
}

double *check_abs(struct check *c, const float *x, int64_t n)
{
    double *wide = check_widen(c, x, n);
    for (int64_t i = 0; wide && i < n; i++)
        wide[i] = fabs(wide[i]);
    return wide;
}

void check_close(struct check *c, const char *what, const float *got, const double *want,
                 const double *scale, double relative, double absolute, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (isnan(want[i]) || isinf(want[i])) {
            if (isnan(want[i]) ? !isnan(got[i]) : !(got[i] == want[i])) {
                check_fail(c, "%s[%d] is %g, not %g", what, (int)i, (double)got[i], want[i]);
                return;
            }
            continue;
        }
        double size = fabs(want[i]), by = !scale ? size : isfinite(scale[i]) ? scale[i] : 0;
        double err = fabs(got[i] - want[i]), limit = relative * by + absolute * fmax(1, size);
        if (!(err <= limit)) {
            check_fail(c, "%s[%d] is %.9g, not %.9g: off by %.3g, %.3g allowed", what, (int)i,
                       (double)got[i], want[i], err, limit);
            return;
        }
        if (limit > 0 && err / limit > c->worst)
            c->worst = err / limit;
    }
}

/* NaN as instructions make it, of either sign: which, the order of operands decides in a simulated device. */
static bool plain_nan(const unsigned char *p)
{
    uint32_t u;
    memcpy(&u, p, sizeof u);
    return (u & 0x7fffffff) == 0x7fc00000;
}

void check_same(struct check *c, const char *what, const void *got, const void *want, size_t bytes)
{
    const unsigned char *g = got, *w = want;
    for (size_t i = 0; i < bytes; i++) {
        size_t at = i / 4 * 4;
        if (g[i] == w[i] ||
            (c->k->device && at + 4 <= bytes && plain_nan(g + at) && plain_nan(w + at)))
            continue;
        check_fail(c, "%s differs at byte %zu", what, i);
        return;
    }
}

struct options {
    const char *kernel, *level;
    uint64_t seed;
    long only; /* case, or -1 */
    int rounds;
    bool bench;
};

static bool parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.level = NULL, .seed = 1, .only = -1, .rounds = INT_MAX};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            o->bench = true;
        else if (i + 1 == argc)
            return false;
        else if (!strcmp(argv[i], "--kernel"))
            o->kernel = argv[++i];
        else if (!strcmp(argv[i], "--level"))
            o->level = argv[++i];
        else if (!strcmp(argv[i], "--seed"))
            o->seed = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--case"))
            o->only = strtol(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--rounds"))
            o->rounds = atoi(argv[++i]);
        else
            return false;
    }
    return true;
}

static bool test_row(struct check *c, const struct check_row *row, const struct options *o)
{
    int failures = 0, skipped = 0, rounds = row->rounds < o->rounds ? row->rounds : o->rounds;
    c->worst = 0;
    for (int i = 0; i < rounds && failures < 5; i++) {
        if (o->only >= 0 && i != o->only)
            continue;
        c->round = (uint64_t)i;
        c->draw = 0;
        c->failed = false;
        c->what[0] = 0;
        if (!c->k->device)
            row->test(c);
        else
            skipped += !check_device_case(c, row->test);
        free_blocks(c);
        failures += c->failed;
    }
    printf("%s %s: %s, %d cases, largest error %.2f of what is allowed\n", row->name, c->k->name,
           failures            ? "FAILED"
           : skipped == rounds ? "skipped"
                               : "ok",
           rounds - skipped, c->worst);
    if (skipped)
        printf("    SKIPPED %d cases: the device has no %s\n", skipped, check_device_missing());
    return failures == 0;
}

int main(int argc, char **argv)
{
    struct options o;
    if (!parse(argc, argv, &o)) {
        printf(
            "check [--kernel NAME] [--level NAME] [--seed N] [--case N] [--rounds N] [--bench]\n");
        return 2;
    }
    if (o.bench)
        bench_prepare(argv);
    struct check c = {
        .seed = o.seed, .k = mc_kernels_get(o.level, 4), .ref = mc_kernels_get("ref", 8)};
    if (o.level && !strncmp(o.level, "cuda", 4)) {
        int status = check_device_open(&c, o.level);
        if (status)
            return status;
    }
    if (!c.k) {
        printf("SKIP: this CPU has no level %s\n", o.level);
        return 77;
    }
    for (int i = 0; i < CHECK_POOLS; i++) {
        if (mc_pool_new(i + 1, &c.pool[i], NULL))
            return 1;
    }
    printf("level %s, seed %llu\n", c.k->name, (unsigned long long)c.seed);
    bool ok = true, found = false;
    for (int i = 0; i < ROWS; i++) {
        const struct check_row *row = rows[i].row;
        if ((o.kernel && strcmp(o.kernel, row->name)) || (rows[i].of_devices && !c.k->device))
            continue;
        found = true;
        if (!o.bench)
            ok &= test_row(&c, row, &o);
        else if (row->bench)
            row->bench(&c);
        free_blocks(&c);
    }
    if (!found)
        printf("no kernel %s\n", o.kernel);
    for (int i = 0; i < CHECK_POOLS; i++)
        mc_pool_free(c.pool[i]);
    if (c.k->device)
        check_device_close();
    return ok && found ? 0 : 1;
}
