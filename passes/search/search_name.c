#include <stdio.h>
#include <string.h>

#include "passes/search/search.h"

static bool is_taken(const struct mc_search_item *item, size_t n, const char *name)
{
    for (size_t k = 0; k < n; k++)
        if (!strcmp(item[k].name, name))
            return true;
    return false;
}

const char *mc_search_name(const struct mc_search_item *item, size_t n, const char *node,
                           const char *weight, struct mc_arena *names)
{
    enum { MORE = 32 };
    if (!is_taken(item, n, node))
        return node;
    size_t size = strlen(node) + strlen(weight) + MORE;
    char *name = mc_arena_alloc(names, size);
    if (name)
        snprintf(name, size, "%s (%s)", node, weight);
    for (size_t k = 2; name && is_taken(item, n, name); k++)
        snprintf(name, size, "%s (%s) %zu", node, weight, k);
    return name;
}
