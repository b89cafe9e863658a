/* Which form for which layer: measured, cheapest that keeps the answer. */
#ifndef MC_PASSES_QUANT_SEARCH_H
#define MC_PASSES_QUANT_SEARCH_H

#include "passes/quant/quant_build.h"
#include "passes/search/search.h"

struct mc_quant_run; /* quant_run.h */

/* form[i] of every site, by measuring on samples; r->search is what the report says of it. */
int mc_quant_search(struct mc_quant_run *r, enum mc_quant_form *form, struct mc_err *err);

#endif
