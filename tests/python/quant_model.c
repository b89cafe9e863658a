/* quant_model IN OUT FORM [RUNTIME]: every site of IN in this form where it can have it, and in the first of the others behind it
 * that it can. Prints a line for each: operator, name, form, bytes of the weight, bytes of integers, error, why not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/onnx.h"
#include "graph/edit.h"
#include "graph/opset.h"
#include "graph/run/fold.h"
#include "passes/quant/form/quant_build.h"

static struct mc_quant_rules rules = {.weight_bits = 8,
                                      .block_bits = 4,
                                      .block = 32,
                                      .act_bits = 8,
                                      .method = MC_QUANT_MSE,
                                      .weight_method = MC_QUANT_MSE,
                                      .percentile = 99.99};

static void tell(const struct mc_quant_sites *s, const struct mc_quant_built *b,
                 enum mc_quant_form asked)
{
    printf("total %llu %llu\n", (unsigned long long)s->weight_bytes,
           (unsigned long long)b->compressed);
    for (size_t i = 0; i < s->n; i++) {
        const struct mc_quant_site *site = &s->item[i];
        const char *why = site->reason ? site->reason : site->why[asked];
        uint64_t bytes = 0;
        double error = 0;
        for (int k = 0; k < site->n_weights; k++) {
            bytes += b->at[i].w[k].bytes;
            error += b->at[i].w[k].error;
        }
        printf("%s|%s|%s|%llu|%llu|%.5f|%s\n", site->node->op_type, mc_node_label(site->node),
               mc_quant_form_names[b->at[i].form], (unsigned long long)site->bytes,
               (unsigned long long)bytes, error, why ? why : "");
    }
}

static int convert(struct mc_model *m, enum mc_quant_form asked, const char *out,
                   struct mc_err *err)
{
    struct mc_pass_ctx ctx = {.calib = NULL};
    struct mc_quant_sites sites = {0};
    struct mc_quant_built built = {0};
    enum mc_quant_form *form = NULL;
    mc_edit_fix_inputs(m->graph);
    int rc = mc_prepare(m, NULL, err);
    if (!rc)
        rc = mc_quant_prepare(m, err);
    if (!rc)
        rc = mc_quant_sites_find(m, &rules, &sites, err);
    if (!rc && !(form = calloc(sites.n + 1, sizeof *form)))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < sites.n && !rc; i++)
        form[i] = !sites.item[i].why[asked]                                        ? asked
                  : asked > MC_QUANT_WEIGHT && !sites.item[i].why[MC_QUANT_WEIGHT] ? MC_QUANT_WEIGHT
                                                                                   : MC_QUANT_FLOAT;
    if (!rc)
        rc = mc_quant_build(&ctx, m, &sites, &rules, NULL, form, NULL, false, &built, err);
    if (!rc) {
        tell(&sites, &built, asked);
        rc = mc_opset_lift(built.m, 0, err);
    }
    if (!rc)
        rc = mc_onnx_write(built.m, out, NULL, err);
    mc_quant_built_free(&built);
    mc_quant_sites_free(&sites);
    free(form);
    return rc;
}

int main(int argc, char **argv)
{
    struct mc_model *m = NULL;
    struct mc_err err = {0};
    enum mc_quant_form asked = MC_QUANT_FORMS;
    for (int f = 0; argc >= 4 && f < MC_QUANT_FORMS; f++)
        if (!strcmp(argv[3], mc_quant_form_names[f]))
            asked = (enum mc_quant_form)f;
    if (asked == MC_QUANT_FORMS)
        return 2;
    for (int i = 4; i + 1 < argc; i += 2) {
        int v = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "bits"))
            rules.weight_bits = rules.block_bits = v;
        else if (!strcmp(argv[i], "asymmetric"))
            rules.weight_asymmetric = v;
        else if (!strcmp(argv[i], "tensor"))
            rules.per_tensor = v;
        else if (!strcmp(argv[i], "runtime"))
            rules.runtime = (enum mc_quant_runtime)v;
        else
            return 2;
    }
    int rc = mc_onnx_read(argv[1], &m, &err);
    if (!rc)
        rc = convert(m, asked, argv[2], &err);
    if (rc)
        fprintf(stderr, "%s\n", err.msg);
    mc_model_free(m);
    return rc ? 1 : 0;
}
