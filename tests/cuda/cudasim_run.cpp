/* Threads of a block: one after another, or, for kernels with barriers, each on a stack of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <memory>
#include <vector>

#include "tests/cuda/cudasim_inside.h"

#ifdef MC_SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim(0), gridDim;

enum { WARP = warpSize, STACK = 256 << 10, PAGE = 4096, THREADS_MOST = 1024 };
enum { PROGRAM_STACK = 4 << 20 }; /* what a kernel may take of it */
enum order { FORWARD, REVERSE, SHUFFLED };
enum state { READY, WAITS, DONE };

struct fiber {
    jmp_buf at;
    ucontext_t first;
    char *stack;
    void *fake_stack; /* of the address sanitizer */
    bool begun;
    int number; /* in the block */
    enum state state;
    mc_sim_meeting kind; /* what it waits for, and where */
    const char *file;
    int line;
    unsigned mask;
    int source;
    uint64_t value, result;
};

static struct {
    const mc_sim_place *place; /* NULL: no kernel runs */
    const mc_sim_body *body;
    size_t shared_bytes;
    std::unique_ptr<char[]> shared;
    std::vector<int> lanes, warps; /* in the order in which they run */
    std::vector<fiber *> fibers;   /* by number in the block */
    fiber *self;                   /* NULL: threads run on the stack of the program */
    int count;                     /* threads of the block */
    jmp_buf scheduler;
    void *scheduler_fake;
    const void *scheduler_stack;
    size_t scheduler_bytes;
} sim;
/* Of the threads of a block, by number and in the order in which they run. */
static uint3 index_of[THREADS_MOST], in_order[THREADS_MOST];

void mc_sim_stop(const char *fmt, ...)
{
    va_list ap;
    fflush(stdout);
    fprintf(stderr, "simulated GPU: ");
    if (sim.place)
        fprintf(
            stderr,
            "kernel %s (launched at %s:%d), block (%u,%u,%u) of (%u,%u,%u), thread (%u,%u,%u) of "
            "(%u,%u,%u): ",
            sim.place->kernel, sim.place->file, sim.place->line, blockIdx.x, blockIdx.y, blockIdx.z,
            gridDim.x, gridDim.y, gridDim.z, threadIdx.x, threadIdx.y, threadIdx.z, blockDim.x,
            blockDim.y, blockDim.z);
    sim.place = nullptr;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    mc_sim_backtrace();
    abort();
}

void *mc_sim_shared()
{
    return sim.shared.get();
}

const char *mc_sim_shared_range(size_t *ret_bytes)
{
    *ret_bytes = sim.shared_bytes;
    return sim.shared.get();
}

void mc_sim_leave()
{
    mc_sim_inside(false);
}

/* ---- orders ---- */

static enum order order()
{
    static int known = -1;
    if (known < 0) {
        const char *s = getenv("MC_SIM_ORDER");
        known = !s || !*s || !strcmp(s, "forward") ? FORWARD
                : !strcmp(s, "reverse")            ? REVERSE
                : !strcmp(s, "shuffled")           ? SHUFFLED
                                                   : -1;
        if (known < 0)
            mc_sim_stop("MC_SIM_ORDER is '%s', not forward, reverse or shuffled", s);
    }
    return (enum order)known;
}

static uint32_t below(uint32_t n)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 32) * n >> 32);
}

static void arrange(std::vector<int> &list, int n)
{
    list.resize((size_t)n);
    for (int i = 0; i < n; i++)
        list[(size_t)i] = order() == REVERSE ? n - 1 - i : i;
    for (int i = n - 1; i > 0 && order() == SHUFFLED; i--)
        std::swap(list[(size_t)i], list[below((uint32_t)i + 1)]);
}

static uint3 thread_at(int i, dim3 size)
{
    unsigned u = (unsigned)i;
    return {u % size.x, u / size.x % size.y, u / size.x / size.y};
}

/* Block i of n in the order: shuffled by a step that has no divisor with n. */
static uint64_t block_at(uint64_t i, uint64_t n, uint64_t step)
{
    return order() == FORWARD ? i : order() == REVERSE ? n - 1 - i : (i * step + n / 3) % n;
}

static uint64_t block_step(uint64_t n)
{
    uint64_t step = n / 2 + below(1000);
    for (;; step++) {
        uint64_t a = n, b = step;
        while (b) {
            uint64_t c = a % b;
            a = b;
            b = c;
        }
        if (a == 1)
            return step;
    }
}

/* ---- fibers ---- */

static void switched([[maybe_unused]] void *fake)
{
#ifdef MC_SIM_ASAN
    const void *bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(fake, &bottom, &bytes);
    if (sim.self && !sim.scheduler_stack) {
        sim.scheduler_stack = bottom;
        sim.scheduler_bytes = bytes;
    }
#endif
}

static void leave(fiber *f)
{
    if (_setjmp(f->at) == 0) {
#ifdef MC_SIM_ASAN
        __sanitizer_start_switch_fiber(&f->fake_stack, sim.scheduler_stack, sim.scheduler_bytes);
#endif
        _longjmp(sim.scheduler, 1);
    }
    switched(f->fake_stack);
}

static void fiber_main()
{
    switched(nullptr);
    for (;;) {
        fiber *f = sim.self;
        (*sim.body)(&index_of[f->number], 1);
        f->state = DONE;
        leave(f);
    }
}

static void resume(fiber *f)
{
    sim.self = f;
    threadIdx = index_of[f->number];
    mc_sim_stack(f->stack, STACK);
    if (_setjmp(sim.scheduler) == 0) {
#ifdef MC_SIM_ASAN
        __sanitizer_start_switch_fiber(&sim.scheduler_fake, f->stack, STACK);
#endif
        if (f->begun)
            _longjmp(f->at, 1);
        f->begun = true;
        setcontext(&f->first);
    }
    sim.self = nullptr;
    mc_sim_inside(false);
    switched(sim.scheduler_fake);
}

static fiber *fiber_new()
{
    fiber *f = new fiber();
    char *p = (char *)mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == (char *)MAP_FAILED || mprotect(p, PAGE, PROT_NONE) || getcontext(&f->first))
        mc_sim_stop("no memory for a thread");
    f->stack = p + PAGE;
    f->first.uc_stack.ss_sp = f->stack;
    f->first.uc_stack.ss_size = STACK;
    makecontext(&f->first, fiber_main, 0);
    return f;
}

/* ---- meetings ---- */

int mc_sim_lane()
{
    return (int)((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x) % WARP;
}

uint64_t mc_sim_meet(mc_sim_meeting kind, unsigned mask, uint64_t value, int source,
                     const char *file, int line)
{
    fiber *f = sim.self;
    if (!f)
        mc_sim_stop("%s:%d waits for other threads: the kernel is to be launched by MC_LAUNCH_SYNC",
                    file, line);
    if (kind != MC_SIM_BARRIER && !(mask >> mc_sim_lane() & 1))
        mc_sim_stop("%s:%d: lane %d is not in its own mask 0x%08x", file, line, mc_sim_lane(),
                    mask);
    f->state = WAITS;
    f->kind = kind;
    f->mask = mask;
    f->value = value;
    f->source = source;
    f->file = file;
    f->line = line;
    leave(f);
    mc_sim_inside(true);
    return f->result;
}

static bool same_place(const fiber *a, const fiber *b)
{
    return a->kind == b->kind && a->mask == b->mask && a->line == b->line &&
           (a->file == b->file || !strcmp(a->file, b->file));
}

static uint64_t combine(mc_sim_meeting kind, uint64_t a, uint64_t b)
{
    int32_t x = (int32_t)(uint32_t)a, y = (int32_t)(uint32_t)b;
    switch (kind) {
    case MC_SIM_ADD: return (uint32_t)(a + b);
    case MC_SIM_MIN: return a < b ? a : b;
    case MC_SIM_MAX: return a > b ? a : b;
    case MC_SIM_MIN_SIGNED: return x < y ? a : b;
    case MC_SIM_MAX_SIGNED: return x > y ? a : b;
    case MC_SIM_AND: return a & b;
    case MC_SIM_OR: return a | b;
    default: return a ^ b;
    }
}

/* The lanes of `who` have met. What a lane gets that is not among them is not defined: all bits. */
static void exchange(fiber **warp, unsigned who)
{
    const fiber *first = warp[__builtin_ctz(who)];
    mc_sim_meeting kind = first->kind;
    uint64_t all = 0;
    if (kind == MC_SIM_BALLOT)
        for (unsigned rest = who; rest; rest &= rest - 1)
            all |= warp[__builtin_ctz(rest)]->value << __builtin_ctz(rest);
    if (kind > MC_SIM_MATCH) {
        all = first->value;
        for (unsigned rest = who & (who - 1); rest; rest &= rest - 1)
            all = combine(kind, all, warp[__builtin_ctz(rest)]->value);
    }
    for (unsigned rest = who; rest; rest &= rest - 1) {
        fiber *f = warp[__builtin_ctz(rest)];
        f->result = all;
        if (kind == MC_SIM_SHUFFLE)
            f->result =
                f->source >= 0 && who >> f->source & 1 ? warp[f->source]->value : ~(uint64_t)0;
        if (kind == MC_SIM_MATCH)
            for (unsigned r = who; r; r &= r - 1)
                if (warp[__builtin_ctz(r)]->value == f->value)
                    f->result |= (uint64_t)1 << __builtin_ctz(r);
        f->state = READY;
    }
}

/* Lets those lanes go on whose meeting is complete. Lanes that have returned are not waited for. */
static bool release_warp(fiber **warp, int n)
{
    bool any = false;
    for (int i = 0; i < n; i++) {
        const fiber *f = warp[i];
        if (f->state != WAITS || f->kind == MC_SIM_BARRIER)
            continue;
        unsigned who = 0;
        bool complete = true;
        for (int j = 0; j < n && complete; j++) {
            if (!(f->mask >> j & 1) || warp[j]->state == DONE)
                continue;
            complete = warp[j]->state == WAITS && same_place(f, warp[j]);
            who |= 1u << j;
        }
        if (complete) {
            exchange(warp, who);
            any = true;
        }
    }
    return any;
}

static const char *waits_for(const fiber *f)
{
    return f->kind == MC_SIM_BARRIER ? "the block" : "the warp";
}

/* All that are left wait: for the same barrier, or the program ends. */
static void release_block()
{
    fiber *first = nullptr;
    uint64_t count = 0;
    for (int i = 0; i < sim.count; i++) {
        fiber *f = sim.fibers[(size_t)i];
        if (f->state == DONE)
            continue;
        if (!first)
            first = f;
        if (!same_place(first, f)) {
            uint3 other = index_of[first->number];
            threadIdx = index_of[f->number];
            mc_sim_stop("waits for %s at %s:%d while thread (%u,%u,%u) waits for %s at %s:%d",
                        waits_for(f), f->file, f->line, other.x, other.y, other.z, waits_for(first),
                        first->file, first->line);
        }
        count += f->value;
    }
    if (first && first->kind != MC_SIM_BARRIER) {
        threadIdx = index_of[first->number];
        mc_sim_stop("waits at %s:%d for lanes that never come, mask 0x%08x", first->file,
                    first->line, first->mask);
    }
    for (int i = 0; i < sim.count; i++) {
        fiber *f = sim.fibers[(size_t)i];
        f->result = count;
        if (f->state != DONE)
            f->state = READY;
    }
}

static bool run_warp(int number)
{
    fiber **warp = &sim.fibers[(size_t)number * WARP];
    int n = sim.count - number * WARP < WARP ? sim.count - number * WARP : WARP;
    bool left = false;
    do {
        for (int lane : sim.lanes)
            if (lane < n && warp[lane]->state == READY)
                resume(warp[lane]);
    } while (release_warp(warp, n));
    for (int i = 0; i < n; i++)
        left |= warp[i]->state != DONE;
    return left;
}

static void run_block()
{
    bool left = true;
    for (int i = 0; i < sim.count; i++)
        sim.fibers[(size_t)i]->state = READY;
    while (left) {
        left = false;
        for (int w : sim.warps)
            left |= run_warp(w);
        if (left)
            release_block();
    }
}

/* ---- a launch ---- */

static void prepare(dim3 threads, size_t shared, bool sync)
{
    if (sim.shared_bytes != shared || !sim.shared)
        sim.shared.reset(new char[shared ? shared : 1]);
    sim.shared_bytes = shared;
    bool new_size = threads.x != blockDim.x || threads.y != blockDim.y || threads.z != blockDim.z;
    blockDim = threads;
    sim.count = (int)(threads.x * threads.y * threads.z);
    if (new_size) {
        std::vector<int> list;
        arrange(list, sim.count);
        for (int i = 0; i < sim.count; i++) {
            index_of[i] = thread_at(i, threads);
            in_order[i] = thread_at(list[(size_t)i], threads);
        }
    }
    if (!sync)
        return;
    arrange(sim.lanes, WARP);
    arrange(sim.warps, (sim.count + WARP - 1) / WARP);
    while (sim.fibers.size() < (size_t)sim.count) {
        sim.fibers.push_back(fiber_new());
        sim.fibers.back()->number = (int)sim.fibers.size() - 1;
    }
}

void mc_sim_run(const mc_sim_place &at, dim3 blocks, dim3 threads, size_t shared, bool sync,
                const mc_sim_body &body)
{
    uint64_t n = (uint64_t)blocks.x * blocks.y * blocks.z;
    uint64_t step = order() == SHUFFLED ? block_step(n) : 1;
    prepare(threads, shared, sync);
    gridDim = blocks;
    const char *here = (const char *)__builtin_frame_address(0);
    mc_sim_stack(here - PROGRAM_STACK, PROGRAM_STACK);
    sim.place = &at;
    sim.body = &body;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t b = block_at(i, n, step);
        blockIdx = {(unsigned)(b % blocks.x), (unsigned)(b / blocks.x % blocks.y),
                    (unsigned)(b / blocks.x / blocks.y)};
        memset(sim.shared.get(), 0xff, shared); /* NaN */
        if (sync)
            run_block();
        else
            body(in_order, sim.count);
    }
    sim.place = nullptr;
}
