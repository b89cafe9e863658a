/* Memory of the device, and whether a kernel may touch what it touches.
 *
 * Device memory lies in a reserved range of addresses that the host cannot reach but while work of the device runs
 * (MC_SIM_FENCE=0: it can); memory that both reach lies in another. No address is given twice while others are left,
 * so that what was freed is known. The files of kernels are compiled with -fsanitize=kernel-address, which has the
 * compiler call a function for each access, and with -fsanitize=alignment; both are defined here. In a build with the
 * address sanitizer that one does all this, with memory from malloc. */
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <deque>
#include <map>

#include "tests/cuda/cudasim_inside.h"

enum { PAGE = 4096, FILL_MOST = 4 << 20 };

static size_t limit()
{
    const char *s = getenv("MC_SIM_MEMORY");
    return s && *s ? (size_t)strtoull(s, nullptr, 10) : (size_t)16 << 30;
}

static size_t used; /* of device memory */

void mc_sim_memory(size_t *left, size_t *total)
{
    *total = limit();
    *left = used < *total ? *total - used : 0;
}

void mc_sim_backtrace()
{
    void *at[48];
    int n = backtrace(at, 48);
    backtrace_symbols_fd(at, n, 2);
}

#ifdef MC_SIM_ASAN

static std::map<void *, std::pair<size_t, bool>> blocks;

void *mc_sim_alloc(size_t bytes, bool host_too)
{
    void *p;
    if ((!host_too && used + bytes > limit()) || posix_memalign(&p, 256, bytes ? bytes : 1))
        return nullptr;
    memset(p, 0xff, bytes);
    blocks[p] = {bytes, host_too};
    used += host_too ? 0 : bytes;
    return p;
}

bool mc_sim_free(void *p)
{
    auto at = blocks.find(p);
    if (at == blocks.end())
        return false;
    used -= at->second.second ? 0 : at->second.first;
    blocks.erase(at);
    free(p);
    return true;
}

bool mc_sim_open(bool)
{
    return false;
}

void mc_sim_copy(const void *, const void *, size_t, cudaMemcpyKind)
{
}

void mc_sim_stack(const void *, size_t)
{
}

void mc_sim_enter(const void *, size_t)
{
}

void mc_sim_inside(bool)
{
}

#else

struct block {
    char *from;
    size_t bytes, room;
    bool live;
};

/* Addresses, a page belongs to one block at most. */
struct range {
    char *base;
    size_t size, top;
    block **owner; /* by page */
    std::deque<block *> freed;
};
static range device, both; /* both: host memory that the device reaches, too */
static bool fence, is_open;

static __thread struct {
    bool on; /* a kernel runs on this thread */
    uintptr_t stack, arguments;
    size_t stack_bytes, argument_bytes;
} watch;

extern "C" char __executable_start, _end;

static const block *block_of(const range *r, const char *p)
{
    size_t at = (size_t)(p - r->base);
    return at < r->size ? r->owner[at / PAGE] : nullptr;
}

/* What is at p, in words. */
static const char *what_is(const char *p, char *buf, size_t n)
{
    for (const range *r : {&device, &both}) {
        if ((size_t)(p - r->base) >= r->size)
            continue;
        const block *b = block_of(r, p);
        for (const char *q = p; !b && q > r->base && q > p - 64 * PAGE; q -= PAGE)
            b = block_of(r, q - PAGE);
        if (!b)
            snprintf(buf, n, "device memory that nobody asked for");
        else if (!b->live)
            snprintf(buf, n, "byte %td of device memory that was freed (%zu bytes)", p - b->from,
                     b->bytes);
        else if (p >= b->from + b->bytes)
            snprintf(buf, n, "%td bytes behind the end of device memory of %zu bytes",
                     p - (b->from + b->bytes), b->bytes);
        else
            snprintf(buf, n, "byte %td of device memory of %zu bytes", p - b->from, b->bytes);
        return buf;
    }
    size_t bytes;
    const char *shared = mc_sim_shared_range(&bytes);
    if ((size_t)(p - shared) <= bytes + PAGE && bytes)
        snprintf(buf, n, "at byte %td of shared memory of %zu bytes", p - shared, bytes);
    else
        snprintf(buf, n, "host memory");
    return buf;
}

static void touched(int, siginfo_t *info, void *)
{
    char buf[128];
    const char *p = (const char *)info->si_addr;
    if (fence && (size_t)(p - device.base) < device.size)
        mc_sim_stop("the host touches %p: %s", (const void *)p, what_is(p, buf, sizeof buf));
    signal(SIGSEGV, SIG_DFL); /* it is touched again, and the program ends */
}

static bool reserve(range *r, size_t size)
{
    size_t owners = size / PAGE * sizeof *r->owner;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *base = (char *)mmap(nullptr, size, PROT_NONE, flags, -1, 0);
    void *owner = mmap(nullptr, owners, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == (char *)MAP_FAILED || owner == MAP_FAILED)
        return false;
    r->base = base;
    r->size = size;
    r->owner = (block **)owner;
    return true;
}

static void prepare()
{
    if (device.base)
        return;
    const char *s = getenv("MC_SIM_FENCE");
    size_t size = (size_t)64 << 30;
    if (!reserve(&device, size) || !reserve(&both, size) ||
        mprotect(both.base, both.size, PROT_READ | PROT_WRITE))
        mc_sim_stop("no addresses for a device's memory");
    fence = !s || strcmp(s, "0") != 0;
    if (!fence && mprotect(device.base, device.size, PROT_READ | PROT_WRITE))
        mc_sim_stop("no addresses for a device's memory");
    struct sigaction act;
    memset(&act, 0, sizeof act);
    act.sa_sigaction = touched;
    act.sa_flags = SA_SIGINFO;
    if (fence)
        sigaction(SIGSEGV, &act, nullptr);
}

bool mc_sim_open(bool open)
{
    bool was = is_open;
    is_open = open;
    if (fence && open != was && device.top &&
        mprotect(device.base, device.top, open ? PROT_READ | PROT_WRITE : PROT_NONE))
        mc_sim_stop("the fence round device memory does not move");
    return was;
}

static block *find(range *r, size_t room)
{
    if (r->top + room <= r->size) {
        r->top += room;
        return new block{r->base + r->top - room, 0, room, false};
    }
    for (auto at = r->freed.begin(); at != r->freed.end(); at++)
        if ((*at)->room >= room) {
            block *b = *at;
            r->freed.erase(at);
            return b;
        }
    return nullptr;
}

void *mc_sim_alloc(size_t bytes, bool host_too)
{
    prepare();
    range *r = host_too ? &both : &device;
    bool closed = fence && !host_too && !is_open;
    block *b = nullptr;
    if (host_too || used + bytes <= limit())
        b = find(r, (bytes + PAGE) / PAGE * PAGE); /* at least a byte behind the end */
    if (!b)
        return nullptr;
    b->bytes = bytes;
    b->live = true;
    for (size_t at = 0; at < b->room; at += PAGE)
        r->owner[(size_t)(b->from + at - r->base) / PAGE] = b;
    if (fence && !host_too)
        (void)mprotect(b->from, b->room, PROT_READ | PROT_WRITE);
    memset(b->from, 0xff, bytes < FILL_MOST ? bytes : (size_t)FILL_MOST); /* NaN */
    if (closed)
        (void)mprotect(b->from, b->room, PROT_NONE);
    used += host_too ? 0 : bytes;
    return b->from;
}

bool mc_sim_free(void *p)
{
    for (range *r : {&device, &both}) {
        block *b = (block *)block_of(r, (char *)p);
        if (!b || !b->live || b->from != p)
            continue;
        b->live = false;
        used -= r == &device ? b->bytes : 0;
        (void)madvise(b->from, b->room, MADV_DONTNEED);
        r->freed.push_back(b);
        return true;
    }
    return false;
}

static bool holds(const void *p, size_t bytes)
{
    for (const range *r : {&device, &both}) {
        const block *b = block_of(r, (const char *)p);
        if (b && b->live && (const char *)p + bytes <= b->from + b->bytes)
            return true;
    }
    return false;
}

void mc_sim_copy(const void *dst, const void *src, size_t bytes, cudaMemcpyKind kind)
{
    char buf[128];
    bool to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    bool to_wrong = to ? !holds(dst, bytes) : (size_t)((char *)dst - device.base) < device.size;
    bool from_wrong =
        from ? !holds(src, bytes) : src && (size_t)((char *)src - device.base) < device.size;
    if (bytes && (to_wrong || from_wrong))
        mc_sim_stop("a copy of %zu bytes %s %p: %s", bytes, to_wrong ? "to" : "from",
                    to_wrong ? dst : src,
                    what_is((const char *)(to_wrong ? dst : src), buf, sizeof buf));
}

/* ---- what a kernel touches ---- */

void mc_sim_stack(const void *stack, size_t bytes)
{
    watch.stack = (uintptr_t)stack;
    watch.stack_bytes = bytes;
}

void mc_sim_enter(const void *arguments, size_t bytes)
{
    watch.arguments = (uintptr_t)arguments;
    watch.argument_bytes = bytes;
    watch.on = true;
}

void mc_sim_inside(bool yes)
{
    watch.on = yes;
}

static void wrong(uintptr_t p, size_t bytes, bool store)
{
    char buf[128];
    watch.on = false;
    mc_sim_stop("%s %zu bytes at %p: %s", store ? "writes" : "reads", bytes, (void *)p,
                what_is((const char *)p, buf, sizeof buf));
}

static inline void check(uintptr_t p, size_t bytes, bool store)
{
    if (!watch.on)
        return;
    size_t at = p - (uintptr_t)device.base;
    const range *r = at < device.size ? &device : &both;
    at = p - (uintptr_t)r->base;
    if (at < r->size) {
        const block *b = r->owner[at / PAGE];
        if (!b || !b->live || p + bytes > (uintptr_t)b->from + b->bytes)
            wrong(p, bytes, store);
        return;
    }
    if (p - watch.stack < watch.stack_bytes || p - watch.arguments < watch.argument_bytes ||
        p - (uintptr_t)&__executable_start < (size_t)(&_end - &__executable_start))
        return;
    size_t shared_bytes;
    uintptr_t shared = (uintptr_t)mc_sim_shared_range(&shared_bytes);
    if (p - shared > shared_bytes || p - shared + bytes > shared_bytes)
        wrong(p, bytes, store);
}

#define ACCESS(bytes)                                                                              \
    extern "C" void __asan_load##bytes##_noabort(uintptr_t p);                                     \
    extern "C" void __asan_store##bytes##_noabort(uintptr_t p);                                    \
    void __asan_load##bytes##_noabort(uintptr_t p)                                                 \
    {                                                                                              \
        check(p, bytes, false);                                                                    \
    }                                                                                              \
    void __asan_store##bytes##_noabort(uintptr_t p)                                                \
    {                                                                                              \
        check(p, bytes, true);                                                                     \
    }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

extern "C" {
void __asan_loadN_noabort(uintptr_t p, size_t bytes);
void __asan_storeN_noabort(uintptr_t p, size_t bytes);
void __asan_handle_no_return();
void __ubsan_handle_type_mismatch_v1_abort(const mc_sim_mismatch *m, uintptr_t p);
}

void __asan_loadN_noabort(uintptr_t p, size_t bytes)
{
    check(p, bytes, false);
}

void __asan_storeN_noabort(uintptr_t p, size_t bytes)
{
    check(p, bytes, true);
}

void __asan_handle_no_return()
{
}

void __ubsan_handle_type_mismatch_v1_abort(const mc_sim_mismatch *m, uintptr_t p)
{
    mc_sim_stop("%s:%u: %p is not aligned to %d bytes, or is NULL", m->file, m->line, (void *)p,
                1 << m->log_align);
}

#endif
