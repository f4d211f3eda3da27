"""pydl: a small, fast deep-learning library for the CPU, written the way PyTorch is."""

from pydl import autograd as autograd
from pydl import data as data
from pydl import io as io
from pydl import nn as nn
from pydl import optim as optim
from pydl._version import __version__ as __version__
from pydl.autograd import (
    Size as Size,
)
from pydl.autograd import (
    Tensor as Tensor,
)
from pydl.autograd import (
    enable_grad as enable_grad,
)
from pydl.autograd import (
    is_grad_enabled as is_grad_enabled,
)
from pydl.autograd import (
    no_grad as no_grad,
)
from pydl.autograd import (
    set_grad_enabled as set_grad_enabled,
)
from pydl.config import show_config as show_config
from pydl.dtypes import (
    bool as bool,
)
from pydl.dtypes import (
    can_cast as can_cast,
)
from pydl.dtypes import (
    double as double,
)
from pydl.dtypes import (
    float as float,
)
from pydl.dtypes import (
    float32 as float32,
)
from pydl.dtypes import (
    float64 as float64,
)
from pydl.dtypes import (
    get_default_dtype as get_default_dtype,
)
from pydl.dtypes import (
    int as int,
)
from pydl.dtypes import (
    int8 as int8,
)
from pydl.dtypes import (
    int16 as int16,
)
from pydl.dtypes import (
    int32 as int32,
)
from pydl.dtypes import (
    int64 as int64,
)
from pydl.dtypes import (
    long as long,
)
from pydl.dtypes import (
    promote_types as promote_types,
)
from pydl.dtypes import (
    result_type as result_type,
)
from pydl.dtypes import (
    short as short,
)
from pydl.dtypes import (
    uint8 as uint8,
)
from pydl.function import Function as Function
from pydl.gradcheck import gradcheck as gradcheck
from pydl.io import load as load
from pydl.io import save as save
from pydl.native import (
    empty_cache as empty_cache,
)
from pydl.native import (
    get_num_threads as get_num_threads,
)
from pydl.native import (
    set_num_threads as set_num_threads,
)
from pydl.native import (
    threads as threads,
)
from pydl.nn.parameter import Parameter as Parameter
from pydl.ops import (
    abs as abs,
)
from pydl.ops import (
    absolute as absolute,
)
from pydl.ops import (
    add as add,
)
from pydl.ops import (
    addcdiv as addcdiv,
)
from pydl.ops import (
    addcmul as addcmul,
)
from pydl.ops import (
    all as all,
)
from pydl.ops import (
    allclose as allclose,
)
from pydl.ops import (
    amax as amax,
)
from pydl.ops import (
    amin as amin,
)
from pydl.ops import (
    any as any,
)
from pydl.ops import (
    arange as arange,
)
from pydl.ops import (
    argmax as argmax,
)
from pydl.ops import (
    argmin as argmin,
)
from pydl.ops import (
    argsort as argsort,
)
from pydl.ops import (
    as_tensor as as_tensor,
)
from pydl.ops import (
    bernoulli as bernoulli,
)
from pydl.ops import (
    bincount as bincount,
)
from pydl.ops import (
    bitwise_and as bitwise_and,
)
from pydl.ops import (
    bitwise_not as bitwise_not,
)
from pydl.ops import (
    bitwise_or as bitwise_or,
)
from pydl.ops import (
    bitwise_xor as bitwise_xor,
)
from pydl.ops import (
    bmm as bmm,
)
from pydl.ops import (
    broadcast_to as broadcast_to,
)
from pydl.ops import (
    cat as cat,
)
from pydl.ops import (
    ceil as ceil,
)
from pydl.ops import (
    chunk as chunk,
)
from pydl.ops import (
    clamp as clamp,
)
from pydl.ops import (
    clip as clip,
)
from pydl.ops import (
    clone as clone,
)
from pydl.ops import (
    concat as concat,
)
from pydl.ops import (
    concatenate as concatenate,
)
from pydl.ops import (
    conv1d as conv1d,
)
from pydl.ops import (
    conv2d as conv2d,
)
from pydl.ops import (
    cos as cos,
)
from pydl.ops import (
    count_nonzero as count_nonzero,
)
from pydl.ops import (
    cumsum as cumsum,
)
from pydl.ops import (
    device as device,
)
from pydl.ops import (
    div as div,
)
from pydl.ops import (
    divide as divide,
)
from pydl.ops import (
    dot as dot,
)
from pydl.ops import (
    dropout as dropout,
)
from pydl.ops import (
    empty as empty,
)
from pydl.ops import (
    empty_like as empty_like,
)
from pydl.ops import (
    eq as eq,
)
from pydl.ops import (
    equal as equal,
)
from pydl.ops import (
    erf as erf,
)
from pydl.ops import (
    exp as exp,
)
from pydl.ops import (
    expm1 as expm1,
)
from pydl.ops import (
    eye as eye,
)
from pydl.ops import (
    flatten as flatten,
)
from pydl.ops import (
    flip as flip,
)
from pydl.ops import (
    floor as floor,
)
from pydl.ops import (
    floor_divide as floor_divide,
)
from pydl.ops import (
    from_dlpack as from_dlpack,
)
from pydl.ops import (
    from_numpy as from_numpy,
)
from pydl.ops import (
    full as full,
)
from pydl.ops import (
    full_like as full_like,
)
from pydl.ops import (
    gather as gather,
)
from pydl.ops import (
    ge as ge,
)
from pydl.ops import (
    gt as gt,
)
from pydl.ops import (
    index_select as index_select,
)
from pydl.ops import (
    is_floating_point as is_floating_point,
)
from pydl.ops import (
    isclose as isclose,
)
from pydl.ops import (
    isfinite as isfinite,
)
from pydl.ops import (
    isinf as isinf,
)
from pydl.ops import (
    isnan as isnan,
)
from pydl.ops import (
    le as le,
)
from pydl.ops import (
    lerp as lerp,
)
from pydl.ops import (
    linspace as linspace,
)
from pydl.ops import (
    log as log,
)
from pydl.ops import (
    log1p as log1p,
)
from pydl.ops import (
    log_softmax as log_softmax,
)
from pydl.ops import (
    logical_and as logical_and,
)
from pydl.ops import (
    logical_not as logical_not,
)
from pydl.ops import (
    logical_or as logical_or,
)
from pydl.ops import (
    logical_xor as logical_xor,
)
from pydl.ops import (
    logsumexp as logsumexp,
)
from pydl.ops import (
    lt as lt,
)
from pydl.ops import (
    masked_fill as masked_fill,
)
from pydl.ops import (
    masked_select as masked_select,
)
from pydl.ops import (
    matmul as matmul,
)
from pydl.ops import (
    max as max,
)
from pydl.ops import (
    maximum as maximum,
)
from pydl.ops import (
    mean as mean,
)
from pydl.ops import (
    min as min,
)
from pydl.ops import (
    minimum as minimum,
)
from pydl.ops import (
    mm as mm,
)
from pydl.ops import (
    movedim as movedim,
)
from pydl.ops import (
    mul as mul,
)
from pydl.ops import (
    multinomial as multinomial,
)
from pydl.ops import (
    multiply as multiply,
)
from pydl.ops import (
    ne as ne,
)
from pydl.ops import (
    neg as neg,
)
from pydl.ops import (
    nonzero as nonzero,
)
from pydl.ops import (
    norm as norm,
)
from pydl.ops import (
    normal as normal,
)
from pydl.ops import (
    numel as numel,
)
from pydl.ops import (
    ones as ones,
)
from pydl.ops import (
    ones_like as ones_like,
)
from pydl.ops import (
    permute as permute,
)
from pydl.ops import (
    positive as positive,
)
from pydl.ops import (
    pow as pow,
)
from pydl.ops import (
    prod as prod,
)
from pydl.ops import (
    rand as rand,
)
from pydl.ops import (
    rand_like as rand_like,
)
from pydl.ops import (
    randint as randint,
)
from pydl.ops import (
    randn as randn,
)
from pydl.ops import (
    randn_like as randn_like,
)
from pydl.ops import (
    randperm as randperm,
)
from pydl.ops import (
    reciprocal as reciprocal,
)
from pydl.ops import (
    relu as relu,
)
from pydl.ops import (
    remainder as remainder,
)
from pydl.ops import (
    reshape as reshape,
)
from pydl.ops import (
    roll as roll,
)
from pydl.ops import (
    round as round,
)
from pydl.ops import (
    rsqrt as rsqrt,
)
from pydl.ops import (
    rsub as rsub,
)
from pydl.ops import (
    scatter as scatter,
)
from pydl.ops import (
    scatter_add as scatter_add,
)
from pydl.ops import (
    sigmoid as sigmoid,
)
from pydl.ops import (
    sign as sign,
)
from pydl.ops import (
    sin as sin,
)
from pydl.ops import (
    softmax as softmax,
)
from pydl.ops import (
    sort as sort,
)
from pydl.ops import (
    split as split,
)
from pydl.ops import (
    sqrt as sqrt,
)
from pydl.ops import (
    square as square,
)
from pydl.ops import (
    squeeze as squeeze,
)
from pydl.ops import (
    stack as stack,
)
from pydl.ops import (
    std as std,
)
from pydl.ops import (
    sub as sub,
)
from pydl.ops import (
    subtract as subtract,
)
from pydl.ops import (
    sum as sum,
)
from pydl.ops import (
    t as t,
)
from pydl.ops import (
    take as take,
)
from pydl.ops import (
    tanh as tanh,
)
from pydl.ops import (
    tensor as tensor,
)
from pydl.ops import (
    topk as topk,
)
from pydl.ops import (
    transpose as transpose,
)
from pydl.ops import (
    tril as tril,
)
from pydl.ops import (
    triu as triu,
)
from pydl.ops import (
    true_divide as true_divide,
)
from pydl.ops import (
    trunc as trunc,
)
from pydl.ops import (
    unbind as unbind,
)
from pydl.ops import (
    unflatten as unflatten,
)
from pydl.ops import (
    unique as unique,
)
from pydl.ops import (
    unsqueeze as unsqueeze,
)
from pydl.ops import (
    var as var,
)
from pydl.ops import (
    where as where,
)
from pydl.ops import (
    zeros as zeros,
)
from pydl.ops import (
    zeros_like as zeros_like,
)
from pydl.random import (
    Generator as Generator,
)
from pydl.random import (
    default_generator as default_generator,
)
from pydl.random import (
    get_rng_state as get_rng_state,
)
from pydl.random import (
    manual_seed as manual_seed,
)
from pydl.random import (
    set_rng_state as set_rng_state,
)
