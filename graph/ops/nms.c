/* NonMaxSuppression: of boxes that overlap, those of the best score. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"

static int nms_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 5, err);
    int64_t same, center = mc_node_int(c->node, "center_point_box", 0);
    for (int i = 0; i < 2 && !rc; i++) {
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_rank(c, i, 3, 3, err);
    }
    rc = rc ? rc : mc_op_need_index(c, 2, err);
    for (int i = 2; i < 5 && !rc; i++) {
        rc = i > 2 && mc_op_in(c, i) ? mc_op_need_float(c, i, err) : 0;
        rc = rc ? rc : mc_op_need_single(c, i, err);
    }
    if (!rc && center != 0 && center != 1)
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "center_point_box %lld, must be 0 or 1",
                        (long long)center);
    if (rc)
        return rc;
    const struct mc_vtype *boxes = c->in[0], *scores = c->in[1];
    if (boxes->ranked && boxes->shape.dim[2] >= 0 && boxes->shape.dim[2] != 4)
        return mc_op_fail(err, MC_ESHAPE, c->node, "boxes of %lld numbers, must be 4",
                          (long long)boxes->shape.dim[2]);
    if (boxes->ranked && scores->ranked) {
        rc = mc_op_need_dim(c->node, "batches of boxes and scores", boxes->shape.dim[0],
                            scores->shape.dim[0], &same, err);
        rc = rc ? rc
                : mc_op_need_dim(c->node, "boxes and scores", boxes->shape.dim[1],
                                 scores->shape.dim[2], &same, err);
    }
    struct mc_shape y = {2, {MC_DIM_ANY, 3}};
    mc_op_give(c, 0, MC_DTYPE_I64, &y);
    return rc;
}

/* Corners and areas, one array for each so that the test of one box against many vectorises. */
struct boxes {
    float *y1, *x1, *y2, *x2, *area;
};

struct candidate {
    float score;
    int64_t box;
};

struct nms {
    int64_t n, limit;
    float iou, least; /* least: of a score, where there is one */
    bool has_least, center;
    struct boxes all, kept;
    struct candidate *candidates;
    int64_t *found; /* of one class */
};

static float number(const struct mc_buf *b, float missing)
{
    return !b                         ? missing
           : b->dtype == MC_DTYPE_F64 ? (float)*(const double *)b->data
                                      : *(const float *)b->data;
}

static void load_boxes(const struct nms *s, const struct mc_buf *boxes, int64_t batch)
{
    for (int64_t i = 0; i < s->n; i++) {
        float v[4];
        for (int d = 0; d < 4; d++) {
            int64_t at = (batch * s->n + i) * 4 + d;
            v[d] = boxes->dtype == MC_DTYPE_F64 ? (float)((const double *)boxes->data)[at]
                                                : ((const float *)boxes->data)[at];
        }
        if (s->center) { /* x, y, width, height */
            float w = v[2] / 2, h = v[3] / 2, x = v[0], y = v[1];
            v[0] = y - h;
            v[1] = x - w;
            v[2] = y + h;
            v[3] = x + w;
        }
        s->all.y1[i] = v[0] < v[2] ? v[0] : v[2];
        s->all.y2[i] = v[0] < v[2] ? v[2] : v[0];
        s->all.x1[i] = v[1] < v[3] ? v[1] : v[3];
        s->all.x2[i] = v[1] < v[3] ? v[3] : v[1];
        s->all.area[i] = (s->all.y2[i] - s->all.y1[i]) * (s->all.x2[i] - s->all.x1[i]);
    }
}

/* Best score first, of equal ones the earlier box. */
static int by_score(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->box < y->box ? -1 : x->box > y->box;
}

/* Box i of all overlaps one of the `n` kept ones by more than the threshold. */
static bool suppressed(const struct nms *s, int64_t i, int64_t n)
{
    enum { STEP = 64 }; /* boxes tested before looking at the answer */
    const struct boxes *k = &s->kept;
    float y1 = s->all.y1[i], x1 = s->all.x1[i], y2 = s->all.y2[i], x2 = s->all.x2[i];
    float area = s->all.area[i];
    for (int64_t j0 = 0; j0 < n; j0 += STEP) {
        int hit = 0;
        for (int64_t j = j0; j < n && j < j0 + STEP; j++) {
            float top = k->y1[j] > y1 ? k->y1[j] : y1, left = k->x1[j] > x1 ? k->x1[j] : x1;
            float low = k->y2[j] < y2 ? k->y2[j] : y2, right = k->x2[j] < x2 ? k->x2[j] : x2;
            float h = low - top, w = right - left, both = h * w;
            hit |= (h > 0) & (w > 0) & (area > 0) & (k->area[j] > 0) &
                   (both / (area + k->area[j] - both) > s->iou);
        }
        if (hit)
            return true;
    }
    return false;
}

/* Indices of the boxes kept for one class in s->found; their number. */
static int64_t one_class(const struct nms *s, const struct mc_buf *scores, int64_t from)
{
    int64_t n = 0, kept = 0;
    for (int64_t i = 0; i < s->n; i++) {
        float score = scores->dtype == MC_DTYPE_F64
                          ? (float)((const double *)scores->data)[from + i]
                          : ((const float *)scores->data)[from + i];
        if (s->has_least ? score > s->least : score == score)
            s->candidates[n++] = (struct candidate){score, i};
    }
    qsort(s->candidates, (size_t)n, sizeof *s->candidates, by_score);
    for (int64_t i = 0; i < n && kept < s->limit; i++) {
        int64_t box = s->candidates[i].box;
        if (suppressed(s, box, kept))
            continue;
        s->kept.y1[kept] = s->all.y1[box];
        s->kept.x1[kept] = s->all.x1[box];
        s->kept.y2[kept] = s->all.y2[box];
        s->kept.x2[kept] = s->all.x2[box];
        s->kept.area[kept] = s->all.area[box];
        s->found[kept++] = box;
    }
    return kept;
}

static void layout(const struct mc_call *c, struct nms *s, size_t *at)
{
    size_t n = (size_t)s->n;
    float **arrays[] = {&s->all.y1,  &s->all.x1,  &s->all.y2,  &s->all.x2,  &s->all.area,
                        &s->kept.y1, &s->kept.x1, &s->kept.y2, &s->kept.x2, &s->kept.area};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        *arrays[i] = mc_op_scratch(c, at, n * sizeof(float));
    s->candidates = mc_op_scratch(c, at, n * sizeof *s->candidates);
    s->found = mc_op_scratch(c, at, n * sizeof *s->found);
}

static int nms_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    struct nms s = {.n = c->in[0].shape.dim[1]};
    size_t at = 0;
    layout(c, &s, &at);
    c->scratch_bytes = at;
    return 0;
}

struct picks { /* [batch, class, box] */
    int64_t (*row)[3];
    size_t n, cap;
};

static int search(const struct mc_call *c, const struct nms *s, struct picks *p, struct mc_err *err)
{
    const struct mc_buf *scores = &c->in[1];
    int64_t batches = scores->shape.dim[0], classes = scores->shape.dim[1];
    for (int64_t b = 0; b < batches && s->limit > 0; b++) {
        load_boxes(s, &c->in[0], b);
        for (int64_t k = 0; k < classes; k++) {
            int64_t n = one_class(s, scores, (b * classes + k) * s->n);
            for (int64_t i = 0; i < n; i++) {
                if (!MC_GROW(p->row, p->n, p->cap))
                    return mc_op_fail(err, MC_ENOMEM, c->node, "out of memory");
                int64_t *row = p->row[p->n++];
                row[0] = b;
                row[1] = k;
                row[2] = s->found[i];
            }
        }
    }
    return 0;
}

static int nms_run(struct mc_call *c, struct mc_err *err)
{
    int64_t limit = 0;
    struct nms s = {.n = c->in[0].shape.dim[1],
                    .iou = number(mc_op_arg(c, 3), 0),
                    .least = number(mc_op_arg(c, 4), 0),
                    .has_least = mc_op_arg(c, 4) != NULL,
                    .center = mc_node_int(c->node, "center_point_box", 0) != 0};
    struct picks p = {0};
    size_t at = 0;
    if (!(s.iou >= 0 && s.iou <= 1))
        return mc_op_fail(err, MC_EDATA, c->node, "iou_threshold %g, must be within 0 and 1",
                          (double)s.iou);
    mc_op_ints(mc_op_arg(c, 2), &limit, 1);
    s.limit = limit < 0 ? 0 : limit < s.n ? limit : s.n;
    layout(c, &s, &at);
    int rc = search(c, &s, &p, err);
    struct mc_shape y = {2, {(int64_t)p.n, 3}};
    rc = rc ? rc : mc_op_size(c, 0, &y, err);
    if (!rc && p.n)
        memcpy(c->out[0].data, p.row, p.n * sizeof *p.row);
    free(p.row);
    return rc;
}

const struct mc_op mc_ops_nms[] = {
    {"", "NonMaxSuppression", 10, MC_OP_SIZES, nms_infer, nms_setup, nms_run, NULL, NULL, NULL},
    {0},
};
