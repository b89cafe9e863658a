/* The kernels of a GPU, for check.c: a table like that of a CPU's level. */
#ifndef MC_TESTS_CHECK_DEVICE_H
#define MC_TESTS_CHECK_DEVICE_H

#include "check.h"

/* c->k becomes the table of this device, each of whose functions waits until its work is done. What such a table
 * does not pack travels through the packing functions as it is. Returns 0, or the exit status: 77 if there is no
 * device, 1 if there has to be one (MCOMPRESS_REQUIRE_GPU=1) or it cannot be used; says why. */
int check_device_open(struct check *c, const char *device);
void check_device_close(void);

/* Memory that host and device reach. */
void *check_device_alloc(size_t bytes);
void check_device_free(void *p);

/* Run one case, until it calls an entry that the table does not have: then false, and the entry is counted. */
bool check_device_case(struct check *c, void (*test)(struct check *c));
/* What was counted since the last report, in words; empty: nothing. */
const char *check_device_missing(void);

#endif
