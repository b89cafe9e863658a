/* Time and memory of large models: reads one of 500 MB, and reads and writes one of 2.7 GB with external data,
 * while all memory of the process but file mappings is limited to what it had before and HEAP more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "formats/onnx.h"
#include "onnx_bytes.h"

enum { HEAP = 20 << 20, TENSORS = 64, NODES = 2000 };

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void check(int rc, const struct mc_err *err)
{
    if (rc) {
        fprintf(stderr, "%s\n", err->msg);
        exit(1);
    }
}

/* A line of this process's status, in bytes. */
static long status(const char *key)
{
    char line[128];
    long kb = -1;
    FILE *f = fopen("/proc/self/status", "r");
    must(f, "/proc/self/status");
    while (kb < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            kb = strtol(line + strlen(key), NULL, 10);
    fclose(f);
    must(kb >= 0, key);
    return kb * 1024;
}

static void limit_heap(void)
{
    const rlim_t bytes = (rlim_t)status("VmData:") + HEAP;
    const struct rlimit limit = {bytes, bytes};
    must(!setrlimit(RLIMIT_DATA, &limit), "setrlimit");
}

/* A graph of NODES small nodes, for the part of the cost that is not weights. */
static struct buf busy_graph(void)
{
    struct buf g = make_graph();
    char in[16] = "x", out[16];
    for (int i = 0; i < NODES; i++) {
        snprintf(out, sizeof out, "t%d", i);
        put_message(&g, 1, make_node("Relu", in, out));
        memcpy(in, out, sizeof in);
    }
    return g;
}

/* A model whose weights are a hole in another file. */
static const char *save_outside(int64_t each)
{
    struct buf g = busy_graph(), empty = {0};
    char name[16], offset[32];
    for (int i = 0; i < TENSORS; i++) {
        snprintf(name, sizeof name, "w%d", i);
        snprintf(offset, sizeof offset, "%lld", (long long)(i * each));
        struct buf t = make_external(name, "m.data", offset, NULL);
        put_int(&t, 1, each / 16); /* a second dimension: [4, each / 16] floats */
        put_message(&g, 5, t);
    }
    put(&empty, "", 0);
    const char *data = save("m.data", empty);
    must(!truncate(data, TENSORS * each), data);
    return save("outside.onnx", make_model(g));
}

static struct mc_model *timed_read(const char *path, const char *what)
{
    struct mc_model *m;
    struct mc_err err;
    long before = status("RssAnon:");
    double t = mc_now();
    check(mc_onnx_read(path, &m, &err), &err);
    t = mc_now() - t;
    printf("%s: read %.4f s, anonymous memory +%.1f MB\n", what, t,
           (double)(status("RssAnon:") - before) / 1e6);
    return m;
}

int main(void)
{
    struct mc_err err;
    const char *inside = save_large("inside.onnx", busy_graph(), 500000000);
    const char *outside = save_outside(40 << 20);
    limit_heap();
    mc_model_free(timed_read(inside, "500 MB"));
    struct mc_model *m = timed_read(outside, "2.7 GB external");
    double t = mc_now();
    check(mc_onnx_write(m, path_of("copy.onnx"), NULL, &err), &err);
    printf("2.7 GB external: write %.2f s, within %d MB of heap\n", mc_now() - t, HEAP >> 20);
    mc_model_free(m);
    remove_files();
    return 0;
}
