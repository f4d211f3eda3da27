"""Layers, losses and containers: parameters and composition, under PyTorch's names."""

from typing import TYPE_CHECKING, Any

from pydl.nn import functional as functional, init as init, utils as utils
from pydl.nn.activation import (
    ELU as ELU,
    GELU as GELU,
    Hardsigmoid as Hardsigmoid,
    Hardswish as Hardswish,
    Hardtanh as Hardtanh,
    LeakyReLU as LeakyReLU,
    LogSigmoid as LogSigmoid,
    LogSoftmax as LogSoftmax,
    Mish as Mish,
    PReLU as PReLU,
    ReLU as ReLU,
    ReLU6 as ReLU6,
    Sigmoid as Sigmoid,
    SiLU as SiLU,
    Softmax as Softmax,
    Softplus as Softplus,
    Tanh as Tanh,
)
from pydl.nn.batchnorm import BatchNorm1d as BatchNorm1d, BatchNorm2d as BatchNorm2d
from pydl.nn.container import (
    ModuleDict as ModuleDict,
    ModuleList as ModuleList,
    ParameterList as ParameterList,
    Sequential as Sequential,
)
from pydl.nn.conv import Conv1d as Conv1d, Conv2d as Conv2d
from pydl.nn.conv_transpose import ConvTranspose1d as ConvTranspose1d, ConvTranspose2d as ConvTranspose2d
from pydl.nn.dropout import Dropout as Dropout, Dropout1d as Dropout1d, Dropout2d as Dropout2d
from pydl.nn.embedding import Embedding as Embedding
from pydl.nn.layernorm import (
    GroupNorm as GroupNorm,
    InstanceNorm2d as InstanceNorm2d,
    LayerNorm as LayerNorm,
    LocalResponseNorm as LocalResponseNorm,
)
from pydl.nn.linear import Flatten as Flatten, Identity as Identity, Linear as Linear, Unflatten as Unflatten
from pydl.nn.loss import (
    BCELoss as BCELoss,
    BCEWithLogitsLoss as BCEWithLogitsLoss,
    CrossEntropyLoss as CrossEntropyLoss,
    HuberLoss as HuberLoss,
    KLDivLoss as KLDivLoss,
    L1Loss as L1Loss,
    MSELoss as MSELoss,
    MultiMarginLoss as MultiMarginLoss,
    NLLLoss as NLLLoss,
    SmoothL1Loss as SmoothL1Loss,
    SVMLoss as SVMLoss,
)
from pydl.nn.module import Module as Module
from pydl.nn.parameter import Parameter as Parameter
from pydl.nn.pooling import (
    AdaptiveAvgPool1d as AdaptiveAvgPool1d,
    AdaptiveAvgPool2d as AdaptiveAvgPool2d,
    AvgPool1d as AvgPool1d,
    AvgPool2d as AvgPool2d,
    MaxPool1d as MaxPool1d,
    MaxPool2d as MaxPool2d,
)
from pydl.nn.recurrent import (
    GRU as GRU,
    LSTM as LSTM,
    RNN as RNN,
    GRUCell as GRUCell,
    LSTMCell as LSTMCell,
    RNNBase as RNNBase,
    RNNCell as RNNCell,
    RNNCellBase as RNNCellBase,
)
from pydl.nn.resize import (
    ConstantPad2d as ConstantPad2d,
    ReflectionPad2d as ReflectionPad2d,
    ReplicationPad2d as ReplicationPad2d,
    Upsample as Upsample,
    ZeroPad2d as ZeroPad2d,
)
from pydl.nn.syncbatchnorm import SyncBatchNorm as SyncBatchNorm
from pydl.suggest import no_attribute as _no_attribute

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise _no_attribute("pydl.nn", globals(), name)
