/* Pictures in folders: which there are, and of which class. Private to formats/samples_images*.c. */
#ifndef MC_FORMATS_SAMPLES_IMAGES_H
#define MC_FORMATS_SAMPLES_IMAGES_H

#include "base/err.h"
#include "base/mem.h"

struct mc_pictures {
    struct mc_arena arena;
    size_t n;
    const char **path; /* in order: one of each class, then the next of each */
    int64_t *label;    /* NULL: no classes */
    int64_t classes;
};

bool mc_pictures_probe(const char *dir);
/* DIR/CLASS/PICTURE, or DIR/PICTURE without classes. Classes are numbered in byte order of their folders'
 * names, or as the lines of DIR/classes.txt name them. Errors: MC_EDATA for a folder that is no class or has
 * no pictures, and for pictures beside class folders; MC_EOPEN; MC_ENOMEM. */
int mc_pictures_list(const char *dir, struct mc_pictures *ret, struct mc_err *err);
void mc_pictures_free(struct mc_pictures *p); /* accepts a zeroed struct */

#endif
