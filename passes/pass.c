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
