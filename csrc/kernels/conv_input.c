/* The gradient of the convolution to its input. */
#include "conv.h"

int64_t KERNEL(conv2d_backward_input_workspace)(const struct pydl_conv2d *g)
{
    struct conv_shape c = KERNEL(conv_shape)(g, 1);
    return KERNEL(conv_workspace)(&c);
}

void KERNEL(conv2d_backward_input)(const struct pydl_conv2d *g, const real *dy, const real *w,
                                   real *dx, void *workspace)
{
    struct conv_shape c = KERNEL(conv_shape)(g, 1);
    dy += g->first * g->P * g->Q * g->O;
    dx += g->first * g->H * g->W * g->C;
    KERNEL(conv)(&c, dy, w, NULL, dx, workspace);
}
