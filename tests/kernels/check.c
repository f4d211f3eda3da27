/* The harness of check.h. KERNELS (their number), PYDL_ISA and PYDL_TYPE come from run.sh. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

enum {
    SLOTS = 24,           /* arrays of one round */
    SLOT_BYTES = 4 << 20, /* the largest of them */
    MADE = 48,            /* arrays of one case */
    EXPECTED = 20,        /* comparisons of one round */
    SHOWN = 20,           /* failures worth reading */
};

#define QUOTE_(x) #x
#define QUOTE(x) QUOTE_(x)
#define VARIANT QUOTE(PYDL_ISA) " " QUOTE(PYDL_TYPE)

static char *slots[SLOTS];
static void *made[MADE], *before[EXPECTED];
static int slots_used, made_used, expected, this_round;
static char text[400];
static int64_t cases, failures;
static uint64_t state = 1;

/* one range of a page that faults, SLOT_BYTES, a page that faults, ... */
static void make_slots(void)
{
#ifndef ON_HEAP
    int64_t page = sysconf(_SC_PAGESIZE), step = page + SLOT_BYTES;
    char *start = mmap(NULL, (size_t)(SLOTS * step + page), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    for (int64_t i = 0; i <= SLOTS; i++)
        mprotect(start + i * step, (size_t)page, PROT_NONE);
    for (int64_t i = 0; i < SLOTS; i++)
        slots[i] = start + i * step + page;
#endif
}

/* `off` is for tools that watch the heap: they see both ends to the byte wherever an array begins.
 */
static void *place(int64_t bytes, size_t off)
{
    if (slots_used == SLOTS || bytes > SLOT_BYTES) {
        fprintf(stderr, "the check itself is wrong: no room for %lld bytes, %s\n", (long long)bytes,
                text);
        exit(2);
    }
#ifdef ON_HEAP
    char *memory = slots[slots_used++] = malloc((size_t)bytes + off);
    if (!memory)
        exit(2);
    return memory + off;
#else
    (void)off;
    char *slot = slots[slots_used++];
    return this_round % 2 ? slot + SLOT_BYTES - bytes : slot;
#endif
}

static void *make(int64_t bytes)
{
    if (made_used == MADE) {
        fprintf(stderr, "the check itself is wrong: more than %d arrays, %s\n", MADE, text);
        exit(2);
    }
    made[made_used] = calloc(1, (size_t)bytes + 1);
    if (!made[made_used])
        exit(2);
    return made[made_used++];
}

void check_case(const char *kernel, const char *format, ...)
{
    while (made_used)
        free(made[--made_used]);
    memset(before, 0, sizeof before);
    va_list arguments;
    va_start(arguments, format);
    int length = snprintf(text, sizeof text, VARIANT ": %s ", kernel);
    vsnprintf(text + length, sizeof text - (size_t)length, format, arguments);
    va_end(arguments);
    cases++;
}

void check_round(int round)
{
    this_round = round;
#ifdef ON_HEAP
    while (slots_used)
        free(slots[--slots_used]);
#endif
    slots_used = expected = 0;
    pydl_set_threads(round);
}

int64_t chance(int64_t n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((state >> 33) % (uint64_t)n);
}

real *integers(int64_t n, int64_t range)
{
    real *x = make(n * (int64_t)sizeof(real));
    for (int64_t i = 0; i < n; i++)
        x[i] = (real)(chance(2 * range + 1) - range);
    return x;
}

real *numbers(int64_t n, double low, double high)
{
    real *x = make(n * (int64_t)sizeof(real));
    for (int64_t i = 0; i < n; i++)
        x[i] = (real)(low + (high - low) * (double)chance(1 << 30) / (1 << 30));
    return x;
}

real *values(int64_t n, int64_t range, int64_t exact)
{
    return exact ? integers(n, range) : numbers(n, (double)-range, (double)range);
}

double *zeros(int64_t n)
{
    return make(n * (int64_t)sizeof(double));
}

/* In odd rounds reals lie one element off whatever alignment there is. */
static size_t real_offset(void)
{
    return this_round % 2 ? sizeof(real) : 0;
}

static void *placed(const void *x, int64_t bytes, size_t off)
{
    return bytes ? memcpy(place(bytes, off), x, (size_t)bytes) : place(bytes, off);
}

void *given_bytes(const void *x, int64_t bytes)
{
    return placed(x, bytes, 0);
}

real *given(const real *x, int64_t n)
{
    return x ? placed(x, n * (int64_t)sizeof(real), real_offset()) : NULL;
}

void *result_bytes(int64_t bytes)
{
    return memset(place(bytes, 0), 0xff, (size_t)bytes); /* all bits set: a NaN */
}

real *result(int64_t n)
{
    const size_t bytes = (size_t)n * sizeof(real);
    return memset(place((int64_t)bytes, real_offset()), 0xff, bytes);
}

void *workspace(int64_t bytes)
{
    pydl_set_threads(1 + this_round % ROUNDS);
#ifdef ON_HEAP
    return bytes ? place(bytes, 0) : NULL; /* as malloc left it, which valgrind tells apart */
#else
    return bytes ? result_bytes((bytes + 7) / 8 * 8) : NULL;
#endif
}

static void fail(const char *name, int64_t i, double got, double want)
{
    if (failures++ < SHOWN)
        printf("%s, %d threads: %s[%lld] is %.9g, not %.9g\n", text, this_round, name, (long long)i,
               got, want);
}

static void expect_same_bits(const char *name, const void *got, int64_t bytes)
{
    if (expected == EXPECTED)
        exit(2);
    void **first = &before[expected++];
    if (this_round == 1)
        *first = memcpy(make(bytes), got, (size_t)bytes);
    else if (memcmp(*first, got, (size_t)bytes) != 0 && failures++ < SHOWN)
        printf("%s: %d threads give other bits of %s than 1\n", text, this_round, name);
}

void expect(const char *name, const real *got, const double *want, int64_t n, double units,
            double scale)
{
    for (int64_t i = 0; i < n; i++) {
        double g = (double)got[i], w = want[i];
        int same =
            isnan(w) ? isnan(g) : g == w || fabs(g - w) <= units * (EPS * (fabs(w) + scale) + TINY);
        if (!same) {
            fail(name, i, g, w);
            break;
        }
    }
    expect_same_bits(name, got, n * (int64_t)sizeof(real));
}

void expect_bytes(const char *name, const void *got, const void *want, int64_t bytes)
{
    const unsigned char *g = got, *w = want;
    for (int64_t i = 0; i < bytes; i++)
        if (g[i] != w[i]) {
            fail(name, i, g[i], w[i]);
            break;
        }
    expect_same_bits(name, got, bytes);
}

void expect_number(const char *name, int64_t got, int64_t want)
{
    if (got != want)
        fail(name, 0, (double)got, (double)want);
}

static void say_where(int signal_number)
{
    static const char what[] = ": stepped out of an array, or crashed\n";
    ssize_t done = write(STDOUT_FILENO, text, strlen(text));
    done += write(STDOUT_FILENO, what, sizeof what - 1);
    _exit(done ? 128 + signal_number : 2);
}

/* With an argument: that fault of seeded.c and nothing else. */
int main(int argc, char **argv)
{
    if (!pydl_cpu_has(QUOTE(PYDL_ISA))) {
        puts(VARIANT ": left out, this CPU does not run it");
        return 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_slots();
    signal(SIGSEGV, say_where);
    signal(SIGBUS, say_where);
    signal(SIGILL, say_where);
    if (argc > 1)
        return seeded_fault(argv[1]);
    check_images();
    check_arrays();
    check_rows();
    check_recurrent();
    check_layers();
    check_optim();
    printf(VARIANT ": %d kernels, %lld cases, ", KERNELS, (long long)cases);
    if (failures)
        printf("%lld WRONG\n", (long long)failures);
    else
        puts("all right");
    return failures != 0;
}
