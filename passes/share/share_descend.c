/* Indices one at a time, each the best for what all others are: the error falls with every change. From the gradient
 * p = e C of half the error, the best place of weight j alone is w_j + (p_j - e_j C[j,j]) / C[j,j]. */
#include <stdlib.h>

#include "base/mem.h"
#include "passes/share/share_code.h"

enum { BLOCK = 64, SWEEPS = 2 };

struct descent { /* of one part, transposed: [n, rows] */
    const struct mc_share_matrix *x;
    struct mc_share_code *c;
    int64_t first, rows;
    float *cov, *e, *p; /* [n,n], [n,rows], [BLOCK,rows] */
};

/* Column a + j of a block that begins at a and has `wide`. */
static void column(struct descent *d, int64_t a, int64_t j, int64_t wide)
{
    int64_t n = d->x->n, at = a + j;
    const float *cov = d->cov + at * n;
    float *e = d->e + at * d->rows, own = cov[at];
    for (int64_t i = 0; own > 0 && i < d->rows; i++) {
        int64_t row = d->first + i;
        uint8_t *index = &d->c->index[row * n + at];
        float s = d->c->scale ? d->c->scale[row] : 1, w = d->x->w[row * n + at];
        float y = s != 0 ? (w + d->p[j * d->rows + i] / own - e[i]) / s : 0;
        mc_codebook_nearest(&y, 1, d->c->entry, 1 << d->c->bits, index);
        float now = w - s * d->c->entry[*index], change = now - e[i];
        if (change == 0)
            continue;
        e[i] = now;
        for (int64_t l = 0; l < wide; l++)
            d->p[l * d->rows + i] += cov[a + l] * change;
    }
}

static int part(struct mc_linalg *la, struct descent *d, const float *k, struct mc_err *err)
{
    int64_t n = d->x->n;
    int rc = mc_linalg_gemm(la, 'n', 't', n, n, n, 1, k, n, k, n, 0, d->cov, n, err);
    for (int64_t j = 0; !rc && j < n; j++)
        for (int64_t i = 0; i < d->rows; i++) {
            int64_t row = d->first + i;
            float s = d->c->scale ? d->c->scale[row] : 1;
            d->e[j * d->rows + i] =
                d->x->w[row * n + j] - s * d->c->entry[d->c->index[row * n + j]];
        }
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int64_t a = 0; !rc && a < n; a += BLOCK) {
            int64_t wide = n - a < BLOCK ? n - a : BLOCK;
            rc = mc_linalg_gemm(la, 'n', 'n', wide, d->rows, n, 1, d->cov + a * n, n, d->e, d->rows,
                                0, d->p, d->rows, err);
            for (int64_t j = 0; !rc && j < wide; j++)
                column(d, a, j, wide);
        }
    return rc;
}

int mc_share_descend(struct mc_linalg *la, const struct mc_share_matrix *x, struct mc_share_code *c,
                     struct mc_err *err)
{
    struct descent d = {.x = x, .c = c, .rows = x->m / x->parts};
    d.cov = mc_calloc((size_t)x->n + 1, (size_t)x->n * sizeof *d.cov);
    d.e = mc_calloc((size_t)x->n + BLOCK, (size_t)d.rows * sizeof *d.e);
    int rc = d.cov && d.e ? 0 : mc_fail(err, MC_ENOMEM, "out of memory for a codebook");
    d.p = rc ? NULL : d.e + x->n * d.rows;
    for (int64_t p = 0; !rc && p < x->parts; p++) {
        d.first = p * d.rows;
        rc = part(la, &d, x->k[p], err);
    }
    free(d.cov);
    free(d.e);
    return rc;
}
