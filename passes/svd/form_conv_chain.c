#include "passes/svd/form_conv_chain.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/edit.h"
#include "passes/svd/svd_rewrite.h"

enum { NAME = 1024, AXES = MC_RANK_MAX };

/* ---- cost ---- */

uint64_t mc_conv_chain_bytes(const struct mc_layer *l, const struct mc_conv_chain *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += (uint64_t)mc_shape_count(&c->stage[i].shape);
    return n * (mc_dtype_info(l->weight->dtype)->bits / 8);
}

/* Every element of a stage's weight is multiplied once for each position of its output: along the axes whose window is
 * behind it that is the output's size, along the others the input's. */
static double site_macs(const struct mc_layer_site *s, const struct mc_conv_chain *c, int axes)
{
    double sum = 0, size[AXES], all = 1;
    if (s->rows < 0)
        return NAN;
    for (int a = 0; a < axes; a++) {
        if (s->in_dim[a] < 0 || s->out_dim[a] < 0)
            return NAN;
        size[a] = (double)s->in_dim[a];
        all *= (double)s->out_dim[a];
    }
    for (size_t i = 0; i < c->n; i++) {
        double positions = all > 0 ? (double)s->rows / all : 0;
        for (int a = 0; a < axes; a++) {
            if (c->stage[i].axes >> a & 1)
                size[a] = (double)s->out_dim[a];
            positions *= size[a];
        }
        sum += positions * (double)mc_shape_count(&c->stage[i].shape);
    }
    return sum;
}

double mc_conv_chain_macs(const struct mc_layer *l, const struct mc_conv_chain *c)
{
    double sum = 0;
    for (size_t i = 0; i < l->n_sites; i++)
        sum += site_macs(&l->sites[i], c, l->weight->shape.rank - 2);
    return sum;
}

/* ---- windows ---- */

struct window { /* of the node that was there */
    int64_t stride[AXES], dilation[AXES], pad[2 * AXES];
    int axes;
    bool automatic;
    char auto_pad[32];
};

static void read_ints(const struct mc_node *n, const char *name, int64_t *dst, int count,
                      int64_t otherwise)
{
    size_t k = 0;
    const int64_t *v = mc_node_ints(n, name, &k);
    for (int i = 0; i < count; i++)
        dst[i] = v && k == (size_t)count ? v[i] : otherwise;
}

static struct window read_window(const struct mc_node *n, int axes)
{
    struct window w = {.axes = axes};
    const char *pad = mc_node_string(n, "auto_pad", "NOTSET");
    read_ints(n, "strides", w.stride, axes, 1);
    read_ints(n, "dilations", w.dilation, axes, 1);
    read_ints(n, "pads", w.pad, 2 * axes, 0);
    w.automatic = *pad && strcmp(pad, "NOTSET") != 0;
    snprintf(w.auto_pad, sizeof w.auto_pad, "%s", pad);
    return w;
}

static int set_ints(struct mc_node *n, const char *name, const int64_t *v, int count, unsigned axes,
                    int axes_n, int64_t otherwise, struct mc_err *err)
{
    int64_t x[2 * AXES];
    for (int i = 0; i < count; i++)
        x[i] = axes >> (i % axes_n) & 1 ? v[i] : otherwise;
    return mc_edit_attr_ints(n, name, x, (size_t)count, err);
}

static int set_window(struct mc_node *n, const struct window *w, const struct mc_conv_stage *s,
                      struct mc_err *err)
{
    static const char *const own[] = {"strides", "dilations", "pads", "auto_pad", "group"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        mc_edit_attr_remove(n, own[i]);
    int rc = mc_edit_attr_ints(n, "kernel_shape", s->shape.dim + 2, (size_t)w->axes, err);
    if (!rc && s->group != 1)
        rc = mc_edit_attr_int(n, "group", s->group, err);
    if (!rc && s->axes)
        rc = set_ints(n, "strides", w->stride, w->axes, s->axes, w->axes, 1, err);
    if (!rc && s->axes)
        rc = set_ints(n, "dilations", w->dilation, w->axes, s->axes, w->axes, 1, err);
    if (!rc && s->axes && w->automatic)
        rc = mc_edit_attr_string(n, "auto_pad", w->auto_pad, err);
    else if (!rc && s->axes)
        rc = set_ints(n, "pads", w->pad, 2 * w->axes, s->axes, w->axes, 0, err);
    return rc;
}

/* ---- nodes ---- */

static int insert(struct mc_node *at, struct mc_value *x, struct mc_value *w,
                  const struct mc_conv_stage *s, const struct window *window, struct mc_value **ret,
                  struct mc_err *err)
{
    char name[NAME];
    struct mc_node *n;
    snprintf(name, sizeof name, "%.900s%s", at->out[0]->name, s->suffix);
    *ret = mc_edit_fresh(at->graph, name);
    if (!*ret)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    snprintf(name, sizeof name, "%.900s%s", at->name, s->suffix);
    int rc = mc_edit_node(at->graph, at->pos, "Conv", "", at->version, *at->name ? name : "",
                          (struct mc_value *[]){x, w}, 2, ret, 1, &n, err);
    return rc ? rc : set_window(n, window, s, err);
}

static int place_site(struct mc_node *n, struct mc_value *const *w, const struct mc_conv_chain *c,
                      int axes, struct mc_err *err)
{
    struct window window = read_window(n, axes);
    struct mc_value *x = n->in[0];
    int rc = 0;
    for (size_t i = 0; !rc && i + 1 < c->n; i++)
        rc = insert(n, x, w[i], &c->stage[i], &window, &x, err);
    if (!rc)
        rc = set_window(n, &window, &c->stage[c->n - 1], err);
    if (!rc)
        rc = mc_edit_set_input(n, 0, x, err);
    return rc ? rc : mc_edit_set_input(n, 1, w[c->n - 1], err);
}

int mc_conv_chain_place(struct mc_model *m, const struct mc_layer *l, const struct mc_conv_chain *c,
                        float *const *mean_error, struct mc_err *err)
{
    struct mc_value *w[MC_CONV_STAGES];
    int axes = l->weight->shape.rank - 2, rc = 0;
    for (size_t i = 0; !rc && i < c->n; i++)
        rc = mc_svd_factor(m, l, &c->stage[i].shape, c->stage[i].w, c->stage[i].suffix, &w[i], err);
    for (size_t i = 0; !rc && i < l->n_sites; i++) {
        rc = place_site(l->sites[i].node, w, c, axes, err);
        if (!rc && mean_error && mean_error[i])
            rc = mc_svd_shift_site(m, l, &l->sites[i], mean_error[i], err);
    }
    return rc;
}
