/* Folders of PNG and JPEG pictures as samples. */
#include "formats/samples_images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/image.h"
#include "formats/preprocess.h"
#include "formats/samples_kind.h"
#include "formats/samples_list.h"

/* How an input holds a picture; the batch axis comes first. */
enum layout {
    PLANES,      /* [channels, height, width] */
    INTERLEAVED, /* [height, width, channels] */
    GREY,        /* [height, width] */
    FLAT,        /* planes, all in one axis */
};

struct images {
    struct mc_pictures pictures;
    struct mc_preprocess steps;
    char *input; /* its name */
    enum mc_dtype dtype;
    enum layout layout;
    int channels;          /* 0: as many as fit (FLAT) */
    int64_t width, height; /* < 0: free; of FLAT the width is the number of elements */
    uint8_t *table;        /* [channels of the table, 256] elements; NULL: bytes as they are */
    int table_channels;
};

static void images_free(void *self)
{
    struct images *m = self;
    mc_pictures_free(&m->pictures);
    free(m->input);
    free(m->table);
    free(m);
}

static bool colours(int64_t n)
{
    return n == 1 || n == 3 || n == 4;
}

static int find_layout(struct images *m, const struct mc_shape *s, struct mc_err *err)
{
    const int64_t *d = s->dim;
    char text[MC_SHAPE_TEXT];
    if (s->rank == 2 && d[1] > 0) {
        m->layout = FLAT;
        m->width = d[1];
        m->height = -1;
        return 0;
    }
    if (s->rank == 3) {
        m->layout = GREY;
        m->channels = 1;
        m->height = d[1];
        m->width = d[2];
        return 0;
    }
    bool first = s->rank == 4 && (colours(d[1]) || (d[1] < 0 && !colours(d[3])));
    bool last = s->rank == 4 && (colours(d[3]) || d[3] < 0);
    if (!first && !last)
        return mc_fail(err, MC_ESHAPE,
                       "input '%s' takes %s, which holds no pictures: [n,channels,height,width] or "
                       "[n,height,width,channels] does, with 1, 3 or 4 channels",
                       m->input, mc_shape_text(s, text));
    m->layout = first ? PLANES : INTERLEAVED;
    int64_t c = first ? d[1] : d[3];
    m->channels = c < 0 ? 3 : (int)c;
    m->height = first ? d[2] : d[1];
    m->width = first ? d[3] : d[2];
    return 0;
}

static int make_table(struct images *m, const char *text, struct mc_err *err)
{
    const struct mc_dtype_info *type = mc_dtype_info(m->dtype);
    if (m->dtype == MC_DTYPE_U8) {
        if (m->steps.values && !mc_preprocess_identity(&m->steps))
            return mc_fail(err, MC_EDTYPE,
                           "input '%s' is uint8 and takes the pixels as they are; preprocessing "
                           "'%s' does not apply",
                           m->input, text);
        return 0;
    }
    if (type->kind != MC_KIND_FLOAT || type->bits < 16)
        return mc_fail(err, MC_EDTYPE, "input '%s' is %s and takes no pictures; float and uint8 do",
                       m->input, type->name);
    int64_t channels = m->channels ? m->channels : 1;
    if (!m->channels && m->steps.n_mean + m->steps.n_std > 2)
        channels = m->steps.n_mean > m->steps.n_std ? m->steps.n_mean : m->steps.n_std;
    int rc = mc_preprocess_channels(&m->steps, channels, &m->table_channels, err);
    if (rc)
        return rc;
    m->table = mc_calloc((size_t)m->table_channels * 256, type->bits / 8);
    if (!m->table)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    return mc_preprocess_table(&m->steps, m->table_channels, m->dtype, m->table, err);
}

/* ---- one picture ---- */

static int wrong_size(const struct images *m, const char *path, int w, int h, struct mc_err *err)
{
    if (m->layout == FLAT)
        return mc_fail(err, MC_ESHAPE,
                       "'%s' has %d x %d pixels, input '%s' takes %lld values; use --preprocess "
                       "resize=WIDTHxHEIGHT",
                       path, w, h, m->input, (long long)m->width);
    char want[2][24] = {"any", "any"};
    if (m->width >= 0)
        snprintf(want[0], sizeof *want, "%lld", (long long)m->width);
    if (m->height >= 0)
        snprintf(want[1], sizeof *want, "%lld", (long long)m->height);
    return mc_fail(err, MC_ESHAPE,
                   "'%s' has %d x %d pixels, input '%s' takes %s x %s; use --preprocess "
                   "resize=%sx%s, or resize=SHORTER_SIDE,crop=%sx%s",
                   path, w, h, m->input, want[0], want[1], want[0], want[1], want[0], want[1]);
}

/* Does a picture of this size fit, and with how many channels? */
static int fit(const struct images *m, const char *path, int w, int h, int *ret_channels,
               struct mc_err *err)
{
    int64_t pixels = (int64_t)w * h;
    *ret_channels = m->channels;
    if (m->layout == FLAT) {
        int64_t c = m->width / pixels;
        *ret_channels = (int)c;
        if (c * pixels != m->width || !colours(c) ||
            (m->table_channels > 1 && c != m->table_channels))
            return wrong_size(m, path, w, h, err);
    } else if ((m->width >= 0 && m->width != w) || (m->height >= 0 && m->height != h)) {
        return wrong_size(m, path, w, h, err);
    }
    return 0;
}

/* The shape that a picture of this size has in the end. */
static int final_shape(const struct images *m, const char *path, int w, int h, int *ret_channels,
                       struct mc_shape *ret, struct mc_err *err)
{
    int c = 0, rc = mc_preprocess_size(&m->steps, path, &w, &h, err);
    if (!rc)
        rc = fit(m, path, w, h, &c, err);
    if (rc)
        return rc;
    *ret_channels = c;
    switch (m->layout) {
    case PLANES: *ret = mc_shape_of(3, (int64_t[]){c, h, w}); break;
    case INTERLEAVED: *ret = mc_shape_of(3, (int64_t[]){h, w, c}); break;
    case GREY: *ret = mc_shape_of(2, (int64_t[]){h, w}); break;
    case FLAT: *ret = mc_shape_of(1, (int64_t[]){m->width}); break;
    }
    return 0;
}

static int shapes(void *self, int64_t i, struct mc_shape *ret, struct mc_err *err)
{
    const struct images *m = self;
    int w, h, c;
    int rc = mc_image_size(m->pictures.path[i], &w, &h, err);
    return rc ? rc : final_shape(m, m->pictures.path[i], w, h, &c, ret, err);
}

/* Pixels to where the input has them, through the table. */
static void place(const struct images *m, const struct mc_image *im, uint8_t *dst)
{
    size_t n = (size_t)im->width * (size_t)im->height, channels = (size_t)im->channels;
    size_t item = mc_dtype_info(m->dtype)->bits / 8;
    bool planes = m->layout == PLANES || m->layout == FLAT;
    size_t step = planes ? 1 : channels, apart = planes ? n : 1;
    for (size_t c = 0; c < channels; c++) {
        const uint8_t *src = im->pixels + (m->steps.bgr && c < 3 && channels > 1 ? 2 - c : c);
        const uint8_t *row = m->table + (m->table_channels > 1 ? c * 256 * item : 0);
        uint8_t *to = dst + c * apart * item;
        for (size_t k = 0; k < n; k++)
            if (m->table)
                memcpy(to + k * step * item, row + src[k * channels] * item, item);
            else
                to[k * step] = src[k * channels];
    }
}

static int load(void *self, int64_t i, const struct mc_shape *said, void *const *data,
                struct mc_err *err)
{
    const struct images *m = self;
    const char *path = m->pictures.path[i];
    struct mc_image im = {0};
    int rc = mc_image_read(path, &im, err);
    if (rc)
        return rc;
    int w = im.width, h = im.height, c = 0;
    struct mc_shape shape;
    rc = final_shape(m, path, w, h, &c, &shape, err);
    if (!rc && !mc_shape_equal(&shape, said))
        rc = mc_list_changed(path, err);
    mc_preprocess_resized(&m->steps, &w, &h);
    if (!rc)
        rc = mc_image_convert(&im, c, err);
    if (!rc)
        rc = mc_image_resize(&im, w, h, err);
    if (!rc) {
        if (m->steps.crop_w)
            mc_image_crop(&im, m->steps.crop_w, m->steps.crop_h);
        place(m, &im, data[0]);
    }
    mc_image_free(&im);
    return rc;
}

/* ---- the folder ---- */

static const struct mc_list_class class = {"images", shapes, load, images_free};

static int prepare(struct images *m, const char *path, const struct mc_sample_opts *opts,
                   struct mc_err *err)
{
    const struct mc_array *in = &opts->inputs[0];
    if (opts->n_inputs > 1)
        return mc_fail(err, MC_EDATA, "'%s' holds pictures, the model has %d inputs ('%s', '%s'%s)",
                       path, opts->n_inputs, in->name, opts->inputs[1].name,
                       opts->n_inputs > 2 ? ", ..." : "");
    m->dtype = in->dtype;
    m->input = strdup(in->name);
    if (!m->input)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_preprocess_parse(opts->preprocess, &m->steps, err);
    if (!rc)
        rc = find_layout(m, &in->shape, err);
    if (!rc)
        rc = make_table(m, opts->preprocess, err);
    return rc ? rc : mc_pictures_list(path, &m->pictures, err);
}

static int open_folder(const char *spec, const struct mc_sample_files *files,
                       const struct mc_sample_opts *opts, struct mc_dataset **ret,
                       struct mc_err *err)
{
    const char *path = files->path;
    struct images *m = mc_calloc(1, sizeof *m);
    if (!m)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = prepare(m, path, opts, err);
    if (rc) {
        images_free(m);
        return rc;
    }
    struct mc_list list = {.class = &class, .self = m, .count = (int64_t)m->pictures.n};
    if (!opts->no_labels) {
        list.labels = m->pictures.label;
        list.classes = m->pictures.classes;
        m->pictures.label = NULL;
    }
    return mc_list_open(spec, path, opts, &list, ret, err);
}

const struct mc_sample_kind mc_sample_kind_images = {
    .name = "images",
    .help =
        "FOLDER/CLASS/*.png|jpg: pictures in class folders (in the order of FOLDER/classes.txt, "
        "or sorted), or FOLDER/*.png|jpg without classes",
    .ext = "",
    .probe_folder = mc_pictures_probe,
    .open_list = open_folder,
};
