"""The layers' ops as functions, under PyTorch's names; each is documented where it is defined, in ``pydl.ops``."""

from typing import TYPE_CHECKING, Any

from pydl.ops import (
    adaptive_avg_pool1d as adaptive_avg_pool1d,
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    avg_pool1d as avg_pool1d,
    avg_pool2d as avg_pool2d,
    batch_norm as batch_norm,
    binary_cross_entropy as binary_cross_entropy,
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
    conv1d as conv1d,
    conv2d as conv2d,
    conv_transpose1d as conv_transpose1d,
    conv_transpose2d as conv_transpose2d,
    cross_entropy as cross_entropy,
    dropout as dropout,
    dropout1d as dropout1d,
    dropout2d as dropout2d,
    elu as elu,
    embedding as embedding,
    gelu as gelu,
    group_norm as group_norm,
    hardsigmoid as hardsigmoid,
    hardswish as hardswish,
    hardtanh as hardtanh,
    huber_loss as huber_loss,
    instance_norm as instance_norm,
    interpolate as interpolate,
    kl_div as kl_div,
    l1_loss as l1_loss,
    layer_norm as layer_norm,
    leaky_relu as leaky_relu,
    linear as linear,
    local_response_norm as local_response_norm,
    log_softmax as log_softmax,
    logsigmoid as logsigmoid,
    max_pool1d as max_pool1d,
    max_pool2d as max_pool2d,
    mish as mish,
    mse_loss as mse_loss,
    multi_margin_loss as multi_margin_loss,
    nll_loss as nll_loss,
    one_hot as one_hot,
    pad as pad,
    prelu as prelu,
    relu as relu,
    relu6 as relu6,
    relu_ as relu_,
    sigmoid as sigmoid,
    silu as silu,
    smooth_l1_loss as smooth_l1_loss,
    softmax as softmax,
    softplus as softplus,
    svm_loss as svm_loss,
    tanh as tanh,
)
from pydl.suggest import no_attribute as _no_attribute

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _no_attribute("pydl.nn.functional", globals(), name)
