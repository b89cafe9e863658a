#include "train/train_opts.h"

#include <string.h>

#include "train/train.h"

/* Place of a word in "a|b|c". */
static int place(const char *choices, const char *word)
{
    int n = 0;
    for (const char *c = choices; c; n++) {
        size_t len = strcspn(c, "|");
        if (strlen(word) == len && !strncmp(c, word, len))
            return n;
        c = c[len] ? c + len + 1 : NULL;
    }
    return 0;
}

static int choice(const json_t *values, const char *name)
{
    const struct mc_param *p = mc_train_params;
    while (strcmp(p->name, name) != 0)
        p++;
    return place(p->choices, mc_param_text(values, name));
}

static void read_update(const json_t *v, struct mc_update_opts *u)
{
    static const double decay[] = {1e-4, 0, 0.01}; /* usual values of sgd, adam, adamw */
    u->kind = (enum mc_optimizer)choice(v, "optimizer");
    u->momentum = mc_param_real(v, "momentum", 0.9);
    u->nesterov = mc_param_flag(v, "nesterov");
    u->beta1 = u->momentum;
    u->beta2 = 0.999; /* Kingma, Ba, Adam, 2015 */
    u->epsilon = 1e-8;
    u->decay = mc_param_real(v, "weight-decay", decay[u->kind]);
    u->clip = mc_param_real(v, "clip", 0);
    u->ema = mc_param_real(v, "ema", 0);
}

int mc_train_opts_read(const json_t *options, struct mc_train_opts *ret, struct mc_err *err)
{
    json_t *v = options ? json_deep_copy(options) : json_object();
    if (!v)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_param_validate(mc_train_params, v, "training", err);
    if (rc) {
        json_decref(v);
        return rc;
    }
    *ret = (struct mc_train_opts){
        .values = v,
        .loss = (enum mc_loss_kind)choice(v, "loss"),
        .alpha = mc_param_real(v, "alpha", 0.5),
        .temperature = mc_param_real(v, "temperature", 1),
        .output = mc_param_text(v, "output"),
        .blocks = json_object_get(v, "blocks"),
        .blank = mc_param_int(v, "blank", 0),
        .lr = mc_param_real(v, "lr", 0),
        .schedule = (enum mc_schedule_kind)choice(v, "schedule"),
        .batch = mc_param_int(v, "batch", 0),
        .accumulate = mc_param_int(v, "accumulate", 1),
        .batchnorm = !strcmp(mc_param_text(v, "batchnorm"), "train"),
        .weights = {mc_param_text(v, "freeze"), mc_param_text(v, "train-only")},
        .augment = mc_param_text(v, "augment"),
        .balance = mc_param_flag(v, "balance"),
        .holdout = mc_param_real(v, "holdout", 0.05),
        .mem = mc_param_int(v, "mem", 0),
    };
    read_update(v, &ret->update);
    bool anneals = ret->schedule == MC_SCHEDULE_COSINE || ret->schedule == MC_SCHEDULE_ONECYCLE;
    ret->warmup = mc_param_real(v, "warmup", ret->schedule == MC_SCHEDULE_ONECYCLE ? 0.3 : 0.05);
    ret->patience = mc_param_real(v, "patience", anneals ? 0 : 5);
    ret->mixup = ret->augment && strstr(ret->augment, "mixup");
    if (json_array_size(ret->blocks) && ret->loss != MC_LOSS_BLOCKS)
        rc = mc_fail(err, MC_EUSAGE, "--blocks goes with --loss blocks only");
    else if (ret->update.nesterov && ret->update.kind != MC_OPTIMIZER_SGD)
        rc = mc_fail(err, MC_EUSAGE, "--nesterov goes with --optimizer sgd only");
    if (!json_array_size(ret->blocks))
        ret->blocks = NULL;
    if (rc)
        mc_train_opts_free(ret);
    return rc;
}

void mc_train_opts_free(struct mc_train_opts *o)
{
    json_decref(o->values);
    *o = (struct mc_train_opts){0};
}
