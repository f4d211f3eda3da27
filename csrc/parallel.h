/* How a kernel uses several threads.
 *
 * It cuts its work into chunks by shape alone, writes one body for a chunk, and calls parallel_for.
 * Which thread takes which chunk is open, so a chunk's result may depend on its number and on
 * nothing else; partial sums are stored by chunk and added in order afterwards. That is what keeps
 * every result equal to the bit for any number of threads. */
#ifndef PYDL_PARALLEL_H
#define PYDL_PARALLEL_H

#include <stdint.h>

#include "pydl.h"

/* Work units of one chunk loop below which the caller does it alone: one unit is about one
 * floating-point operation, a byte of memory traffic counts as PYDL_WORK_BYTE of them. About 10 us
 * of serial work. */
#define PYDL_WORK_SERIAL 1e6
#define PYDL_WORK_BYTE 10.0

/* Does chunk number `chunk` of `task`; `worker` (0 <= worker < pydl_get_threads()) picks a part of
 * a workspace. */
typedef void parallel_body(const void *task, int64_t chunk, int worker);

/* threads.c: every chunk once, on up to `threads` threads, the caller among them (worker 0) */
void pydl_run_chunks(int threads, int64_t chunks, parallel_body *body, const void *task);
void pydl_forget_team(void);

static inline void parallel_for(int64_t chunks, double work, parallel_body *body, const void *task)
{
    int threads = work < PYDL_WORK_SERIAL || chunks < 2 ? 1 : pydl_get_threads();
    if (threads > 1) {
        pydl_run_chunks(threads, chunks, body, task);
        return;
    }
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        body(task, chunk, 0);
}

#endif
