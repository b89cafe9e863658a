#include "kernels/cuda/libs.h"

#include <dlfcn.h>
#include <glob.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cuda/cuda.h"
#ifdef MC_CUDA_SIM
#include "tests/cuda/fake.h"
#endif

enum { PATH_BYTES = 1024, NEEDS = 4, GENERATIONS = 3, GETS_MAJOR = 0, GETS_MINOR, GETS_PATCH };

/* The generation that this program was compiled with, the one before, the one before that. */
#if defined(CUDART_VERSION) && CUDART_VERSION < 13000
enum { MINE = 1 };
#else
enum { MINE = 0 };
#endif
static const int generations[GENERATIONS] = {13, 12, 11};

static const struct {
    const char *name, *use;
    const char *soname[GENERATIONS];
    int major[GENERATIONS]; /* of the library in that generation */
    const char *get;        /* its function int (int part, int *ret) for the parts of its version */
    const char
        *needs[2][NEEDS]; /* opened before it where the loader does not find them by itself */
} known[MC_LIB_COUNT] = {
    {"cuBLAS",
     "products of matrices; without it kernels of our own, slower",
     {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11"},
     {13, 12, 11},
     "cublasGetProperty",
     {{"libcublasLt.so.13"}, {"libcublasLt.so.12"}}},
    {"cuBLASLt",
     "products with what follows them, and of integers; without it kernels of our own, slower",
     {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"},
     {13, 12, 11},
     "cublasLtGetProperty",
     {{NULL}, {NULL}}},
    {"cuDNN",
     "convolutions; without it kernels of our own, slower",
     {"libcudnn.so.9", "libcudnn.so.9", "libcudnn.so.8"},
     {9, 9, 8},
     "cudnnGetProperty",
     {{"libcublasLt.so.13", "libcublas.so.13"}, {"libcublasLt.so.12", "libcublas.so.12"}}},
    {"cuFFT",
     "products with large circulant blocks; without it by matrices, slower",
     {"libcufft.so.12", "libcufft.so.11", "libcufft.so.10"},
     {12, 11, 10},
     "cufftGetProperty",
     {{NULL}, {NULL}}},
    {"cuSOLVER",
     "decompositions of matrices; without it on the CPU",
     {"libcusolver.so.12", "libcusolver.so.11", "libcusolver.so.10"},
     {12, 11, 10},
     "cusolverGetProperty",
     {{"libnvJitLink.so.13", "libcusparse.so.12", "libcublasLt.so.13", "libcublas.so.13"},
      {"libnvJitLink.so.12", "libcusparse.so.12", "libcublasLt.so.12", "libcublas.so.12"}}},
};

static struct library {
    bool tried;
    void *handle;
    char path[PATH_BYTES], version[40], why[256];
} libraries[MC_LIB_COUNT];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Why a library is not taken; what does not fit is cut off. */
static void say(struct library *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct library *l, const char *fmt, ...)
{
    char text[PATH_BYTES + sizeof l->why];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    text[sizeof l->why - 1] = 0;
    memcpy(l->why, text, sizeof l->why);
}

/* ---- opening, of the machine or of the simulation ---- */

#ifdef MC_CUDA_SIM
/* A name without a folder is one of the simulation's own. */
static void *open_library(const char *path)
{
    if (strchr(path, '/'))
        return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return mc_fake_there(path) ? (void *)path : NULL;
}

static void *symbol_of(int lib, const char *name)
{
    const struct library *l = &libraries[lib];
    return strchr(l->path, '/') ? dlsym(l->handle, name) : mc_fake_symbol(l->path, name);
}
#else
static void *open_library(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static void *symbol_of(int lib, const char *name)
{
    return dlsym(libraries[lib].handle, name);
}
#endif

/* ---- where to look ---- */

static struct {
    char **dir; /* folders that are there, in order; NULL is the loader's path */
    int n, cap;
    bool made;
} places;

static void add_place(const char *dir)
{
    for (int i = 0; dir && i < places.n; i++)
        if (places.dir[i] && !strcmp(places.dir[i], dir))
            return;
    if (places.n == places.cap) {
        int cap = places.cap ? 2 * places.cap : 32;
        char **more = (char **)realloc(places.dir, (size_t)cap * sizeof *more);
        if (!more)
            return;
        places.dir = more;
        places.cap = cap;
    }
    places.dir[places.n++] = dir ? strdup(dir) : NULL;
}

/* add(each part of a list with colons between them) */
static void each_part(const char *list, void (*add)(const char *part))
{
    char part[PATH_BYTES];
    while (list && *list) {
        size_t n = strcspn(list, ":");
        if (n && n < sizeof part) {
            memcpy(part, list, n);
            part[n] = 0;
            add(part);
        }
        list += n + (list[n] == ':');
    }
}

#ifndef MC_CUDA_SIM
/* The folders base/pattern, if base is an absolute path. */
static void add_pattern(const char *base, const char *pattern)
{
    char text[PATH_BYTES];
    glob_t found;
    if (!base || *base != '/' ||
        snprintf(text, sizeof text, "%s/%s", base, pattern) >= (int)sizeof text)
        return;
    if (!glob(text, GLOB_ONLYDIR, NULL, &found)) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            add_place(found.gl_pathv[i]);
        globfree(&found);
    }
}

static void add_toolkit(const char *base)
{
    add_pattern(base, "lib64");
    add_pattern(base, "targets/x86_64-linux/lib");
    add_pattern(base, "lib");
}

/* A folder that packages of Python were put into. */
static void add_packages(const char *base)
{
    add_pattern(base, "nvidia/*/lib");
}

/* A prefix of Python, or a virtual environment. */
static void add_python(const char *base)
{
    add_pattern(base, "lib/python3*/site-packages/nvidia/*/lib");
    add_pattern(base, "lib/python3*/dist-packages/nvidia/*/lib");
    add_pattern(base, "lib/python3/dist-packages/nvidia/*/lib");
}

/* A folder of programs: that of a Python tells its prefix. */
static void add_python_of(const char *bin)
{
    char text[PATH_BYTES];
    if (snprintf(text, sizeof text, "%s/python3", bin) < (int)sizeof text && !access(text, X_OK) &&
        snprintf(text, sizeof text, "%s/..", bin) < (int)sizeof text)
        add_python(text);
}

static void add_program(void)
{
    char text[PATH_BYTES];
    ssize_t n = readlink("/proc/self/exe", text, sizeof text - 1);
    while (n > 0 && text[n] != '/')
        n--;
    if (n <= 0)
        return;
    text[n] = 0;
    add_pattern(text, ".");
    add_pattern(text, "../lib");
}
#endif

static void make_places(void)
{
    if (places.made)
        return;
    places.made = true;
    each_part(getenv("MCOMPRESS_CUDA_LIBDIR"), add_place);
    add_place(NULL);
#ifndef MC_CUDA_SIM
    char text[PATH_BYTES];
    const char *home = getenv("HOME");
    add_program();
    add_toolkit(getenv("CUDA_HOME"));
    add_toolkit(getenv("CUDA_PATH"));
    add_pattern("/usr/local", "cuda/lib64");
    add_pattern("/usr/local", "cuda/targets/x86_64-linux/lib");
    add_pattern("/usr/local", "cuda-*/lib64");
    add_pattern("/usr/local", "cuda-*/targets/x86_64-linux/lib");
    add_python(getenv("VIRTUAL_ENV"));
    add_python(getenv("CONDA_PREFIX"));
    add_toolkit(getenv("CONDA_PREFIX"));
    each_part(getenv("PYTHONPATH"), add_packages);
    each_part(getenv("PATH"), add_python_of);
    if (home && snprintf(text, sizeof text, "%s/.local", home) < (int)sizeof text)
        add_python(text);
    add_python("/usr/local");
    add_python("/usr");
#endif
}

/* ---- one library ---- */

/* path = where soname is in place i; false: not there, as far as can be known without opening it. */
static bool place_of(int i, const char *soname, char path[PATH_BYTES])
{
    if (!places.dir[i])
        return snprintf(path, PATH_BYTES, "%s", soname) < PATH_BYTES;
    return snprintf(path, PATH_BYTES, "%s/%s", places.dir[i], soname) < PATH_BYTES &&
           !access(path, R_OK);
}

/* What a library needs is where it is itself, or in one of the other places; once open, the loader finds it by
 * its name. */
static void open_needs(int lib, const char *path)
{
    char dir[PATH_BYTES], need[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 0, path);
    for (int k = 0; k < NEEDS && known[lib].needs[MINE][k]; k++) {
        void *handle = NULL;
        if (*dir &&
            snprintf(need, sizeof need, "%s/%s", dir, known[lib].needs[MINE][k]) < (int)sizeof need)
            handle = open_library(need);
        for (int i = 0; i < places.n && !handle; i++)
            if (place_of(i, known[lib].needs[MINE][k], need))
                handle = open_library(need);
    }
}

static void *open_at(int lib, const char *path)
{
    void *handle = open_library(path);
    if (handle || !strchr(path, '/'))
        return handle;
    open_needs(lib, path);
    return open_library(path);
}

/* Where it really is. */
static void find_path(struct library *l, const char *path)
{
    struct link_map *map = NULL;
    bool real = true;
#ifdef MC_CUDA_SIM
    real = strchr(path, '/') != NULL;
#endif
    if (real && !dlinfo(l->handle, RTLD_DI_LINKMAP, &map) && map->l_name[0])
        path = map->l_name;
    snprintf(l->path, sizeof l->path, "%s", path);
}

static int part_of(int lib, int part)
{
    int value = 0;
    int (*get)(int, int *) = (int (*)(int, int *))symbol_of(lib, known[lib].get);
    return get && !get(part, &value) ? value : -1;
}

/* Is it of the generation that this program was compiled with? */
static bool suits(int lib)
{
    struct library *l = &libraries[lib];
    int major = part_of(lib, GETS_MAJOR);
    size_t (*runtime)(void) = NULL;
#ifdef MC_CUDA_SIM
    if (!strchr(l->path, '/')) {
        snprintf(l->version, sizeof l->version, "simulated");
        return true;
    }
#endif
    snprintf(l->version, sizeof l->version, "%d.%d.%d", major, part_of(lib, GETS_MINOR),
             part_of(lib, GETS_PATCH));
    if (major != known[lib].major[MINE]) {
        say(l, "%s is version %d, and %d is needed", l->path, major, known[lib].major[MINE]);
        return false;
    }
    if (lib == MC_LIB_CUDNN) /* its name is the same in two generations */
        runtime = (size_t(*)(void))symbol_of(lib, "cudnnGetCudartVersion");
    if (runtime && (int)(runtime() / 1000) != generations[MINE]) {
        say(l, "%s is for CUDA %d, and this program was built with %d", l->path,
            (int)(runtime() / 1000), generations[MINE]);
        return false;
    }
    return true;
}

/* It was not found: is one of another generation there? */
static void find_other(int lib)
{
    struct library *l = &libraries[lib];
    char path[PATH_BYTES];
    for (int k = 0; k < GENERATIONS && !*l->why; k++)
        for (int i = 0; i < places.n && !*l->why; i++)
            if (strcmp(known[lib].soname[k], known[lib].soname[MINE]) && places.dir[i] &&
                place_of(i, known[lib].soname[k], path))
                say(l, "%s is for CUDA %d, and this program was built with %d", path,
                    generations[k], generations[MINE]);
    if (!*l->why)
        say(l, "%s was not found", known[lib].soname[MINE]);
}

/* What the loader says, unless it is only that the file is not there. */
static void take_error(struct library *l, const char *soname)
{
    const char *said = dlerror();
    size_t n = strlen(soname);
    if (said && strncmp(said, soname, n))
        say(l, "%s", said);
}

static void try_open(int lib);

static void try_once(int lib)
{
    if (!libraries[lib].tried)
        try_open(lib);
}

static void try_open(int lib)
{
    struct library *l = &libraries[lib];
    const char *soname = known[lib].soname[MINE];
    char path[PATH_BYTES];
    make_places();
    if (lib ==
        MC_LIB_CUDNN) { /* it opens these by their names, later, and fails if the loader does not know them */
        try_once(MC_LIB_CUBLASLT);
        try_once(MC_LIB_CUBLAS);
    }
    for (int i = 0; i < places.n && !l->handle; i++) {
        if (!place_of(i, soname, path))
            continue;
        l->handle = open_at(lib, path);
        if (!l->handle) {
            take_error(l, soname);
            continue;
        }
        /* A fake's handle is its name; the path must be known for symbol_of. */
        find_path(l, places.dir[i] ? path : soname);
        if (!suits(lib))
            l->handle = NULL; /* others may be using it: it stays open */
    }
    if (l->handle)
        *l->why = 0;
    else if (!*l->why)
        find_other(lib);
    __atomic_store_n(&l->tried, true, __ATOMIC_RELEASE);
}

static struct library *library(int lib)
{
    struct library *l = &libraries[lib];
    if (__atomic_load_n(&l->tried, __ATOMIC_ACQUIRE))
        return l;
    pthread_mutex_lock(&lock);
    try_once(lib);
    pthread_mutex_unlock(&lock);
    return l;
}

void *mc_cuda_symbol(enum mc_cuda_lib lib, const char *name)
{
    return library(lib)->handle ? symbol_of(lib, name) : NULL;
}

bool mc_gpu_library(int i, struct mc_gpu_library *ret)
{
    memset(ret, 0, sizeof *ret);
    if (i < 0 || i >= MC_LIB_COUNT)
        return false;
    const struct library *l = library(i);
    ret->name = known[i].name;
    ret->use = known[i].use;
    if (l->handle)
        snprintf(ret->found, sizeof ret->found, "%s at %.200s", l->version, l->path);
    else
        snprintf(ret->why, sizeof ret->why, "%s", l->why);
    return true;
}

/* ---- the driver ---- */

bool mc_cuda_driver(char *why, size_t size)
{
    static void *driver; /* stays open, as the runtime will want it */
    pthread_mutex_lock(&lock);
    if (!driver)
        driver = open_library("libcuda.so.1");
    bool there = driver != NULL;
    pthread_mutex_unlock(&lock);
    if (!there)
        snprintf(why, size, "no NVIDIA driver is installed (libcuda.so.1 was not found)");
    return there;
}
