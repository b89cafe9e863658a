/* The repairs of a built model, one after the other. */
#include <math.h>

#include "passes/quant/quant_run.h"

/* With sixteen samples learned rounding was undone for nearly all models, after taking longer than all else. */
enum { ROUND_SAMPLES = 32 };

/* A quarter of the samples is held back to judge by, where there are more than a few. */
static void share_samples(const struct mc_pass_ctx *ctx, struct mc_quant_repair *job)
{
    int64_t all = ctx->calib_count, fit = all > 4 ? all - all / 4 : all;
    job->fit = job->held = ctx->calib;
    job->fit_count = fit;
    job->held_first = all > 4 ? fit : 0;
    job->held_count = all > 4 ? all - fit : all;
}

int mc_quant_repairs(struct mc_quant_run *r, struct mc_quant_built *b, unsigned which,
                     struct mc_quant_repair_result *made, size_t *ret_n, struct mc_err *err)
{
    static const struct {
        enum mc_quant_repair_kind kind;
        int (*run)(struct mc_quant_repair *, struct mc_quant_repair_result *, struct mc_err *);
    } steps[] = {{MC_QUANT_GPTQ, mc_quant_repair_gptq},
                 {MC_QUANT_ROUND, mc_quant_repair_round},
                 {MC_QUANT_BIAS, mc_quant_repair_bias}};
    struct mc_quant_repair job = {
        .ctx = r->ctx, .before = r->before, .sites = &r->sites, .rules = &r->rules, .b = b};
    int rc = 0;
    *ret_n = 0;
    if (!r->ctx->calib)
        return 0;
    share_samples(r->ctx, &job);
    if (r->any_repair && job.fit_count < ROUND_SAMPLES)
        which &= ~(unsigned)MC_QUANT_ROUND;
    for (size_t i = 0; !rc && i < sizeof steps / sizeof *steps; i++)
        if (which & steps[i].kind) {
            made[*ret_n] = (struct mc_quant_repair_result){.before = NAN, .after = NAN};
            rc = steps[i].run(&job, &made[*ret_n], err);
            *ret_n += !rc;
        }
    return rc;
}
