"""Layers, losses and containers: parameters and composition, under PyTorch's names."""

from pydl.nn import functional as functional, init as init, utils as utils
from pydl.nn.activation import (
    ELU as ELU,
    GELU as GELU,
    Hardtanh as Hardtanh,
    LeakyReLU as LeakyReLU,
    LogSoftmax as LogSoftmax,
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
from pydl.nn.dropout import Dropout as Dropout, Dropout2d as Dropout2d
from pydl.nn.linear import Flatten as Flatten, Identity as Identity, Linear as Linear, Unflatten as Unflatten
from pydl.nn.loss import (
    BCELoss as BCELoss,
    BCEWithLogitsLoss as BCEWithLogitsLoss,
    CrossEntropyLoss as CrossEntropyLoss,
    L1Loss as L1Loss,
    MSELoss as MSELoss,
    MultiMarginLoss as MultiMarginLoss,
    NLLLoss as NLLLoss,
    SmoothL1Loss as SmoothL1Loss,
    SVMLoss as SVMLoss,
)
from pydl.nn.module import Module as Module
from pydl.nn.parameter import Parameter as Parameter
from pydl.nn.pooling import AdaptiveAvgPool2d as AdaptiveAvgPool2d, AvgPool2d as AvgPool2d, MaxPool2d as MaxPool2d
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
