/* The simulation itself: kernels with barriers and shuffles against sums made by hand, in each order, and kernels
 * that are wrong, each in a process of its own, of which the simulation has to say so. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "kernels/cuda/cuda.h"

static int failures;
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #x);                                 \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static struct mc_gpu *gpu;

template <class T> static T *device(const std::vector<T> &from)
{
    void *p;
    if (mc_gpu_alloc(gpu, from.size() * sizeof(T), &p, nullptr) ||
        mc_gpu_put(gpu, p, from.data(), from.size() * sizeof(T), nullptr))
        exit(1);
    return (T *)p;
}

template <class T> static std::vector<T> host(const T *p, size_t n)
{
    std::vector<T> x(n);
    if (mc_gpu_get(gpu, x.data(), p, n * sizeof(T), nullptr))
        exit(1);
    return x;
}

/* ---- kernels that are right ---- */

enum { N = 1000, BLOCK = 128 };

/* x -> its reversal within each block, through shared memory */
static __global__ void turn(int n, const int *x, int *y)
{
    MC_SHARED(int, tile);
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x),
        last = n - 1 - (int)(blockIdx.x * blockDim.x);
    if (last >= (int)blockDim.x)
        last = (int)blockDim.x - 1;
    if (i < n)
        tile[threadIdx.x] = x[i];
    __syncthreads();
    if (i < n)
        y[i] = tile[last - (int)threadIdx.x];
}

template <class T> static __global__ void total(int n, const T *x, T *sum)
{
    __shared__ T part[BLOCK / 32];
    T mine = 0;
    for (int i = (int)threadIdx.x; i < n; i += BLOCK)
        mine += x[i];
    for (int by = 16; by > 0; by /= 2)
        mine += __shfl_down_sync(0xffffffffu, mine, (unsigned)by);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x >= BLOCK / 32)
        return;
    mine = part[threadIdx.x];
    for (int with = BLOCK / 64; with > 0; with /= 2)
        mine += __shfl_xor_sync((1u << BLOCK / 32) - 1, mine, with);
    if (threadIdx.x == 0)
        *sum = mine;
}

/* Each lane's view of a warp; the last three lanes have returned. */
static __global__ void lanes(unsigned *ret, int *sum, int *most)
{
    unsigned lane = threadIdx.x;
    if (lane >= 29)
        return;
    const unsigned all = 0xffffffffu;
    unsigned ballot = __ballot_sync(all, lane % 3 == 0);
    int any = __any_sync(all, lane == 28), none = __any_sync(all, lane == 29),
        every = __all_sync(all, lane < 29), but_one = __all_sync(all, lane);
    ret[lane] = ballot | (unsigned)(any << 29 | !none << 30) | (unsigned)(every && !but_one) << 31;
    int up = __shfl_up_sync(all, (int)lane, 2, 8), here = __shfl_sync(all, (int)lane, 11, 4);
    sum[lane] = up * 100 + here;
    most[lane] =
        lane < 8 ? __reduce_max_sync(0xffu, (int)lane - 20) : __reduce_add_sync(0x1fffff00u, 1);
}

static __global__ void count(int n, const int *x, unsigned *bins, int *most)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        atomicAdd(&bins[x[i] & 7], 1u);
        atomicMax(most, x[i]);
    }
}

static void test_threads()
{
    std::vector<int> x(N);
    std::vector<float> f(N);
    std::vector<double> d(N);
    std::vector<unsigned> bins(8);
    int sum = 0;
    for (int i = 0; i < N; i++) {
        x[(size_t)i] = i * 37 % 1009 - 300;
        f[(size_t)i] = (float)x[(size_t)i];
        d[(size_t)i] = x[(size_t)i] + 0.5;
        sum += x[(size_t)i];
        bins[(size_t)(x[(size_t)i] & 7)]++;
    }
    int *dx = device(x), *dy = device(std::vector<int>(N)),
        *most = device(std::vector<int>(1, -5000));
    float *df = device(f), *fsum = device(std::vector<float>(1));
    double *dd = device(d), *dsum = device(std::vector<double>(1));
    unsigned *dbins = device(std::vector<unsigned>(8)), *dlanes = device(std::vector<unsigned>(32));
    int *a = device(std::vector<int>(32)), *b = device(std::vector<int>(32));
    MC_LAUNCH_SYNC(turn, (N + BLOCK - 1) / BLOCK, BLOCK, BLOCK * sizeof(int), N, dx, dy);
    MC_LAUNCH_SYNC(total<float>, 1, BLOCK, 0, N, df, fsum);
    MC_LAUNCH_SYNC(total<double>, 1, BLOCK, 0, N, dd, dsum);
    MC_LAUNCH(count, 3, 64, N, dx, dbins, most);
    MC_LAUNCH_SYNC(lanes, 1, 32, 0, dlanes, a, b);
    std::vector<int> y = host(dy, N), up = host(a, 32), best = host(b, 32);
    bool turned = true;
    for (int i = 0; i < N; i++) {
        int first = i / BLOCK * BLOCK, end = first + BLOCK < N ? first + BLOCK : N;
        turned &= y[(size_t)i] == x[(size_t)(end - 1 - (i - first))];
    }
    CHECK(turned);
    CHECK(host(fsum, 1)[0] == (float)sum);
    CHECK(host(dsum, 1)[0] == sum + 0.5 * N);
    CHECK(host(dbins, 8) == bins);
    CHECK(host(most, 1)[0] == 1008 - 300);
    std::vector<unsigned> seen = host(dlanes, 32);
    bool same = true;
    for (size_t i = 0; i < 29; i++) {
        same &= seen[i] == (0x9249249u & 0x1fffffffu) + 0xe0000000u;
        int here = i == 28 ? -1 : (int)(i / 4 * 4 + 3); /* lane 31 has returned */
        same &= up[i] == (int)(i % 8 < 2 ? i : i - 2) * 100 + here;
        same &= best[i] == (i < 8 ? -13 : 21);
    }
    CHECK(same && seen[29] == 0);
}

static void test_functions()
{
    CHECK(__popc(0xf0f0u) == 8 && __popcll(~0ull) == 64 && __clz(1) == 31 && __clz(0) == 32);
    CHECK(__ffs(8) == 4 && __ffs(0) == 0 && __brev(1) == 0x80000000u &&
          __brev(0x2cu) == 0x34000000u);
    CHECK(__dp4a((int)0x80ff0201, (int)0x80020304, 7) == 16384 - 2 + 6 + 4 + 7);
    CHECK(__dp4a(0x80ff0201u, 0x80020304u, 7u) == 16384 + 510 + 6 + 4 + 7);
    CHECK(__float2int_rn(2.5f) == 2 && __float2int_rz(-2.9f) == -2 &&
          __float2int_rn(1e20f) == INT32_MAX && __float2int_rn(NAN) == 0 &&
          __float2int_rd(-0.5f) == -1);
    CHECK(__byte_perm(0x33221100u, 0x77665544u, 0x7250) == 0x77225500u);
    CHECK(__saturatef(NAN) == 0 && __saturatef(2) == 1 && __saturatef(0.25f) == 0.25f);
    CHECK(__int_as_float(0x3f800000) == 1 && __float_as_uint(-0.0f) == 0x80000000u);
    CHECK(sizeof(float4) == 16 && alignof(float4) == 16 && alignof(float2) == 8 &&
          sizeof(uchar4) == 4 && alignof(char4) == 4 && sizeof(float3) == 12 &&
          sizeof(short4) == 8);
    bool same = true;
    for (unsigned i = 0; i < 65536; i++) {
        __half h = {(uint16_t)i}, again = __float2half_rn(__half2float(h));
        __nv_bfloat16 b = {(uint16_t)i}, more = __float2bfloat16_rn(__bfloat162float(b));
        same &= std::isnan(__half2float(h)) ? std::isnan(__half2float(again)) : again.bits == i;
        same &=
            std::isnan(__bfloat162float(b)) ? std::isnan(__bfloat162float(more)) : more.bits == i;
    }
    CHECK(same);
    CHECK(__float2half_rn(2049).bits == __float2half_rn(2048).bits && /* ties to even */
          __float2half_rn(2051).bits == __float2half_rn(2052).bits &&
          __float2half_rn(65520).bits == 0x7c00 && __float2half_rn(3e-8f).bits == 1);
}

/* ---- recordings ---- */

static __global__ void grow(int n, float by, float *x)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE)
        x[i] += by;
}

static void test_recording()
{
    float *x = device(std::vector<float>(N));
    struct mc_gpu_recording *r = nullptr;
    float by = 2;
    CHECK(mc_gpu_record_begin(gpu, nullptr) == 0);
    MC_LAUNCH(grow, 4, 32, N, by, x);
    by = 100; /* the recording has taken 2 */
    CHECK(mc_gpu_record_end(gpu, &r, nullptr) == 0);
    CHECK(host(x, N)[N - 1] == 0);
    for (int i = 0; i < 3; i++)
        CHECK(mc_gpu_replay(gpu, r, nullptr) == 0);
    CHECK(host(x, N)[N - 1] == 6);
    mc_gpu_recording_free(gpu, r);
    void *p = nullptr;
    CHECK(mc_gpu_record_begin(gpu, nullptr) == 0);
    CHECK(cudaMalloc(&p, 100) == cudaErrorStreamCaptureUnsupported);
    CHECK(mc_gpu_record_end(gpu, &r, nullptr) == MC_EUNSUP);
    MC_LAUNCH(grow, 4, 2000, N, by, x); /* too many threads */
    struct mc_err err;
    CHECK(mc_gpu_wait(gpu, &err) == MC_EFAIL && strstr(err.msg, "grow") &&
          strstr(err.msg, "invalid configuration"));
    CHECK(mc_gpu_wait(gpu, &err) == 0);
}

/* ---- kernels that are wrong ---- */

/* Runs f elsewhere and gives what it printed; empty: it came to its end. */
static std::string trouble(void (*f)())
{
    int fd[2], status;
    std::string s;
    char buf[512];
    if (pipe(fd))
        exit(1);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], 2);
        close(fd[0]);
        f();
        (void)mc_gpu_wait(gpu, nullptr);
        _exit(0);
    }
    close(fd[1]);
    for (ssize_t n; (n = read(fd[0], buf, sizeof buf)) > 0;)
        s.append(buf, (size_t)n);
    close(fd[0]);
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return "";
    return s.empty() ? "it died without a word" : s;
}

static bool says(const std::string &s, const char *what)
{
    if (s.find(what) != std::string::npos)
        return true;
    printf("'%s' is not in: %s\n", what, s.c_str());
    return false;
}

static __global__ void diverging(int *x)
{
    if (threadIdx.x < 7)
        __syncthreads();
    else
        __syncthreads();
    x[threadIdx.x] = 1;
}

static __global__ void warp_diverging(int *x)
{
    x[threadIdx.x] = threadIdx.x < 16 ? __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1)
                                      : (int)__ballot_sync(0xffffffffu, 1);
}

static __global__ void other_lane(int *x)
{
    x[threadIdx.x] = __shfl_sync(0xfu, x[threadIdx.x], 0);
}

static void run_diverging()
{
    MC_LAUNCH_SYNC(diverging, 2, 64, 0, device(std::vector<int>(64)));
}

static void run_warp_diverging()
{
    MC_LAUNCH_SYNC(warp_diverging, 1, 64, 0, device(std::vector<int>(64)));
}

static void run_other_lane()
{
    MC_LAUNCH_SYNC(other_lane, 1, 64, 0, device(std::vector<int>(64)));
}

static void run_not_sync()
{
    MC_LAUNCH(diverging, 1, 64, device(std::vector<int>(64)));
}

/* The sum of a block without the barrier between writing and reading: wrong numbers, in some order at least. */
static __global__ void unguarded(const int *x, int *y)
{
    MC_SHARED(int, tile);
    tile[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}

static void test_wrong()
{
    std::string s = trouble(run_diverging);
    CHECK(says(s, "kernel diverging (launched at") && says(s, "waits for the block at") &&
          says(s, "while thread"));
    CHECK(says(trouble(run_warp_diverging), "waits for the warp at"));
    CHECK(says(trouble(run_other_lane), "is not in its own mask"));
    CHECK(says(trouble(run_not_sync), "MC_LAUNCH_SYNC"));
    std::vector<int> x(64);
    for (int i = 0; i < 64; i++)
        x[(size_t)i] = i;
    int *dx = device(x), *dy = device(x);
    MC_LAUNCH_SYNC(unguarded, 1, 64, 64 * sizeof(int), dx, dy);
    std::vector<int> y = host(dy, 64);
    bool right = true;
    for (int i = 0; i < 64; i++)
        right &= y[(size_t)i] == 63 - i;
    CHECK(!right);
}

/* ---- memory ---- */

static __global__ void read_at(const float *x, int64_t i, float *y)
{
    y[threadIdx.x] = x[i + threadIdx.x];
}

static __global__ void wide_at(const float *x, int64_t i, float4 *y)
{
    *y = *(const float4 *)(x + i);
}

static __global__ void shared_at(int i, int *y)
{
    MC_SHARED(int, tile);
    tile[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = tile[i + (int)threadIdx.x];
}

struct pointers { /* as a structure of a table: by value, with a pointer that may be the host's */
    const float *x;
    float *y;
};

static __global__ void through(struct pointers p)
{
    p.y[threadIdx.x] = p.x[threadIdx.x];
}

enum { FLOATS = 100 };

static float *some_floats()
{
    return device(std::vector<float>(FLOATS, 1.0f));
}

static void run_behind()
{
    MC_LAUNCH(read_at, 1, 32, some_floats(), FLOATS - 31, some_floats());
}

static void run_before()
{
    MC_LAUNCH_SYNC(read_at, 1, 32, 0, some_floats(), -1, some_floats());
}

static void run_freed()
{
    float *x = some_floats(), *y = some_floats();
    mc_gpu_free(gpu, x);
    MC_LAUNCH(read_at, 1, 32, x, 0, y);
}

static void run_shared()
{
    MC_LAUNCH_SYNC(shared_at, 1, 32, 32 * sizeof(int), 1, device(std::vector<int>(32)));
}

#ifndef MC_SIM_ASAN
static void run_heap()
{
    std::vector<float> x(FLOATS);
    MC_LAUNCH_SYNC(through, 1, 32, 0, (pointers{x.data(), some_floats()}));
    (void)mc_gpu_wait(gpu, nullptr);
}

static void run_stack()
{
    float x[32] = {0};
    pointers p = {x, some_floats()};
    MC_LAUNCH(through, 1, 32, p);
    (void)mc_gpu_wait(gpu, nullptr);
}

static void run_unaligned()
{
    MC_LAUNCH(wide_at, 1, 1, some_floats(), 2, (float4 *)some_floats());
}

static void run_host_reads()
{
    volatile float *x = some_floats();
    (void)x[3];
}

static void run_host_copies()
{
    std::vector<float> x(FLOATS);
    (void)mc_gpu_copy(gpu, some_floats(), x.data(), 16, nullptr);
}
#endif

static void test_memory()
{
    struct mc_err err;
    void *p;
    float *y = some_floats();
    pointers here = {some_floats(), y};
    MC_LAUNCH_SYNC(through, 1, 64, 0, here);
    MC_LAUNCH(wide_at, 1, 1, here.x, 4, (float4 *)(y + 64));
    CHECK(host(y, FLOATS)[67] == 1 && mc_gpu_shared_alloc(gpu, 12, &p, &err) == 0);
    MC_LAUNCH(read_at, 1, 3, here.x, 0, (float *)p);
    CHECK(mc_gpu_wait(gpu, nullptr) == 0 && ((float *)p)[2] == 1);
    mc_gpu_shared_free(gpu, p);
#ifdef MC_SIM_ASAN
    CHECK(says(trouble(run_behind), "heap-buffer-overflow"));
    CHECK(says(trouble(run_before), "heap-buffer-overflow"));
    CHECK(says(trouble(run_freed), "heap-use-after-free"));
    CHECK(says(trouble(run_shared), "heap-buffer-overflow"));
#else
    std::string s = trouble(run_behind);
    CHECK(says(s, "kernel read_at (launched at") && says(s, "thread (31,0,0)") &&
          says(s, "reads 4 bytes at") &&
          says(s, ": 0 bytes behind the end of device memory of 400"));
    CHECK(says(trouble(run_before), "behind the end of device memory"));
    CHECK(says(trouble(run_freed), "of device memory that was freed (400 bytes)"));
    CHECK(says(trouble(run_heap), ": host memory"));
    CHECK(says(trouble(run_stack), ": host memory"));
    CHECK(says(trouble(run_unaligned), "is not aligned to 16 bytes"));
    CHECK(says(trouble(run_shared), "at byte 128 of shared memory of 128 bytes"));
    CHECK(says(trouble(run_host_reads), "the host touches"));
    CHECK(says(trouble(run_host_copies), "a copy of 16 bytes from"));
#endif
}

int main()
{
    struct mc_err err;
    if (mc_gpu_open("cuda", nullptr, &gpu, &err)) {
        printf("%s\n", err.msg);
        return 1;
    }
    mc_gpu_enter(gpu);
    test_functions();
    test_threads();
    test_recording();
    test_wrong();
    test_memory();
    mc_gpu_close(gpu);
    printf("%s\n", failures ? "FAILED" : "ok");
    return failures != 0;
}
