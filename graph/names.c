#include "graph/names.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

/* Open addressing with linear probing, at most two thirds full; a removal shifts the rest of its run back, so
 * there are no tombstones. The hash is seeded with the table's address: a file cannot choose names that
 * collide. */
struct entry {
    const char *name; /* NULL: empty; lives in the model's arena */
    uint64_t hash;
    struct mc_value *value; /* NULL: only graphs below have this name */
    uint32_t below;         /* how many of them */
    uint32_t next;          /* last suffix given out */
};

struct mc_names {
    struct entry *slots;
    size_t n, size; /* size is a power of two */
    uint64_t seed;
};

static uint64_t hash_of(const struct mc_names *t, const char *name)
{
    return XXH3_64bits_withSeed(name, strlen(name), t->seed);
}

static struct entry *probe(const struct mc_names *t, const char *name, uint64_t hash)
{
    size_t i = hash & (t->size - 1);
    while (t->slots[i].name && (t->slots[i].hash != hash || strcmp(t->slots[i].name, name) != 0))
        i = (i + 1) & (t->size - 1);
    return &t->slots[i];
}

static struct entry *find(const struct mc_names *t, const char *name)
{
    if (!t || !t->n)
        return NULL;
    struct entry *e = probe(t, name, hash_of(t, name));
    return e->name ? e : NULL;
}

static bool grow(struct mc_names *t)
{
    size_t size = t->size ? 2 * t->size : 16;
    struct entry *old = t->slots, *slots = mc_calloc(size, sizeof *slots);
    if (!slots)
        return false;
    size_t old_size = t->size;
    t->slots = slots;
    t->size = size;
    for (size_t i = 0; i < old_size; i++)
        if (old[i].name)
            *probe(t, old[i].name, old[i].hash) = old[i];
    free(old);
    return true;
}

/* The entry of a name, made if need be. */
static struct entry *intern(struct mc_graph *g, const char *name)
{
    struct mc_names *t = g->names;
    if (!t) {
        t = calloc(1, sizeof *t);
        if (!t)
            return NULL;
        t->seed = (uintptr_t)t;
        g->names = t;
    }
    if (3 * (t->n + 1) > 2 * t->size && !grow(t))
        return NULL;
    uint64_t hash = hash_of(t, name);
    struct entry *e = probe(t, name, hash);
    if (!e->name) {
        *e = (struct entry){.name = name, .hash = hash};
        t->n++;
    }
    return e;
}

static void release(struct mc_names *t, struct entry *e)
{
    if (e->value || e->below)
        return;
    size_t mask = t->size - 1, hole = (size_t)(e - t->slots);
    for (size_t i = (hole + 1) & mask; t->slots[i].name; i = (i + 1) & mask) {
        size_t home = t->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = (struct entry){0};
    t->n--;
}

static struct mc_graph *outermost(const struct mc_graph *g)
{
    while (g->parent)
        g = g->parent;
    return (struct mc_graph *)g;
}

void mc_names_free(struct mc_names *t)
{
    if (!t)
        return;
    free(t->slots);
    free(t);
}

struct mc_value *mc_names_get(const struct mc_names *t, const char *name)
{
    struct entry *e = find(t, name);
    return e ? e->value : NULL;
}

bool mc_names_put(struct mc_value *v)
{
    struct mc_graph *g = v->graph, *top = outermost(g);
    if (g != top) {
        struct entry *e = intern(top, v->name);
        if (!e)
            return false;
        e->below++;
    }
    struct entry *e = intern(g, v->name);
    if (e) {
        e->value = v;
        return true;
    }
    if (g != top) {
        e = find(top->names, v->name);
        e->below--;
        release(top->names, e);
    }
    return false;
}

void mc_names_drop(struct mc_value *v)
{
    struct mc_graph *g = v->graph, *top = outermost(g);
    struct entry *e = find(g->names, v->name);
    if (!e || e->value != v)
        return; /* memory ran out while it was renamed */
    e->value = NULL;
    release(g->names, e);
    if (g != top) {
        e = find(top->names, v->name);
        e->below--;
        release(top->names, e);
    }
}

bool mc_names_taken(const struct mc_graph *g, const char *name)
{
    return find(outermost(g)->names, name) != NULL;
}

uint32_t mc_names_next(struct mc_graph *g, const char *name)
{
    return ++find(outermost(g)->names, name)->next;
}
