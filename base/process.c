#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"

enum { TAIL = 4096, POLL_MS = 20 };

/* Seconds between SIGTERM and SIGKILL for what is over its time: enough to write a checkpoint. */
static const double OVERTIME_GRACE = 5;

struct mc_process {
    pid_t pid;  /* 0: ended, and reaped */
    int err_fd; /* reading end of its standard error; -1 at its end */
    struct mc_process_limits limits;
    double began, kill_at; /* kill_at: 0 as long as nobody asked it to end */
    bool over_memory, over_time, stopped;
    size_t fill;
    char tail[TAIL]; /* the last bytes of its standard error */
};

/* ---- start ---- */

/* Address space is counted when it is mapped, not when it is touched. OpenBLAS maps 140 MB a thread of which it touches
 * 1 MB, and the program that does nothing has 150 MB (fashion-mlp: 288 MB of data with one thread, 13 MB of them
 * resident): so this limit only stops what would run away between two looks. */
static rlim_t data_limit(uint64_t memory)
{
#ifdef __SANITIZE_ADDRESS__
    return RLIM_INFINITY; /* its shadow is mapped at once, and counts */
#endif
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t room = (uint64_t)256 << 20, each = (uint64_t)192 << 20;
    return memory + room + each * (uint64_t)(cpus > 0 ? cpus : 1);
}

/* Between fork and exec: only calls that are safe in a copy of a program with threads. */
_Noreturn static void become(const char *file, char *const *argv, const struct mc_process *p,
                             int null_fd, int err_fd, pid_t parent)
{
    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(127);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct sigaction standard = {.sa_handler = SIG_DFL};
    static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGBUS, SIGXFSZ, SIGPIPE};
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        sigaction(handled[i], &standard, NULL);
    if (p->limits.memory) {
        rlim_t most = data_limit(p->limits.memory);
        setrlimit(RLIMIT_DATA, &(struct rlimit){most, most});
    }
    /* A crash is told in a line; a core of each is not wanted. */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (dup2(null_fd, 0) == 0 && dup2(null_fd, 1) == 1 && dup2(err_fd, 2) == 2)
        execv(file, argv);
    _exit(127);
}

int mc_process_start(const char *file, char *const *argv, const struct mc_process_limits *limits,
                     struct mc_process **ret, struct mc_err *err)
{
    struct mc_process *p = calloc(1, sizeof *p);
    int fds[2] = {-1, -1};
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t parent = getpid(), pid = -1;
    /* Where it is ignored, the end of a process is lost. */
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    if (p && null_fd >= 0 && !pipe2(fds, O_CLOEXEC)) {
        p->limits = limits ? *limits : (struct mc_process_limits){0, 0};
        fcntl(fds[0], F_SETFL, O_NONBLOCK);
        pid = fork();
    }
    if (pid == 0)
        become(file, argv, p, null_fd, fds[1], parent);
    int failed = errno;
    if (null_fd >= 0)
        close(null_fd);
    if (fds[1] >= 0)
        close(fds[1]);
    if (pid < 0) {
        if (fds[0] >= 0)
            close(fds[0]);
        free(p);
        return mc_fail(err, MC_EFAIL, "cannot start a process: %s", strerror(failed));
    }
    setpgid(pid, pid); /* also here, so that a signal to the group finds it at once */
    p->pid = pid;
    p->err_fd = fds[0];
    p->began = mc_now();
    *ret = p;
    return 0;
}

/* ---- standard error ---- */

/* Keep the last half of what does not fit. */
static void take(struct mc_process *p, const char *bytes, size_t n)
{
    enum { HALF = TAIL / 2 };
    if (n > HALF) {
        bytes += n - HALF;
        n = HALF;
    }
    if (p->fill + n > TAIL) {
        memmove(p->tail, p->tail + p->fill - HALF, HALF);
        p->fill = HALF;
    }
    memcpy(p->tail + p->fill, bytes, n);
    p->fill += n;
}

/* What is there, and no more: some can write faster than anybody reads. */
static void drain(struct mc_process *p)
{
    enum { BLOCKS = 64 }; /* a pipe holds 16 */
    char block[TAIL];
    for (int i = 0; i < BLOCKS && p->err_fd >= 0; i++) {
        ssize_t n = read(p->err_fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close(p->err_fd);
            p->err_fd = -1;
            return;
        }
        take(p, block, (size_t)n);
    }
}

static void last_line(const struct mc_process *p, char ret[MC_ERR_MSG])
{
    size_t end = p->fill;
    while (end && (p->tail[end - 1] == '\n' || p->tail[end - 1] == '\r'))
        end--;
    size_t begin = end;
    while (begin && p->tail[begin - 1] != '\n')
        begin--;
    size_t n = 0;
    for (; begin < end && n + 1 < MC_ERR_MSG; begin++)
        ret[n++] = p->tail[begin] ? p->tail[begin] : '?';
    ret[n] = 0;
}

/* ---- limits ---- */

static uint64_t resident(pid_t pid)
{
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    unsigned long long size, pages;
    if (n <= 0)
        return 0;
    text[n] = 0;
    if (sscanf(text, "%llu %llu", &size, &pages) != 2)
        return 0;
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void end_group(const struct mc_process *p, int number)
{
    if (kill(-p->pid, number))
        kill(p->pid, number);
}

static void ask_to_end(struct mc_process *p, double grace)
{
    double at = mc_now() + grace;
    if (!p->kill_at)
        end_group(p, SIGTERM);
    if (!p->kill_at || at < p->kill_at)
        p->kill_at = at;
}

static void look_after(struct mc_process *p)
{
    double now = mc_now();
    if (p->limits.memory && !p->over_memory && resident(p->pid) > p->limits.memory) {
        p->over_memory = true;
        end_group(p, SIGKILL);
    }
    if (p->limits.seconds > 0 && !p->kill_at && now - p->began > p->limits.seconds) {
        p->over_time = true;
        ask_to_end(p, OVERTIME_GRACE);
    }
    if (p->kill_at && now >= p->kill_at)
        end_group(p, SIGKILL);
}

void mc_process_stop(struct mc_process *p, double grace)
{
    if (!p->pid)
        return;
    p->stopped = true;
    ask_to_end(p, grace);
}

/* ---- the end ---- */

static bool reap(struct mc_process *p, struct mc_process_end *ret)
{
    int status = 0;
    siginfo_t info = {0};
    if (!waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) && !info.si_pid)
        return false;
    double seconds = mc_now() - p->began;
    kill(-p->pid, SIGKILL); /* what it may have started itself; its number is not free yet */
    pid_t got;
    do
        got = waitpid(p->pid, &status, 0);
    while (got < 0 && errno == EINTR);
    drain(p);
    p->pid = 0;
    *ret = (struct mc_process_end){
        .status = got > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1,
        .signal = got > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        .over_memory = p->over_memory,
        .over_time = p->over_time,
        .stopped = p->stopped,
        .seconds = seconds,
    };
    last_line(p, ret->line);
    return true;
}

/* Sleep until something is written or ends, POLL_MS at most. */
static void pause_for_news(struct mc_process *const *list, int n, double seconds)
{
    enum { MOST = 256 };
    struct pollfd fds[MOST];
    nfds_t used = 0;
    bool closed = false; /* one that closed its standard error ends in a moment */
    for (int i = 0; i < n; i++) {
        if (!list[i] || !list[i]->pid)
            continue;
        if (list[i]->err_fd < 0)
            closed = true;
        else if (used < MOST)
            fds[used++] = (struct pollfd){.fd = list[i]->err_fd, .events = POLLIN};
    }
    double ms = seconds * 1000;
    int most = closed ? 1 : POLL_MS;
    poll(fds, used, ms < most ? (int)ms : most);
}

int mc_process_wait(struct mc_process *const *list, int n, double seconds,
                    struct mc_process_end *ret)
{
    double until = mc_now() + seconds;
    for (;;) {
        for (int i = 0; i < n; i++) {
            if (!list[i] || !list[i]->pid)
                continue;
            drain(list[i]);
            if (reap(list[i], ret))
                return i;
            look_after(list[i]);
        }
        double left = until - mc_now();
        if (left <= 0)
            return -1;
        pause_for_news(list, n, left);
    }
}

void mc_process_free(struct mc_process *p)
{
    if (!p)
        return;
    if (p->pid) {
        end_group(p, SIGKILL);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (p->err_fd >= 0)
        close(p->err_fd);
    free(p);
}
