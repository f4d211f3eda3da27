/* y = op(a, b) with broadcasting, and the gradient of maximum and minimum. */
#include "../isa.h"
#include "../pydl.h"

#include "../kernels.h"

#include "../parallel.h"
#include "../vec.h"
#include "../vmath.h"

enum {
    CHUNK = 1 << 14, /* elements a thread takes at once: 3 arrays of 64 or 128 KB pass through L2 */
    PATTERN = 512,   /* elements of a repeated short row or a gathered piece: 2 or 4 KB of stack */
};

/* The merged problem: `rows` rows of n elements, the rows numbered over the outer dimensions. A
 * chunk is `chunk_rows` rows, or one of `pieces` parts of a row. */
struct binary_task {
    int64_t op, ndim, rows, n, chunk_rows, pieces;
    int64_t shape[PYDL_MAX_DIMS], a_stride[PYDL_MAX_DIMS], b_stride[PYDL_MAX_DIMS];
    const real *a, *b;
    real *y;
};

ALWAYS_INLINE vec binary_value(enum pydl_binary op, vec a, vec b)
{
    switch (op) {
    case PYDL_ADD:
        return a + b;
    case PYDL_SUB:
        return a - b;
    case PYDL_MUL:
        return a * b;
    case PYDL_DIV:
        return a / b;
    case PYDL_POW:
        return vpow(a, b);
    case PYDL_MAXIMUM:
        return vmax(a, b);
    case PYDL_MINIMUM:
        return vmin(a, b);
    }
    return a;
}

/* A stride of 0 or 1 is a constant wherever this is inlined. */
ALWAYS_INLINE void run_row(enum pydl_binary op, int64_t n, const real *a, int a_stride,
                           const real *b, int b_stride, real *y)
{
    vec va = vsplat(a[0]), vb = vsplat(b[0]);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        if (a_stride)
            va = vload(a + i);
        if (b_stride)
            vb = vload(b + i);
        vstore(y + i, binary_value(op, va, vb));
    }
    if (i == n)
        return;
    if (a_stride)
        va = vload_n(a + i, n - i);
    if (b_stride)
        vb = vload_n(b + i, n - i);
    vstore_n(y + i, binary_value(op, va, vb), n - i);
}

static void gather(int64_t n, const real *x, int64_t stride, real *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i * stride];
}

/* Other strides than 0 and 1: piece by piece through copies without gaps. */
ALWAYS_INLINE void run_strided_row(enum pydl_binary op, int64_t n, const real *a, int64_t a_stride,
                                   const real *b, int64_t b_stride, real *y)
{
    real a_copy[PATTERN], b_copy[PATTERN];
    for (int64_t i = 0; i < n; i += PATTERN) {
        int64_t m = min_i64(PATTERN, n - i);
        gather(m, a + i * a_stride, a_stride, a_copy);
        gather(m, b + i * b_stride, b_stride, b_copy);
        run_row(op, m, a_copy, 1, b_copy, 1, y + i);
    }
}

/* Elements first <= i < last of the rows first_row <= row < last_row. */
ALWAYS_INLINE void run_rows(enum pydl_binary op, const struct binary_task *t, int64_t first_row,
                            int64_t last_row, int64_t first, int64_t last)
{
    const int64_t outer = t->ndim - 1, a_step = t->a_stride[outer], b_step = t->b_stride[outer];
    const real *a = t->a + first * a_step, *b = t->b + first * b_step;
    int64_t index[PYDL_MAX_DIMS], rest = first_row, n = last - first;
    for (int64_t d = outer - 1; d >= 0; d--) {
        index[d] = rest % t->shape[d];
        rest /= t->shape[d];
        a += index[d] * t->a_stride[d];
        b += index[d] * t->b_stride[d];
    }
    for (int64_t row = first_row; row < last_row; row++) {
        real *y = t->y + row * t->n + first;
        if (a_step == 1 && b_step == 1)
            run_row(op, n, a, 1, b, 1, y);
        else if (a_step == 1 && b_step == 0)
            run_row(op, n, a, 1, b, 0, y);
        else if (a_step == 0 && b_step == 1)
            run_row(op, n, a, 0, b, 1, y);
        else
            run_strided_row(op, n, a, a_step, b, b_step, y);
        for (int64_t d = outer - 1; d >= 0; d--) {
            a += t->a_stride[d];
            b += t->b_stride[d];
            if (++index[d] < t->shape[d])
                break;
            a -= index[d] * t->a_stride[d];
            b -= index[d] * t->b_stride[d];
            index[d] = 0;
        }
    }
}

static void binary_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct binary_task *t = task;
    (void)worker;
    int64_t row = chunk * t->chunk_rows, last_row = min_i64(t->rows, row + t->chunk_rows), i = 0,
            n = t->n;
    if (t->pieces > 1) {
        row = chunk / t->pieces;
        last_row = row + 1;
        i = chunk % t->pieces * CHUNK;
        n = min_i64(n, i + CHUNK);
    }
    switch (t->op) {
    case PYDL_ADD:
        return run_rows(PYDL_ADD, t, row, last_row, i, n);
    case PYDL_SUB:
        return run_rows(PYDL_SUB, t, row, last_row, i, n);
    case PYDL_MUL:
        return run_rows(PYDL_MUL, t, row, last_row, i, n);
    case PYDL_DIV:
        return run_rows(PYDL_DIV, t, row, last_row, i, n);
    case PYDL_POW:
        return run_rows(PYDL_POW, t, row, last_row, i, n);
    case PYDL_MAXIMUM:
        return run_rows(PYDL_MAXIMUM, t, row, last_row, i, n);
    case PYDL_MINIMUM:
        return run_rows(PYDL_MINIMUM, t, row, last_row, i, n);
    }
}

/* Copies g without dimensions of size 1, neighbours merged where both operands step evenly through
 * them. Returns the number of elements. */
static int64_t merge(const struct pydl_broadcast *g, struct binary_task *t)
{
    int64_t d = -1, total = 1;
    for (int64_t i = 0; i < g->ndim; i++) {
        int64_t size = g->shape[i], a = g->a_stride[i], b = g->b_stride[i];
        total *= size;
        if (size == 1)
            continue;
        if (d >= 0 && t->a_stride[d] == size * a && t->b_stride[d] == size * b) {
            size *= t->shape[d];
        } else {
            d++;
        }
        t->shape[d] = size;
        t->a_stride[d] = a;
        t->b_stride[d] = b;
    }
    if (d < 0) { /* one element */
        d = 0;
        t->shape[0] = t->a_stride[0] = t->b_stride[0] = 1;
    }
    t->ndim = d + 1;
    t->n = t->shape[d];
    return total;
}

static void run_parallel(struct binary_task *t, int64_t total)
{
    double work = t->op == PYDL_POW ? 1000 : 3 * PYDL_WORK_BYTE * sizeof(real);
    t->rows = total / t->n;
    t->pieces = ceil_div(t->n, CHUNK);
    t->chunk_rows = max_i64(1, CHUNK / t->n);
    int64_t chunks = t->pieces > 1 ? t->rows * t->pieces : ceil_div(t->rows, t->chunk_rows);
    parallel_for(chunks, (double)total * work, binary_chunk, t);
}

/* Short rows that all meet the same short operand, as images of few channels meet a bias: repeats
 * that operand until it makes rows of many vectors. The rows left over are a second, small problem.
 */
static void run_repeated(struct binary_task *t, int repeat_a)
{
    real pattern[PATTERN];
    int64_t n = t->n, rows = t->shape[0], times = min_i64(PATTERN / n, rows), length = n * times;
    const real *x = repeat_a ? t->a : t->b;
    for (int64_t i = 0; i < times; i++)
        for (int64_t j = 0; j < n; j++)
            pattern[i * n + j] = x[j];
    *(repeat_a ? &t->a : &t->b) = pattern;
    t->a_stride[0] *= times;
    t->b_stride[0] *= times;
    int64_t whole = rows / times, left = rows % times;
    t->shape[0] = whole;
    t->n = t->shape[1] = length;
    run_parallel(t, whole * length);
    if (left == 0)
        return;
    t->a += repeat_a ? 0 : whole * length;
    t->b += repeat_a ? whole * length : 0;
    t->y += whole * length;
    t->shape[0] = 1;
    t->n = t->shape[1] = left * n;
    run_parallel(t, left * n);
}

void KERNEL(binary)(int64_t op, const struct pydl_broadcast *g, const real *a, const real *b,
                    real *y)
{
    struct binary_task t;
    t.op = op;
    t.a = a;
    t.b = b;
    t.y = y;
    int64_t total = merge(g, &t);
    if (total == 0)
        return;
    if (t.ndim == 2 && t.n <= PATTERN / 4 && t.a_stride[1] == 1 && t.b_stride[1] == 1) {
        int repeat_a = t.a_stride[0] == 0 && t.b_stride[0] == t.n;
        if (repeat_a || (t.b_stride[0] == 0 && t.a_stride[0] == t.n)) {
            run_repeated(&t, repeat_a);
            return;
        }
    }
    run_parallel(&t, total);
}

struct select_task {
    int64_t op, n;
    const real *dy, *a, *b;
    real *da, *db;
};

static void select_chunk(const void *task, int64_t chunk, struct worker worker)
{
    const struct select_task *t = task;
    (void)worker;
    int64_t last = min_i64(t->n, (chunk + 1) * CHUNK);
    for (int64_t i = chunk * CHUNK; i < last; i += VL) {
        int64_t lanes = last - i;
        vec a = vload_upto(t->a + i, lanes), b = vload_upto(t->b + i, lanes),
            dy = vload_upto(t->dy + i, lanes);
        mask first = (t->op == PYDL_MAXIMUM ? a > b : a < b) | (a != a);
        vec half = (vec)((mask)(dy * vconst(0.5)) & (a == b));
        vstore_upto(t->da + i, (vec)(((mask)dy & first) | (mask)half), lanes);
        vstore_upto(t->db + i, (vec)(((mask)dy & ~first & (a != b)) | (mask)half), lanes);
    }
}

void KERNEL(select_backward)(int64_t op, int64_t n, const real *dy, const real *a, const real *b,
                             real *da, real *db)
{
    struct select_task task = {op, n, dy, a, b, da, db};
    parallel_for(ceil_div(n, CHUNK), (double)n * 5 * PYDL_WORK_BYTE * sizeof(real), select_chunk,
                 &task);
}
