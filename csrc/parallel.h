/* How a kernel uses several threads.
 *
 * It cuts its work into chunks by shape alone, writes one body for a chunk, and calls parallel_for.
 * Which thread takes which chunk is open, so a chunk's result may depend on its number and on
 * nothing else; partial sums are stored by chunk and added in order afterwards. That is what keeps
 * every result equal to the bit for any number of threads. */
#ifndef PYDL_PARALLEL_H
#define PYDL_PARALLEL_H

#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "pydl.h"

/* Work units of one chunk loop below which the caller does it alone: one unit is about one
 * floating-point operation, a byte of memory traffic counts as PYDL_WORK_BYTE of them. About 10 us
 * of serial work. */
#define PYDL_WORK_SERIAL 1e6
#define PYDL_WORK_BYTE 10.0

/* The thread that does a chunk, as far as a body has to know it. */
struct worker {
    void *own;  /* memory that nobody else touches, so that it stays in this thread's cache from one
                   kernel to the next; its contents are arbitrary */
    int begins; /* this is the first chunk of the job that it does */
};

/* A product that takes in or gives a denormal number is two hundred times as slow as another one
 * (docs/decisions/denormals.md), and confident models are full of them. A file of kernels that
 * defines FLUSHES_DENORMALS has them count as 0 in its bodies, coming in and going out. */
#ifdef FLUSHES_DENORMALS
enum { FLUSH_DENORMALS = 1 };
#else
enum { FLUSH_DENORMALS = 0 };
#endif

#if defined(__x86_64__)
typedef unsigned int float_mode;
#define FLOAT_FLUSHES 0x8040u /* FTZ, DAZ */
#define GET_FLOAT_MODE(mode) ((mode) = _mm_getcsr())
#define SET_FLOAT_MODE(mode) _mm_setcsr(mode)
#elif defined(__aarch64__)
typedef uint64_t float_mode;
#define FLOAT_FLUSHES ((uint64_t)1 << 24) /* FZ */
#define GET_FLOAT_MODE(mode) __asm__ volatile("mrs %0, fpcr" : "=r"(mode))
#define SET_FLOAT_MODE(mode) __asm__ volatile("msr fpcr, %0" : : "r"(mode))
#else
typedef int float_mode;
#define FLOAT_FLUSHES 0
#define GET_FLOAT_MODE(mode) ((mode) = 0)
#define SET_FLOAT_MODE(mode) ((void)(mode))
#endif

/* Let this thread flush denormals or keep them; returns the mode before, for restore_mode. */
static inline float_mode set_flushing(int flush)
{
    float_mode before;
    GET_FLOAT_MODE(before);
    if (flush)
        SET_FLOAT_MODE(before | FLOAT_FLUSHES);
    __asm__ volatile("" ::: "memory");
    return before;
}

static inline void restore_mode(int flush, float_mode before)
{
    __asm__ volatile("" ::: "memory");
    if (flush)
        SET_FLOAT_MODE(before);
}

typedef void parallel_body(const void *task, int64_t chunk, struct worker worker);

/* A loop over chunks; each worker has `own_bytes` of its own, the caller those at `own`. */
struct job {
    int64_t chunks;
    parallel_body *body;
    const void *task;
    void *own;
    int64_t own_bytes;
    int flush; /* denormals */
};

/* threads.c: every chunk once, on up to `threads` threads, the caller among them */
void pydl_run_job(int threads, const struct job *job);
void pydl_forget_team(void);

static inline void run_alone(const struct job *job)
{
    const float_mode before = set_flushing(job->flush);
    for (int64_t chunk = 0; chunk < job->chunks; chunk++)
        job->body(job->task, chunk, (struct worker){job->own, chunk == 0});
    restore_mode(job->flush, before);
}

static inline void parallel_for_own(int64_t chunks, double work, parallel_body *body,
                                    const void *task, void *own, int64_t own_bytes)
{
    const struct job job = {chunks, body, task, own, own_bytes, FLUSH_DENORMALS};
    const int threads = work < PYDL_WORK_SERIAL || chunks < 2 ? 1 : pydl_get_threads();
    if (threads > 1)
        pydl_run_job(threads, &job);
    else
        run_alone(&job);
}

static inline void parallel_for(int64_t chunks, double work, parallel_body *body, const void *task)
{
    parallel_for_own(chunks, work, body, task, NULL, 0);
}

#endif
