/* What exists once, whatever the instruction set and the element type: the geometry of each family
 * of kernels, and the functions for CPU features, threads and memory. Python reads this text too
 * (preprocessor lines and comments dropped), so it holds nothing but declarations.
 *
 * Letters: N batch, C input channels, O output channels, H W input height and width, P Q output
 * height and width, KH KW kernel height and width. Images lie as NHWC, convolution weights as HWIO:
 * (KH, KW, C / groups, O). */
#ifndef PYDL_H
#define PYDL_H

#include <stdint.h>

enum { PYDL_MAX_DIMS = 8 };

/* y = op(a, b) with broadcasting: y is dense in row-major order of `shape`; a and b step by their
 * strides (in elements, 0 where broadcast) in each of the `ndim` dimensions. Dimensions are merged
 * as far as they can be. */
struct pydl_broadcast {
    int64_t ndim;
    int64_t shape[8], a_stride[8], b_stride[8];
};

/* Strided copy of `shape` elements; strides in elements, any sign. */
struct pydl_copy {
    int64_t ndim;
    int64_t shape[8], x_stride[8], y_stride[8];
};

/* C[M,N] = A[M,K] B[K,N] (+ bias[N]) (then ReLU), `batch` times. A is stored as (M, K) with row
 * step lda, or, when trans_a, as (K, M) with row step lda; B likewise as (K, N) or (N, K). ldc is
 * the row step of C. The step from one matrix of the batch to the next is *_batch elements. Rows
 * first <= m < last are computed. */
struct pydl_gemm {
    int64_t M, N, K, lda, ldb, ldc, trans_a, trans_b, relu;
    int64_t batch, a_batch, b_batch, c_batch;
    int64_t first, last;
};

/* y[n,p,q,o] = bias[o] + sum over r, s, c of x[n, p*stride_h + r*dil_h - pad_h, q*stride_w +
 * s*dil_w - pad_w, c] w[r,s,c,o], c running over the group of o; taps outside the image count as 0.
 * The padding below and to the right is whatever P and Q imply, and may be negative. relu: the
 * forward kernel ends with max(0, y). Images first <= n < last are computed; backward_weight sums
 * over them, adding to dw when `accumulate`. exact: every output is a plain sum of products; else
 * 3 x 3 convolutions of float32 may take Winograd's way, whose rounding errors are up to twice as
 * large and in which an infinity reaches the whole tile as NaN. */
struct pydl_conv2d {
    int64_t N, C, H, W, O, KH, KW, P, Q;
    int64_t stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, groups;
    int64_t relu, accumulate, exact;
    int64_t first, last;
};

/* Windows of KH x KW at p*stride - pad over each channel of an NHWC image. The average divides by
 * `divisor` when it is not 0, else by the window's size within the padded image (H + 2 pad_h, W + 2
 * pad_w) when count_include_pad, else by its size within the image. */
struct pydl_pool2d {
    int64_t N, C, H, W, KH, KW, P, Q;
    int64_t stride_h, stride_w, pad_h, pad_w, dil_h, dil_w;
    int64_t count_include_pad, divisor;
};

/* T steps of a recurrent layer with H hidden units over N sequences, the last step first when
 * `reverse`. A sequence array holds the rows of step 0, then those of step 1, ...: step t has rows
 * begin[t] <= row < begin[t + 1], one for each sequence that is so long, the longest first, so that
 * their number never grows. Gates have 1 (RNN), 4 (LSTM: input, forget, cell, output) or 3 (GRU:
 * reset, update, new) times H columns. D > 0: each step multiplies its inputs of D features too,
 * but GRU's. What a step multiplies lies in rows of `row` >= H + D + 1 reals: its h, its x, 1, and
 * zeros. Sequences first <= n < last are computed. */
enum pydl_cell { PYDL_RNN_TANH, PYDL_RNN_RELU, PYDL_LSTM, PYDL_GRU };

struct pydl_recurrent {
    int64_t cell, T, N, H, D, reverse, row;
    int64_t first, last;
};

enum pydl_unary {
    PYDL_NEG,
    PYDL_ABS,
    PYDL_SIGN,
    PYDL_EXP,
    PYDL_LOG,
    PYDL_SQRT,
    PYDL_RSQRT,
    PYDL_RECIPROCAL,
    PYDL_SQUARE,
    PYDL_SIN,
    PYDL_COS,
    PYDL_TANH,
    PYDL_SIGMOID,
    PYDL_RELU,
    PYDL_LEAKY_RELU,
    PYDL_ELU,
    PYDL_SOFTPLUS,
    PYDL_CLAMP,
    PYDL_AFFINE,
    PYDL_POW_SCALAR,
    PYDL_FLOOR,
    PYDL_CEIL,
    PYDL_ROUND,
    PYDL_TRUNC,
    PYDL_LOG1P,
    PYDL_EXPM1,
    PYDL_ERF,
    PYDL_GELU,
    PYDL_SILU,
    PYDL_LOG_SIGMOID,
    PYDL_MISH,
    PYDL_HARD_SIGMOID,
    PYDL_HARD_SWISH
};

enum pydl_binary { PYDL_ADD, PYDL_SUB, PYDL_MUL, PYDL_DIV, PYDL_POW, PYDL_MAXIMUM, PYDL_MINIMUM };

enum pydl_reduction { PYDL_SUM, PYDL_PROD, PYDL_MAX, PYDL_MIN };

/* cpu.c: the instruction sets built in, and whether this CPU and its system run one */
const char *pydl_cpu_name(void);
int pydl_cpu_has(const char *isa);
/* what built the library: compiler and version */
const char *pydl_compiler(void);
/* threads a kernel may use: the calling thread's own number if it set one, else the process's */
int pydl_get_threads(void);
void pydl_set_threads(int threads);
/* the calling thread's own number; 0 takes it back; returns the one before */
int pydl_set_local_threads(int threads);
/* the file name of the OpenMP runtime that runs our parallel regions, "" if unknown */
const char *pydl_openmp_runtime(void);

/* memory.c: 64-byte aligned blocks, kept for reuse; NULL when there is no memory left even after
 * emptying the cache */
void *pydl_alloc(int64_t bytes);
void pydl_free(void *block);
void pydl_empty_cache(void);
/* bytes handed out now, bytes kept for reuse */
int64_t pydl_memory_used(void);
int64_t pydl_memory_cached(void);
/* test hook: the n-th allocation from now on fails (1: the next); 0 switches it off. Returns what
 * it had yet to count, 0 if that allocation failed. */
int64_t pydl_fail_allocation(int64_t n);

#endif
