/* The team of workers behind parallel_for.
 *
 * An OpenMP loop ends in a barrier that waits for every thread of the team, those too that had
 * nothing to do and that the system has put aside for another process: a job of 12 us then takes
 * milliseconds (docs/decisions/threads.md). So OpenMP makes the team once, in a parallel region
 * that never ends, and work is handed out within it: the caller publishes a job, it and the workers
 * claim chunks of it, and the caller waits only for the chunks that somebody claimed. Each thread
 * has a range of chunks of its own to begin with, the same in every job, so that its cache still
 * holds what it wrote in the last one; then it helps with the ranges of the others. Workers look
 * for the next job for a millisecond, then sleep. */
#define _GNU_SOURCE
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "parallel.h"

enum {
    MAX_THREADS = 1024, /* what set_num_threads allows */
    CHUNK_BITS = 40,    /* of a claim; the job's number has the others */
    /* Looking for a job, or waiting for the last chunks of others, before a sleep: longer than most
       gaps between ops. A pause takes 15 to 55 ns, by CPU, so the clock is asked now and then. */
    SPIN_NS = 1000000,
    PAUSES = 32,
};
#define CHUNK_MASK (((uint64_t)1 << CHUNK_BITS) - 1)

/* number of the job, number of the next chunk of one thread's range; each in a cache line of its
 * own */
static struct {
    _Alignas(64) _Atomic uint64_t next;
} claims[MAX_THREADS];

static struct {
    pthread_mutex_t caller; /* held by the thread whose job runs */
    /* the job: written while no chunk can be claimed, read before a claim that fails if the job is
     * another one */
    _Atomic(parallel_body *) body;
    _Atomic(const void *) task;
    _Atomic int64_t chunks;
    _Atomic int threads, flush;
    _Atomic uint64_t job; /* its number */
    _Atomic int64_t done; /* chunks finished */
    /* sleeping */
    pthread_mutex_t lock;
    pthread_cond_t published, finished;
    _Atomic int sleepers, waiting;
    int workers; /* started so far; changed by the caller alone */
} team = {
    .caller = PTHREAD_MUTEX_INITIALIZER,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .published = PTHREAD_COND_INITIALIZER,
    .finished = PTHREAD_COND_INITIALIZER,
};

/* What the caller knows of a worker. */
static struct {
    _Alignas(64) _Atomic uint64_t attended; /* the last job of which it claimed a chunk */
    int missed;                             /* jobs in a row without it; the caller's own count */
    /* written by the caller before the chunks of a job can be claimed, read by who claimed one */
    void *own;
    int64_t own_bytes;
    /* under team.lock */
    int started; /* thread is set */
    int asleep;
    int avoided; /* 1 + the CPU that was taken from those where it may run, 0 for none */
    pthread_t thread;
} workers[MAX_THREADS];

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t range_begin(int64_t chunks, int threads, int range)
{
    return chunks / threads * range + chunks % threads * range / threads;
}

static void note_done(int64_t count, int64_t chunks)
{
    if (atomic_fetch_add(&team.done, count) + count == chunks && atomic_load(&team.waiting)) {
        pthread_mutex_lock(&team.lock);
        pthread_cond_signal(&team.finished);
        pthread_mutex_unlock(&team.lock);
    }
}

/* Do chunks of job number `job` until none is left to claim. */
static void work_on(uint64_t job, int worker)
{
    parallel_body *body = atomic_load_explicit(&team.body, memory_order_relaxed);
    const void *task = atomic_load_explicit(&team.task, memory_order_relaxed);
    int64_t chunks = atomic_load_explicit(&team.chunks, memory_order_relaxed);
    int threads = atomic_load_explicit(&team.threads, memory_order_relaxed);
    int flush = atomic_load_explicit(&team.flush, memory_order_relaxed);
    struct worker me = {.begins = 1};
    atomic_thread_fence(memory_order_seq_cst);
    const float_mode before = set_flushing(flush);
    for (int i = 0; i < threads; i++) {
        int range = (worker + i) % threads;
        int64_t end = range_begin(chunks, threads, range + 1), done = 0;
        _Atomic uint64_t *next = &claims[range].next;
        uint64_t claim = atomic_load_explicit(next, memory_order_acquire);
        while (claim >> CHUNK_BITS == job && (int64_t)(claim & CHUNK_MASK) < end) {
            if (!atomic_compare_exchange_weak_explicit(next, &claim, claim + 1,
                                                       memory_order_acq_rel, memory_order_acquire))
                continue;
            if (me.begins) {
                me.own = workers[worker].own;
                atomic_store_explicit(&workers[worker].attended, job, memory_order_relaxed);
            }
            body(task, (int64_t)(claim & CHUNK_MASK), me);
            me.begins = 0;
            done++;
            claim = atomic_load_explicit(next, memory_order_acquire);
        }
        if (done)
            note_done(done, chunks);
    }
    restore_mode(flush, before);
}

/* Keep a worker off the caller's CPU; team.lock is held. The system may put it there, waking or
 * spinning, and leave it waiting for the caller's time slice to end though another CPU is idle: a
 * product of two 1024 x 1024 matrices took 15 ms on two threads instead of 7.4, see
 * docs/decisions/threads.md. */
static void steer(int worker, int here)
{
    cpu_set_t mask;
    if (here < 0 || !workers[worker].started || workers[worker].avoided == here + 1 ||
        pthread_getaffinity_np(workers[worker].thread, sizeof mask, &mask))
        return;
    if (workers[worker].avoided)
        CPU_SET((size_t)workers[worker].avoided - 1, &mask);
    workers[worker].avoided = CPU_ISSET((size_t)here, &mask) ? here + 1 : 0;
    CPU_CLR((size_t)here, &mask);
    if (CPU_COUNT(&mask) == 0 || pthread_setaffinity_np(workers[worker].thread, sizeof mask, &mask))
        workers[worker].avoided = 0;
}

/* Wake workers 1 to threads - 1. */
static void wake(int threads)
{
    pthread_mutex_lock(&team.lock);
    int here = sched_getcpu();
    for (int worker = 1; worker < threads; worker++)
        if (workers[worker].asleep)
            steer(worker, here);
    pthread_cond_broadcast(&team.published);
    pthread_mutex_unlock(&team.lock);
}

/* After a job: a worker that keeps missing them may be waiting for the very CPU that the caller
 * runs on. It is looked after at its second miss and every fourth from there on, since a job may
 * just be over before anyone can come. */
static void count_misses(uint64_t job, int threads)
{
    for (int worker = 1; worker < threads; worker++) {
        if (atomic_load_explicit(&workers[worker].attended, memory_order_relaxed) == job) {
            workers[worker].missed = 0;
            continue;
        }
        int missed = ++workers[worker].missed;
        if (missed % 4 != 2)
            continue;
        pthread_mutex_lock(&team.lock);
        steer(worker, sched_getcpu());
        pthread_mutex_unlock(&team.lock);
    }
}

/* Return the number of the next job after `seen`: look for it, then sleep. */
static uint64_t next_job(uint64_t seen, int worker)
{
    uint64_t job;
    const int64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < PAUSES; i++) {
            if ((job = atomic_load_explicit(&team.job, memory_order_acquire)) != seen)
                return job;
            pause_briefly();
        }
    } while (now_ns() < end);
    pthread_mutex_lock(&team.lock);
    atomic_fetch_add(&team.sleepers, 1);
    workers[worker].asleep = 1;
    while ((job = atomic_load(&team.job)) == seen)
        pthread_cond_wait(&team.published, &team.lock);
    workers[worker].asleep = 0;
    atomic_fetch_sub(&team.sleepers, 1);
    pthread_mutex_unlock(&team.lock);
    return job;
}

struct start {
    int first, count;
    uint64_t seen;
};

static void *host_workers(void *argument)
{
    struct start start = *(struct start *)argument;
    free(argument);
#pragma omp parallel num_threads(start.count)
    {
        int worker = start.first + omp_get_thread_num();
        pthread_mutex_lock(&team.lock);
        workers[worker].thread = pthread_self();
        workers[worker].started = 1;
        pthread_mutex_unlock(&team.lock);
        for (uint64_t job = start.seen;;) {
            job = next_job(job, worker);
            if (worker < atomic_load_explicit(&team.threads, memory_order_relaxed))
                work_on(job, worker);
        }
    }
    return NULL;
}

/* Start what workers `threads` still lacks. With no thread to be had, the others and the caller do
 * the work. */
static void grow(int threads)
{
    struct start *start = malloc(sizeof *start);
    if (!start)
        return;
    *start = (struct start){team.workers + 1, threads - 1 - team.workers, atomic_load(&team.job)};
    pthread_t host;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all); /* signals are for the threads of the program */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&host, &attributes, host_workers, start))
        free(start);
    else
        team.workers = threads - 1;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void wait_for_others(int64_t chunks)
{
    if (atomic_load_explicit(&team.done, memory_order_acquire) == chunks)
        return;
    const int64_t end = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < PAUSES; i++) {
            if (atomic_load_explicit(&team.done, memory_order_acquire) == chunks)
                return;
            pause_briefly();
        }
    } while (now_ns() < end);
    pthread_mutex_lock(&team.lock);
    atomic_store(&team.waiting, 1);
    while (atomic_load(&team.done) != chunks)
        pthread_cond_wait(&team.finished, &team.lock);
    atomic_store(&team.waiting, 0);
    pthread_mutex_unlock(&team.lock);
}

/* Whether every worker has memory of its own of that size. */
static int provide(int threads, int64_t bytes)
{
    for (int worker = 1; worker < threads; worker++) {
        if (workers[worker].own_bytes >= bytes)
            continue;
        pydl_free(workers[worker].own);
        workers[worker].own = pydl_alloc(bytes);
        workers[worker].own_bytes = workers[worker].own ? bytes : 0;
        if (!workers[worker].own)
            return 0;
    }
    return 1;
}

void pydl_run_job(int threads, const struct job *given)
{
    /* If another thread of the program has the team (or this is a body's own loop), or memory is
     * short: alone, with the same bits. */
    if (given->chunks >= (int64_t)CHUNK_MASK || pthread_mutex_trylock(&team.caller)) {
        run_alone(given);
        return;
    }
    if (team.workers < threads - 1)
        grow(threads);
    if (!provide(threads, given->own_bytes)) {
        pthread_mutex_unlock(&team.caller);
        run_alone(given);
        return;
    }
    const int64_t chunks = given->chunks;
    int before = atomic_load_explicit(&team.threads, memory_order_relaxed);
    for (int i = 0; i < before; i++) /* closed: latecomers claim nothing while the job changes */
        atomic_store(&claims[i].next, CHUNK_MASK);
    /* whoever sees the new fields sees the claims closed */
    atomic_thread_fence(memory_order_seq_cst);
    workers[0].own = given->own;
    atomic_store_explicit(&team.body, given->body, memory_order_relaxed);
    atomic_store_explicit(&team.task, given->task, memory_order_relaxed);
    atomic_store_explicit(&team.chunks, chunks, memory_order_relaxed);
    atomic_store_explicit(&team.threads, threads, memory_order_relaxed);
    atomic_store_explicit(&team.flush, given->flush, memory_order_relaxed);
    atomic_store_explicit(&team.done, 0, memory_order_relaxed);
    uint64_t job = (atomic_load(&team.job) + 1) & (UINT64_MAX >> CHUNK_BITS);
    for (int i = 0; i < threads; i++)
        atomic_store_explicit(&claims[i].next,
                              job << CHUNK_BITS | (uint64_t)range_begin(chunks, threads, i),
                              memory_order_release);
    atomic_store(&team.job, job);
    if (atomic_load(&team.sleepers))
        wake(threads);
    work_on(job, 0);
    wait_for_others(chunks);
    count_misses(job, threads);
    pthread_mutex_unlock(&team.caller);
}

/* A forked child has none of the workers, and perhaps a lock that nobody will open. */
void pydl_forget_team(void)
{
    pthread_mutex_init(&team.caller, NULL);
    pthread_mutex_init(&team.lock, NULL);
    pthread_cond_init(&team.published, NULL);
    pthread_cond_init(&team.finished, NULL);
    atomic_store(&team.sleepers, 0);
    atomic_store(&team.waiting, 0);
    for (int worker = 1; worker < MAX_THREADS; worker++) {
        pydl_free(workers[worker].own);
        memset(&workers[worker], 0, sizeof workers[worker]);
    }
    team.workers = 0;
}
