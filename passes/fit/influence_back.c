#include "passes/fit/influence_back.h"

#include "passes/fit/influence_gather.h"
#include "passes/fit/influence_run.h"

struct back {
    struct mc_influence_graph g;
    struct mc_influence_gather gather;
    struct mc_score score;
    struct mc_influence_plan plan;
};

static int add(void *self, const struct mc_array *const *got, int64_t at, int copies, int64_t first,
               int64_t samples, struct mc_err *err)
{
    (void)at;
    struct back *k = self;
    return mc_influence_gather_add(&k->gather, got, k->g.grad_of, copies, first, samples, err);
}

static int run(struct back *k, const struct mc_model *m, struct mc_dataset *data,
               const struct mc_influence_opts *opts, int64_t *ret_samples, struct mc_err *err)
{
    struct mc_influence_run r = {.g = &k->g,
                                 .score = &k->score,
                                 .pool = opts->pool,
                                 .progress = opts->progress,
                                 .what = "influence on the outputs",
                                 .samples = k->plan.samples,
                                 .vectors = k->plan.vectors,
                                 .only = k->g.only,
                                 .n_only = k->g.n_only,
                                 .self = k,
                                 .add = add};
    int rc = mc_influence_gather_open(&k->gather, err);
    return rc ? rc : mc_influence_run(&r, m, data, ret_samples, err);
}

int mc_influence_back(const struct mc_model *m, struct mc_dataset *data, struct mc_linalg *la,
                      struct mc_influence *inf, size_t n, const struct mc_influence_opts *opts,
                      struct mc_err *err)
{
    struct back k = {0};
    int64_t done = 0;
    int rc = mc_influence_graph_open(m, &k.g, err);
    if (!rc)
        rc = mc_influence_look(&k.g, m, data, opts->pool, opts->seed, opts->samples, &k.score, err);
    if (!rc)
        rc = mc_influence_plan_make(&k.score, m, data, opts->samples, opts->work * (double)n,
                                    &k.plan, err);
    if (!rc)
        rc = mc_influence_graph_build(&k.g, m, &k.plan.infer, inf, n, k.plan.copies, err);
    k.gather = (struct mc_influence_gather){
        .la = la, .inf = inf, .n = n, .opts = opts, .runs = k.plan.samples * k.plan.vectors};
    if (!rc)
        rc = run(&k, m, data, opts, &done, err);
    for (size_t i = 0; i < n; i++) {
        if (!rc && k.g.grad_of[i] >= 0 && done) {
            inf[i].samples = done;
            mc_influence_finish(&inf[i], k.gather.sum[i]);
            continue;
        }
        mc_tensor_unref(inf[i].cost);
        inf[i].cost = NULL;
    }
    mc_score_free(&k.score);
    mc_influence_gather_close(&k.gather);
    mc_influence_plan_free(&k.plan);
    mc_influence_graph_free(&k.g);
    return rc;
}
