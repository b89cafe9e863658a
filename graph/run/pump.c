#include "graph/run/pump.h"

#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/mem.h"
#include "base/threads.h"
#include "graph/run/order.h"
#include "graph/run/plan.h"

/* The values of one run should stay in a cache, but a run should have work for several threads, and must
 * fit into memory. fashion-vit takes 1.7 s for 3000 samples in batches of 16, 2.1 s in 64, 2.7 s in 256. */
enum { BATCH_MAX = 256, BATCH_MIN = 16 };
static const size_t CACHE_BYTES = (size_t)4 << 20, BLOCK_BYTES = (size_t)256 << 20;

struct feeder {
    const struct mc_pump *f;
    int64_t batch;  /* samples a run */
    int64_t frozen; /* batch axis of the models, or 0 */
    bool choose;    /* batch is chosen here, for each shape */
    bool chosen;    /* it just was: smaller ones may be tried */
    struct mc_order order;
    struct mc_array *arrays; /* as given to the sessions */
    int n_arrays;
};

/* Frozen size of the batch axis: of the first axis of the inputs where that is a number. */
static int find_frozen(const struct mc_pump *f, int64_t *ret, struct mc_err *err)
{
    *ret = 0;
    for (int i = 0; i < f->n_sessions && !f->data->whole; i++)
        for (int j = 0; j < mc_session_n_inputs(f->sessions[i]); j++) {
            const struct mc_array *in = mc_session_input(f->sessions[i], j);
            int64_t b = in->shape.rank > 0 ? in->shape.dim[0] : -1;
            if (b <= 0)
                continue;
            if (*ret && *ret != b)
                return mc_fail(
                    err, MC_ESHAPE,
                    "inputs are frozen to batches of %lld and of %lld; they cannot run on "
                    "the same samples",
                    (long long)*ret, (long long)b);
            *ret = b;
        }
    return 0;
}

static int wrong_count(const struct mc_dataset *d, struct mc_err *err)
{
    return mc_fail(err, MC_EDATA, "'%s': no samples", d->spec);
}

int64_t mc_pump_ran(const struct mc_pump *f, int64_t n)
{
    int64_t frozen;
    return !find_frozen(f, &frozen, NULL) && frozen > n ? frozen : n;
}

void mc_pump_view(const struct mc_array *a, int64_t ran, int64_t n, struct mc_array *ret)
{
    *ret = *a;
    if (n == ran || a->shape.rank < 1 || a->shape.dim[0] == 0 || a->shape.dim[0] % ran)
        return;
    ret->shape.dim[0] = a->shape.dim[0] / ran * n;
    ret->bytes = a->bytes / (size_t)ran * (size_t)n;
}

void mc_pump_outputs(const struct mc_session *s, int64_t ran, int64_t n, struct mc_array *view,
                     const struct mc_array **values, size_t n_values)
{
    for (size_t i = 0; i < n_values; i++) {
        mc_pump_view(mc_session_output(s, (int)i), ran, n, &view[i]);
        values[i] = &view[i];
    }
}

static int room(struct feeder *r, int n, struct mc_err *err)
{
    if (n > r->n_arrays) {
        struct mc_array *a = mc_realloc(r->arrays, (size_t)n, sizeof *a);
        if (!a)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        r->arrays = a;
    }
    r->n_arrays = n;
    return 0;
}

/* The last sample repeated up to a full frozen batch. */
static int pad(const struct feeder *r, const struct mc_batch *b, struct mc_batch **ret,
               struct mc_err *err)
{
    int rc = mc_batch_new(r->frozen, b->n_arrays, b->arrays, false, ret, err);
    for (int i = 0; i < b->n_arrays && !rc; i++) {
        size_t row = b->arrays[i].bytes / (size_t)b->n;
        char *dst = (*ret)->arrays[i].data;
        const char *src = b->arrays[i].data;
        memcpy(dst, src, row * (size_t)b->n);
        for (int64_t k = b->n; k < r->frozen; k++)
            memcpy(dst + row * (size_t)k, src + row * (size_t)(b->n - 1), row);
    }
    return rc;
}

/* Point r->arrays at what the sessions get. *ret_padded: to be freed after the run, or NULL. */
static int prepare(struct feeder *r, const struct mc_batch *b, struct mc_batch **ret_padded,
                   struct mc_err *err)
{
    *ret_padded = NULL;
    int rc = room(r, b->n_arrays, err);
    if (!rc && r->frozen > b->n)
        rc = pad(r, b, ret_padded, err);
    for (int i = 0; i < b->n_arrays && !rc; i++) {
        struct mc_array *a = &r->arrays[i];
        *a = *ret_padded ? (*ret_padded)->arrays[i] : b->arrays[i];
        if (r->f->data->whole)
            a->shape = mc_shape_of(a->shape.rank - 1, a->shape.dim + 1);
    }
    return rc;
}

static int run(struct feeder *r, const struct mc_batch *b, struct mc_err *err)
{
    struct mc_batch *padded;
    int rc = prepare(r, b, &padded, err);
    if (!rc && r->f->before)
        rc = r->f->before(r->f->before_ctx, b, err);
    for (int i = 0; i < r->f->n_sessions && !rc; i++)
        rc = mc_session_run(r->f->sessions[i], r->arrays, r->n_arrays, err);
    mc_batch_free(padded);
    return rc;
}

/* The largest power of two up to BATCH_MAX for which the values of a run, a multiple of those of one
 * sample, stay below CACHE_BYTES, or up to BATCH_MIN below BLOCK_BYTES. The same for any number of threads:
 * sums over batches, such as those of covariances, end in other bits where batches are others. */
static int choose_batch(struct feeder *r, int64_t sample, struct mc_err *err)
{
    struct mc_batch *b = NULL, *padded = NULL;
    bool on_gpu = mc_pool_gpu(r->f->opts->pool); /* whose cache is not what counts */
    int rc = mc_dataset_range(r->f->data, sample, 1, &b, err);
    if (!rc && b->n < 1)
        rc = wrong_count(r->f->data, err);
    if (!rc)
        rc = prepare(r, b, &padded, err);
    size_t most = 1;
    for (int i = 0; i < r->f->n_sessions && !rc; i++) {
        size_t all, bytes;
        rc = mc_session_plan_bytes(r->f->sessions[i], r->arrays, r->n_arrays, &all, &bytes, err);
        most = !rc && bytes > most ? bytes : most;
    }
    mc_batch_free(padded);
    mc_batch_free(b);
    r->batch = BATCH_MAX;
    while (r->batch > 1 && r->f->opts->bytes && (size_t)r->batch > r->f->opts->bytes / most)
        r->batch /= 2;
    while (r->batch > BATCH_MIN && !on_gpu && (size_t)r->batch > CACHE_BYTES / most)
        r->batch /= 2;
    while (r->batch > 1 && (size_t)r->batch > BLOCK_BYTES / most)
        r->batch /= 2;
    r->chosen = true;
    return rc;
}

static int64_t total(const struct mc_pump *f)
{
    const struct mc_observe_opts *o = f->opts;
    int64_t left = f->data->count < 0 ? INT64_MAX : f->data->count - o->first;
    return o->count >= 0 && o->count < left ? o->count : left;
}

/* Fewer samples a run, of those of *b, until a GPU has memory for them. */
static int run_on_gpu(struct feeder *r, struct mc_batch **b, struct mc_err *err)
{
    int rc = run(r, *b, err);
    while (rc == MC_ENOMEM && r->choose && (*b)->n > 1 && mc_pool_gpu(r->f->opts->pool)) {
        struct mc_batch *half;
        r->batch = ((*b)->n + 1) / 2;
        rc = r->order.index ? mc_dataset_read(r->f->data, (*b)->index, r->batch, &half, err)
                            : mc_dataset_range(r->f->data, (*b)->index[0], r->batch, &half, err);
        if (rc)
            return rc;
        mc_batch_free(*b);
        *b = half;
        rc = run(r, *b, err);
    }
    return rc;
}

/* A model that holds its batch size somewhere inside says so by shapes that do not fit. */
static int run_or_shrink(struct feeder *r, struct mc_batch **b, struct mc_err *err)
{
    int rc = run_on_gpu(r, b, err);
    if (rc != MC_ESHAPE || !r->chosen || (*b)->n == 1)
        return rc;
    struct mc_batch *one;
    if (mc_dataset_range(r->f->data, (*b)->index[0], 1, &one, NULL))
        return rc;
    if (run(r, one, NULL)) {
        mc_batch_free(one);
        return rc;
    }
    mc_batch_free(*b);
    *b = one;
    r->batch = 1;
    return 0;
}

/* The next batch: of one shape, which begins at sample number `done` of the order. */
static int read_next(struct feeder *r, int64_t done, int64_t left, struct mc_batch **ret,
                     int64_t *ret_asked, struct mc_err *err)
{
    const struct mc_order *o = &r->order;
    int64_t first = r->f->opts->first + done, same = o->index ? o->end[done] - done : left;
    bool begins = done == 0 || (o->index && o->end[done - 1] == done);
    int rc = mc_interrupt_check(err);
    if (!rc && begins && r->choose)
        rc = choose_batch(r, o->index ? o->index[done] : first, err);
    same = same < left ? same : left;
    *ret_asked = same < r->batch ? same : r->batch;
    if (rc)
        return rc;
    return o->index ? mc_dataset_read(r->f->data, o->index + done, *ret_asked, ret, err)
                    : mc_dataset_range(r->f->data, first, *ret_asked, ret, err);
}

static int feed(struct feeder *r, mc_pump_fn *fn, void *ctx, int64_t *ret_samples,
                struct mc_err *err)
{
    const struct mc_observe_opts *o = r->f->opts;
    int64_t want = total(r->f), done = 0, asked;
    bool end = false;
    while (done < want && !end) {
        struct mc_batch *b = NULL;
        int rc = read_next(r, done, want - done, &b, &asked, err);
        if (rc)
            return rc;
        int64_t got = b->n;
        if (got > 0)
            rc = run_or_shrink(r, &b, err);
        if (!rc && b->n > 0)
            rc = fn(ctx, b, err);
        done += b->n;
        end = got < asked && b->n == got;
        r->chosen = false;
        mc_batch_free(b);
        if (rc)
            return rc;
        mc_progress_tell(o->progress, o->what ? o->what : "running", (double)done,
                         want == INT64_MAX ? 0 : (double)want);
    }
    if (ret_samples)
        *ret_samples = done;
    return done ? 0 : wrong_count(r->f->data, err);
}

int mc_pump_run(const struct mc_pump *f, mc_pump_fn *fn, void *ctx, int64_t *ret_samples,
                struct mc_err *err)
{
    struct feeder r = {.f = f, .batch = f->opts->batch};
    if (total(f) <= 0)
        return wrong_count(f->data, err);
    int rc = find_frozen(f, &r.frozen, err);
    if (f->data->whole)
        r.batch = 1;
    else if (r.frozen)
        r.batch = r.frozen;
    else
        r.choose = r.batch <= 0;
    if (!rc)
        rc = mc_order_make(f->data, f->opts->first, total(f), &r.order, err);
    if (!rc)
        rc = feed(&r, fn, ctx, ret_samples, err);
    mc_order_free(&r.order);
    free(r.arrays);
    return rc;
}
