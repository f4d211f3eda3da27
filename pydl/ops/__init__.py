"""The ops: functions on tensors that check their arguments, call a kernel and say the derivative; no state."""

from pydl.ops import methods as methods
from pydl.ops.activation import (
    elu as elu,
    gelu as gelu,
    hardsigmoid as hardsigmoid,
    hardswish as hardswish,
    hardtanh as hardtanh,
    leaky_relu as leaky_relu,
    logsigmoid as logsigmoid,
    mish as mish,
    prelu as prelu,
    relu as relu,
    relu6 as relu6,
    relu_ as relu_,
    sigmoid as sigmoid,
    silu as silu,
    softplus as softplus,
    tanh as tanh,
)
from pydl.ops.compare import (
    allclose as allclose,
    bitwise_and as bitwise_and,
    bitwise_not as bitwise_not,
    bitwise_or as bitwise_or,
    bitwise_xor as bitwise_xor,
    eq as eq,
    equal as equal,
    ge as ge,
    gt as gt,
    isclose as isclose,
    isfinite as isfinite,
    isinf as isinf,
    isnan as isnan,
    le as le,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    lt as lt,
    masked_fill as masked_fill,
    ne as ne,
    where as where,
)
from pydl.ops.conv import (
    conv1d as conv1d,
    conv2d as conv2d,
)
from pydl.ops.conv_transpose import (
    conv_transpose1d as conv_transpose1d,
    conv_transpose2d as conv_transpose2d,
)
from pydl.ops.convert import device as device
from pydl.ops.create import (
    arange as arange,
    as_tensor as as_tensor,
    empty as empty,
    empty_like as empty_like,
    eye as eye,
    from_dlpack as from_dlpack,
    from_numpy as from_numpy,
    full as full,
    full_like as full_like,
    linspace as linspace,
    ones as ones,
    ones_like as ones_like,
    tensor as tensor,
    zeros as zeros,
    zeros_like as zeros_like,
)
from pydl.ops.dropout import (
    dropout as dropout,
    dropout1d as dropout1d,
    dropout2d as dropout2d,
)
from pydl.ops.elementwise import (
    add as add,
    addcdiv as addcdiv,
    addcmul as addcmul,
    div as div,
    divide as divide,
    floor_divide as floor_divide,
    lerp as lerp,
    maximum as maximum,
    minimum as minimum,
    mul as mul,
    multiply as multiply,
    neg as neg,
    positive as positive,
    pow as pow,
    remainder as remainder,
    rsub as rsub,
    sub as sub,
    subtract as subtract,
    true_divide as true_divide,
)
from pydl.ops.embedding import embedding as embedding
from pydl.ops.index import (
    gather as gather,
    index_select as index_select,
    masked_select as masked_select,
    nonzero as nonzero,
    one_hot as one_hot,
    scatter as scatter,
    scatter_add as scatter_add,
    take as take,
)
from pydl.ops.join import (
    cat as cat,
    chunk as chunk,
    concat as concat,
    concatenate as concatenate,
    flip as flip,
    pad as pad,
    roll as roll,
    split as split,
    stack as stack,
    tril as tril,
    triu as triu,
    unbind as unbind,
)
from pydl.ops.layer_norm import (
    group_norm as group_norm,
    instance_norm as instance_norm,
    layer_norm as layer_norm,
    local_response_norm as local_response_norm,
)
from pydl.ops.loss import (
    cross_entropy as cross_entropy,
    multi_margin_loss as multi_margin_loss,
    nll_loss as nll_loss,
    svm_loss as svm_loss,
)
from pydl.ops.maths import (
    abs as abs,
    absolute as absolute,
    ceil as ceil,
    clamp as clamp,
    clip as clip,
    cos as cos,
    erf as erf,
    exp as exp,
    expm1 as expm1,
    floor as floor,
    log as log,
    log1p as log1p,
    reciprocal as reciprocal,
    round as round,
    rsqrt as rsqrt,
    sign as sign,
    sin as sin,
    sqrt as sqrt,
    square as square,
    trunc as trunc,
)
from pydl.ops.matmul import (
    bmm as bmm,
    dot as dot,
    linear as linear,
    matmul as matmul,
    mm as mm,
)
from pydl.ops.norm import (
    batch_norm as batch_norm,
)
from pydl.ops.ordering import (
    argsort as argsort,
    bincount as bincount,
    sort as sort,
    topk as topk,
    unique as unique,
)
from pydl.ops.pool import (
    adaptive_avg_pool1d as adaptive_avg_pool1d,
    adaptive_avg_pool2d as adaptive_avg_pool2d,
    avg_pool1d as avg_pool1d,
    avg_pool2d as avg_pool2d,
    max_pool1d as max_pool1d,
    max_pool2d as max_pool2d,
)
from pydl.ops.reduce import (
    all as all,
    amax as amax,
    amin as amin,
    any as any,
    argmax as argmax,
    argmin as argmin,
    count_nonzero as count_nonzero,
    cumsum as cumsum,
    max as max,
    mean as mean,
    min as min,
    prod as prod,
    sum as sum,
)
from pydl.ops.regression import (
    binary_cross_entropy as binary_cross_entropy,
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
    huber_loss as huber_loss,
    kl_div as kl_div,
    l1_loss as l1_loss,
    mse_loss as mse_loss,
    smooth_l1_loss as smooth_l1_loss,
)
from pydl.ops.resize import interpolate as interpolate
from pydl.ops.sample import (
    bernoulli as bernoulli,
    multinomial as multinomial,
    normal as normal,
    rand as rand,
    rand_like as rand_like,
    randint as randint,
    randn as randn,
    randn_like as randn_like,
    randperm as randperm,
)
from pydl.ops.shape import (
    broadcast_to as broadcast_to,
    clone as clone,
    flatten as flatten,
    is_floating_point as is_floating_point,
    movedim as movedim,
    numel as numel,
    permute as permute,
    reshape as reshape,
    squeeze as squeeze,
    t as t,
    transpose as transpose,
    unflatten as unflatten,
    unsqueeze as unsqueeze,
)
from pydl.ops.softmax import (
    log_softmax as log_softmax,
    softmax as softmax,
)
from pydl.ops.statistics import (
    logsumexp as logsumexp,
    norm as norm,
    std as std,
    var as var,
)
from pydl.ops.sync_norm import sync_batch_norm as sync_batch_norm
