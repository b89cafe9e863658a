/* Runs a fuzz target without a fuzzer, so that a corpus is an ordinary test.
 *
 *   fuzz_X [-v] [--cuts] [--mutants N] [--seed S] FILE|FOLDER...
 *
 * Replays every file given and every file in the folders given, in order of name; with --cuts also cut off
 * before each of its bytes. --mutants N then tries N changed copies of them; mutant i depends on (seed, i)
 * alone. -v names each input before it runs, so that the last line tells what crashed. A target says what it
 * finds wrong by abort(); the input is then kept in ./fuzz-input, to be given alone and, once the fault is
 * mended, to join the corpus. The same target links with libFuzzer instead of this file. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILES = 4096, ROOM = 64 }; /* most files; bytes a mutant can grow by */

struct input {
    char *path;
    struct mc_map map;
};

static struct input inputs[FILES];
static int n_inputs;

static int die(const char *what, const char *path)
{
    fprintf(stderr, "fuzz driver: %s: %s\n", path, what);
    exit(2);
}

static void add(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        die("no such file", path);
    if (S_ISDIR(st.st_mode)) {
        struct dirent **names;
        int n = scandir(path, &names, NULL, alphasort);
        for (int i = 0; i < n; i++) {
            char *inner = NULL;
            if (names[i]->d_name[0] != '.' &&
                asprintf(&inner, "%s/%s", path, names[i]->d_name) >= 0)
                add(inner);
            free(inner);
            free(names[i]);
        }
        if (n >= 0)
            free(names);
        return;
    }
    struct mc_err err;
    if (n_inputs == FILES)
        die("too many files", path);
    struct input *in = &inputs[n_inputs++];
    in->path = strdup(path);
    if (mc_map_open(path, &in->map, &err))
        die(err.msg, path);
}

static struct {
    const uint8_t *data;
    size_t n;
} running;

/* Not async-signal-safe, but the process is lost anyway. */
static void keep_input(int number)
{
    FILE *f = fopen("fuzz-input", "wb");
    if (f) {
        fwrite(running.data, 1, running.n, f);
        fclose(f);
    }
    fprintf(stderr, "fuzz driver: signal %d; the input is in fuzz-input\n", number);
    _exit(1);
}

/* The data get their own block of exactly their size: reading over the end is seen by ASan. */
static void run(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        die("out of memory", "run");
    memcpy(copy, data, n);
    running.data = copy;
    running.n = n;
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
}

struct dice {
    uint64_t seed, stream, index;
};

static uint32_t roll(struct dice *d, size_t sides)
{
    return sides ? mc_rng_below(d->seed, d->stream, d->index++, (uint32_t)sides) : 0;
}

/* One change; returns the new size. p has room for ROOM more bytes than any input. in_place: no byte moves;
 * formats with lengths in them rarely survive more. */
static size_t change(uint8_t *p, size_t n, size_t cap, bool in_place, struct dice *d)
{
    static const uint32_t edges[] = {0,      1,      0x7f,       0x80,      0xff,
                                     0x7fff, 0xffff, 0x7fffffff, 0xffffffff};
    size_t at = roll(d, n), len = 1 + roll(d, 8);
    switch (n ? roll(d, in_place ? 3 : 7) : 6) {
    case 0: p[at] ^= (uint8_t)(1u << roll(d, 8)); break;
    case 1: p[at] = (uint8_t)roll(d, 256); break;
    case 2: { /* a number at its limits, either end first */
        uint32_t v = edges[roll(d, sizeof edges / sizeof *edges)];
        if (roll(d, 2))
            v = __builtin_bswap32(v);
        memcpy(p + at, &v, n - at < 4 ? n - at : 4);
        break;
    }
    case 3: return at; /* cut */
    case 4:            /* remove */
        len = len < n - at ? len : n - at;
        memmove(p + at, p + at + len, n - at - len);
        return n - len;
    case 5: /* copy from elsewhere */
        len = len < n - at ? len : n - at;
        memmove(p + at, p + roll(d, n - len + 1), len);
        break;
    case 6: /* insert */
        if (len > cap - n)
            break;
        memmove(p + at + len, p + at, n - at);
        for (size_t i = 0; i < len; i++)
            p[at + i] = (uint8_t)roll(d, 256);
        return n + len;
    }
    return n;
}

static void mutate(uint64_t seed, uint64_t i, bool verbose)
{
    struct dice d = {seed, i, 0};
    const struct input *in = &inputs[roll(&d, (size_t)n_inputs)];
    size_t n = in->map.size, cap = n + ROOM;
    if (verbose)
        fprintf(stderr, "mutant %llu of %s\n", (unsigned long long)i, in->path);
    uint8_t *p = malloc(cap);
    if (!p)
        die("out of memory", in->path);
    memcpy(p, in->map.data, n);
    for (uint32_t k = 1 + roll(&d, 6); k > 0; k--)
        n = change(p, n, cap, i % 2, &d);
    run(p, n);
    free(p);
}

int main(int argc, char **argv)
{
    uint64_t mutants = 0, seed = 1;
    bool verbose = false, cuts = false;
    const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        signal(fatal[i], keep_input);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-v"))
            verbose = true;
        else if (!strcmp(argv[i], "--cuts"))
            cuts = true;
        else if (!strcmp(argv[i], "--mutants") && i + 1 < argc)
            mutants = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else
            add(argv[i]);
    }
    if (!n_inputs)
        die("no inputs; give files or folders", argv[0]);
    for (int i = 0; i < n_inputs; i++) {
        if (verbose)
            fprintf(stderr, "%s\n", inputs[i].path);
        run(inputs[i].map.data, inputs[i].map.size);
        for (size_t n = 0; cuts && n < inputs[i].map.size; n++)
            run(inputs[i].map.data, n);
    }
    for (uint64_t i = 0; i < mutants; i++)
        mutate(seed, i, verbose);
    printf("%d files, %llu mutants (seed %llu)\n", n_inputs, (unsigned long long)mutants,
           (unsigned long long)seed);
    for (int i = 0; i < n_inputs; i++) {
        mc_map_close(&inputs[i].map);
        free(inputs[i].path);
    }
    return 0;
}
