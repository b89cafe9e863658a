#include "passes/pass.h"

#include <string.h>

#include "passes/pass_registry.h"

const struct mc_pass *mc_pass_find(const char *name)
{
    for (size_t i = 0; mc_passes[i]; i++)
        if (strcmp(mc_passes[i]->name, name) == 0)
            return mc_passes[i];
    return NULL;
}

const struct mc_pass *mc_pass_at(size_t i)
{
    for (size_t k = 0; k < i; k++) /* an index past the end is the end */
        if (!mc_passes[k])
            return NULL;
    return mc_passes[i];
}

int mc_passes_reopen(const struct mc_pass *const *list, struct mc_pass_ctx *ctx, struct mc_model *m,
                     struct mc_err *err)
{
    int rc = 0;
    for (list = list ? list : mc_passes; *list && !rc; list++)
        if ((*list)->reopen)
            rc = (*list)->reopen(ctx, NULL, m, err);
    return rc;
}

int mc_passes_finish(const struct mc_pass *const *list, struct mc_pass_ctx *ctx, struct mc_model *m,
                     struct mc_err *err)
{
    size_t n = 0;
    int rc = 0;
    list = list ? list : mc_passes;
    while (list[n])
        n++;
    while (n-- > 0 && !rc)
        if (list[n]->reopen && list[n]->finish)
            rc = list[n]->finish(ctx, NULL, m, err);
    return rc;
}
