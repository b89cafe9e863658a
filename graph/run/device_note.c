/* What sessions planned on a GPU and left to the CPU, for the report of a process: it has one device. */
#include <pthread.h>

#include "graph/run/device.h"

enum { MOST = 256 };

static struct {
    pthread_mutex_t lock;
    uint64_t planned;
    struct mc_device_fallback row[MOST]; /* sorted */
    int n;
} notes = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t mc_device_planned(void)
{
    return notes.planned;
}

bool mc_device_fallback(int i, struct mc_device_fallback *ret)
{
    bool there = i < notes.n;
    if (there)
        *ret = notes.row[i];
    return there;
}
