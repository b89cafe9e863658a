#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/chain.h"
#include "cli/deliver.h"
#include "cli/recipe_out.h"
#include "cli/recipe_parts.h"
#include "cli/train_options.h"
#include "train/train.h"

enum { TABLES = MC_CLI_GROUPS };

/* Those of a recipe stand between what is given and the defaults. */
int mc_cli_given(const struct mc_cli *cli, json_t **ret, struct mc_err *err)
{
    enum { MOST = 256 };
    struct mc_param plain[MOST];
    int n = 0;
    for (int g = 0; cli->command->groups[g]; g++)
        for (const struct mc_param *p = cli->command->groups[g]->params; p->type && n < MOST - 1;
             p++) {
            plain[n] = *p;
            plain[n++].preset = NULL;
        }
    plain[n] = (struct mc_param){0};
    const struct mc_param *table = plain;
    return mc_param_parse(&table, 1, cli->argc - 1, cli->argv + 1, ret, err);
}

/* The values of the run: the command line before the recipe before the defaults. Its operand is the model. */
static int gather(const struct mc_cli *cli, const struct mc_recipe *r, const json_t *line,
                  json_t **ret, struct mc_err *err)
{
    const char *name, *model = mc_cli_operand(cli, 1);
    json_t *v, *values = json_copy(cli->values), *operands = json_array();
    bool ok = true;
    json_object_foreach((json_t *)mc_recipe_options(r), name, v) if (!json_object_get(line, name))
        mc_json_put(values, name, json_incref(v), &ok);
    mc_json_add(operands, json_stringn_nocheck(model, strlen(model)), &ok);
    mc_json_put(values, "operands", operands, &ok);
    if (ok) {
        *ret = values;
        return 0;
    }
    json_decref(values);
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static bool trains(const struct mc_recipe_kind *k, const json_t *options)
{
    return !k->pass || mc_param_has(options, "finetune");
}

/* Options of training that the run gives to all steps that train. */
static bool is_for_training(const char *name)
{
    const struct mc_param *own = mc_options_chain.params;
    const struct mc_param *how = mc_train_params;
    if (!strcmp(name, "output") || !strcmp(name, "blank") || !strcmp(name, "train"))
        return false; /* measuring and calibrating have them, too */
    return mc_param_find(&own, 1, name) || mc_param_find(&how, 1, name);
}

/* What a step sees: its own options, then those of the run that mean something to it, then defaults. */
static int step_values(const struct mc_recipe_kind *k, const json_t *options, const json_t *run,
                       json_t **ret, struct mc_err *err)
{
    const char *name;
    json_t *v, *values = json_object();
    bool ok = values != NULL;
    json_object_foreach((json_t *)run, name, v)
    {
        if (is_for_training(name) && (!trains(k, options) || !mc_param_find(k->table, k->n, name)))
            continue;
        mc_json_put(values, name, json_incref(v), &ok);
    }
    json_object_foreach((json_t *)options, name, v) mc_json_put(values, name, json_incref(v), &ok);
    int rc = ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (int t = 0; t < k->n && !rc; t++)
        rc = mc_param_fill(k->table[t], values, err);
    if (rc)
        json_decref(values);
    else
        *ret = values;
    return rc;
}

static int add_steps(const struct mc_cli *run, const struct mc_recipe *r, struct mc_chain *c,
                     bool *ret_trains, struct mc_err *err)
{
    size_t i;
    const json_t *step;
    int rc = 0;
    json_array_foreach(r->steps, i, step)
    {
        struct mc_recipe_kind k;
        json_t *values = NULL;
        const json_t *options = json_object_get(step, "options");
        if (!mc_recipe_kind_find(mc_json_string_or(step, "name", ""), &k))
            return mc_fail(err, MC_EFAIL, "a step that nobody knows");
        *ret_trains = *ret_trains || trains(&k, options);
        rc = step_values(&k, options, run->values, &values, err);
        if (!rc)
            rc = mc_chain_add(c, run, k.command, k.pass, values, err);
        json_decref(values);
        if (rc)
            return rc;
    }
    return 0;
}

static int check_unused(const json_t *line, struct mc_err *err)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)line, name, v) if (is_for_training(name)) return mc_fail(
        err, MC_EUSAGE, "--%s is for training, and no step of the recipe trains", name);
    return 0;
}

static int check_files(const struct mc_cli *cli, const struct mc_recipe *r, struct mc_err *err)
{
    const char *path = mc_param_text(cli->values, "recipe-out");
    const char *const files[] = {r->file, mc_cli_operand(cli, 1),
                                 mc_param_text(cli->values, "out")};
    int rc = mc_cli_check_reports(cli, files, 1, err);
    if (rc || !path || mc_param_flag(cli->values, "dry-run"))
        return rc;
    return mc_recipe_out_check(path, files, 3, err);
}

/* A missed gate is told last. */
static int write_recipe(const struct mc_cli *run, const struct mc_chain *c,
                        const struct mc_recipe *r, int rc, struct mc_err *err)
{
    struct mc_err late;
    const char *path = mc_param_text(run->values, "recipe-out");
    if (!path || !c->report || mc_param_flag(run->values, "dry-run"))
        return rc;
    int failed = mc_recipe_out_write(path, run, c, r->about, c->report, &late);
    return failed ? mc_fail(err, failed, "%s", late.msg) : rc;
}

/* run: the invocation as the steps see it. Its values are the caller's to free, whatever comes of it. */
static int build(const struct mc_cli *cli, const struct mc_recipe *r, struct mc_cli *run,
                 struct mc_chain *c, struct mc_err *err)
{
    json_t *line = NULL;
    bool training = false;
    *run = *cli;
    run->values = NULL;
    int rc = mc_cli_given(cli, &line, err);
    if (!rc)
        rc = gather(cli, r, line, &run->values, err);
    if (!rc)
        rc = add_steps(run, r, c, &training, err);
    if (!rc && !training)
        rc = check_unused(line, err);
    json_decref(line);
    return rc;
}

int mc_recipe_check(const struct mc_cli *cli, const struct mc_recipe *r, struct mc_err *err)
{
    struct mc_chain c = {0};
    struct mc_cli run;
    int rc = build(cli, r, &run, &c, err);
    if (!rc)
        rc = mc_chain_check(&c, err);
    mc_chain_free(&c);
    json_decref(run.values);
    return rc;
}

int mc_cmd_run(struct mc_cli *cli, struct mc_err *err)
{
    struct mc_recipe *r = NULL;
    struct mc_chain c = {0};
    struct mc_cli run = {0};
    char *text = NULL;
    int rc = mc_recipe_read(mc_cli_operand(cli, 0), &r, err);
    if (!rc)
        rc = check_files(cli, r, err);
    if (!rc)
        rc = build(cli, r, &run, &c, err);
    if (!rc && !(text = mc_recipe_text(r)))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    c.recipe = text;
    if (!rc)
        rc = mc_chain_run(&run, &c, err);
    rc = write_recipe(&run, &c, r, rc, err);
    mc_chain_free(&c);
    free(text);
    json_decref(run.values);
    mc_recipe_free(r);
    return rc;
}
