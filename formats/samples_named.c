/* Data sets known by name: where their IDX files are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/samples_kind.h"

static const struct named {
    const char *name, *part, *images, *labels;
    const char *folder, *package; /* of Debian; NULL: only below $MCOMPRESS_DATA */
    const char *help;
} sets[] = {
    {"fashion-mnist", "test", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
     "/usr/share/datasets/fashion-mnist", "dataset-fashion-mnist",
     "10000 images of 28 x 28 pixels in 10 classes"},
    {"fashion-mnist", "train", "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
     "/usr/share/datasets/fashion-mnist", "dataset-fashion-mnist",
     "60000 images of 28 x 28 pixels in 10 classes"},
    {"mnist", "test", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", NULL, NULL,
     "10000 digits of 28 x 28 pixels, from $MCOMPRESS_DATA/mnist"},
    {"mnist", "train", "train-images-idx3-ubyte", "train-labels-idx1-ubyte", NULL, NULL,
     "60000 digits of 28 x 28 pixels, from $MCOMPRESS_DATA/mnist"},
};

enum { N_SETS = sizeof sets / sizeof *sets };

const char *mc_sample_name_help(size_t i, const char **ret_help)
{
    static const char *const full[N_SETS] = {"fashion-mnist:test", "fashion-mnist:train",
                                             "mnist:test", "mnist:train"};
    if (i >= N_SETS)
        return NULL;
    *ret_help = sets[i].help;
    return full[i];
}

/* FOLDER/FILE or FOLDER/FILE.gz, whichever is there. */
static bool find(const char *folder, const char *file, char ret[MC_PATH])
{
    for (int gz = 0; gz < 2; gz++) {
        int n = snprintf(ret, MC_PATH, "%s/%s%s", folder, file, gz ? ".gz" : "");
        if (n < MC_PATH && !access(ret, R_OK))
            return true;
    }
    return false;
}

static bool find_both(const struct named *s, const char *folder, struct mc_sample_files *ret)
{
    return find(folder, s->images, ret->path) && find(folder, s->labels, ret->labels);
}

static int missing(const struct named *s, struct mc_err *err)
{
    if (s->package)
        return mc_fail(err, MC_EOPEN,
                       "%s:%s is not in %s; install the package %s, or put its IDX files in "
                       "$MCOMPRESS_DATA/%s",
                       s->name, s->part, s->folder, s->package, s->name);
    return mc_fail(err, MC_EOPEN, "%s:%s is not in $MCOMPRESS_DATA/%s; put %s.gz and %s.gz there",
                   s->name, s->part, s->name, s->images, s->labels);
}

int mc_sample_name(const char *spec, struct mc_sample_files *ret, struct mc_err *err)
{
    size_t n = strcspn(spec, ":");
    const struct named *known = NULL;
    for (size_t i = 0; i < N_SETS; i++) {
        const struct named *s = &sets[i];
        if (strlen(s->name) != n || strncmp(spec, s->name, n))
            continue;
        known = s;
        if (spec[n] != ':' || strcmp(spec + n + 1, s->part))
            continue;
        const char *data = getenv("MCOMPRESS_DATA");
        char folder[MC_PATH];
        if (data && snprintf(folder, sizeof folder, "%s/%s", data, s->name) < MC_PATH &&
            find_both(s, folder, ret))
            return 1;
        if (s->folder && find_both(s, s->folder, ret))
            return 1;
        return missing(s, err);
    }
    if (known)
        return mc_fail(err, MC_EUSAGE, "samples '%s': say %s:train or %s:test", spec, known->name,
                       known->name);
    return 0;
}
