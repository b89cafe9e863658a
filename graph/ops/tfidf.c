/* TfIdfVectorizer over integers: how often each n-gram of a pool occurs in a row, with gaps allowed. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"

enum { GRAM_MAX = 16 };

struct gram {
    const int64_t *items;
    int64_t size, column;
    double weight;
};

struct pool {
    const int64_t *items, *counts, *columns;
    size_t n_items, n_counts, n_columns;
    const float *weights; /* of the n-grams in the order of the pool, or NULL */
    int64_t shortest, longest, skips, width;
    bool tf, idf;
};

static int check_lists(const struct mc_node *n, struct pool *p, struct mc_err *err)
{
    size_t grams = 0;
    p->items = mc_node_ints(n, "pool_int64s", &p->n_items);
    p->counts = mc_node_ints(n, "ngram_counts", &p->n_counts);
    p->columns = mc_node_ints(n, "ngram_indexes", &p->n_columns);
    if (mc_node_attr(n, "pool_strings"))
        return mc_op_fail(err, MC_EUNSUP, n, "pool_strings cannot run");
    if (!p->items || !p->counts || !p->columns || p->n_counts > GRAM_MAX)
        return mc_op_fail(err, MC_ESHAPE, n, "%zu ngram_counts, %zu ngram_indexes, %zu in the pool",
                          p->n_counts, p->n_columns, p->n_items);
    for (size_t i = 0; i < p->n_counts; i++) {
        int64_t from = p->counts[i], to = (int64_t)p->n_items;
        if (i + 1 < p->n_counts)
            to = p->counts[i + 1];
        if (from < 0 || from > to || to > (int64_t)p->n_items || (to - from) % (int64_t)(i + 1))
            return mc_op_fail(err, MC_ESHAPE, n, "ngram_counts: %lld to %lld of %zu items",
                              (long long)from, (long long)to, p->n_items);
        grams += (size_t)(to - from) / (i + 1);
    }
    if (grams != p->n_columns)
        return mc_op_fail(err, MC_ESHAPE, n, "%zu ngram_indexes for %zu n-grams", p->n_columns,
                          grams);
    p->width = 0;
    for (size_t i = 0; i < grams; i++) {
        if (p->columns[i] < 0 || p->columns[i] >= INT32_MAX)
            return mc_op_fail(err, MC_ESHAPE, n, "ngram_indexes has %lld",
                              (long long)p->columns[i]);
        p->width = p->columns[i] >= p->width ? p->columns[i] + 1 : p->width;
    }
    return 0;
}

static int parse(const struct mc_node *n, struct pool *p, struct mc_err *err)
{
    const char *mode = mc_node_string(n, "mode", "");
    const struct mc_attr *weights = mc_node_attr(n, "weights");
    *p = (struct pool){.shortest = mc_node_int(n, "min_gram_length", 1),
                       .longest = mc_node_int(n, "max_gram_length", 1),
                       .skips = mc_node_int(n, "max_skip_count", 0)};
    int rc = check_lists(n, p, err);
    if (rc)
        return rc;
    p->tf = !strcmp(mode, "TF") || !strcmp(mode, "TFIDF");
    p->idf = !strcmp(mode, "IDF") || !strcmp(mode, "TFIDF");
    if (!p->tf && !p->idf)
        return mc_op_fail(err, MC_EUNSUP, n, "mode '%s' is not known", mode);
    if (p->shortest < 1 || p->longest < p->shortest || p->longest > (int64_t)p->n_counts ||
        p->skips < 0 || p->skips > INT32_MAX)
        return mc_op_fail(err, MC_ESHAPE, n, "n-grams of %lld to %lld, %lld skips",
                          (long long)p->shortest, (long long)p->longest, (long long)p->skips);
    if (!weights || !p->idf)
        return 0;
    if (weights->type != MC_ATTR_FLOATS || weights->n != p->n_columns)
        return mc_op_fail(err, MC_ESHAPE, n, "%zu weights for %zu n-grams", weights->n,
                          p->n_columns);
    p->weights = weights->floats;
    return 0;
}

static int tfidf_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct pool p;
    int rc = mc_op_arity(c, 1, 1, err), rank = mc_op_rank(c, 0);
    rc = rc ? rc : mc_op_need_index(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 0, 2, err);
    rc = rc ? rc : parse(c->node, &p, err);
    if (rc)
        return rc;
    struct mc_shape y = {1, {p.width}};
    if (rank == 2)
        y = (struct mc_shape){2, {c->in[0]->shape.dim[0], p.width}};
    mc_op_give(c, 0, MC_DTYPE_F32, rank < 0 ? NULL : &y);
    return 0;
}

struct state {
    struct pool p;
    struct gram *grams; /* sorted */
    size_t n;
};

static int by_items(const void *a, const void *b)
{
    const struct gram *x = a, *y = b;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    for (int64_t i = 0; i < x->size; i++)
        if (x->items[i] != y->items[i])
            return x->items[i] < y->items[i] ? -1 : 1;
    return 0;
}

static int tfidf_setup(struct mc_call *c, struct mc_err *err)
{
    struct state *s = mc_calloc(1, sizeof *s);
    if (!s)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    c->state = s;
    int rc = parse(c->node, &s->p, err);
    if (rc)
        return rc;
    s->grams = mc_calloc(s->p.n_columns, sizeof *s->grams);
    if (!s->grams)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    size_t k = 0;
    for (size_t i = 0; i < s->p.n_counts; i++) {
        int64_t size = (int64_t)i + 1, to = (int64_t)s->p.n_items;
        if (i + 1 < s->p.n_counts)
            to = s->p.counts[i + 1];
        for (int64_t at = s->p.counts[i]; at < to; at += size, k++)
            if (size >= s->p.shortest && size <= s->p.longest)
                s->grams[s->n++] = (struct gram){s->p.items + at, size, s->p.columns[k],
                                                 s->p.weights ? (double)s->p.weights[k] : 1};
    }
    qsort(s->grams, s->n, sizeof *s->grams, by_items);
    size_t bytes = (size_t)mc_op_count(&c->in[0]) * sizeof(int64_t);
    c->scratch_bytes = bytes;
    return 0;
}

static void tfidf_teardown(struct mc_call *c)
{
    struct state *s = c->state;
    if (s)
        free(s->grams);
    free(s);
    c->state = NULL;
}

/* n-grams that start at row[at], whose items are `step` apart. */
static void count_at(const struct state *s, const int64_t *row, int64_t n, int64_t at, int64_t step,
                     int64_t shortest, double *y)
{
    int64_t items[GRAM_MAX];
    for (int64_t size = 1; size <= s->p.longest && at + step * (size - 1) < n; size++) {
        items[size - 1] = row[at + step * (size - 1)];
        struct gram key = {items, size, 0, 0};
        const struct gram *hit =
            size < shortest ? NULL : bsearch(&key, s->grams, s->n, sizeof *s->grams, by_items);
        if (hit)
            y[hit->column] = hit->weight + (s->p.tf ? y[hit->column] : 0);
    }
}

static int tfidf_run(struct mc_call *c, struct mc_err *err)
{
    const struct state *s = c->state;
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    int64_t rows = x->shape.rank == 2 ? x->shape.dim[0] : 1;
    int64_t n = x->shape.rank == 0 ? 1 : x->shape.dim[x->shape.rank - 1], *values = c->scratch;
    int rc = mc_dtype_to_i64((int)x->dtype, x->data, values, (size_t)mc_op_count(x), err);
    double *sums = rc ? NULL : mc_calloc((size_t)s->p.width + 1, sizeof *sums);
    if (!sums)
        return rc ? rc : mc_op_fail(err, MC_ENOMEM, c->node, "out of memory");
    for (int64_t r = 0; r < rows; r++) {
        int64_t shortest = s->p.shortest;
        memset(sums, 0, (size_t)s->p.width * sizeof *sums);
        for (int64_t step = 1; step <= s->p.skips + 1 && shortest <= s->p.longest; step++) {
            if (step > 1 && step >= n)
                break;
            for (int64_t at = 0; at < n; at++)
                count_at(s, values + r * n, n, at, step, shortest, sums);
            shortest += shortest == 1; /* single items have no gaps: counted once */
        }
        for (int64_t j = 0; j < s->p.width; j++) {
            if (y->dtype == MC_DTYPE_F64)
                ((double *)y->data)[r * s->p.width + j] = sums[j];
            else
                ((float *)y->data)[r * s->p.width + j] = (float)sums[j];
        }
    }
    free(sums);
    return 0;
}

const struct mc_op mc_ops_tfidf[] = {
    {"", "TfIdfVectorizer", 9, 0, tfidf_infer, tfidf_setup, tfidf_run, tfidf_teardown, NULL, NULL},
    {0},
};
