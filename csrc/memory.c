/* A caching pool: a block goes back to a free list when its last user drops it, so that a training
 * step in its steady state takes its results and workspaces from memory that is mapped and warm
 * already.
 *
 * Sizes are rounded up to classes of four to an octave (at most 25 % more than was asked for). A
 * header in front of the block remembers its class. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pydl.h"

/* Under AddressSanitizer what nobody asked for is out of bounds: a block's rest, a free block. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)0)
#endif

enum {
    ALIGNMENT = 64,
    HEADER = 64,
    SMALLEST_LOG2 = 8,
    CLASSES = 4 * (48 - SMALLEST_LOG2), /* up to 2^48 bytes */
    HUGE_PAGE = 2 << 20,
};

struct block {
    struct block *next;
    int size_class;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *free_list[CLASSES];
static int64_t used_bytes, cached_bytes, fail_countdown;

static int64_t class_bytes(int size_class)
{
    int64_t octave = (int64_t)1 << (SMALLEST_LOG2 + size_class / 4);
    return octave + octave / 4 * (size_class % 4);
}

/* the smallest class that holds `bytes`, CLASSES if none does */
static int class_of(int64_t bytes)
{
    if (bytes <= class_bytes(0))
        return 0;
    int log2 = 63 - __builtin_clzll((unsigned long long)(bytes - 1));
    if (log2 - SMALLEST_LOG2 > CLASSES / 4 - 1)
        return CLASSES;
    int size_class = 4 * (log2 - SMALLEST_LOG2);
    while (size_class < CLASSES && class_bytes(size_class) < bytes)
        size_class++;
    return size_class;
}

static struct block *map_block(int size_class)
{
    size_t bytes = (size_t)class_bytes(size_class) + HEADER;
    void *memory = NULL;
    size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    if (posix_memalign(&memory, alignment, bytes))
        return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE)
        madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    struct block *block = memory;
    block->size_class = size_class;
    return block;
}

void *pydl_alloc(int64_t bytes)
{
    int size_class = bytes < 0 ? CLASSES : class_of(bytes);
    if (size_class >= CLASSES)
        return NULL;
    pthread_mutex_lock(&lock);
    int fail = fail_countdown > 0 && --fail_countdown == 0;
    struct block *block = fail ? NULL : free_list[size_class];
    if (block) {
        free_list[size_class] = block->next;
        cached_bytes -= class_bytes(size_class);
    }
    pthread_mutex_unlock(&lock);
    if (fail)
        return NULL;
    if (!block && !(block = map_block(size_class))) {
        pydl_empty_cache();
        if (!(block = map_block(size_class)))
            return NULL;
    }
    __atomic_fetch_add(&used_bytes, class_bytes(size_class), __ATOMIC_RELAXED);
    ASAN_POISON_MEMORY_REGION((char *)block + HEADER, (size_t)class_bytes(size_class));
    ASAN_UNPOISON_MEMORY_REGION((char *)block + HEADER, (size_t)bytes);
    return (char *)block + HEADER;
}

void pydl_free(void *memory)
{
    if (!memory)
        return;
    struct block *block = (struct block *)(void *)((char *)memory - HEADER);
    __atomic_fetch_sub(&used_bytes, class_bytes(block->size_class), __ATOMIC_RELAXED);
    ASAN_POISON_MEMORY_REGION(memory, (size_t)class_bytes(block->size_class));
    pthread_mutex_lock(&lock);
    block->next = free_list[block->size_class];
    free_list[block->size_class] = block;
    cached_bytes += class_bytes(block->size_class);
    pthread_mutex_unlock(&lock);
}

void pydl_empty_cache(void)
{
    for (int size_class = 0; size_class < CLASSES; size_class++) {
        pthread_mutex_lock(&lock);
        struct block *block = free_list[size_class];
        free_list[size_class] = NULL;
        for (struct block *b = block; b; b = b->next)
            cached_bytes -= class_bytes(size_class);
        pthread_mutex_unlock(&lock);
        while (block) {
            struct block *next = block->next;
            free(block);
            block = next;
        }
    }
}

int64_t pydl_memory_used(void)
{
    return __atomic_load_n(&used_bytes, __ATOMIC_RELAXED);
}

int64_t pydl_memory_cached(void)
{
    pthread_mutex_lock(&lock);
    int64_t bytes = cached_bytes;
    pthread_mutex_unlock(&lock);
    return bytes;
}

int64_t pydl_fail_allocation(int64_t n)
{
    pthread_mutex_lock(&lock);
    int64_t before = fail_countdown;
    fail_countdown = n;
    pthread_mutex_unlock(&lock);
    return before;
}
