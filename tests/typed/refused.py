"""Mistakes that `mypy --strict` finds before anything runs; each comment is the error it gives."""

import pydl
from pydl import metrics, nn, optim, plot
from pydl.data import DataLoader, digits
from pydl.nn import functional as F
from pydl.train import Trainer

model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
optimizer = optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(digits(), batch_size=50)
x = pydl.ones(2, 784)

nn.Linear("784", 10)  # E: arg-type
nn.Conv2d(1, 8)  # E: call-arg
nn.Conv2d(1, 8, 3, pading=1)  # E: call-arg
nn.Linear(784, 10)([1.0, 2.0])  # E: arg-type
nn.ReLU()(x, x)  # E: call-arg
nn.CrossEntropyLoss()(x)  # E: call-arg
nn.con2d(1, 8, 3)  # E: attr-defined
F.cross_entropy(x)  # E: call-arg
F.relu(1.0)  # E: arg-type
pydl.onse(2)  # E: attr-defined
x.relo()  # E: attr-defined
number: float = x.sum()  # E: assignment
optim.SGD(0.1, model.parameters())  # E: arg-type
optim.SGD(model.parameters(), rate=0.1)  # E: call-arg
Trainer(model, "softmax", optimizer)  # E: arg-type
Trainer(model, nn.CrossEntropyLoss(), optimizer).fit(loader)  # E: call-arg
Trainer(model, nn.CrossEntropyLoss(), optimizer).fit(loader, epochs="3")  # E: arg-type
metrics.accuracy(x)  # E: call-arg
plot.confusion([[1, 0], [0, 1]])  # E: arg-type
