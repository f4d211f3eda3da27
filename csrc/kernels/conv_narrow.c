/* Tiles for few output channels, which would leave most lanes of a vector of them empty: here the
 * lanes run along the input channels (and the taps of a row, where they are contiguous), and are
 * added up at the end. */
#include "conv.h"

/* `m` pixels of `n` channels, m * n <= VL. */
ALWAYS_INLINE void narrow_tile(const struct conv_tile *t, int m, int n)
{
    vec acc[VL];
    UNROLL
    for (int i = 0; i < VL; i++)
        acc[i] = (vec){0};
    int64_t whole = t->length / VL * VL, rest = t->length - whole;
    const real *row = t->w;
    for (int64_t r = 0; r < t->rows; r++) {
        for (int64_t s = 0; s < t->taps; s++, row += whole + (rest ? VL : 0)) {
            const real *x = t->x + r * t->row_step + s * t->tap_step;
            for (int64_t k = 0; k < whole; k += VL) {
                vec b[NARROW_WIDTH];
                UNROLL
                for (int j = 0; j < n; j++)
                    b[j] = vload(row + j * t->w_step + k);
                UNROLL
                for (int i = 0; i < m; i++) {
                    vec a = vload(x + i * t->x_step + k);
                    UNROLL
                    for (int j = 0; j < n; j++)
                        acc[i * n + j] += a * b[j];
                }
            }
            if (rest == 0)
                continue;
            UNROLL
            for (int i = 0; i < m; i++) {
                vec a = vload_n(x + i * t->x_step + whole, rest);
                UNROLL
                for (int j = 0; j < n; j++)
                    acc[i * n + j] += a * vload(row + j * t->w_step + whole);
            }
        }
    }

    vec sum = vsum_each(acc);
    if (!t->bias && !t->relu && t->y_step == n) {
        vstore_n(t->y, sum, m * n);
        return;
    }
    real lane[VL];
    vec bias = t->bias ? vload_n(t->bias, n) : (vec){0};
    vstore(lane, sum);
    UNROLL
    for (int i = 0; i < m; i++) {
        vec y = vload_n(lane + i * n, n) + bias;
        vstore_n(t->y + i * t->y_step, t->relu ? vrelu(y) : y, n);
    }
}

/* The last tile steps back over pixels already done. */
ALWAYS_INLINE void narrow_line(const struct conv_tile *line, int64_t count, int n)
{
    struct conv_tile t = *line;
    enum { SHORT = 2 };
    int m = VL / n;
    int64_t i = 0;
    for (; count >= m && i < count; i += m) {
        int64_t at = min_i64(i, count - m);
        t.x = line->x + at * t.x_step;
        t.y = line->y + at * t.y_step;
        narrow_tile(&t, m, n);
    }
    for (; count >= SHORT && i < count; i += SHORT) {
        int64_t at = min_i64(i, count - SHORT);
        t.x = line->x + at * t.x_step;
        t.y = line->y + at * t.y_step;
        narrow_tile(&t, SHORT, n);
    }
    if (i < count)
        narrow_tile(&t, 1, n);
}

void KERNEL(conv_narrow_line)(const struct conv_tile *t, int64_t count)
{
    if (VL < 2 * NARROW_WIDTH) /* never chosen: see below */
        return;
    switch (t->width) {
    case 1:
        narrow_line(t, count, 1);
        break;
    case 2:
        narrow_line(t, count, 2);
        break;
    case 3:
        narrow_line(t, count, 3);
        break;
    default:
        narrow_line(t, count, NARROW_WIDTH);
        break;
    }
}

/* By the multiplications of vectors that a pixel costs; adding up the lanes counts as six of them.
 * A single channel is held up by its loads. */
int KERNEL(conv_narrow)(const struct conv_shape *c)
{
    int64_t n = c->in_channels / c->groups, width = c->out_channels / c->groups,
            rows = c->kernel[0];
    int64_t taps = ceil_div(c->kernel[1], conv_classes(c, 1));
    int64_t runs =
        c->groups == 1 && c->dilation[1] == 1 ? ceil_div(taps * n, VL) : taps * ceil_div(n, VL);
    int64_t narrow = width * (rows * runs * (width == 1 ? 2 : 1) + 6 * conv_classes(c, 0));
    return VL >= 2 * NARROW_WIDTH && 5 * narrow < 4 * rows * taps * n * ceil_div(width, VL);
}
