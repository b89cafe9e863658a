/* Ctrl-C: cli's signal handler requests, long work asks between chunks. */
#ifndef MC_BASE_INTERRUPT_H
#define MC_BASE_INTERRUPT_H

#include "base/err.h"

void mc_interrupt_request(void); /* async-signal-safe */
void mc_interrupt_clear(void);

/* 0, or MC_EINTR with a message once an interrupt was requested. Cheap enough for every batch. */
int mc_interrupt_check(struct mc_err *err);

#endif
