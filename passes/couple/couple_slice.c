/* Slice: the positions that are taken, by number. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/shape.h"
#include "passes/couple/couple_pick.h"
#include "passes/couple/couple_table.h"

struct ranges { /* per axis of the input */
    bool sliced[MC_RANK_MAX];
    bool known[MC_RANK_MAX]; /* start, end and step are */
    int64_t start[MC_RANK_MAX], end[MC_RANK_MAX], step[MC_RANK_MAX];
};

/* Clamped as ONNX has it; returns how many positions, from *start on. */
static int64_t clamp(const struct ranges *r, int d, int64_t n, int64_t *ret_start)
{
    int64_t start = r->start[d], end = r->end[d], step = r->step[d];
    start += start < 0 ? n : 0;
    end += end < 0 ? n : 0;
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    start = start < 0 ? 0 : start > high ? high : start;
    end = end < low ? low : end > n ? n : end;
    *ret_start = start;
    if (step > 0 ? end <= start : end >= start)
        return 0;
    uint64_t gap = step > 0 ? (uint64_t)(end - start) : (uint64_t)(start - end);
    uint64_t by = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    return (int64_t)((gap + by - 1) / by);
}

static bool is_whole(const struct ranges *r, int d, int64_t n)
{
    int64_t start;
    return r->step[d] == 1 && clamp(r, d, n, &start) == n;
}

static bool numbers(const struct mc_infer *inf, const struct mc_node *n, size_t slot, int count,
                    int64_t *value, bool *known)
{
    return mc_pick_ints(inf, n->in[slot], value, known, MC_RANK_MAX) == count;
}

/* n is of the graph that was inferred; false: not even the axes are known. */
static bool ranges_of(const struct mc_infer *inf, const struct mc_node *n, int rank,
                      struct ranges *ret)
{
    int64_t start[MC_RANK_MAX], end[MC_RANK_MAX], axis[MC_RANK_MAX], step[MC_RANK_MAX];
    bool ks[MC_RANK_MAX], ke[MC_RANK_MAX], ka[MC_RANK_MAX], kt[MC_RANK_MAX];
    size_t ns, ne, na;
    const int64_t *s = mc_node_ints(n, "starts", &ns), *e = mc_node_ints(n, "ends", &ne);
    const int64_t *a = mc_node_ints(n, "axes", &na);
    int count;
    *ret = (struct ranges){.sliced = {false}};
    if (n->version < 10) {
        if (!s || !e || ns != ne || ns > MC_RANK_MAX || (a && na != ns))
            return false;
        count = (int)ns;
    } else {
        count = n->n_in > 2 ? mc_pick_ints(inf, n->in[1], start, ks, MC_RANK_MAX) : -1;
        if (count < 0 || !numbers(inf, n, 2, count, end, ke) ||
            (n->n_in > 3 && n->in[3] && !numbers(inf, n, 3, count, axis, ka)) ||
            (n->n_in > 4 && n->in[4] && !numbers(inf, n, 4, count, step, kt)))
            return false;
    }
    for (int i = 0; i < count; i++) {
        bool old = n->version < 10, has_step = !old && n->n_in > 4 && n->in[4];
        bool has_axis = !old && n->n_in > 3 && n->in[3];
        int d = mc_shape_axis(old ? (a ? a[i] : i) : has_axis ? axis[i] : i, rank);
        if (d < 0 || (has_axis && !ka[i]))
            return false;
        ret->sliced[d] = true;
        ret->known[d] = old || (ks[i] && ke[i] && (!has_step || (kt[i] && step[i])));
        ret->start[d] = old ? s[i] : start[i];
        ret->end[d] = old ? e[i] : end[i];
        ret->step[d] = has_step ? step[i] : 1;
    }
    return true;
}

static void slice_axis(struct mc_couple *w, const struct ranges *r, int d, const struct mc_units *u)
{
    int64_t start, n = clamp(r, d, u->n, &start);
    int64_t *index = mc_calloc((size_t)n + 1, sizeof *index);
    if (!index) {
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
        return;
    }
    for (int64_t i = 0; i < n; i++)
        index[i] = start + i * r->step[d];
    mc_couple_put(w, w->n->out[0], d, is_whole(r, d, u->n) ? u : mc_couple_take(w, u, index, n));
    free(index);
}

static void slice(struct mc_couple *w)
{
    const struct mc_value *x = w->n->in[0], *y = w->n->out[0];
    struct ranges r;
    if (mc_pick_is_index(w, x) || !mc_pick_ranked(w, x, y))
        return;
    int rank = mc_couple_shape(w, x)->rank;
    bool all = true;
    if (!ranges_of(w->c->inf, w->n, rank, &r)) {
        mc_couple_hold_node(w, "what a Slice takes is not known");
        return;
    }
    for (int d = 0; d < rank; d++)
        all = all && (!r.sliced[d] || r.known[d]);
    for (int d = 0; d < rank && !w->rc; d++) {
        const struct mc_units *u = mc_couple_axis(w, x, d);
        if (u && !r.sliced[d])
            mc_couple_put(w, y, d, u);
        else if (u && !r.known[d]) /* ranges are written all together */
            mc_couple_hold(w, u, "what a Slice takes is not known");
        else if (u && !all && !is_whole(&r, d, u->n))
            mc_couple_hold(w, u, "what a Slice takes is not known");
        else if (u)
            slice_axis(w, &r, d, u);
    }
}

/* ---- correcting ---- */

/* Positions that stay, as a range. */
static bool as_range(const int64_t *kept, int64_t n, int64_t was_step, struct ranges *r, int d)
{
    if (!n) {
        r->start[d] = r->end[d] = 0;
        r->step[d] = 1;
        return true;
    }
    int64_t step = n > 1 ? kept[1] - kept[0] : was_step > 0 ? 1 : -1;
    for (int64_t i = 1; i < n; i++)
        if (kept[i] - kept[i - 1] != step)
            return false;
    r->start[d] = kept[0];
    r->end[d] = step > 0 ? kept[n - 1] + 1 : kept[n - 1] > 0 ? kept[n - 1] - 1 : INT64_MIN + 1;
    r->step[d] = step;
    return step != 0;
}

/* The node once more, with ranges of its own. */
static int write_ranges(struct mc_cutting *k, struct mc_node *n, const struct ranges *r, int rank,
                        struct mc_err *err)
{
    int64_t start[MC_RANK_MAX], end[MC_RANK_MAX], axis[MC_RANK_MAX], step[MC_RANK_MAX];
    int count = 0;
    bool steps = false;
    for (int d = 0; d < rank; d++)
        if (r->sliced[d]) {
            axis[count] = d;
            start[count] = r->start[d];
            end[count] = r->end[d];
            steps |= r->step[d] != 1;
            step[count++] = r->step[d];
        }
    int rc;
    if (n->version < 10) {
        rc = mc_edit_attr_ints(n, "starts", start, (size_t)count, err);
        rc = rc ? rc : mc_edit_attr_ints(n, "ends", end, (size_t)count, err);
        return rc ? rc : mc_edit_attr_ints(n, "axes", axis, (size_t)count, err);
    }
    rc = mc_cutting_ints(k, n, 1, start, count, err);
    rc = rc ? rc : mc_cutting_ints(k, n, 2, end, count, err);
    rc = rc ? rc : mc_cutting_ints(k, n, 3, axis, count, err);
    return rc || (!steps && n->n_in < 5) ? rc : mc_cutting_ints(k, n, 4, step, count, err);
}

/* Positions that stay of an axis are no range: a Gather takes them. Where nothing is left to slice it makes what the node
 * made, otherwise what the node reads. */
static int gather_axis(struct mc_node *n, int d, const int64_t *kept, int64_t count, bool last,
                       struct mc_err *err)
{
    struct mc_value *x = n->in[0], *y = n->out[0];
    struct mc_graph *g = n->graph;
    size_t pos = n->pos;
    if (last) {
        mc_edit_remove_node(n);
        return mc_pick_gather(g, pos, n->name, x, d, kept, count, y, err);
    }
    struct mc_value *part = mc_edit_fresh(g, y->name);
    if (!part)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_pick_gather(g, pos, "", x, d, kept, count, part, err);
    return rc ? rc : mc_edit_set_input(n, 0, part, err);
}

static int64_t kept_of(const struct mc_cutting *k, const struct mc_node *n, const struct ranges *r,
                       int d, int64_t **ret)
{
    int64_t start, all = mc_cutting_shape(k, n->in[0])->dim[d];
    int64_t count = clamp(r, d, all, &start);
    int64_t *index = mc_calloc((size_t)count + 1, sizeof *index);
    for (int64_t i = 0; index && i < count; i++)
        index[i] = start + i * r->step[d];
    count = index ? mc_pick_kept(k, n->in[0], d, n->out[0], d, index, ret) : -1;
    free(index);
    return count;
}

static int correct(struct mc_cutting *k, struct mc_node *n, struct ranges *r, int64_t *const *kept,
                   const int64_t *count, int rank, struct mc_err *err)
{
    bool write = false;
    int sliced = 0, rc = 0;
    for (int d = 0; d < rank; d++)
        sliced += r->sliced[d];
    for (int d = 0; d < rank && !rc; d++) {
        if (!kept[d])
            continue;
        int64_t step = r->step[d];
        write = true;
        if (as_range(kept[d], count[d], step, r, d) && (n->version >= 10 || r->step[d] == 1))
            continue;
        r->start[d] = 0;
        r->end[d] = INT64_MAX;
        r->step[d] = 1;
        sliced--;
        rc = gather_axis(n, d, kept[d], count[d], !sliced, err);
    }
    return rc || !write || !sliced ? rc : write_ranges(k, n, r, rank, err);
}

static int slice_cut(struct mc_cutting *k, struct mc_node *n, struct mc_err *err)
{
    const struct mc_value *was = mc_pick_original(k, n->out[0]);
    const struct mc_shape *x = mc_cutting_shape(k, n->in[0]);
    int64_t *kept[MC_RANK_MAX] = {NULL}, count[MC_RANK_MAX] = {0};
    struct ranges r;
    int rc = 0;
    if (!x || !was || !was->producer || !ranges_of(k->c->inf, was->producer, x->rank, &r))
        return 0;
    for (int d = 0; d < x->rank && !rc; d++)
        if (r.sliced[d] && !is_whole(&r, d, x->dim[d]) && mc_cutting_changed(k, n->in[0], d)) {
            count[d] = kept_of(k, n, &r, d, &kept[d]);
            rc = count[d] < 0 ? mc_fail(err, MC_ENOMEM, "out of memory") : 0;
        }
    rc = rc ? rc : correct(k, n, &r, kept, count, x->rank, err);
    for (int d = 0; d < x->rank; d++)
        free(kept[d]);
    return rc;
}

const struct mc_couple_rule mc_couple_slice[] = {
    {"", " Slice ", slice, slice_cut},
    {0},
};
