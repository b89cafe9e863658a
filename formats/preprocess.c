#include "formats/preprocess.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A decimal number or a fraction of two at *p; false, or *p behind it. */
static bool number(const char **p, double *ret_over, double *ret_under)
{
    char *end;
    *ret_under = 1;
    *ret_over = strtod(*p, &end);
    if (end == *p || !isfinite(*ret_over))
        return false;
    if (*end == '/') {
        const char *under = end + 1;
        *ret_under = strtod(under, &end);
        if (end == under || !isfinite(*ret_under) || *ret_under == 0)
            return false;
    }
    *p = end;
    return true;
}

static bool list(const char **p, double *ret, int *ret_n)
{
    *ret_n = 0;
    do {
        double over, under;
        if (*ret_n == MC_PREPROCESS_CHANNELS || !number(p, &over, &under))
            return false;
        ret[(*ret_n)++] = over / under;
    } while (**p == ':' && (*p)++);
    return true;
}

static bool no_zero(const double *v, int n)
{
    for (int i = 0; i < n; i++)
        if (v[i] == 0)
            return false;
    return true;
}

enum key { SCALE, MEAN, STD, RESIZE, CROP, N_KEYS };

static const char *const keys[N_KEYS] = {"scale", "mean", "std", "resize", "crop"};

/* One KEY=VALUE at *p. */
static int entry(const char **p, struct mc_preprocess *ret, bool seen[N_KEYS], struct mc_err *err)
{
    const char *start = *p;
    int n = (int)strcspn(start, ","), k = 0;
    size_t name = strcspn(start, "=,");
    while (k < N_KEYS && (strlen(keys[k]) != name || strncmp(start, keys[k], name)))
        k++;
    if (k == N_KEYS || start[name] != '=')
        return mc_fail(err, MC_EUSAGE,
                       "preprocess: '%.*s' is not one of scale=, mean=, std=, resize=, crop=", n,
                       start);
    if (seen[k])
        return mc_fail(err, MC_EUSAGE, "preprocess: %s is given twice", keys[k]);
    seen[k] = true;
    if (k == RESIZE || k == CROP)
        return mc_fail(err, MC_EUNSUP,
                       "preprocess: %s is for folders of images, these samples have one size; "
                       "leave it out",
                       keys[k]);
    *p = start + name + 1;
    bool ok = k == SCALE  ? number(p, &ret->over, &ret->under) && ret->over != 0
              : k == MEAN ? list(p, ret->mean, &ret->n_mean)
                          : list(p, ret->std, &ret->n_std) && no_zero(ret->std, ret->n_std);
    if (!ok || (**p && **p != ','))
        return mc_fail(err, MC_EUSAGE, "preprocess: '%.*s' needs %s", n, start,
                       k == SCALE ? "a number other than 0, such as 1/255"
                                  : "numbers with ':' between, one or one per channel");
    return 0;
}

int mc_preprocess_parse(const char *text, struct mc_preprocess *ret, struct mc_err *err)
{
    *ret = (struct mc_preprocess){.over = 1, .under = 255, .n_mean = 1, .n_std = 1, .std = {1}};
    bool seen[N_KEYS] = {false};
    for (const char *p = text; p && *p;) {
        int rc = entry(&p, ret, seen, err);
        if (rc)
            return rc;
        if (*p == ',')
            p++;
    }
    return 0;
}

bool mc_preprocess_identity(const struct mc_preprocess *p)
{
    bool same = p->over == p->under;
    for (int i = 0; i < p->n_mean; i++)
        same = same && p->mean[i] == 0;
    for (int i = 0; i < p->n_std; i++)
        same = same && p->std[i] == 1;
    return same;
}

int mc_preprocess_channels(const struct mc_preprocess *p, int64_t channels, int *ret,
                           struct mc_err *err)
{
    int most = p->n_mean > p->n_std ? p->n_mean : p->n_std;
    if ((p->n_mean > 1 && p->n_mean != channels) || (p->n_std > 1 && p->n_std != channels))
        return mc_fail(err, MC_ESHAPE, "preprocess: %d values for images of %lld channels", most,
                       (long long)channels);
    *ret = most;
    return 0;
}

int mc_preprocess_table(const struct mc_preprocess *p, int channels, enum mc_dtype dtype,
                        void *table, struct mc_err *err)
{
    size_t row = 256 * (size_t)mc_dtype_info(dtype)->bits / 8;
    for (int c = 0; c < channels; c++) {
        double y[256], mean = p->mean[p->n_mean > 1 ? c : 0], std = p->std[p->n_std > 1 ? c : 0];
        for (int v = 0; v < 256; v++)
            y[v] = (v * p->over / p->under - mean) / std;
        int rc = mc_dtype_from_f64(dtype, y, (uint8_t *)table + (size_t)c * row, 256, err);
        if (rc)
            return rc;
    }
    return 0;
}
