"""The ops: functions on tensors that check their arguments, call a kernel and say the derivative; no state."""

from pydl.ops import methods as methods
from pydl.ops.activation import (
    elu as elu,
)
from pydl.ops.activation import (
    gelu as gelu,
)
from pydl.ops.activation import (
    hardtanh as hardtanh,
)
from pydl.ops.activation import (
    leaky_relu as leaky_relu,
)
from pydl.ops.activation import (
    relu as relu,
)
from pydl.ops.activation import (
    relu6 as relu6,
)
from pydl.ops.activation import (
    relu_ as relu_,
)
from pydl.ops.activation import (
    sigmoid as sigmoid,
)
from pydl.ops.activation import (
    silu as silu,
)
from pydl.ops.activation import (
    softplus as softplus,
)
from pydl.ops.activation import (
    tanh as tanh,
)
from pydl.ops.compare import (
    allclose as allclose,
)
from pydl.ops.compare import (
    bitwise_and as bitwise_and,
)
from pydl.ops.compare import (
    bitwise_not as bitwise_not,
)
from pydl.ops.compare import (
    bitwise_or as bitwise_or,
)
from pydl.ops.compare import (
    bitwise_xor as bitwise_xor,
)
from pydl.ops.compare import (
    eq as eq,
)
from pydl.ops.compare import (
    equal as equal,
)
from pydl.ops.compare import (
    ge as ge,
)
from pydl.ops.compare import (
    gt as gt,
)
from pydl.ops.compare import (
    isclose as isclose,
)
from pydl.ops.compare import (
    isfinite as isfinite,
)
from pydl.ops.compare import (
    isinf as isinf,
)
from pydl.ops.compare import (
    isnan as isnan,
)
from pydl.ops.compare import (
    le as le,
)
from pydl.ops.compare import (
    logical_and as logical_and,
)
from pydl.ops.compare import (
    logical_not as logical_not,
)
from pydl.ops.compare import (
    logical_or as logical_or,
)
from pydl.ops.compare import (
    logical_xor as logical_xor,
)
from pydl.ops.compare import (
    lt as lt,
)
from pydl.ops.compare import (
    masked_fill as masked_fill,
)
from pydl.ops.compare import (
    ne as ne,
)
from pydl.ops.compare import (
    where as where,
)
from pydl.ops.conv import (
    conv1d as conv1d,
)
from pydl.ops.conv import (
    conv2d as conv2d,
)
from pydl.ops.convert import device as device
from pydl.ops.create import (
    arange as arange,
)
from pydl.ops.create import (
    as_tensor as as_tensor,
)
from pydl.ops.create import (
    empty as empty,
)
from pydl.ops.create import (
    empty_like as empty_like,
)
from pydl.ops.create import (
    eye as eye,
)
from pydl.ops.create import (
    from_dlpack as from_dlpack,
)
from pydl.ops.create import (
    from_numpy as from_numpy,
)
from pydl.ops.create import (
    full as full,
)
from pydl.ops.create import (
    full_like as full_like,
)
from pydl.ops.create import (
    linspace as linspace,
)
from pydl.ops.create import (
    ones as ones,
)
from pydl.ops.create import (
    ones_like as ones_like,
)
from pydl.ops.create import (
    tensor as tensor,
)
from pydl.ops.create import (
    zeros as zeros,
)
from pydl.ops.create import (
    zeros_like as zeros_like,
)
from pydl.ops.dropout import (
    dropout as dropout,
)
from pydl.ops.dropout import (
    dropout2d as dropout2d,
)
from pydl.ops.elementwise import (
    add as add,
)
from pydl.ops.elementwise import (
    addcdiv as addcdiv,
)
from pydl.ops.elementwise import (
    addcmul as addcmul,
)
from pydl.ops.elementwise import (
    div as div,
)
from pydl.ops.elementwise import (
    divide as divide,
)
from pydl.ops.elementwise import (
    floor_divide as floor_divide,
)
from pydl.ops.elementwise import (
    lerp as lerp,
)
from pydl.ops.elementwise import (
    maximum as maximum,
)
from pydl.ops.elementwise import (
    minimum as minimum,
)
from pydl.ops.elementwise import (
    mul as mul,
)
from pydl.ops.elementwise import (
    multiply as multiply,
)
from pydl.ops.elementwise import (
    neg as neg,
)
from pydl.ops.elementwise import (
    positive as positive,
)
from pydl.ops.elementwise import (
    pow as pow,
)
from pydl.ops.elementwise import (
    remainder as remainder,
)
from pydl.ops.elementwise import (
    rsub as rsub,
)
from pydl.ops.elementwise import (
    sub as sub,
)
from pydl.ops.elementwise import (
    subtract as subtract,
)
from pydl.ops.elementwise import (
    true_divide as true_divide,
)
from pydl.ops.index import (
    gather as gather,
)
from pydl.ops.index import (
    index_select as index_select,
)
from pydl.ops.index import (
    masked_select as masked_select,
)
from pydl.ops.index import (
    nonzero as nonzero,
)
from pydl.ops.index import (
    one_hot as one_hot,
)
from pydl.ops.index import (
    scatter as scatter,
)
from pydl.ops.index import (
    scatter_add as scatter_add,
)
from pydl.ops.index import (
    take as take,
)
from pydl.ops.join import (
    cat as cat,
)
from pydl.ops.join import (
    chunk as chunk,
)
from pydl.ops.join import (
    concat as concat,
)
from pydl.ops.join import (
    concatenate as concatenate,
)
from pydl.ops.join import (
    flip as flip,
)
from pydl.ops.join import (
    pad as pad,
)
from pydl.ops.join import (
    roll as roll,
)
from pydl.ops.join import (
    split as split,
)
from pydl.ops.join import (
    stack as stack,
)
from pydl.ops.join import (
    tril as tril,
)
from pydl.ops.join import (
    triu as triu,
)
from pydl.ops.join import (
    unbind as unbind,
)
from pydl.ops.loss import (
    cross_entropy as cross_entropy,
)
from pydl.ops.loss import (
    multi_margin_loss as multi_margin_loss,
)
from pydl.ops.loss import (
    nll_loss as nll_loss,
)
from pydl.ops.loss import (
    svm_loss as svm_loss,
)
from pydl.ops.maths import (
    abs as abs,
)
from pydl.ops.maths import (
    absolute as absolute,
)
from pydl.ops.maths import (
    ceil as ceil,
)
from pydl.ops.maths import (
    clamp as clamp,
)
from pydl.ops.maths import (
    clip as clip,
)
from pydl.ops.maths import (
    cos as cos,
)
from pydl.ops.maths import (
    erf as erf,
)
from pydl.ops.maths import (
    exp as exp,
)
from pydl.ops.maths import (
    expm1 as expm1,
)
from pydl.ops.maths import (
    floor as floor,
)
from pydl.ops.maths import (
    log as log,
)
from pydl.ops.maths import (
    log1p as log1p,
)
from pydl.ops.maths import (
    reciprocal as reciprocal,
)
from pydl.ops.maths import (
    round as round,
)
from pydl.ops.maths import (
    rsqrt as rsqrt,
)
from pydl.ops.maths import (
    sign as sign,
)
from pydl.ops.maths import (
    sin as sin,
)
from pydl.ops.maths import (
    sqrt as sqrt,
)
from pydl.ops.maths import (
    square as square,
)
from pydl.ops.maths import (
    trunc as trunc,
)
from pydl.ops.matmul import (
    bmm as bmm,
)
from pydl.ops.matmul import (
    dot as dot,
)
from pydl.ops.matmul import (
    linear as linear,
)
from pydl.ops.matmul import (
    matmul as matmul,
)
from pydl.ops.matmul import (
    mm as mm,
)
from pydl.ops.norm import (
    batch_norm as batch_norm,
)
from pydl.ops.ordering import (
    argsort as argsort,
)
from pydl.ops.ordering import (
    bincount as bincount,
)
from pydl.ops.ordering import (
    sort as sort,
)
from pydl.ops.ordering import (
    topk as topk,
)
from pydl.ops.ordering import (
    unique as unique,
)
from pydl.ops.pool import (
    adaptive_avg_pool2d as adaptive_avg_pool2d,
)
from pydl.ops.pool import (
    avg_pool1d as avg_pool1d,
)
from pydl.ops.pool import (
    avg_pool2d as avg_pool2d,
)
from pydl.ops.pool import (
    max_pool1d as max_pool1d,
)
from pydl.ops.pool import (
    max_pool2d as max_pool2d,
)
from pydl.ops.reduce import (
    all as all,
)
from pydl.ops.reduce import (
    amax as amax,
)
from pydl.ops.reduce import (
    amin as amin,
)
from pydl.ops.reduce import (
    any as any,
)
from pydl.ops.reduce import (
    argmax as argmax,
)
from pydl.ops.reduce import (
    argmin as argmin,
)
from pydl.ops.reduce import (
    count_nonzero as count_nonzero,
)
from pydl.ops.reduce import (
    cumsum as cumsum,
)
from pydl.ops.reduce import (
    max as max,
)
from pydl.ops.reduce import (
    mean as mean,
)
from pydl.ops.reduce import (
    min as min,
)
from pydl.ops.reduce import (
    prod as prod,
)
from pydl.ops.reduce import (
    sum as sum,
)
from pydl.ops.regression import (
    binary_cross_entropy as binary_cross_entropy,
)
from pydl.ops.regression import (
    binary_cross_entropy_with_logits as binary_cross_entropy_with_logits,
)
from pydl.ops.regression import (
    l1_loss as l1_loss,
)
from pydl.ops.regression import (
    mse_loss as mse_loss,
)
from pydl.ops.regression import (
    smooth_l1_loss as smooth_l1_loss,
)
from pydl.ops.sample import (
    bernoulli as bernoulli,
)
from pydl.ops.sample import (
    multinomial as multinomial,
)
from pydl.ops.sample import (
    normal as normal,
)
from pydl.ops.sample import (
    rand as rand,
)
from pydl.ops.sample import (
    rand_like as rand_like,
)
from pydl.ops.sample import (
    randint as randint,
)
from pydl.ops.sample import (
    randn as randn,
)
from pydl.ops.sample import (
    randn_like as randn_like,
)
from pydl.ops.sample import (
    randperm as randperm,
)
from pydl.ops.shape import (
    broadcast_to as broadcast_to,
)
from pydl.ops.shape import (
    clone as clone,
)
from pydl.ops.shape import (
    flatten as flatten,
)
from pydl.ops.shape import (
    is_floating_point as is_floating_point,
)
from pydl.ops.shape import (
    movedim as movedim,
)
from pydl.ops.shape import (
    numel as numel,
)
from pydl.ops.shape import (
    permute as permute,
)
from pydl.ops.shape import (
    reshape as reshape,
)
from pydl.ops.shape import (
    squeeze as squeeze,
)
from pydl.ops.shape import (
    t as t,
)
from pydl.ops.shape import (
    transpose as transpose,
)
from pydl.ops.shape import (
    unflatten as unflatten,
)
from pydl.ops.shape import (
    unsqueeze as unsqueeze,
)
from pydl.ops.softmax import (
    log_softmax as log_softmax,
)
from pydl.ops.softmax import (
    softmax as softmax,
)
from pydl.ops.statistics import (
    logsumexp as logsumexp,
)
from pydl.ops.statistics import (
    norm as norm,
)
from pydl.ops.statistics import (
    std as std,
)
from pydl.ops.statistics import (
    var as var,
)
