/* Every kernel: its comment here is its contract. Read once per instruction set and element type,
 * by the compiler with KERNEL and `real` as macros (isa.h) and by Python, which spells them out. No
 * include guard: see above.
 *
 * Common to all: arrays are dense unless a stride is given, 64-byte alignment is welcome and not
 * needed, inputs and outputs do not overlap unless the comment says so, memory outside them is
 * neither read nor written, pointers marked "or NULL" may be left out, a size of 0 is allowed
 * wherever it makes sense, and the bits of a result do not depend on the number of threads.
 * Products, convolutions, recurrent layers and optimisers take a denormal number (below 2^-126, in
 * double 2^-1022) for 0 and give 0 for one; all others keep them. A kernel with a `workspace`
 * argument has a function that gives the bytes it needs for the geometry on any number of threads
 * (0: pass NULL); its contents on entry are anything. */

/* ---- unary.c, elementwise.c, dropout.c: y may be x (or a, or b, where nothing is broadcast) ----
 */

/* y[i] = op(x[i]). op is one of enum pydl_unary; RELU keeps NaN. Parameters: LEAKY_RELU alpha =
 * slope; ELU alpha; SOFTPLUS alpha = beta, beta = threshold; CLAMP min alpha, max beta (NaN stays
 * NaN); AFFINE x * alpha + beta; POW_SCALAR x ** alpha; GELU alpha = 1 for the tanh form, 0 for the
 * erf form. ROUND is half to even. */
void KERNEL(unary)(int64_t op, int64_t n, double alpha, double beta, const real *x, real *y);
/* dx[i] = dy[i] * op'(s[i]); s is the op's result for EXP, SQRT, RSQRT, RECIPROCAL, TANH, SIGMOID
 * and RELU, its input otherwise. Zero for SIGN, FLOOR, CEIL, ROUND, TRUNC. dx may be dy or s. */
void KERNEL(unary_backward)(int64_t op, int64_t n, double alpha, double beta, const real *dy,
                            const real *s, real *dx);
/* y = op(a, b), op one of enum pydl_binary; a NaN in either operand of MAXIMUM and MINIMUM wins. */
void KERNEL(binary)(int64_t op, const struct pydl_broadcast *g, const real *a, const real *b,
                    real *y);
/* The same for the gradient of MAXIMUM and MINIMUM with n equal-shaped elements: da gets dy where a
 * is chosen, db where b is, half each where they are equal. */
void KERNEL(select_backward)(int64_t op, int64_t n, const real *dy, const real *a, const real *b,
                             real *da, real *db);
/* Keep each element with probability 1 - p and scale it by 1 / (1 - p): y = x * mask / (1 - p),
 * mask 0 or 1. Element i depends on seed and i alone. dx = dy * mask / (1 - p). */
void KERNEL(dropout_forward)(int64_t n, double p, uint64_t seed, const real *x, real *y,
                             uint8_t *mask);
void KERNEL(dropout_backward)(int64_t n, double p, const uint8_t *mask, const real *dy, real *dx);

/* ---- copy.c ---- */

/* y = x, each with its own strides (in elements; x and y point at element 0, which a negative
 * stride leaves towards lower addresses). Transposes go in blocks; cat, stack, contiguous and
 * layout changes are this kernel. */
void KERNEL(copy)(const struct pydl_copy *g, const real *x, real *y);

/* ---- reduce.c, argreduce.c ---- */

/* y[o, i] = reduction over r of x[o, r, i] for x of (outer, n, inner), op one of enum
 * pydl_reduction. n = 0 gives 0 for SUM, 1 for PROD; MAX and MIN need n >= 1, NaN wins. Sums are
 * taken in fixed blocks, vector lanes first, blocks pairwise. */
int64_t KERNEL(reduce_workspace)(int64_t outer, int64_t n, int64_t inner);
void KERNEL(reduce)(int64_t op, int64_t outer, int64_t n, int64_t inner, const real *x, real *y,
                    void *workspace);
/* index[o, i] = the first r at which x[o, r, i] is largest (op MAX) or smallest (op MIN); the first
 * NaN wins. n >= 1. */
void KERNEL(argreduce)(int64_t op, int64_t outer, int64_t n, int64_t inner, const real *x,
                       int64_t *index);

/* ---- gemm.c ---- */

/* C = A B (+ bias) (then ReLU): see struct pydl_gemm. bias (N) or NULL. K = 0 gives bias or 0. */
int64_t KERNEL(gemm_workspace)(const struct pydl_gemm *g);
void KERNEL(gemm)(const struct pydl_gemm *g, const real *a, const real *b, const real *bias,
                  real *c, void *workspace);

/* ---- recurrent.c: see struct pydl_recurrent ---- */

/* gates: on entry, if D = 0, the inputs' part of every step, x w_ih + b; on exit the gates' values.
 * With x (rows, D) and w_ih (gates, D) each step adds that itself (D = 0: NULL). From h0, c0 (N, H;
 * NULL: zeros; c of LSTM alone) each step takes
 *   RNN   h = act(gate + w h)
 *   LSTM  i, f, g, o = sigmoid, sigmoid, tanh, sigmoid (gates + w h); c = f c + i g; h = o tanh c
 *   GRU   q = w h + bias; r, z = sigmoid(gates + q); n = tanh(gate + r q_n); h = n + z (h - n)
 * with w (gates, H); bias (gates; of GRU, or if D > 0 that of the inputs) or NULL. y: h after each
 * step; h_n, c_n (N, H): after the last. What the way back needs, or NULL: before (rows, row): what
 * each step multiplies; c_before; inner: tanh c of LSTM, q_n of GRU. */
int64_t KERNEL(recurrent_forward_workspace)(const struct pydl_recurrent *g);
void KERNEL(recurrent_forward)(const struct pydl_recurrent *g, const int64_t *begin, const real *x,
                               const real *w_ih, const real *w, const real *bias, const real *h0,
                               const real *c0, real *gates, real *y, real *h_n, real *c_n,
                               real *before, real *c_before, real *inner, void *workspace);
/* From dy (or NULL), dh_n, dc_n (or NULL): dgates, the gradient to the sums that entered the gates;
 * dhidden (of GRU alone): the gradient to q; dh0, dc0 (N, H; or NULL). h_before is read for GRU
 * alone. The weights' gradients are products of these. */
int64_t KERNEL(recurrent_backward_workspace)(const struct pydl_recurrent *g);
void KERNEL(recurrent_backward)(const struct pydl_recurrent *g, const int64_t *begin, const real *w,
                                const real *gates, const real *h_before, const real *c_before,
                                const real *inner, const real *dy, const real *dh_n,
                                const real *dc_n, real *dgates, real *dhidden, real *dh0, real *dc0,
                                void *workspace);

/* ---- conv_forward.c, conv_input.c, conv_weight.c: see struct pydl_conv2d ---- */

/* x (N, H, W, C), w (KH, KW, C / groups, O), bias (O) or NULL, y (N, P, Q, O) */
int64_t KERNEL(conv2d_forward_workspace)(const struct pydl_conv2d *g);
void KERNEL(conv2d_forward)(const struct pydl_conv2d *g, const real *x, const real *w,
                            const real *bias, real *y, void *workspace);
/* dx (N, H, W, C) from dy (N, P, Q, O); every element of dx is written, 0 where no window reaches
 */
int64_t KERNEL(conv2d_backward_input_workspace)(const struct pydl_conv2d *g);
void KERNEL(conv2d_backward_input)(const struct pydl_conv2d *g, const real *dy, const real *w,
                                   real *dx, void *workspace);
/* dw (KH, KW, C / groups, O) = sum over images first <= n < last; added to dw when g->accumulate */
int64_t KERNEL(conv2d_backward_weight_workspace)(const struct pydl_conv2d *g);
void KERNEL(conv2d_backward_weight)(const struct pydl_conv2d *g, const real *x, const real *dy,
                                    real *dw, void *workspace);

/* ---- max_pool.c, avg_pool.c: see struct pydl_pool2d; x (N, H, W, C), y (N, P, Q, C) ---- */

/* Padding counts as minus infinity, NaN wins, of equal elements the first (row by row) wins. offset
 * (N, P, Q, C) gets the winner's place in its window, r * KW + s: one byte each (uint8) where KH *
 * KW <= 256, else four (int32); or NULL. */
void KERNEL(max_pool2d_forward)(const struct pydl_pool2d *g, const real *x, real *y, void *offset);
/* dx (N, H, W, C), every element written */
void KERNEL(max_pool2d_backward)(const struct pydl_pool2d *g, const real *dy, const void *offset,
                                 real *dx);
void KERNEL(avg_pool2d_forward)(const struct pydl_pool2d *g, const real *x, real *y);
void KERNEL(avg_pool2d_backward)(const struct pydl_pool2d *g, const real *dy, real *dx);
/* Window p covers rows floor(p H / P) to ceil((p + 1) H / P) - 1, columns likewise; only N, C, H,
 * W, P, Q are read. */
void KERNEL(adaptive_avg_pool2d_forward)(const struct pydl_pool2d *g, const real *x, real *y);
void KERNEL(adaptive_avg_pool2d_backward)(const struct pydl_pool2d *g, const real *dy, real *dx);

/* ---- softmax.c, loss.c: x (rows, classes), target (rows) class numbers ---- */

/* y = softmax of each row, or its logarithm when `logarithm`; the row's maximum is taken out first.
 */
void KERNEL(softmax_forward)(int64_t rows, int64_t classes, int64_t logarithm, const real *x,
                             real *y);
/* dx from dy and the forward's result y; dx may be dy */
void KERNEL(softmax_backward)(int64_t rows, int64_t classes, int64_t logarithm, const real *dy,
                              const real *y, real *dx);
/* loss[i] = w[t] (1 - s) (lse - x[i,t]) + s / classes * sum over j of w[j] (lse - x[i,j]), where
 * lse = log sum exp x[i], t = target[i], s = smoothing and w = weight, all 1 if NULL; 0 where t ==
 * ignore. sums[0] = sum of loss, sums[1] = sum of w[t] over the rows not ignored. Returns the first
 * row whose target is neither a class nor `ignore`, else -1 (then nothing else is promised). lse
 * (rows) is kept for the gradient. */
int64_t KERNEL(cross_entropy_forward)(int64_t rows, int64_t classes, double smoothing,
                                      int64_t ignore, const real *x, const int64_t *target,
                                      const real *weight, real *loss, real *lse, real *sums);
/* dx[i, :] = scale * (dloss ? dloss[i] : 1) * gradient of loss[i] */
void KERNEL(cross_entropy_backward)(int64_t rows, int64_t classes, double smoothing, int64_t ignore,
                                    double scale, const real *x, const int64_t *target,
                                    const real *weight, const real *lse, const real *dloss,
                                    real *dx);
/* loss[i] = sum over j != t of w[t] max(0, x[i,j] - x[i,t] + margin) ** p, p 1 or 2; sums[0] = sum
 * of loss. Returns the first row whose target is not a class, else -1. */
int64_t KERNEL(margin_loss_forward)(int64_t rows, int64_t classes, int64_t p, double margin,
                                    const real *x, const int64_t *target, const real *weight,
                                    real *loss, real *sums);
void KERNEL(margin_loss_backward)(int64_t rows, int64_t classes, int64_t p, double margin,
                                  double scale, const real *x, const int64_t *target,
                                  const real *weight, const real *dloss, real *dx);

/* ---- batch_norm.c: x (rows, C), statistics over the rows ---- */

/* mean and var (biased, /rows) of each channel, rstd = 1 / sqrt(var + eps), y = (x - mean) rstd
 * gamma + beta, then ReLU; gamma, beta (C) or NULL for 1 and 0. rows >= 1. The variance is taken
 * around the mean (two passes or blocks merged), never as E[x^2] - mean^2. running_mean and
 * running_var (C), or NULL, move by the share `momentum` towards mean and var * rows / (rows - 1).
 */
int64_t KERNEL(batch_norm_workspace)(int64_t rows, int64_t C);
void KERNEL(batch_norm_forward)(int64_t rows, int64_t C, double eps, double momentum, int64_t relu,
                                const real *x, const real *gamma, const real *beta, real *y,
                                real *mean, real *rstd, real *running_mean, real *running_var,
                                void *workspace);
/* y = (x - mean) / sqrt(var + eps) gamma + beta with given statistics, then ReLU; rstd (C) or NULL
 */
void KERNEL(batch_norm_inference)(int64_t rows, int64_t C, double eps, int64_t relu, const real *x,
                                  const real *gamma, const real *beta, const real *mean,
                                  const real *var, real *y, real *rstd);
/* dgamma = sum dy xhat, dbeta = sum dy, and dx (or NULL): through the statistics when `training`,
 * else dy gamma rstd; dy counts as 0 where y, unless that is NULL, is not positive: the gradient of
 * the ReLU behind */
void KERNEL(batch_norm_backward)(int64_t rows, int64_t C, int64_t training, const real *x,
                                 const real *gamma, const real *mean, const real *rstd,
                                 const real *dy, const real *y, real *dx, real *dgamma, real *dbeta,
                                 void *workspace);

/* The parts of a batch norm whose rows lie in several processes. mean and var (biased) of the rows
 * here, rows >= 1. */
void KERNEL(batch_norm_moments)(int64_t rows, int64_t C, const real *x, real *mean, real *var,
                                void *workspace);
/* sum = sum dy and product = sum dy (x - mean) of the rows here; dy counts as in the backward */
void KERNEL(batch_norm_sums)(int64_t rows, int64_t C, const real *x, const real *mean,
                             const real *dy, const real *y, real *sum, real *product,
                             void *workspace);
/* dx = gamma rstd (dy - sum - (x - mean) rstd^2 product), sum and product being those of all rows
 * divided by their number */
void KERNEL(batch_norm_backward_input)(int64_t rows, int64_t C, const real *x, const real *gamma,
                                       const real *mean, const real *rstd, const real *dy,
                                       const real *y, const real *sum, const real *product,
                                       real *dx);

/* ---- layer_norm.c: x (rows, D), statistics over each row, D >= 1 ---- */

/* mean and rstd = 1 / sqrt(var + eps) of each row (var biased, taken around the mean), y = (x -
 * mean) rstd gamma + beta; gamma, beta (D) or NULL for 1 and 0. */
void KERNEL(layer_norm_forward)(int64_t rows, int64_t D, double eps, const real *x,
                                const real *gamma, const real *beta, real *y, real *mean,
                                real *rstd);
/* dgamma = sum over the rows of dy xhat, dbeta = sum of dy, and dx (or NULL) */
int64_t KERNEL(layer_norm_backward_workspace)(int64_t rows, int64_t D);
void KERNEL(layer_norm_backward)(int64_t rows, int64_t D, const real *x, const real *gamma,
                                 const real *mean, const real *rstd, const real *dy, real *dx,
                                 real *dgamma, real *dbeta, void *workspace);

/* ---- group_norm.c: x (N, P, C), images of P pixels; P, C >= 1, groups divides C ---- */

/* mean and rstd (N, groups) as above, over all pixels and the C / groups channels of a group; y =
 * (x - mean) rstd gamma + beta; gamma, beta (C) or NULL for 1 and 0. */
int64_t KERNEL(group_norm_workspace)(int64_t N, int64_t P, int64_t C);
void KERNEL(group_norm_forward)(int64_t N, int64_t P, int64_t C, int64_t groups, double eps,
                                const real *x, const real *gamma, const real *beta, real *y,
                                real *mean, real *rstd, void *workspace);
void KERNEL(group_norm_backward)(int64_t N, int64_t P, int64_t C, int64_t groups, const real *x,
                                 const real *gamma, const real *mean, const real *rstd,
                                 const real *dy, real *dx, real *dgamma, real *dbeta,
                                 void *workspace);

/* ---- response_norm.c: x (rows, C), size >= 1 ---- */

/* y[r, c] = x[r, c] s ** -beta with s = k + alpha / size * (sum of x[r, j]^2 over c - size / 2 <= j
 * <= c + (size - 1) / 2 as far as there is such a channel) */
int64_t KERNEL(response_norm_workspace)(int64_t C, int64_t size);
void KERNEL(response_norm_forward)(int64_t rows, int64_t C, int64_t size, double alpha, double beta,
                                   double k, const real *x, real *y, void *workspace);
void KERNEL(response_norm_backward)(int64_t rows, int64_t C, int64_t size, double alpha,
                                    double beta, double k, const real *x, const real *dy, real *dx,
                                    void *workspace);

/* ---- embedding.c: table (rows, D), index (n) numbers of rows ---- */

/* y[i, :] = table[index[i], :]. Returns the first i whose index is no row (then nothing is
 * written), else -1. */
int64_t KERNEL(embedding_forward)(int64_t n, int64_t rows, int64_t D, const real *table,
                                  const int64_t *index, real *y);
/* dtable[r, :] = sum of dy[i, :] over the i with index[i] == r, in ascending order, divided by
 * their count when `by_frequency`; 0 for row `padding` (-1: none) and where there is no such i. */
int64_t KERNEL(embedding_backward_workspace)(int64_t n, int64_t rows);
void KERNEL(embedding_backward)(int64_t n, int64_t rows, int64_t D, int64_t padding,
                                int64_t by_frequency, const real *dy, const int64_t *index,
                                real *dtable, void *workspace);

/* ---- resize.c: x (N, H, W, C), y (N, P, Q, C); all but N >= 1 ---- */

/* y[n, p, q, :] = x[n, row[p], column[q], :] if the shares are NULL; else row row[p] counts for 1 -
 * row_share[p] and the next one (or the last, where there is none) for row_share[p], columns
 * likewise. row (P) and column (Q) ascend and lie in the image, the shares in 0 .. 1. */
void KERNEL(resize_forward)(int64_t N, int64_t H, int64_t W, int64_t C, int64_t P, int64_t Q,
                            const int64_t *row, const int64_t *column, const real *row_share,
                            const real *column_share, const real *x, real *y);
int64_t KERNEL(resize_backward_workspace)(int64_t Q, int64_t C);
void KERNEL(resize_backward)(int64_t N, int64_t H, int64_t W, int64_t C, int64_t P, int64_t Q,
                             const int64_t *row, const int64_t *column, const real *row_share,
                             const real *column_share, const real *dy, real *dx, void *workspace);

/* ---- optim.c, optim_adaptive.c: one pass over parameter, gradient and state ---- */

/* For each of `count` parameters, n[i] elements at p[i]: g = (maximize ? -g : g) + weight_decay p;
 * momentum != 0: buf = first ? g : momentum buf + (1 - dampening) g, g = nesterov ? g + momentum
 * buf : buf; p -= lr g. buf may be NULL without momentum. */
void KERNEL(sgd)(int64_t count, double lr, double momentum, double dampening, double weight_decay,
                 int64_t nesterov, int64_t maximize, int64_t first, const int64_t *n,
                 real *const *p, const real *const *g, real *const *buf);
/* The same with other rules; g = (maximize ? -g : g) + weight_decay p, `step` counts from 1. adam:
 * m += (1 - beta1) (g - m); v = beta2 v + (1 - beta2) g^2; `largest` (or NULL) = max(largest, v),
 * which then stands for v; p -= lr / (1 - beta1^step) m / (sqrt(v / (1 - beta2^step)) + eps).
 * decoupled: p *= 1 - lr weight_decay comes first, and g has no part of p. */
void KERNEL(adam)(int64_t count, double lr, double beta1, double beta2, double eps,
                  double weight_decay, int64_t decoupled, int64_t maximize, int64_t step,
                  const int64_t *n, real *const *p, const real *const *g, real *const *m,
                  real *const *v, real *const *largest);
/* sum += g^2; p -= lr / (1 + (step - 1) lr_decay) g / (sqrt(sum) + eps) */
void KERNEL(adagrad)(int64_t count, double lr, double lr_decay, double eps, double weight_decay,
                     int64_t maximize, int64_t step, const int64_t *n, real *const *p,
                     const real *const *g, real *const *sum);
/* square = alpha square + (1 - alpha) g^2; d = g / (sqrt(square) + eps), or, unless `mean` is NULL,
 * mean += (1 - alpha) (g - mean) and square - mean^2 (at least 0) under the root; unless buf is
 * NULL, buf = momentum buf + d stands for d; p -= lr d */
void KERNEL(rmsprop)(int64_t count, double lr, double alpha, double eps, double weight_decay,
                     double momentum, int64_t maximize, const int64_t *n, real *const *p,
                     const real *const *g, real *const *square, real *const *mean,
                     real *const *buf);
/* square = rho square + (1 - rho) g^2; d = sqrt(delta + eps) / sqrt(square + eps) g; delta = rho
 * delta + (1 - rho) d^2; p -= lr d */
void KERNEL(adadelta)(int64_t count, double lr, double rho, double eps, double weight_decay,
                      int64_t maximize, const int64_t *n, real *const *p, const real *const *g,
                      real *const *square, real *const *delta);

/* ---- peak.c: the yardstick of every share ---- */

/* Multiply-adds on registers alone, as many as the core can keep going: chains of v = v * x[0] +
 * x[1], `rounds` steps each, chain i from i, in every lane; y[chunk] is the sum over the chains'
 * lanes. Returns the floating-point operations of all chunks. */
int64_t KERNEL(peak)(int64_t chunks, int64_t rounds, const real *x, real *y);
