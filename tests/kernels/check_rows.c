/* Checks of reductions, losses and normalisation. */
#include "check.h"

static double reduced(int64_t op, double y, double v)
{
    switch (op) {
    case PYDL_SUM:
        return y + v;
    case PYDL_PROD:
        return y * v;
    default:
        return isnan(y) || isnan(v) ? (double)NAN : (op == PYDL_MAX) == (v > y) ? v : y;
    }
}

static void reduce_case(int64_t outer, int64_t n, int64_t inner)
{
    int64_t size = outer * n * inner, results = outer * inner;
    for (int64_t op = n ? PYDL_MIN : PYDL_PROD; op >= PYDL_SUM; op--) {
        check_case("reduce", "op %d outer %d n %d inner %d", (int)op, (int)outer, (int)n,
                   (int)inner);
        int64_t exact = op != PYDL_SUM || chance(2);
        real *x = values(size, 40, exact);
        for (int64_t i = 0; i < size; i++) {
            if (op == PYDL_PROD) /* a product of few powers of two */
                x[i] = (real)(chance(n / 8 + 1) ? 1 - 2 * chance(2) : 2);
            else if (op != PYDL_SUM && !chance(n * 4))
                x[i] = (real)NAN;
        }
        double *y = zeros(results);
        int64_t *index = (int64_t *)zeros(results);
        for (int64_t i = 0; i < results; i++) {
            const real *from = x + i / inner * n * inner + i % inner;
            y[i] = op == PYDL_SUM ? 0 : op == PYDL_PROD ? 1 : (double)from[0];
            for (int64_t r = 0; r < n; r++) {
                double next = reduced(op, y[i], (double)from[r * inner]);
                if (op >= PYDL_MAX && !isnan(y[i]) && (isnan(next) || next != y[i]))
                    index[i] = r;
                y[i] = next;
            }
        }
        for (int round = 1; round <= ROUNDS; round++) {
            check_round(round);
            real *got = result(results), *x_given = given(x, size);
            KERNEL(reduce)(op, outer, n, inner, x_given, got,
                           workspace(KERNEL(reduce_workspace)(outer, n, inner)));
            expect("y", got, y, results, exact ? 0 : 2, (double)n * 40);
            if (op >= PYDL_MAX) {
                int64_t *at = result_bytes(results * 8);
                KERNEL(argreduce)(op, outer, n, inner, x_given, at);
                expect_bytes("index (as bytes)", at, index, results * 8);
            }
        }
    }
}

static void check_reduce(void)
{
    const int64_t outers[] = {1, 3, VL + 1}, ns[] = {0, 1, 2, VL + 1, 131},
                  inners[] = {1, 2, VL - 1, VL, 3 * VL + 2};
    for (int64_t i = 0; i < LENGTH(outers); i++)
        for (int64_t j = 0; j < LENGTH(ns); j++)
            for (int64_t k = 0; k < LENGTH(inners); k++)
                reduce_case(outers[i], ns[j], inners[k]);
    reduce_case(1, 20011, 1);
    reduce_case(2, 3001, 3);
    reduce_case(1, 2, 5000);
    reduce_case(300, 11, 1);
    reduce_case(0, 3, 4);
}

/* log sum exp, less the largest of x, which goes to *most: their sum would be rounded */
static double row_lse(const real *x, int64_t n, double *most)
{
    double sum = 0;
    *most = (double)x[0];
    for (int64_t j = 1; j < n; j++)
        *most = fmax(*most, (double)x[j]);
    for (int64_t j = 0; j < n; j++)
        sum += exp((double)x[j] - *most);
    return log(sum);
}

static void softmax_case(int64_t rows, int64_t classes, int64_t logarithm, double shift)
{
    check_case("softmax", "rows %d classes %d logarithm %d around %g", (int)rows, (int)classes,
               (int)logarithm, shift);
    int64_t n = rows * classes;
    const real *x = numbers(n, shift - 6, shift + 6), *dy = numbers(n, -2, 2);
    double *y = zeros(n), *dx = zeros(n);
    for (int64_t i = 0; i < rows; i++) {
        double most, lse = row_lse(x + i * classes, classes, &most), sum = 0;
        for (int64_t j = i * classes; j < (i + 1) * classes; j++) {
            y[j] = (double)x[j] - most - lse;
            sum += (double)dy[j] * (logarithm ? 1 : exp(y[j]));
        }
        for (int64_t j = i * classes; j < (i + 1) * classes; j++) {
            dx[j] = logarithm ? (double)dy[j] - exp(y[j]) * sum : exp(y[j]) * ((double)dy[j] - sum);
            y[j] = logarithm ? y[j] : exp(y[j]);
        }
    }
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *y_got = result(n), *dx_got = result(n), *in_place = given(dy, n);
        KERNEL(softmax_forward)(rows, classes, logarithm, given(x, n), y_got);
        KERNEL(softmax_backward)(rows, classes, logarithm, given(dy, n), y_got, dx_got);
        KERNEL(softmax_backward)(rows, classes, logarithm, in_place, y_got, in_place);
        expect("y", y_got, y, n, 32, logarithm ? 1 + fabs(shift) : 0);
        expect("dx", dx_got, dx, n, 64, 2 + sqrt((double)classes) + fabs(shift));
        expect("dx in place", in_place, dx, n, 64, 2 + sqrt((double)classes) + fabs(shift));
    }
}

struct loss {
    const char *kernel;
    int64_t rows, classes, p; /* p 0: cross entropy */
    double smoothing, margin, scale;
    int64_t ignore;
    const real *x, *weight, *dloss;
    const int64_t *target;
};

/* loss[i], and dx[i, :] without scale and dloss */
static double loss_row(const struct loss *l, int64_t i, double *dx)
{
    const real *x = l->x + i * l->classes;
    int64_t t = l->target[i];
    double most, lse = row_lse(x, l->classes, &most), sum = 0, weights = 0, s = l->smoothing;
    lse += most;
    if (!l->p && t == l->ignore)
        return 0;
    for (int64_t j = 0; j < l->classes; j++) {
        double w = l->weight ? (double)l->weight[l->p ? t : j] : 1;
        if (l->p) {
            double over = fmax(0, (double)x[j] - (double)x[t] + l->margin) * (j != t);
            double slope = w * (l->p == 1 ? over > 0 : 2 * over);
            sum += w * (l->p == 1 ? over : over * over);
            dx[j] += slope, dx[t] -= slope;
        } else {
            double share = (j == t ? 1 - s : 0) + s / (double)l->classes;
            sum += w * share * (lse - (double)x[j]);
            weights += w * share;
            dx[j] -= w * share;
        }
    }
    for (int64_t j = 0; j < l->classes && !l->p; j++)
        dx[j] += weights * exp((double)x[j] - lse);
    return sum;
}

static int64_t run_loss(const struct loss *l, const int64_t *target, real *loss, real *lse,
                        real *sums)
{
    int64_t n = l->rows * l->classes;
    const real *x = given(l->x, n), *weight = given(l->weight, l->classes);
    return l->p ? KERNEL(margin_loss_forward)(l->rows, l->classes, l->p, l->margin, x, target,
                                              weight, loss, sums)
                : KERNEL(cross_entropy_forward)(l->rows, l->classes, l->smoothing, l->ignore, x,
                                                target, weight, loss, lse, sums);
}

static void loss_case(struct loss l, int64_t with_weight, int64_t with_dloss)
{
    check_case(l.kernel,
               "rows %d classes %d p %d smoothing %g margin %g ignore %d weight %d dloss %d",
               (int)l.rows, (int)l.classes, (int)l.p, l.smoothing, l.margin, (int)l.ignore,
               (int)with_weight, (int)with_dloss);
    int64_t n = l.rows * l.classes, bad = l.rows - 1, *target = (int64_t *)zeros(l.rows);
    for (int64_t i = 0; i < l.rows; i++)
        target[i] = !l.p && i % 5 == 3 ? l.ignore : chance(l.classes);
    l.x = numbers(n, -3, 5), l.target = target;
    l.weight = with_weight ? numbers(l.classes, 0.5, 2) : NULL,
    l.dloss = with_dloss ? numbers(l.rows, -1, 1) : NULL;
    double *loss = zeros(l.rows), *lse = zeros(l.rows), *dx = zeros(n), sums[2] = {0, 0};
    for (int64_t i = 0; i < l.rows; i++) {
        loss[i] = loss_row(&l, i, dx + i * l.classes);
        double most, above = row_lse(l.x + i * l.classes, l.classes, &most);
        lse[i] = most + above;
        sums[0] += loss[i];
        sums[1] += !l.p && target[i] == l.ignore ? 0 : l.weight ? (double)l.weight[target[i]] : 1;
        for (int64_t j = 0; j < l.classes; j++)
            dx[i * l.classes + j] *= l.scale * (l.dloss ? (double)l.dloss[i] : 1);
    }
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *loss_got = result(l.rows), *lse_got = result(l.rows), *sums_got = result(l.p ? 1 : 2),
             *dx_got = result(n);
        int64_t *labels = given_bytes(target, l.rows * 8);
        expect_number("what is returned", run_loss(&l, labels, loss_got, lse_got, sums_got), -1);
        const real *x = given(l.x, n), *weight = given(l.weight, l.classes),
                   *dloss = given(l.dloss, l.rows);
        if (l.p)
            KERNEL(margin_loss_backward)(l.rows, l.classes, l.p, l.margin, l.scale, x, labels,
                                         weight, dloss, dx_got);
        else
            KERNEL(cross_entropy_backward)(l.rows, l.classes, l.smoothing, l.ignore, l.scale, x,
                                           labels, weight, lse_got, dloss, dx_got);
        double scale = 8 * sqrt((double)l.classes);
        expect("loss", loss_got, loss, l.rows, 16, scale);
        expect("sums", sums_got, sums, l.p ? 1 : 2, 16, 8 * (double)l.rows);
        expect("dx", dx_got, dx, n, 32, l.p ? scale : 2);
        if (!l.p)
            for (int64_t i = 0; i < l.rows; i++)
                expect_number(
                    "lse",
                    target[i] == l.ignore || fabs((double)lse_got[i] - lse[i]) <= 64 * EPS * 8, 1);
        for (int64_t label = -1; label <= l.classes && l.rows; label += l.classes + 1) {
            check_round(round);
            labels = given_bytes(target, l.rows * 8);
            labels[bad] = label;
            int64_t got = run_loss(&l, labels, result(l.rows), result(l.rows), result(2));
            expect_number("the row of a bad label", got, bad);
        }
    }
}

static void check_losses(void)
{
    const int64_t classes[] = {1, 2, VL - 1, 10, VL + 1, 5 * VL + 3, 1001},
                  rows[] = {1, 3, VL + 2, 70};
    for (int64_t j = 0; j < LENGTH(classes); j++)
        for (int64_t i = 0; i < LENGTH(rows); i++) {
            softmax_case(rows[i], classes[j], i % 2, 0);
            softmax_case(rows[i], classes[j], (i + 1) % 2, j % 2 ? 1000 : -1000);
            struct loss l = {
                .kernel = "cross_entropy", .rows = rows[i], .classes = classes[j], .scale = 0.5};
            l.ignore = i % 2 ? -100 : -7;
            l.smoothing = (i + j) % 3 ? 0 : 0.1;
            loss_case(l, i / 2 % 2, j % 2);
            l.kernel = "margin_loss", l.margin = 1, l.smoothing = 0, l.p = 1 + i % 2;
            loss_case(l, j % 2, i / 2 % 2);
        }
    softmax_case(0, 5, 0, 0);
    loss_case((struct loss){.kernel = "cross_entropy", .classes = 5, .scale = 1}, 0, 0);
    loss_case((struct loss){.kernel = "margin_loss", .classes = 5, .scale = 1, .p = 1}, 0, 0);
}

static void batch_norm_case(int64_t rows, int64_t C, int64_t affine, int64_t relu)
{
    check_case("batch_norm", "rows %d C %d gamma and beta %d relu %d", (int)rows, (int)C,
               (int)affine, (int)relu);
    int64_t n = rows * C;
    double eps = 0x1p-10, bound = 64 + 2 * sqrt((double)rows);
    const real *x = numbers(n, 4, 8), *dy = numbers(n, -1, 1),
               *gamma = affine ? numbers(C, 0.5, 2) : NULL;
    const real *beta = affine ? numbers(C, -1, 1) : NULL;
    double *y = zeros(n), *dx = zeros(n), *fixed = zeros(n), *dgamma = zeros(C), *dbeta = zeros(C);
    double *mean = zeros(C), *var = zeros(C), *rstd = zeros(C), *rest = zeros(C),
           *counts = zeros(n), *moved_mean = zeros(C), *moved_var = zeros(C);
    real *positive = numbers(n, 0, 0);
    const real *running = numbers(C, 0, 1);
    for (int64_t i = 0; i < n; i++)
        mean[i % C] += (double)x[i] / (double)rows;
    for (int64_t i = 0; i < n; i++) /* what the first sum lost to rounding */
        rest[i % C] += ((double)x[i] - mean[i % C]) / (double)rows;
    for (int64_t c = 0; c < C; c++)
        mean[c] += rest[c];
    for (int64_t i = 0; i < n; i++)
        var[i % C] += ((double)x[i] - mean[i % C]) * ((double)x[i] - mean[i % C]) / (double)rows;
    for (int64_t c = 0; c < C; c++) {
        moved_mean[c] = 0.75 * (double)running[c] + 0.25 * mean[c];
        moved_var[c] =
            0.75 * (double)running[c] + 0.25 * var[c] * (double)rows / fmax((double)rows - 1, 1);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t c = i % C;
        rstd[c] = 1 / sqrt(var[c] + eps);
        double xhat = ((double)x[i] - mean[c]) * rstd[c];
        y[i] = xhat * (gamma ? (double)gamma[c] : 1) + (beta ? (double)beta[c] : 0);
        if (relu && fabs(y[i]) < 0x1p-10) /* a rounding error would decide */
            positive[i] = 1;
        y[i] = relu ? fmax(y[i], 0) : y[i];
        counts[i] = relu && y[i] <= 0 && positive[i] != 1 ? 0 : (double)dy[i];
        positive[i] = (real)(positive[i] != 1 ? y[i] : 1);
        dgamma[c] += counts[i] * xhat, dbeta[c] += counts[i];
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t c = i % C;
        double xhat = ((double)x[i] - mean[c]) * rstd[c],
               slope = (gamma ? (double)gamma[c] : 1) * rstd[c];
        fixed[i] = counts[i] * slope;
        dx[i] = slope * (counts[i] - (dbeta[c] + xhat * dgamma[c]) / (double)rows);
    }
    double steep =
        rows < 3 ? 64
                 : 4; /* 1 / sqrt(var + eps) magnifies; one or two rows may be equal or nearly */
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        real *y_got = result(n), *mean_got = result(C), *rstd_got = result(C);
        real *moved_mean_got = given(running, C), *moved_var_got = given(running, C);
        const real *x_given = given(x, n), *gamma_given = given(gamma, C),
                   *beta_given = given(beta, C);
        void *space = workspace(KERNEL(batch_norm_workspace)(rows, C));
        KERNEL(batch_norm_forward)(rows, C, eps, 0.25, relu, x_given, gamma_given, beta_given,
                                   y_got, mean_got, rstd_got, moved_mean_got, moved_var_got, space);
        expect("y", y_got, y, n, bound, 4 * steep);
        expect("mean", mean_got, mean, C, 8, 8);
        expect("running_mean", moved_mean_got, moved_mean, C, 8, 8);
        expect("running_var", moved_var_got, moved_var, C, bound, 1);
        real *again = result(n), *var_given = result(C), *rstd_again = result(C);
        for (int64_t c = 0; c < C; c++)
            var_given[c] = (real)var[c];
        KERNEL(batch_norm_inference)(rows, C, eps, relu, x_given, gamma_given, beta_given, mean_got,
                                     var_given, again, rstd_again);
        expect("rstd by inference", rstd_again, rstd, C, bound, 4 * steep);
        expect("y by inference", again, y, n, bound, 4 * steep);
        const real *dy_given = given(dy, n);
        real *dx_got = result(n), *dgamma_got = result(C), *dbeta_got = result(C);
        for (int64_t way = 0; way < 3; way++) { /* training, not training, without dx */
            KERNEL(batch_norm_backward)(rows, C, way == 0, x_given, gamma_given, mean_got, rstd_got,
                                        dy_given, relu ? given(positive, n) : NULL,
                                        way == 2 ? NULL : dx_got, dgamma_got, dbeta_got, space);
            expect("dx", dx_got, way ? fixed : dx, n, bound, steep * steep);
            expect("dgamma", dgamma_got, dgamma, C, bound, steep * (double)rows);
            expect("dbeta", dbeta_got, dbeta, C, bound, (double)rows);
        }
        real *sum = result(C), *product = result(C);
        const real *positive_given = relu ? given(positive, n) : NULL;
        KERNEL(batch_norm_moments)(rows, C, x_given, mean_got, rstd_got, space);
        expect("mean by moments", mean_got, mean, C, 8, 8);
        expect("var by moments", rstd_got, var, C, bound, 1);
        KERNEL(batch_norm_sums)(rows, C, x_given, mean_got, dy_given, positive_given, sum, product,
                                space);
        expect("sum", sum, dbeta, C, bound, (double)rows);
        for (int64_t c = 0; c < C; c++) {
            var_given[c] = (real)rstd[c];
            sum[c] = (real)((double)sum[c] / (double)rows);
            product[c] = (real)((double)product[c] / (double)rows);
        }
        KERNEL(batch_norm_backward_input)(rows, C, x_given, gamma_given, mean_got, var_given,
                                          dy_given, positive_given, sum, product, dx_got);
        expect("dx by sums", dx_got, dx, n, bound, steep * steep);
    }
}

static void peak_case(int64_t chunks, int64_t rounds)
{
    check_case("peak", "chunks=%lld rounds=%lld", (long long)chunks, (long long)rounds);
    real *x = integers(2, 0);
    double *want = zeros(chunks);
    x[0] = (real)0.5, x[1] = 1;
    for (int round = 1; round <= ROUNDS; round++) {
        check_round(round);
        const real *x_given = given(x, 2);
        real *y = result(chunks);
        int64_t operations = KERNEL(peak)(chunks, rounds, x_given, y);
        int64_t chains = operations / (2 * chunks * rounds * VL);
        double left = ldexp(1, -(int)rounds), sum = 0;
        for (int64_t i = 0; i < chains; i++)
            sum += 2 + ((double)i - 2) * left;
        for (int64_t i = 0; i < chunks; i++)
            want[i] = VL * sum;
        expect("y", y, want, chunks, 2, 0);
    }
}

void check_rows(void)
{
    peak_case(1, 3);
    peak_case(7, 10000);
    check_reduce();
    check_losses();
    const int64_t rows[] = {1, 2, 5, 64, 300}, channels[] = {1, 3, VL - 1, VL, VL + 1, 33, 64};
    for (int64_t i = 0; i < LENGTH(rows); i++)
        for (int64_t j = 0; j < LENGTH(channels); j++)
            batch_norm_case(rows[i], channels[j], (i + j) % 2, i / 2 % 2);
    batch_norm_case(5003, 3, 1, 0);
    batch_norm_case(5003, 3, 1, 1);
}
