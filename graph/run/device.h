/* What this machine can compute with, for `list devices` and reports. */
#ifndef MC_GRAPH_RUN_DEVICE_H
#define MC_GRAPH_RUN_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

/* Kernel level i, slowest first, and whether this CPU runs it; NULL at the end. */
const char *mc_device_level(size_t i, bool *ret_usable);
/* The level a session takes by itself: the best, or the one MCOMPRESS_KERNELS names; NULL if that one is
 * unknown or cannot run here. */
const char *mc_device_kernels(void);

#endif
