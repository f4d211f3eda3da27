/* Checks of the kernels against naive loops in double, without Python: what the files of checks
 * share.
 *
 * A case makes its inputs and what it wants, then runs its kernel in ROUNDS rounds, each with
 * another number of threads and with every array, workspaces included, against a page without
 * access: behind its end in odd rounds, before its start in even ones. `result` arrays start as
 * NaN, and NaN is wanted where nothing may be written. */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "isa.h"
#include "pydl.h"
#include "kernels.h"
#include "vec.h"

enum { ROUNDS = 3 };
#define EPS (sizeof(real) == 4 ? 0x1p-23 : 0x1p-52)
#define TINY (sizeof(real) == 4 ? 0x1p-149 : 0x1p-1074) /* the least denormal */
#define LENGTH(table) ((int64_t)(sizeof(table) / sizeof((table)[0])))

/* A case: the kernel's name, then how printf tells its geometry. Frees what the last case made. */
void check_case(const char *kernel, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Every round of a case starts with this: threads, and all pages free again. */
void check_round(int round);

/* Made once a case: whole numbers in -range..range, whose sums are exact; numbers in low..high; the
 * former or the latter, whose sums tell in which order they were taken; zeros to fill. 0 <=
 * chance(n) < n. */
real *integers(int64_t n, int64_t range);
real *numbers(int64_t n, double low, double high);
real *values(int64_t n, int64_t range, int64_t exact);
double *zeros(int64_t n);
int64_t chance(int64_t n);

/* Made once a round: an input, an output, a workspace (NULL for no bytes; the kernel then runs with
 * another number of threads than the function that gave the bytes, as a program with several
 * threads may make it). */
real *given(const real *x, int64_t n);
void *given_bytes(const void *x, int64_t bytes);
real *result(int64_t n);
void *result_bytes(int64_t bytes);
void *workspace(int64_t bytes);

/* got is want: |got - want| <= units * (EPS * (|want| + scale) + TINY), NaN where want is; and the
 * same bits in every round. */
void expect(const char *name, const real *got, const double *want, int64_t n, double units,
            double scale);
void expect_bytes(const char *name, const void *got, const void *want, int64_t bytes);
void expect_number(const char *name, int64_t got, int64_t want);

void check_images(void);    /* check_images.c: gemm, convolution, pooling */
void check_arrays(void);    /* check_arrays.c: kernels of one element or stride at a time */
void check_rows(void);      /* check_rows.c: reductions, losses, normalisation */
void check_recurrent(void); /* check_recurrent.c: RNN, LSTM, GRU */
void check_layers(void); /* check_layers.c: layer, group and response norm, embedding, resizing */
void check_optim(void);  /* check_optim.c: optimisers other than SGD */
int seeded_fault(const char *name); /* seeded.c: does it and returns 0, as if all were well */

#endif
