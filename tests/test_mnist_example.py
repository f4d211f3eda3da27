"""The well-known MNIST script's parts, written for PyTorch's names: only the imports and the data are pydl's."""

from __future__ import annotations

import pytest

import pydl as torch
import pydl.nn as nn
import pydl.nn.functional as F
import pydl.optim as optim
from pydl.data import DataLoader, TensorDataset, digits
from pydl.optim.lr_scheduler import StepLR


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.conv1(x)
        x = F.relu(x)
        x = self.conv2(x)
        x = F.relu(x)
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = self.fc1(x)
        x = F.relu(x)
        x = self.dropout2(x)
        x = self.fc2(x)
        return F.log_softmax(x, dim=1)


def train(model, device, train_loader, optimizer):
    model.train()
    losses = []
    for data, target in train_loader:
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test(model, device, test_loader):
    model.eval()
    test_loss = 0
    correct = 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    return test_loss / len(test_loader.dataset), correct / len(test_loader.dataset)


test.__test__ = False  # the script's own name for it


@pytest.mark.check
def test_the_script_learns():
    torch.manual_seed(1)
    device = torch.device("cpu")
    images, labels = digits(train=True).tensors
    loader = DataLoader(TensorDataset(images[::2], labels[::2]), batch_size=25, shuffle=True)
    test_loader = DataLoader(digits(train=False), batch_size=500)
    model = Net().to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    for _ in range(2):
        losses = train(model, device, loader, optimizer)
        scheduler.step()
    loss, accuracy = test(model, device, test_loader)
    assert losses[-1] < 1
    assert loss < 0.5
    assert accuracy > 0.85
