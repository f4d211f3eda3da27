/* The forward convolution: the choice of the algorithm, by everything in the shape but the number
 * of images. */
#include "conv.h"

struct conv_shape KERNEL(conv_shape)(const struct pydl_conv2d *g, int64_t backward)
{
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
        .stride = {g->stride_h, g->stride_w},
        .pad = {g->pad_h, g->pad_w},
        .dilation = {g->dil_h, g->dil_w},
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

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

/* Output h takes dy[p] w[r] wherever p * stride + r * dilation == h + pad. The class is (h + pad)
 * mod stride: it fixes the r, every stride / gcd(stride, dilation)-th one, and along the class p
 * steps by one. Taps go by falling r, so that p rises. */
static struct conv_axis axis_backward(const struct conv_shape *c, int axis, int64_t class)
{
    int64_t stride = c->stride[axis], pad = c->pad[axis], dilation = c->dilation[axis],
            K = c->kernel[axis];
    int64_t common = gcd(stride, dilation), size = c->out_size[axis],
            first = (class - pad) % stride, r = 0;
    first += first < 0 ? stride : 0;
    struct conv_axis a = {
        .first = first, .step = stride, .stride = 1, .dilation = dilation / common};
    a.count = first < size ? (size - 1 - first) / stride + 1 : 0;
    a.tap_step = -(stride / common);
    while (r < min_i64(K, stride) && r * dilation % stride != class)
        r++;
    if (r == min_i64(K, stride))
        return a;
    a.taps = (K - 1 - r) / -a.tap_step + 1;
    a.tap_first = r - (a.taps - 1) * a.tap_step;
    a.offset = (first + pad - a.tap_first * dilation) / stride;
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
