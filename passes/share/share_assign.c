/* Indices by Babai's nearest plane. With e = w - q, ‖e K‖² = sum_j (sum_{l >= j} e_l K[l,j])²: from the last column to the first
 * each term is made as small as it can be,
 *     q_j nearest to w_j + sum_{l > j} e_l K[l,j] / K[j,j],   term = ((…) - q_j)² K[j,j]². */
#include <stdlib.h>

#include "base/mem.h"
#include "passes/share/share_code.h"

enum {
    BLOCK = 64
}; /* columns whose sums over all columns behind them are one product of matrices */

struct rows { /* of one part, transposed: [n, rows] */
    const struct mc_share_matrix *x;
    struct mc_share_code *c;
    const float *k;
    int64_t first, rows;
    float *e;     /* [n, rows] */
    float *carry; /* [BLOCK, rows] */
    bool choose;
    double error;
};

static float value(const struct mc_share_code *c, int64_t i, uint8_t index)
{
    return c->entry[index] * (c->scale ? c->scale[i] : 1);
}

/* Column j; carry: what is behind the block of it. */
static void column(struct rows *r, int64_t j, int64_t end, float *carry)
{
    int64_t n = r->x->n;
    float diagonal = r->k[j * n + j];
    for (int64_t l = j + 1; l < end; l++) {
        float f = r->k[l * n + j];
        const float *e = r->e + l * r->rows;
        for (int64_t i = 0; i < r->rows; i++)
            carry[i] += f * e[i];
    }
    for (int64_t i = 0; i < r->rows; i++) {
        int64_t row = r->first + i;
        uint8_t *index = &r->c->index[row * n + j];
        float w = r->x->w[row * n + j], t = w + (diagonal > 0 ? carry[i] / diagonal : 0);
        if (r->choose) {
            float s = r->c->scale ? r->c->scale[row] : 1, y = s != 0 ? t / s : 0;
            mc_codebook_nearest(&y, 1, r->c->entry, 1 << r->c->bits, index);
        }
        float q = value(r->c, row, *index);
        double term = ((double)t - (double)q) * (double)diagonal;
        r->e[j * r->rows + i] = w - q;
        r->error += (r->x->g ? (double)r->x->g[row] : 1) * term * term;
    }
}

static int part(struct mc_linalg *la, struct rows *r, struct mc_err *err)
{
    int64_t n = r->x->n;
    int rc = 0;
    for (int64_t end = n; !rc && end > 0;) {
        int64_t first = end > BLOCK ? end - BLOCK : 0, wide = end - first;
        for (int64_t i = 0; i < wide * r->rows; i++)
            r->carry[i] = 0;
        if (end < n)
            rc = mc_linalg_gemm(la, 't', 'n', wide, r->rows, n - end, 1, r->k + end * n + first, n,
                                r->e + end * r->rows, r->rows, 0, r->carry, r->rows, err);
        for (int64_t j = end; !rc && j-- > first;)
            column(r, j, end, r->carry + (j - first) * r->rows);
        end = first;
    }
    return rc;
}

int mc_share_assign(struct mc_linalg *la, const struct mc_share_matrix *x, bool choose,
                    struct mc_share_code *c, double *ret_error, struct mc_err *err)
{
    struct rows r = {.x = x, .c = c, .rows = x->m / x->parts, .choose = choose};
    r.e = mc_calloc((size_t)x->n + BLOCK, (size_t)r.rows * sizeof *r.e);
    int rc = r.e ? 0 : mc_fail(err, MC_ENOMEM, "out of memory for a codebook");
    r.carry = rc ? NULL : r.e + x->n * r.rows;
    for (int64_t p = 0; !rc && p < x->parts; p++) {
        r.k = x->k[p];
        r.first = p * r.rows;
        rc = part(la, &r, err);
    }
    free(r.e);
    if (!rc)
        *ret_error = r.error;
    return rc;
}
