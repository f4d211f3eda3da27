/* The only place that knows OpenMP.
 *
 * A kernel cuts its work into chunks by shape alone, writes one body for a chunk, and calls parallel_for. Which
 * thread takes which chunk is open, so a chunk's result may depend on its number and on nothing else; partial sums
 * are stored by chunk and added in order afterwards. That is what keeps every result equal to the bit for any
 * number of threads. */
#ifndef PYDL_PARALLEL_H
#define PYDL_PARALLEL_H

#include <omp.h>
#include <stdint.h>

#include "pydl.h"

/* Work units of one chunk loop below which the caller does it alone: one unit is about one floating-point
 * operation, a byte of memory traffic counts as PYDL_WORK_BYTE of them. About 10 us of serial work, what a fork
 * and a join cost after a pause. */
#define PYDL_WORK_SERIAL 1e6
#define PYDL_WORK_BYTE 10.0

/* Does chunk number `chunk` of `task`; `worker` (0 <= worker < pydl_get_threads()) picks a part of a workspace. */
typedef void parallel_body(const void *task, int64_t chunk, int worker);

/* One thread, or the full team: libgomp rebuilds its pool whenever the size of the team changes. */
static inline void parallel_for(int64_t chunks, double work, parallel_body *body, const void *task)
{
    int threads = work < PYDL_WORK_SERIAL || chunks < 2 ? 1 : pydl_get_threads();
    if (threads == 1) {
        for (int64_t chunk = 0; chunk < chunks; chunk++)
            body(task, chunk, 0);
        return;
    }
    int64_t next = 0;
#pragma omp parallel num_threads(threads)
    {
        int64_t chunk;
        while ((chunk = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)) < chunks)
            body(task, chunk, omp_get_thread_num());
    }
}

#endif
