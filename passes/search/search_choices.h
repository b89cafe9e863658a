/* A choices file's table into a search. */
#ifndef MC_PASSES_SEARCH_CHOICES_H
#define MC_PASSES_SEARCH_CHOICES_H

#include "passes/search/search.h"

/* item[i].choice by s->ctx->choices: {"layers": [{"name", "choice"}]}, whatever else is in it; the choice of an item
 * that is not named is 0. A null choice is 0, too.
 * Errors: MC_EUSAGE naming the layer or option that is not known, and the nearest one that is, or a layer that is
 * there twice. */
int mc_search_take_choices(struct mc_search *s, struct mc_err *err);

#endif
