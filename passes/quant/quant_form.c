#include "passes/quant/quant_form.h"

const char *const mc_quant_form_names[MC_QUANT_FORMS] = {"float",   "half",   "weight",  "weight4",
                                                         "dynamic", "static", "static16"};
