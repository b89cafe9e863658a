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

/* "WxH", or one number (then *ret_h is 0). */
static bool size(const char **p, int *ret_w, int *ret_h)
{
    enum { SIDE_MAX = 1 << 14 };
    char *end;
    *ret_h = 0;
    long w = strtol(*p, &end, 10), h = 0;
    bool ok = end != *p && w > 0 && w <= SIDE_MAX;
    if (ok && *end == 'x') {
        const char *second = end + 1;
        h = strtol(second, &end, 10);
        ok = end != second && h > 0 && h <= SIDE_MAX;
    }
    *ret_w = (int)w;
    *ret_h = (int)h;
    *p = end;
    return ok;
}

enum key { SCALE, MEAN, STD, RESIZE, CROP, BGR, N_KEYS };

static const struct {
    const char *name, *needs;
} keys[N_KEYS] = {
    {"scale", "a number other than 0, such as 1/255"},
    {"mean", "numbers with ':' between, one or one per channel"},
    {"std", "numbers other than 0 with ':' between, one or one per channel"},
    {"resize", "WIDTHxHEIGHT in pixels, or one number for the shorter side"},
    {"crop", "WIDTHxHEIGHT in pixels, or one number for both"},
    {"bgr", "no value"},
};

static bool value(enum key k, const char **p, struct mc_preprocess *ret)
{
    ret->values |= k == SCALE || k == MEAN || k == STD;
    switch (k) {
    case SCALE: return number(p, &ret->over, &ret->under) && ret->over != 0;
    case MEAN: return list(p, ret->mean, &ret->n_mean);
    case STD: return list(p, ret->std, &ret->n_std) && no_zero(ret->std, ret->n_std);
    case RESIZE: return size(p, &ret->resize_w, &ret->resize_h);
    case CROP:
        if (!size(p, &ret->crop_w, &ret->crop_h))
            return false;
        ret->crop_h = ret->crop_h ? ret->crop_h : ret->crop_w;
        return true;
    default: return false;
    }
}

/* One KEY=VALUE at *p. */
static int entry(const char **p, struct mc_preprocess *ret, bool seen[N_KEYS], struct mc_err *err)
{
    const char *start = *p;
    int n = (int)strcspn(start, ","), k = 0;
    size_t name = strcspn(start, "=,");
    while (k < N_KEYS && (strlen(keys[k].name) != name || strncmp(start, keys[k].name, name)))
        k++;
    bool bare = k == BGR && start[name] != '=';
    if (k == N_KEYS || (start[name] != '=' && !bare))
        return mc_fail(err, MC_EUSAGE,
                       "preprocess: '%.*s' is not one of scale=, mean=, std=, resize=, crop=, bgr",
                       n, start);
    if (seen[k])
        return mc_fail(err, MC_EUSAGE, "preprocess: %s is given twice", keys[k].name);
    seen[k] = true;
    *p = start + name + !bare;
    ret->bgr |= bare;
    if ((!bare && !value((enum key)k, p, ret)) || (**p && **p != ','))
        return mc_fail(err, MC_EUSAGE, "preprocess: '%.*s' needs %s", n, start, keys[k].needs);
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

void mc_preprocess_resized(const struct mc_preprocess *p, int *width, int *height)
{
    int w = *width, h = *height;
    if (!p->resize_w)
        return;
    if (p->resize_h) {
        *width = p->resize_w;
        *height = p->resize_h;
    } else { /* the longer side is rounded down, as torchvision's Resize does */
        int64_t longer = (int64_t)p->resize_w * (w < h ? h : w) / (w < h ? w : h);
        int other = (int)(longer > INT32_MAX ? INT32_MAX : longer);
        *width = w < h ? p->resize_w : other;
        *height = w < h ? other : p->resize_w;
    }
}

int mc_preprocess_size(const struct mc_preprocess *p, const char *what, int *width, int *height,
                       struct mc_err *err)
{
    mc_preprocess_resized(p, width, height);
    if (!p->crop_w)
        return 0;
    if (*width < p->crop_w || *height < p->crop_h)
        return mc_fail(err, MC_ESHAPE,
                       "preprocess: '%s' has %d x %d pixels, too few for crop=%dx%d; resize it "
                       "before, with resize=",
                       what, *width, *height, p->crop_w, p->crop_h);
    *width = p->crop_w;
    *height = p->crop_h;
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
