/* Checks of layer, group and response normalisation, embedding and resizing. */
#include "check.h"

/* Mean and variance of the elements of x at `places`. */
static void moments(const real *x, const int64_t *places, int64_t n, double *mean, double *var)
{
    double sum = 0, rest = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[places[i]];
    for (int64_t i = 0; i < n; i++) /* what the first sum lost to rounding */
        rest += (double)x[places[i]] - sum / (double)n;
    *mean = sum / (double)n + rest / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += ((double)x[places[i]] - *mean) * ((double)x[places[i]] - *mean);
    *var = square / (double)n;
}

struct norm {
    int64_t n, C, groups,
        size; /* groups in all, of `size` elements each; n elements of C channels */
    const real *x, *dy, *gamma, *beta;
    double *y, *dx, *mean, *rstd, *dgamma, *dbeta;
    int64_t *places;
};

/* Element i belongs to channel i % C; group k has the elements at places[k * size ...]. */
static void norm_walk(struct norm *t, double eps)
{
    for (int64_t k = 0; k < t->groups; k++) {
        const int64_t *places = t->places + k * t->size;
        double var, sum = 0, product = 0;
        moments(t->x, places, t->size, &t->mean[k], &var);
        t->rstd[k] = 1 / sqrt(var + eps);
        for (int pass = 0; pass < 2; pass++)
            for (int64_t j = 0; j < t->size; j++) {
                int64_t i = places[j], c = i % t->C;
                double xhat = ((double)t->x[i] - t->mean[k]) * t->rstd[k], dy = (double)t->dy[i],
                       gamma = t->gamma ? (double)t->gamma[c] : 1;
                if (pass) {
                    t->dx[i] = t->rstd[k] * (dy * gamma - (sum + xhat * product) / (double)t->size);
                    continue;
                }
                t->y[i] = xhat * gamma + (t->beta ? (double)t->beta[c] : 0);
                t->dgamma[c] += dy * xhat, t->dbeta[c] += dy;
                sum += dy * gamma, product += dy * gamma * xhat;
            }
    }
}

static struct norm norm_of(int64_t n, int64_t C, int64_t groups, int64_t affine)
{
    struct norm t = {.n = n, .C = C, .groups = groups, .size = groups ? n / groups : 0};
    t.x = numbers(n, 4, 8), t.dy = numbers(n, -1, 1);
    t.gamma = affine ? numbers(C, 0.5, 2) : NULL, t.beta = affine ? numbers(C, -1, 1) : NULL;
    t.y = zeros(n), t.dx = zeros(n), t.mean = zeros(groups), t.rstd = zeros(groups);
    t.dgamma = zeros(C), t.dbeta = zeros(C), t.places = (int64_t *)zeros(n);
    return t;
}

static void norm_expect(const struct norm *t, const real *y, const real *mean, const real *rstd,
                        const real *dx, const real *dgamma, const real *dbeta)
{
    /* 1 / sqrt(var + eps) magnifies; few elements may be equal or nearly */
    double bound = 64 + 2 * sqrt((double)t->size), steep = t->size < 4 ? 64 : 4;
    double rows = (double)t->n / (double)t->C;
    expect("y", y, t->y, t->n, bound, 4 * steep);
    expect("mean", mean, t->mean, t->groups, 8, 8);
    expect("rstd", rstd, t->rstd, t->groups, bound, 4 * steep);
    expect("dx", dx, t->dx, t->n, bound, steep * steep);
    expect("dgamma", dgamma, t->dgamma, t->C, bound, steep * (rows + 1));
    expect("dbeta", dbeta, t->dbeta, t->C, bound, rows + 1);
}

static void layer_norm_case(int64_t rows, int64_t D, int64_t affine)
{
    check_case("layer_norm", "rows %d D %d gamma and beta %d", (int)rows, (int)D, (int)affine);
    struct norm t = norm_of(rows * D, D, rows, affine);
    for (int64_t i = 0; i < t.n; i++)
        t.places[i] = i;
    norm_walk(&t, 0x1p-10);
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        const real *x = given(t.x, t.n), *gamma = given(t.gamma, D), *dy = given(t.dy, t.n);
        real *y = result(t.n), *mean = result(rows), *rstd = result(rows), *dx = result(t.n),
             *dgamma = result(D), *dbeta = result(D);
        void *space = workspace(KERNEL(layer_norm_backward_workspace)(rows, D));
        KERNEL(layer_norm_forward)(rows, D, 0x1p-10, x, gamma, given(t.beta, D), y, mean, rstd);
        KERNEL(layer_norm_backward)(rows, D, x, gamma, mean, rstd, dy, dx, dgamma, dbeta, space);
        norm_expect(&t, y, mean, rstd, dx, dgamma, dbeta);
        real *dgamma_alone = result(D), *dbeta_alone = result(D);
        KERNEL(layer_norm_backward)(rows, D, x, gamma, mean, rstd, dy, NULL, dgamma_alone,
                                    dbeta_alone, space);
        expect_number("dgamma without dx",
                      memcmp(dgamma, dgamma_alone, (size_t)D * sizeof(real)) == 0, 1);
        expect_number("dbeta without dx", memcmp(dbeta, dbeta_alone, (size_t)D * sizeof(real)) == 0,
                      1);
    }
}

static void group_norm_case(int64_t N, int64_t P, int64_t C, int64_t groups, int64_t affine)
{
    check_case("group_norm", "N %d P %d C %d groups %d gamma and beta %d", (int)N, (int)P, (int)C,
               (int)groups, (int)affine);
    struct norm t = norm_of(N * P * C, C, N * groups, affine);
    int64_t *next = t.places, size = C / groups;
    for (int64_t k = 0; k < N * groups; k++)
        for (int64_t p = 0; p < P; p++)
            for (int64_t c = k % groups * size; c < (k % groups + 1) * size; c++)
                *next++ = (k / groups * P + p) * C + c;
    norm_walk(&t, 0x1p-10);
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        const real *x = given(t.x, t.n), *gamma = given(t.gamma, C), *dy = given(t.dy, t.n);
        real *y = result(t.n), *mean = result(t.groups), *rstd = result(t.groups),
             *dx = result(t.n), *dgamma = result(C), *dbeta = result(C);
        void *space = workspace(KERNEL(group_norm_workspace)(N, P, C));
        KERNEL(group_norm_forward)(N, P, C, groups, 0x1p-10, x, gamma, given(t.beta, C), y, mean,
                                   rstd, space);
        KERNEL(group_norm_backward)(N, P, C, groups, x, gamma, mean, rstd, dy, dx, dgamma, dbeta,
                                    space);
        norm_expect(&t, y, mean, rstd, dx, dgamma, dbeta);
        real *dgamma_alone = result(C), *dbeta_alone = result(C);
        KERNEL(group_norm_backward)(N, P, C, groups, x, gamma, mean, rstd, dy, NULL, dgamma_alone,
                                    dbeta_alone, space);
        expect_number("dgamma without dx",
                      memcmp(dgamma, dgamma_alone, (size_t)C * sizeof(real)) == 0, 1);
        expect_number("dbeta without dx", memcmp(dbeta, dbeta_alone, (size_t)C * sizeof(real)) == 0,
                      1);
    }
}

static void response_norm_case(int64_t rows, int64_t C, int64_t size, double beta)
{
    check_case("response_norm", "rows %d C %d size %d beta %g", (int)rows, (int)C, (int)size, beta);
    int64_t n = rows * C;
    double alpha = 0.5, k = 2;
    const real *x = numbers(n, -2, 2), *dy = numbers(n, -1, 1);
    double *y = zeros(n), *dx = zeros(n), *s = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        int64_t c = i % C, last = c + (size - 1) / 2;
        double sum = 0;
        for (int64_t j = c - size / 2; j <= last; j++)
            sum += j < 0 || j >= C ? 0 : (double)x[i - c + j] * (double)x[i - c + j];
        s[i] = k + alpha / (double)size * sum;
        y[i] = (double)x[i] * pow(s[i], -beta);
        dx[i] += (double)dy[i] * pow(s[i], -beta);
        for (int64_t j = c - size / 2; j <= last; j++)
            if (j >= 0 && j < C)
                dx[i - c + j] -= 2 * beta * alpha / (double)size * (double)dy[i] * (double)x[i] *
                                 pow(s[i], -beta - 1) * (double)x[i - c + j];
    }
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *y_got = result(n), *dx_got = result(n);
        const real *x_given = given(x, n);
        void *space = workspace(KERNEL(response_norm_workspace)(C, size));
        KERNEL(response_norm_forward)(rows, C, size, alpha, beta, k, x_given, y_got, space);
        KERNEL(response_norm_backward)(rows, C, size, alpha, beta, k, x_given, given(dy, n), dx_got,
                                       space);
        expect("y", y_got, y, n, 16, 1);
        expect("dx", dx_got, dx, n, 32, 4);
    }
}

static void embedding_case(int64_t n, int64_t rows, int64_t D, int64_t padding,
                           int64_t by_frequency)
{
    check_case("embedding", "n %d rows %d D %d padding %d by_frequency %d", (int)n, (int)rows,
               (int)D, (int)padding, (int)by_frequency);
    int64_t *index = (int64_t *)zeros(n), *count = (int64_t *)zeros(rows);
    const real *table = integers(rows * D, 99), *dy = integers(n * D, 9);
    double *y = zeros(n * D), *dtable = zeros(rows * D);
    for (int64_t i = 0; i < n; i++) {
        index[i] = chance(3) ? chance(rows) : rows / 2; /* one of them often */
        count[index[i]]++;
        for (int64_t d = 0; d < D; d++) {
            y[i * D + d] = (double)table[index[i] * D + d];
            dtable[index[i] * D + d] += (double)dy[i * D + d];
        }
    }
    for (int64_t i = 0; i < rows * D; i++)
        dtable[i] = i / D == padding                 ? 0
                    : by_frequency && dtable[i] != 0 ? dtable[i] / (double)count[i / D]
                                                     : dtable[i];
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *y_got = result(n * D), *dtable_got = result(rows * D);
        const real *table_given = given(table, rows * D);
        int64_t *index_given = given_bytes(index, n * 8);
        int64_t bad = KERNEL(embedding_forward)(n, rows, D, table_given, index_given, y_got);
        expect_number("what is returned", bad, -1);
        KERNEL(embedding_backward)(n, rows, D, padding, by_frequency, given(dy, n * D), index_given,
                                   dtable_got,
                                   workspace(KERNEL(embedding_backward_workspace)(n, rows)));
        expect("y", y_got, y, n * D, 0, 0);
        expect("dtable", dtable_got, dtable, rows * D, by_frequency ? 4 : 0, 0);
        for (int64_t wrong = -1; wrong <= rows && n; wrong += rows + 1) {
            index_given[n - 1] = wrong;
            bad = KERNEL(embedding_forward)(n, rows, D, table_given, index_given, result(n * D));
            expect_number("the place of a bad index", bad, n - 1);
        }
    }
}

/* Ascending places with shares of the next one: every kind of step, the last one included. */
static void places_of(int64_t want, int64_t have, int64_t *place, real *share)
{
    for (int64_t i = 0; i < want; i++) {
        place[i] = min_i64(i * have / want + (i + 1 == want), have - 1);
        share[i] = (real)chance(5) / 4;
    }
}

static void resize_case(int64_t N, int64_t H, int64_t W, int64_t C, int64_t P, int64_t Q,
                        int64_t blend)
{
    check_case("resize", "N %d H %d W %d C %d P %d Q %d blend %d", (int)N, (int)H, (int)W, (int)C,
               (int)P, (int)Q, (int)blend);
    int64_t *row = (int64_t *)zeros(P), *column = (int64_t *)zeros(Q), nx = N * H * W * C,
            ny = N * P * Q * C;
    real *row_share = integers(P, 0), *column_share = integers(Q, 0);
    const real *x = integers(nx, 9), *dy = integers(ny, 9);
    double *y = zeros(ny), *dx = zeros(nx);
    places_of(P, H, row, row_share);
    places_of(Q, W, column, column_share);
    for (int64_t i = 0; i < ny; i++)
        for (int corner = 0; corner < (blend ? 4 : 1); corner++) {
            int64_t q = i / C % Q, p = i / C / Q % P, n = i / C / Q / P;
            double a = blend ? (double)row_share[p] : 0, b = blend ? (double)column_share[q] : 0;
            int64_t h = min_i64(row[p] + corner / 2, H - 1),
                    w = min_i64(column[q] + corner % 2, W - 1);
            int64_t at = ((n * H + h) * W + w) * C + i % C;
            double part = (corner / 2 ? a : 1 - a) * (corner % 2 ? b : 1 - b);
            y[i] += part * (double)x[at];
            dx[at] += part * (double)dy[i];
        }
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *y_got = result(ny), *dx_got = result(nx);
        const int64_t *rows = given_bytes(row, P * 8), *columns = given_bytes(column, Q * 8);
        const real *row_part = blend ? given(row_share, P) : NULL,
                   *column_part = blend ? given(column_share, Q) : NULL;
        KERNEL(resize_forward)(N, H, W, C, P, Q, rows, columns, row_part, column_part, given(x, nx),
                               y_got);
        KERNEL(resize_backward)(N, H, W, C, P, Q, rows, columns, row_part, column_part,
                                given(dy, ny), dx_got,
                                workspace(KERNEL(resize_backward_workspace)(Q, C)));
        expect("y", y_got, y, ny, 0, 0); /* all shares are quarters: nothing is rounded */
        expect("dx", dx_got, dx, nx, 0, 0);
    }
}

void check_layers(void)
{
    const int64_t widths[] = {1, 3, VL - 1, VL, 2 * VL + 1, 8 * VL + 3, 300}, few[] = {1, 2, 5, 70};
    for (int64_t j = 0; j < LENGTH(widths); j++) {
        const int64_t C = widths[j];
        for (int64_t i = 0; i < LENGTH(few); i++) {
            layer_norm_case(few[i], C, (i + j) % 2);
            response_norm_case(few[i], C, 1 + (i + 2 * j) % 6, i % 2 ? 0.75 : 0.6);
            embedding_case(few[i], 1 + few[j % 4], C, i % 2 ? -1 : few[j % 4] / 2, j % 2);
            resize_case(1 + i % 2, 1 + i, 1 + j, min_i64(C, 40), 1 + 2 * j, 4 + i, (i + j) % 2);
            resize_case(1, 5, 9, min_i64(C, 40), few[i], 1 + j, (i + j + 1) % 2);
        }
        group_norm_case(3, 7, C, 1, j % 2);
        group_norm_case(2, 5, C, C, (j + 1) % 2);
    }
    layer_norm_case(3, 9001, 1);
    layer_norm_case(700, 40, 1);
    layer_norm_case(0, 5, 1);
    group_norm_case(2, 9, 6 * VL, 3, 1);
    group_norm_case(2, 2100, 48, 4,
                    1); /* an image beyond L2 in float64, and nearly so in float32 */
    group_norm_case(1, 5000, 24, 3, 1); /* several blocks of pixels, in passes of their own */
    group_norm_case(0, 5, 6, 3, 1);
    response_norm_case(3, 9, 40, 0.75); /* the window is wider than the row */
    response_norm_case(600, 64, 5, 0.75);
    response_norm_case(0, 5, 5, 0.75);
    embedding_case(3000, 500, 40, 7, 0);
    embedding_case(0, 5, 3, -1, 0);
    embedding_case(4, 5, 0, -1, 0);
    resize_case(2, 30, 31, 20, 60, 62, 1);
    resize_case(2, 30, 31, 20, 60, 62, 0);
    resize_case(0, 3, 3, 3, 6, 6, 1);
}
