/* What the files of recurrent cells share. */
#ifndef MC_PASSES_QUANT_CELL_H
#define MC_PASSES_QUANT_CELL_H

#include "passes/quant/form/quant_dynamic.h"

/* How W and R are cut: a scale for every row of every direction. */
struct mc_quant_cut mc_quant_cell_cut(const struct mc_quant_builder *b, size_t site, int k);

/* Directions [dir, dir + dirs) and rows [row, row + rows) of a weight. */
struct mc_quant_cell_part {
    int64_t dir, dirs, row, rows;
};
/* The integers of a part, which mc_quant_put_weight made, as [dirs, n, rows], or with rank 2 and one direction [n, rows]. */
int mc_quant_cell_turn(const struct mc_quant_builder *b, size_t site, int k,
                       const struct mc_quant_cell_part *part, int rank, struct mc_tensor **ret,
                       struct mc_err *err);
/* Of v, its scales or zero points (or one for all), those of a part of w as [dirs, rows], with rank 1 [rows]. */
int mc_quant_cell_rows(const struct mc_value *v, const struct mc_tensor *w,
                       const struct mc_quant_cell_part *part, int rank, struct mc_tensor **ret,
                       struct mc_err *err);

/* The cell written out: the product with W for all steps at once, then a Scan whose body is one step of a direction with
 * its product with R, both by mc_quant_emit_product. For what mc_quant_cell_why lets through. */
int mc_quant_cell_scan(struct mc_quant_builder *b, size_t site, struct mc_err *err);

#endif
