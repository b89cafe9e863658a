#include "passes/svd/svd_ranks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"

/* A whole number of at least 1, 0 for anything else. */
static int64_t number(const char *text)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && v > 0 ? v : 0;
}

static bool is_named(const struct mc_layer *l, const char *name)
{
    if (l->value && !strcmp(l->value->name, name))
        return true;
    for (size_t s = 0; s < l->n_sites; s++)
        if (!strcmp(mc_node_label(l->sites[s].node), name))
            return true;
    return false;
}

static int unknown(const struct mc_layers *l, const char *name, struct mc_err *err)
{
    struct mc_nearest near = {.word = name};
    for (size_t i = 0; i < l->n_others; i++)
        if (is_named(&l->others[i], name))
            return mc_fail(err, MC_EUSAGE, "--rank: '%s' cannot be factorised: %s", name,
                           l->others[i].reason);
    for (size_t i = 0; i < l->n; i++) {
        mc_nearest_offer(&near, l->item[i].value->name);
        for (size_t s = 0; s < l->item[i].n_sites; s++)
            mc_nearest_offer(&near, mc_node_label(l->item[i].sites[s].node));
    }
    return near.name
               ? mc_fail(err, MC_EUSAGE,
                         "--rank: no node and no weight is named '%s'; did you mean '%s'?", name,
                         near.name)
               : mc_fail(err, MC_EUSAGE,
                         "--rank: no node and no weight is named '%s'; --dry-run lists them", name);
}

static int set_named(const char *text, const char *equals, const struct mc_layers *l,
                     struct mc_svd_ranks *r, struct mc_err *err)
{
    int64_t rank = number(equals + 1);
    if (rank < 1)
        return mc_fail(err, MC_EUSAGE, "--rank takes a whole number from 1 on, not '%s' in '%s'",
                       equals + 1, text);
    size_t n = (size_t)(equals - text);
    char *name = mc_calloc(n + 1, 1);
    if (!name)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(name, text, n);
    bool open = false;
    const char *reason = NULL;
    for (size_t i = 0; i < l->n; i++) {
        if (!is_named(&l->item[i], name))
            continue;
        r->of[i] = rank;
        open = open || !l->item[i].reason;
        reason = l->item[i].reason;
    }
    int rc = 0;
    if (!open)
        rc = reason ? mc_fail(err, MC_EUSAGE, "--rank: '%s' cannot be factorised: %s", name, reason)
                    : unknown(l, name, err);
    free(name);
    return rc;
}

int mc_svd_ranks_read(const json_t *options, const struct mc_layers *l, struct mc_svd_ranks *ret,
                      struct mc_err *err)
{
    const json_t *list = json_object_get(options, "rank"), *one;
    struct mc_svd_ranks r = {0};
    size_t k;
    int rc = 0;
    if (json_array_size(list) == 0)
        return 0;
    if (!(r.of = mc_calloc(l->n, sizeof *r.of)))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int named = 0; named < 2; named++)
        json_array_foreach(list, k, one)
        {
            const char *text = json_string_value(one), *equals = strrchr(text, '=');
            if (rc || (equals != NULL) != named)
                continue;
            if (named)
                rc = set_named(text, equals, l, &r, err);
            else if (number(text) < 1)
                rc = mc_fail(err, MC_EUSAGE,
                             "--rank takes a whole number from 1 on, or NAME=NUMBER, not '%s'",
                             text);
            for (size_t i = 0; !rc && !named && i < l->n; i++)
                r.of[i] = number(text);
        }
    if (rc)
        mc_svd_ranks_free(&r);
    else
        *ret = r;
    return rc;
}

void mc_svd_ranks_free(struct mc_svd_ranks *r)
{
    free(r->of);
    r->of = NULL;
}
