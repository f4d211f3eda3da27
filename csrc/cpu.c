/* CPU features and the number of threads. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "parallel.h"

static _Atomic int process_threads = 1;
static _Thread_local int local_threads;

const char *pydl_cpu_name(void)
{
    static char name[49]; /* the CPU's own text: the same bytes whoever writes them */
#if defined(__x86_64__)
    unsigned int word[12];
    if (__get_cpuid_max(0x80000000u, NULL) < 0x80000004u)
        return "x86-64";
    for (unsigned int i = 0; i < 3; i++)
        __get_cpuid(0x80000002u + i, &word[4 * i], &word[4 * i + 1], &word[4 * i + 2],
                    &word[4 * i + 3]);
    memcpy(name, word, 48);
#elif defined(__aarch64__)
    memcpy(name, "aarch64", 8);
#endif
    return name;
}

int pydl_cpu_has(const char *isa)
{
#if defined(__x86_64__)
    if (strcmp(isa, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(isa, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return strcmp(isa, "baseline") == 0;
#elif defined(__aarch64__)
    return strcmp(isa, "neon") == 0;
#else
    return strcmp(isa, "baseline") == 0;
#endif
}

const char *pydl_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

int pydl_get_threads(void)
{
    return local_threads ? local_threads
                         : atomic_load_explicit(&process_threads, memory_order_relaxed);
}

/* Workers do not survive a fork; the child computes alone unless it asks for threads. */
static void run_serial_in_child(void)
{
    pydl_forget_team();
    atomic_store(&process_threads, 1);
    local_threads = 0;
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, run_serial_in_child);
}

void pydl_set_threads(int threads)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    atomic_store(&process_threads, threads);
}

int pydl_set_local_threads(int threads)
{
    int before = local_threads;
    local_threads = threads;
    return before;
}

const char *pydl_openmp_runtime(void)
{
    Dl_info info;
    return dladdr((void *)(intptr_t)omp_get_max_threads, &info) && info.dli_fname ? info.dli_fname
                                                                                  : "";
}
