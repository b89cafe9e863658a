#include "passes/search/search_slice.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct slice {
    struct mc_dataset *of;
    int64_t *index; /* sample i is number index[i] of the whole */
};

static const int64_t *translate(struct slice *s, const int64_t *index, int64_t n, int64_t *room)
{
    for (int64_t i = 0; i < n; i++)
        room[i] = s->index[index[i]];
    return room;
}

static int slice_read(void *self, const int64_t *index, int64_t n, struct mc_batch **ret,
                      struct mc_err *err)
{
    struct slice *s = self;
    int64_t *room = mc_calloc((size_t)n, sizeof *room);
    if (!room)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_dataset_read(s->of, translate(s, index, n, room), n, ret, err);
    free(room);
    return rc;
}

static int slice_group(void *self, int64_t index, int64_t *ret, struct mc_err *err)
{
    struct slice *s = self;
    return mc_dataset_group(s->of, s->index[index], ret, err);
}

static void slice_free(void *self)
{
    struct slice *s = self;
    free(s->index);
    free(s);
}

static const struct mc_dataset_class one_shape = {slice_read, slice_free, NULL, NULL};
static const struct mc_dataset_class many_shapes = {slice_read, slice_free, slice_group, NULL};

static int open_slice(struct mc_dataset *of, int64_t first, int64_t from, int64_t n,
                      struct mc_dataset **ret, struct mc_err *err)
{
    struct mc_dataset *d = calloc(1, sizeof *d);
    struct slice *s = calloc(1, sizeof *s);
    char *spec = strdup(of->spec ? of->spec : "samples");
    int64_t *index = mc_calloc((size_t)n, sizeof *index);
    if (!d || !s || !spec || !index) {
        free(d);
        free(s);
        free(spec);
        free(index);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (int64_t i = 0; i < n; i++) /* evenly spread over [first, first + from) */
        index[i] = first + (int64_t)((double)i * (double)from / (double)n);
    *s = (struct slice){.of = of, .index = index};
    *d = *of;
    d->class = of->class->group ? &many_shapes : &one_shape;
    d->self = s;
    d->spec = spec;
    d->count = n;
    *ret = d;
    return 0;
}

int mc_slice_half(struct mc_dataset *of, int64_t count, bool odd, struct mc_dataset **ret,
                  struct mc_err *err)
{
    return open_slice(of, odd, count / 2 * 2, count / 2, ret, err);
}

int mc_slice_range(struct mc_dataset *of, int64_t first, int64_t count, struct mc_dataset **ret,
                   struct mc_err *err)
{
    return open_slice(of, first, count, count, ret, err);
}

/* Others than those that calibrate, if there are enough. Judged by the same samples, layers that were fitted to them
 * best look better than they are: with the 512 of the reference cnn (3136 inputs in one layer) a search came out with a
 * KL divergence 12 % higher on test samples than the plan that it began with. */
enum { ENOUGH = 128 };

int mc_slice_open(const struct mc_pass_ctx *ctx, int64_t most, struct mc_dataset **ret,
                  struct mc_err *err)
{
    struct mc_dataset *of = ctx->train ? ctx->train : ctx->calib;
    *ret = NULL;
    if (!of)
        return 0;
    int64_t first = 0, from = ctx->calib_count;
    if (of->count >= 0) {
        int64_t others = of->count - ctx->calib_count;
        first = others >= ENOUGH ? ctx->calib_count : 0;
        from = ctx->train || first + most > of->count ? of->count - first : most;
    }
    int64_t n = from < most ? from : most;
    if (n < 1)
        return mc_fail(err, MC_EDATA, "'%s': no samples", of->spec);
    return open_slice(of, first, from, n, ret, err);
}
