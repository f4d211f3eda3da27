/* The forward convolution: the choice of the algorithm, by everything in the shape but the number
 * of images. */
#include "conv.h"

struct conv_shape KERNEL(conv_shape)(const struct pydl_conv2d *g, int64_t backward)
{
    /* A step that is never taken may be as large as an integer: it counts as 1. */
    struct conv_shape c = {
        .backward = backward,
        .images = g->last - g->first,
        .groups = g->groups,
        .exact = g->exact,
        .relu = backward ? 0 : g->relu,
        .in_channels = backward ? g->O : g->C,
        .out_channels = backward ? g->C : g->O,
        .in_size = {backward ? g->P : g->H, backward ? g->Q : g->W},
        .out_size = {backward ? g->H : g->P, backward ? g->W : g->Q},
        .kernel = {g->KH, g->KW},
        .stride = {g->P > 1 ? g->stride_h : 1, g->Q > 1 ? g->stride_w : 1},
        .pad = {g->pad_h, g->pad_w},
        .dilation = {g->KH > 1 ? g->dil_h : 1, g->KW > 1 ? g->dil_w : 1},
    };
    return c;
}

static struct conv_axis axis_forward(const struct conv_shape *c, int axis)
{
    return (struct conv_axis){
        .count = c->out_size[axis],
        .step = 1,
        .stride = c->stride[axis],
        .offset = -c->pad[axis],
        .dilation = c->dilation[axis],
        .taps = c->kernel[axis],
        .tap_step = 1,
    };
}

/* The greatest common divisor of m and a, and an `inverse` with inverse * a == it mod m. */
static int64_t gcd(int64_t m, int64_t a, int64_t *inverse)
{
    int64_t before = 0;
    *inverse = 1;
    while (m % a) {
        int64_t rest = m % a, next = before - m / a * *inverse;
        m = a;
        a = rest;
        before = *inverse;
        *inverse = next;
    }
    return a;
}

/* Output h takes dy[p] w[r] wherever p * stride + r * dilation == h + pad. The class is h mod
 * stride: it fixes the r, every stride / gcd(stride, dilation)-th one, and along the class p
 * steps by one. Taps go by falling r, so that p rises. */
static struct conv_axis axis_backward(const struct conv_shape *c, int axis, int64_t class)
{
    int64_t stride = c->stride[axis], pad = c->pad[axis], dilation = c->dilation[axis],
            K = c->kernel[axis];
    int64_t inverse, common = gcd(stride, dilation % stride ? dilation % stride : stride, &inverse),
                     period = stride / common, rest = (class + pad) % stride;
    struct conv_axis a = {
        .count = ceil_div(c->out_size[axis] - class, stride),
        .first = class,
        .step = stride,
        .stride = 1,
        .dilation = dilation / common,
        .tap_step = -period,
    };
    if (rest % common)
        return a;
    int64_t r = (int64_t)((__int128)(rest / common) * inverse % period);
    r += r < 0 ? period : 0; /* the first of them */
    if (r >= K)
        return a;
    a.place = r;
    a.taps = (K - 1 - r) / period + 1;
    a.tap_first = r + (a.taps - 1) * period;
    a.offset = (class + pad - a.tap_first * dilation) / stride;
    return a;
}

struct conv_axis KERNEL(conv_axis)(const struct conv_shape *c, int axis, int64_t class)
{
    return c->backward ? axis_backward(c, axis, class) : axis_forward(c, axis);
}

enum algorithm { DIRECT, DEPTHWISE, WINOGRAD };

static enum algorithm algorithm_of(const struct conv_shape *c)
{
    if (c->groups > 1 && c->groups == c->in_channels && c->groups == c->out_channels)
        return DEPTHWISE;
    if (KERNEL(conv_winograd_pays)(c) && !KERNEL(conv_narrow)(c))
        return WINOGRAD;
    return DIRECT;
}

int64_t KERNEL(conv_workspace)(const struct conv_shape *c)
{
    switch (algorithm_of(c)) {
    case DEPTHWISE:
        return 0;
    case WINOGRAD:
        return KERNEL(conv_winograd_workspace)(c);
    default:
        return KERNEL(conv_direct_workspace)(c);
    }
}

void KERNEL(conv)(const struct conv_shape *c, const real *in, const real *w, const real *bias,
                  real *out, void *workspace)
{
    switch (algorithm_of(c)) {
    case DEPTHWISE:
        KERNEL(conv_depthwise)(c, in, w, bias, out);
        break;
    case WINOGRAD:
        KERNEL(conv_winograd)(c, in, w, bias, out, workspace);
        break;
    default:
        KERNEL(conv_direct)(c, in, w, bias, out, workspace);
        break;
    }
}

int64_t KERNEL(conv2d_forward_workspace)(const struct pydl_conv2d *g)
{
    struct conv_shape c = KERNEL(conv_shape)(g, 0);
    return KERNEL(conv_workspace)(&c);
}

void KERNEL(conv2d_forward)(const struct pydl_conv2d *g, const real *x, const real *w,
                            const real *bias, real *y, void *workspace)
{
    struct conv_shape c = KERNEL(conv_shape)(g, 0);
    x += g->first * g->H * g->W * g->C;
    y += g->first * g->P * g->Q * g->O;
    KERNEL(conv)(&c, x, w, bias, y, workspace);
}
