/* What sessions planned on a GPU and left to the CPU, for the report of a process: it has one device. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "graph/run/device.h"

enum { MOST = 256 };

static struct {
    pthread_mutex_t lock;
    uint64_t planned, now; /* bytes of sessions that are there at once: the most, and now */
    struct mc_device_fallback row[MOST]; /* sorted */
    int n;
} notes = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int compare(const struct mc_device_fallback *a, const char *op_type, const char *why)
{
    int d = strcmp(a->op_type, op_type);
    return d ? d : strcmp(a->why, why);
}

static void add(const char *op_type, const char *why, uint64_t nodes)
{
    struct mc_device_fallback new = {.nodes = nodes};
    int at = 0;
    snprintf(new.op_type, sizeof new.op_type, "%s", op_type);
    snprintf(new.why, sizeof new.why, "%s", why);
    while (at < notes.n && compare(&notes.row[at], new.op_type, new.why) < 0)
        at++;
    if (at < notes.n && !compare(&notes.row[at], new.op_type, new.why)) {
        if (notes.row[at].nodes < nodes)
            notes.row[at].nodes = nodes;
        return;
    }
    if (notes.n == MOST)
        return;
    memmove(&notes.row[at + 1], &notes.row[at], (size_t)(notes.n - at) * sizeof new);
    notes.row[at] = new;
    notes.n++;
}

void mc_device_note(const char *op_type, const char *why, uint64_t nodes)
{
    pthread_mutex_lock(&notes.lock);
    add(op_type, why, nodes);
    pthread_mutex_unlock(&notes.lock);
}

void mc_device_plan(uint64_t before, uint64_t now)
{
    pthread_mutex_lock(&notes.lock);
    notes.now += now - before;
    if (notes.planned < notes.now)
        notes.planned = notes.now;
    pthread_mutex_unlock(&notes.lock);
}

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
