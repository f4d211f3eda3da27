"""A detector: a small network finds shapes in noisy images, says which, and draws a box around each.

Classification says what is in an image, detection also where. The network looks once: its result is a grid of 8 x 8
cells of 8 x 8 pixels, and each cell says whether an object's centre lies in it, which class it is, where in the cell
the centre is, and how wide and high the object is. Three losses are added: binary cross-entropy for "is there one",
and, where there is one, cross-entropy for the class and smooth L1 for the box. Neighbouring cells may claim the same
object: non-maximum suppression keeps the surest of boxes that overlap. Look at mAP: at an IoU of 0.50 it asks whether
the objects are found, at 0.75 how well the boxes sit.
"""

import argparse
import os

import numpy as np

import pydl
import pydl.nn.functional as F
from pydl import metrics, nn, optim, plot
from pydl.boxes import batched_nms, box_convert, clip_boxes_to_image
from pydl.data import DataLoader, TensorDataset

CLASSES = ("disc", "square", "triangle")
SIDE, CELL = 64, 8
GRID = SIDE // CELL
USUAL = 16.0  # pixels: sizes are predicted as the logarithm of their ratio to this


def draw_image(rng):
    """Return an image (3, 64, 64) of one to four shapes in any colours on noise, their boxes and their classes."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    background = rng.uniform(0.2, 0.8, (3, 1, 1))
    image = background + 0.06 * rng.standard_normal((3, SIDE, SIDE))
    boxes, labels, wanted = [], [], rng.integers(1, 5)
    for _ in range(40):
        label, (width, height) = rng.integers(3), rng.uniform(10, 28, 2)
        if label < 2:
            height = width
        left, top = rng.uniform(1, SIDE - 1 - np.array([width, height]))
        box = np.array([left, top, left + width, top + height])
        near = [b for b in boxes if (box[:2] < b[2:] - 3).all() and (b[:2] < box[2:] - 3).all()]
        if near:
            continue
        across, down = (x - left) / width - 0.5, (y - top) / height
        inside = (
            np.hypot(across, down - 0.5) < 0.5,
            np.maximum(abs(across), abs(down - 0.5)) < 0.5,
            (abs(across) < down / 2) & (down < 1),
        )[label]
        colour = (background[..., 0] + rng.uniform(0.3, 0.7, (3, 1))) % 1  # another one than the background's
        image[:, inside] = colour + 0.05 * rng.standard_normal((3, inside.sum()))
        boxes.append(box)
        labels.append(label)
        if len(boxes) == wanted:
            break
    return image.clip(0, 1), np.array(boxes), np.array(labels)


def make_set(count, seed):
    """Return images (N, 3, 64, 64) and a dict of boxes and labels for each."""
    rng = np.random.default_rng(seed)
    drawn = [draw_image(rng) for _ in range(count)]
    images = pydl.tensor(np.array([image for image, _, _ in drawn]), dtype=pydl.float32)
    return images, [{"boxes": boxes, "labels": labels} for _, boxes, labels in drawn]


def encode(targets):
    """Return for each cell whether a centre lies in it, the class, and place and size as the network gives them."""
    there = np.zeros((len(targets), GRID, GRID), np.float32)
    labels = np.zeros(there.shape, np.int64)
    places = np.zeros((*there.shape, 4), np.float32)
    for number, target in enumerate(targets):
        for box, label in zip(box_convert(target["boxes"], "xyxy", "cxcywh").numpy(), target["labels"], strict=True):
            column, row = (box[:2] // CELL).astype(int)
            there[number, row, column], labels[number, row, column] = 1, label
            places[number, row, column, :2] = box[:2] / CELL - (column + 0.5, row + 0.5)
            places[number, row, column, 2:] = np.log(box[2:] / USUAL)
    return pydl.tensor(there), pydl.tensor(labels), pydl.tensor(places)


def decode(output, least=0.05):
    """Return the boxes, labels and scores that the network's output (N, 8, 8, 8) stands for, the best score first."""
    grid = pydl.arange(GRID).float() + 0.5
    output = output.permute(0, 2, 3, 1)
    x = CELL * (output[..., 4] + grid)
    y = CELL * (output[..., 5] + grid.unsqueeze(1))
    width, height = USUAL * output[..., 6].exp(), USUAL * output[..., 7].exp()
    corners = box_convert(pydl.stack([x, y, width, height], 3), "cxcywh", "xyxy")
    corners = clip_boxes_to_image(corners, (SIDE, SIDE)).reshape(len(output), -1, 4)
    classes = output[..., 1:4].softmax(3).reshape(len(output), -1, len(CLASSES))
    scores = output[..., 0].sigmoid().reshape(len(output), -1) * classes.amax(2)
    found = []
    for box, score, label in zip(corners, scores, classes.argmax(2), strict=True):
        likely = (score > least).nonzero()[:, 0]
        box, score, label = box[likely], score[likely], label[likely]
        kept = batched_nms(box, score, label, 0.5)
        found.append({"boxes": box[kept], "labels": label[kept], "scores": score[kept]})
    return found


def make_model():
    def block(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *(*block(3, 16), nn.MaxPool2d(2)),
        *(*block(16, 32), nn.MaxPool2d(2)),
        *(*block(32, 64), nn.MaxPool2d(2)),
        *block(64, 64),
        nn.Conv2d(64, 1 + len(CLASSES) + 4, 1),
    )


def loss_of(output, there, labels, places):
    """Return the three losses of a batch: is there an object, which, and where."""
    output = output.permute(0, 2, 3, 1)
    is_there = F.binary_cross_entropy_with_logits(output[..., 0], there)
    cells = (there.reshape(-1) > 0).nonzero()[:, 0]
    found = output.reshape(-1, output.shape[3]).index_select(0, cells)
    which = F.cross_entropy(found[:, 1:4], labels.reshape(-1)[cells])
    where = F.smooth_l1_loss(found[:, 4:], places.reshape(-1, 4)[cells], beta=0.1)
    return 10 * is_there, which, 4 * where


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the picture goes")
    parser.add_argument("--images", type=int, default=1600, help="for training (%(default)s)")
    parser.add_argument("--test", type=int, default=300, help="for testing (%(default)s)")
    parser.add_argument("--epochs", type=int, default=16, help="(%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)
    pydl.manual_seed(0)

    images, targets = make_set(options.images, seed=1)
    test_images, test_targets = make_set(options.test, seed=2)
    loader = DataLoader(TensorDataset(images, *encode(targets)), batch_size=32, shuffle=True)
    model = make_model()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.epochs * len(loader))
    losses = {"is there one": [], "which": [], "where": []}
    for epoch in range(options.epochs):
        sums = [0.0, 0.0, 0.0]
        for batch, *truth in loader:
            optimizer.zero_grad()
            parts = loss_of(model(batch), *truth)
            sum(parts).backward()
            optimizer.step()
            schedule.step()
            sums = [total + part.item() / len(loader) for total, part in zip(sums, parts, strict=True)]
        for name, value in zip(losses, sums, strict=True):
            losses[name].append(value)
        if epoch % 5 == 4 or epoch + 1 == options.epochs:
            parts = ", ".join(f"{name} {values[-1]:.3f}" for name, values in losses.items())
            print(f"epoch {epoch + 1}: losses: {parts}")

    model.eval()
    with pydl.no_grad():
        found = [each for batch in test_images.split(100) for each in decode(model(batch))]
    result, voc = metrics.coco_ap(found, test_targets), metrics.voc_ap(found, test_targets)
    by_class = ", ".join(f"{CLASSES[label]} {value:.3f}" for label, value in result.by_class.items())
    print(f"mAP {result.map:.3f} ({by_class}), at IoU 0.50 {result.map_50:.3f}, at 0.75 {result.map_75:.3f} (COCO)")
    print(f"mAP at IoU 0.50 by VOC's rules: {voc.map:.3f}")

    figure = plot.new_figure(9.6, 6.7)
    for number, axes in enumerate(figure.subplots(2, 3).flat[: len(test_images)]):
        sure = found[number]["scores"] > 0.3
        seen = {name: values[sure] for name, values in found[number].items()}
        plot.boxes(test_images[number], **seen, truth=test_targets[number]["boxes"], names=CLASSES, axes=axes)
    heading = f"Shapes found in test images (true boxes dashed): mAP at IoU 0.50 is {result.map_50:.2f}"
    figure.suptitle(heading, fontsize=12, x=0.01, ha="left")
    path = plot.save(figure, os.path.join(options.out, "detector.png"))
    print(f"picture: {path}")
    return {"coco": result, "voc": voc, "losses": losses, "found": found, "targets": test_targets}


if __name__ == "__main__":
    main()
