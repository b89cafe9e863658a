/* dump_samples [-r] [-p PREPROCESS] SPEC NAME DTYPE DIMS [NAME DTYPE DIMS]...: what a spec gives, for
 * compare_samples.py. DTYPE is a number of ONNX's, DIMS are joined by ',', a free one is -1.
 *
 * To stdout: a line "count whole classes", per input a line "name dim dim ..." and its bytes, then the labels
 * as int64, all samples in order. -r reads the second half first, in pieces. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/samples.h"

static int die(const struct mc_err *err)
{
    fprintf(stderr, "%s\n", err->msg);
    exit(1);
}

static struct mc_array parse(char **word)
{
    struct mc_array a = {.name = word[0], .dtype = (enum mc_dtype)atoi(word[1])};
    for (char *d = strtok(word[2], ","); d; d = strtok(NULL, ","))
        a.shape.dim[a.shape.rank++] = atoll(d);
    return a;
}

static void print_array(const struct mc_array *a)
{
    printf("%s", a->name);
    for (int i = 0; i < a->shape.rank; i++)
        printf(" %lld", (long long)a->shape.dim[i]);
    putchar('\n');
    fwrite(a->data, 1, a->bytes, stdout);
}

/* Samples [0, count), read whole, or as [half, count) and then [0, half) into their places. */
static struct mc_batch *read_all(struct mc_dataset *d, bool reversed)
{
    struct mc_err err;
    struct mc_batch *all, *part;
    if (mc_dataset_range(d, 0, reversed ? 1 : d->count, &all, &err))
        die(&err);
    if (!reversed)
        return all;
    struct mc_batch *ret;
    if (mc_batch_new(d->count, all->n_arrays, all->arrays, d->has_labels, &ret, &err))
        die(&err);
    mc_batch_free(all);
    int64_t half = d->count / 2;
    for (int piece = 0; piece < 2; piece++) {
        int64_t first = piece ? 0 : half, n = piece ? half : d->count - half;
        if (mc_dataset_range(d, first, n, &part, &err))
            die(&err);
        for (int i = 0; i < ret->n_arrays; i++) {
            size_t row = ret->arrays[i].bytes / (size_t)d->count;
            memcpy((char *)ret->arrays[i].data + row * (size_t)first, part->arrays[i].data,
                   part->arrays[i].bytes);
        }
        if (ret->labels)
            memcpy(ret->labels + first, part->labels, (size_t)n * 8);
        mc_batch_free(part);
    }
    return ret;
}

int main(int argc, char **argv)
{
    struct mc_array in[16];
    struct mc_sample_opts o = {.inputs = in};
    struct mc_err err;
    struct mc_dataset *d;
    bool reversed = false;
    int at = 1;
    for (; at < argc && argv[at][0] == '-'; at++)
        if (!strcmp(argv[at], "-r"))
            reversed = true;
        else
            o.preprocess = argv[++at];
    const char *spec = argv[at++];
    for (; at + 2 < argc && o.n_inputs < 16; at += 3)
        in[o.n_inputs++] = parse(argv + at);
    if (mc_samples_open(spec, &o, &d, &err))
        die(&err);
    struct mc_batch *b = read_all(d, reversed);
    printf("%lld %d %lld\n", (long long)d->count, d->whole, (long long)d->classes);
    for (int i = 0; i < b->n_arrays; i++)
        print_array(&b->arrays[i]);
    if (b->labels)
        fwrite(b->labels, 8, (size_t)b->n, stdout);
    mc_batch_free(b);
    mc_dataset_free(d);
    return 0;
}
