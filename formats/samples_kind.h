/* A kind of samples: one row of the table in formats/meson.build. */
#ifndef MC_FORMATS_SAMPLES_KIND_H
#define MC_FORMATS_SAMPLES_KIND_H

#include "formats/samples_source.h"

struct mc_sample_files {
    char path[MC_PATH];
    char labels[MC_PATH]; /* "" if not given */
};

struct mc_sample_kind {
    const char *name, *help;
    const char *ext; /* files so named are of this kind, or broken */
    bool (*probe)(const uint8_t *head, size_t n);
    bool (*probe_folder)(const char *path); /* of kinds that are folders, in place of probe */
    /* A dataset of its own making, or 1: `open` is for this one. NULL: it is for all. */
    int (*open_list)(const char *spec, const struct mc_sample_files *files,
                     const struct mc_sample_opts *opts, struct mc_dataset **ret,
                     struct mc_err *err);
    /* s->file is open; add a field for each input, and the labels. */
    int (*open)(struct mc_source *s, const struct mc_sample_files *files, struct mc_err *err);
};

extern const struct mc_sample_kind *const mc_sample_kinds[]; /* closed by NULL */

/* "fashion-mnist:test" -> its files. Returns 1 if the spec is such a name and the files are there, 0 if it is
 * none, or MC_EOPEN naming what to install, MC_EUSAGE naming the parts there are. */
int mc_sample_name(const char *spec, struct mc_sample_files *ret, struct mc_err *err);
/* Text of the i-th name; NULL at the end. */
const char *mc_sample_name_help(size_t i, const char **ret_help);

#endif
