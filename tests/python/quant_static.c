/* quant_static IN OUT CALIB [SETTING…]: every site of IN that can be is static, on the ranges of all samples of CALIB; others
 * get integer weights where they can. Settings: mse, symmetric, outputs, wide (16 bits), tensor, vnni (rules of our own
 * kernels), bits=N, weights=N. Prints operator, name, form and note or reason of each site. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/onnx.h"
#include "formats/samples.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "graph/run/fold.h"
#include "graph/run/session.h"
#include "passes/quant/form/quant_build.h"
#include "passes/quant/form/quant_region.h"
#include "passes/quant/repair/quant_repair.h"

enum { INPUTS_MAX = 8 };

struct job {
    struct mc_model *m;
    struct mc_quant_rules rules;
    bool wide;
    struct mc_session *session;
    struct mc_pass_ctx ctx;
    struct mc_quant_sites sites;
    struct mc_quant_want *want;
    struct mc_quant_stats *stats;
    enum mc_quant_form *form;
    struct mc_quant_built built;
};

static bool setting(struct job *j, const char *s)
{
    const char *number = strchr(s, '=');
    if (!strcmp(s, "mse"))
        j->rules.method = MC_QUANT_MSE;
    else if (!strcmp(s, "symmetric"))
        j->rules.act_symmetric = true;
    else if (!strcmp(s, "outputs"))
        j->rules.outputs = true;
    else if (!strcmp(s, "tensor"))
        j->rules.per_tensor = true;
    else if (!strcmp(s, "wide"))
        j->wide = true;
    else if (!strcmp(s, "vnni"))
        j->rules.runtime = MC_QUANT_VNNI;
    else if (number && !strncmp(s, "bits=", 5))
        j->rules.act_bits = atoi(number + 1);
    else if (number && !strncmp(s, "weights=", 8))
        j->rules.weight_bits = atoi(number + 1);
    else
        return false;
    return true;
}

static int open_samples(struct job *j, const char *spec, struct mc_err *err)
{
    struct mc_array in[INPUTS_MAX];
    int rc = mc_session_new(j->m->graph, NULL, &j->session, err);
    int n = rc ? 0 : mc_session_n_inputs(j->session);
    for (int i = 0; i < n && i < INPUTS_MAX; i++)
        in[i] = *mc_session_input(j->session, i);
    j->ctx.calib_count = -1;
    return rc ? rc
              : mc_samples_open(spec, &(struct mc_sample_opts){.inputs = in, .n_inputs = n},
                                &j->ctx.calib, err);
}

static enum mc_quant_form form_of(const struct job *j, const struct mc_quant_site *s)
{
    enum mc_quant_form wish = j->wide ? MC_QUANT_STATIC16 : MC_QUANT_STATIC;
    if (s->reason)
        return MC_QUANT_FLOAT;
    return !s->why[wish] ? wish : !s->why[MC_QUANT_WEIGHT] ? MC_QUANT_WEIGHT : MC_QUANT_FLOAT;
}

static int convert(struct job *j, const char *spec, struct mc_err *err)
{
    size_t n;
    mc_edit_fix_inputs(j->m->graph);
    int rc = mc_prepare(j->m, NULL, err);
    if (!rc)
        rc = mc_quant_prepare(j->m, err);
    if (!rc)
        rc = mc_quant_fold_norms(j->m, &n, err);
    if (!rc)
        rc = open_samples(j, spec, err);
    if (!rc)
        rc = mc_quant_sites_find(j->m, &j->rules, &j->sites, err);
    if (!rc)
        rc = mc_quant_wanted(j->m, &j->sites, &j->rules, &j->want, &n, err);
    if (!rc)
        rc = mc_quant_stats_collect(&j->ctx, j->m, j->want, n, &j->stats, err);
    if (rc)
        return rc;
    mc_quant_static_limits(&j->sites, j->stats);
    j->form = calloc(j->sites.n + 1, sizeof *j->form);
    for (size_t i = 0; j->form && i < j->sites.n; i++)
        j->form[i] = form_of(j, &j->sites.item[i]);
    return mc_quant_build(&j->ctx, j->m, &j->sites, &j->rules, j->stats, j->form, NULL, false,
                          &j->built, err);
}

static void tell(const struct job *j)
{
    for (size_t i = 0; i < j->sites.n; i++) {
        const struct mc_quant_site *s = &j->sites.item[i];
        const char *why = s->reason ? s->reason : s->why[MC_QUANT_STATIC];
        const char *note = j->built.at[i].note;
        printf("%s|%s|%s|%s\n", s->node->op_type, mc_node_label(s->node),
               mc_quant_form_names[j->form[i]],
               note  ? note
               : why ? why
                     : "");
    }
}

int main(int argc, char **argv)
{
    struct job j = {.rules = {.weight_bits = 8, .block_bits = 4, .block = 32, .act_bits = 8}};
    struct mc_err err = {0};
    if (argc < 4)
        return 2;
    for (int i = 4; i < argc; i++)
        if (!setting(&j, argv[i]))
            return 2;
    int rc = mc_onnx_read(argv[1], &j.m, &err);
    if (!rc)
        rc = convert(&j, argv[3], &err);
    if (!rc) {
        tell(&j);
        rc = mc_opset_lift(j.built.m, 0, &err);
    }
    if (!rc)
        rc = mc_onnx_write(j.built.m, argv[2], NULL, &err);
    if (rc)
        fprintf(stderr, "%s\n", err.msg);
    mc_quant_built_free(&j.built);
    mc_quant_stats_free(j.stats);
    mc_quant_sites_free(&j.sites);
    free(j.want);
    free(j.form);
    mc_session_free(j.session);
    mc_dataset_free(j.ctx.calib);
    mc_model_free(j.m);
    return rc ? 1 : 0;
}
