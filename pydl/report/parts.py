"""The parts of a report, each as HTML, or "" where a run has nothing of it to show; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from pydl import metrics, plot
from pydl.cost.table import short, times
from pydl.native import Array
from pydl.nn import Module
from pydl.report.answers import Answers
from pydl.report.vector import picture, svg

if TYPE_CHECKING:
    from pydl.cost import Summary
    from pydl.profiler import Profile

_CELLS = 20  # classes up to which the confusion is a table
_LAYERS = 12  # histograms drawn of a model
_OPS = 15  # rows of a step's table
_SHARES = ("accuracy", "precision", "recall", "f1", "iou")


def tiles(history: Sequence[Mapping[str, float]], summary: Summary | None) -> str:
    """Return the figures that matter most, large."""
    last = history[-1]
    found = []
    for name, value in last.items():
        if name in ("epoch", "lr", "seconds"):
            continue
        values = [entry[name] for entry in history]
        less = name.endswith("loss")
        best = min(values) if less else max(values)
        note = f"best {_figure(name, best)} in epoch {values.index(best) + 1}" if len(values) > 1 else "after one epoch"
        found.append((_figure(name, value), f"{name.replace('_', ' ')}; {note}"))
    seconds = sum(entry["seconds"] for entry in history)
    count = len(history)
    found.append((_duration(seconds), f"of training, {count} epoch{'s'[: count > 1]} of {_duration(seconds / count)}"))
    if summary is not None:
        total = summary.total
        found.append((short(total.weights + summary.unused), f"weights; {short(total.forward.macs)} MACs for a sample"))
    boxes = [f'<div class="tile"><b>{escape(value)}</b><span>{escape(text)}</span></div>' for value, text in found]
    return f'<div class="tiles">{"".join(boxes)}</div>'


def learning(history: Sequence[Mapping[str, float]]) -> str:
    """Return curves of all figures, and the figures themselves."""
    names = [name for name in history[0] if name not in ("epoch", "seconds", "lr")]
    panels = [
        ("loss", [name for name in names if name.endswith("loss")]),
        ("metrics", [name for name in names if not name.endswith("loss")]),
        ("learning rate", ["lr"]),
    ]
    panels = [panel for panel in panels if panel[1]]
    figure = plot.new_figure(10.6, 3.1)
    epochs = [int(entry["epoch"]) for entry in history]
    for axes, (heading, chosen) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        curves = {name.replace("_", " "): (epochs, [entry[name] for entry in history]) for name in chosen}
        alone = len(curves) == 1 and heading == "metrics"
        plot.lines(curves, xlabel="epoch", heading=next(iter(curves)) if alone else heading, axes=axes)
        if all(_is_share(name) for name in chosen):
            axes.yaxis.set_major_formatter("{x:.0%}")
    rows = [[f"{entry['epoch']:.0f}", *[_figure(n, entry[n]) for n in (*names, "lr", "seconds")]] for entry in history]
    header = ["epoch", *[name.replace("_", " ") for name in names], "learning rate", "seconds"]
    drawn = svg(figure, "curves", "Loss, metrics and learning rate over the epochs")
    return _section("Learning", drawn, "<h3>Each epoch</h3>", _grid(header, rows))


def confusion(answers: Answers | None, names: Sequence[str] | None) -> str:
    """Return how often each class was taken for each, and each class's precision and recall."""
    if answers is None:
        return ""
    matrix, classes = answers.matrix, len(answers.matrix)
    words = [str(number) for number in range(classes)] if names is None else list(names)
    wrong = int(matrix.sum() - np.trace(matrix))
    text = (
        f"<p>{wrong:,} of {int(matrix.sum()):,} wrong after the last epoch. Rows are true classes, columns are answers."
        "</p>"
    )
    if classes <= _CELLS:
        drawn = _matrix(matrix, words)
    else:
        figure = plot.confusion(matrix, names=words if classes <= 60 else None)
        drawn = svg(figure, "confusion", f"Confusion matrix of {classes} classes")
    found = metrics.precision_recall_f1(matrix)
    columns = [np.asarray(each).tolist() for each in (found.precision, found.recall, found.f1, found.support)]
    rows = [
        [name, f"{p:.1%}", f"{r:.1%}", f"{f:.3f}", f"{n:,}"] for name, p, r, f, n in zip(words, *columns, strict=True)
    ]
    grid = _grid(["class", "precision", "recall", "F1", "samples"], rows)
    return _section("What it takes for what", text, f'<div class="pair"><div>{drawn}</div><div>{grid}</div></div>')


def mistakes(answers: Answers | None, names: Sequence[str] | None) -> str:
    """Return the images that the model is most sure about and wrong."""
    if answers is None or not answers.mistakes:
        return ""

    def name(number: int) -> str:
        return str(number) if names is None else names[number]

    faces = []
    for each in answers.mistakes:
        text = f"{name(each.label)}, taken for {name(each.answer)}"
        image = picture(each.image, text)
        faces.append(
            f"<figure>{image}<figcaption>{escape(name(each.label))},<br />not {escape(name(each.answer))}<br />"
            f'<span class="soft">{each.sure:.0%} sure</span></figcaption></figure>'
        )
    return _section("The worst mistakes", f'<div class="faces">{"".join(faces)}</div>')


def weights(model: Module, batch: Any) -> str:
    """Return first-layer filters, what comes out of the layers, and their weights."""
    drawn = []
    kernels = next((p for _, p in model.named_parameters() if p.ndim == 4 and p.shape[2] * p.shape[3] > 1), None)
    if kernels is not None:
        figure = plot.filters(kernels.detach()[:64])
        width = figure.get_size_inches()[0]
        drawn.append(f'<div style="max-width: {min(100 * width, 700):.0f}px">{svg(figure, "filters", "Filters")}</div>')
    if batch is not None:
        figure = plot.activations(model, batch, most=_LAYERS)
        drawn.append(svg(figure, "activations", "Histograms of what comes out of each layer"))
    if any(p.ndim > 1 for p in model.parameters()):
        drawn.append(svg(plot.weights(model, most=_LAYERS), "weights", "Histograms of weights and gradients"))
    return _section("What it has learned", *[f"<p></p>{each}" for each in drawn]) if drawn else ""


def model(summary: Summary | None) -> str:
    """Return what each layer costs."""
    if summary is None:
        return ""
    header = ["layer", "type", "output", "weights", "MACs", "share", "bytes", "MACs back", "bytes back"]
    rows = [*summary.rows, summary.total]
    macs = summary.total.forward.macs + summary.total.backward.macs or 1
    cells = []
    for row in rows:
        ahead, back = row.forward, row.backward
        share = f"{(ahead.macs + back.macs) / macs:.0%}"
        numbers = [
            short(row.weights),
            short(ahead.macs),
            share,
            short(ahead.bytes),
            short(back.macs),
            short(back.bytes),
        ]
        cells.append([row.name, row.type, times(row.output), *numbers])
    cells[-1][:3] = ["all", "", ""]
    text = f'<p class="soft">{escape(summary.model)} on {", ".join(map(times, summary.input))}; back: the gradients</p>'
    return _section("Model", text, _grid(header, cells[:-1], cells[-1], words=3))


def step(profile: Profile | None) -> str:
    """Return what a training step's time goes to."""
    if profile is None:
        return ""
    drawn = svg(plot.timeline(profile), "timeline", "Timeline of one training step")
    rates = ["ms", "GFLOP/s", "of limit"]
    header = ["op", "calls", "share", *rates, *[f"back {rate}" for rate in rates]]
    rows = []
    for row in profile.ops[:_OPS]:
        cells = [row.name, str(row.calls), f"{row.share:.0%}"]
        for part in (row.forward, row.backward):
            cells += [""] * 3 if part is None else [f"{part.ms:.3f}", f"{part.gflops:.1f}", f"{part.share:.0%}"]
        rows.append(cells)
    count = len(profile.steps)
    host = profile.machine
    text = (
        f'<p class="soft">Ops of {count} steps, those that took longest first; back: their gradients. Limits, as '
        f"measured: {host['peak_gflops']:.0f} GFLOP/s, {host['bandwidth_gbs']:.1f} GB/s; caches and Winograd's "
        "convolutions go above them.</p>"
    )
    return _section("One step", drawn, "<h3>Where the time goes</h3>", text, _grid(header, rows))


def table(heading: str, entries: Mapping[str, Any]) -> str:
    """Return names and values."""
    rows = [
        f"<tr><td>{escape(str(name).replace('_', ' '))}</td><td>{escape(str(value))}</td></tr>"
        for name, value in entries.items()
    ]
    return _section(heading, f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>') if rows else ""


def machine(host: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is worth to know of the machine, of a report of :mod:`pydl.config`."""
    versions = ", ".join(f"{name} {version}" for name, version in host["versions"].items())
    threads, sets = host["threads"], host["instruction_sets"]
    return {
        "CPU": host["cpu"],
        "kernels": f"{sets['chosen']} of {', '.join(sets['usable'])}",
        "threads": f"{threads['chosen']}, on {threads['affinity']} CPUs",
        "system": host["system"],
        "compiler": host["compiler"],
        "versions": versions,
    }


def going_on(resume: str, again: Iterable[tuple[str, str]]) -> str:
    """Return commands."""
    found = [("To go on where it was ended, or for more epochs:", resume)] if resume else []
    lines = [f"<p>{escape(text)}</p><pre>{escape(command)}</pre>" for text, command in [*found, *again]]
    return _section("How to go on", *lines) if lines else ""


def _section(heading: str, *inner: str) -> str:
    return "\n".join([f"<section><h2>{escape(heading)}</h2>", *inner, "</section>"])


def _grid(
    header: Sequence[str], rows: Sequence[Sequence[str]], foot: Sequence[str] | None = None, *, words: int = 1
) -> str:
    """Return a table; its first columns hold words, the others numbers."""

    def line(cells: Sequence[str], tag: str) -> str:
        texts = [
            f'<{tag} class="word">{escape(cell)}</{tag}>' if i < words else f"<{tag}>{escape(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(texts)}</tr>"

    below = f"<tfoot>{line(foot, 'td')}</tfoot>" if foot is not None else ""
    inner = "".join([line(row, "td") for row in rows])
    return f'<div class="scroll"><table><thead>{line(header, "th")}</thead><tbody>{inner}</tbody>{below}</table></div>'


def _matrix(matrix: Array, names: Sequence[str]) -> str:
    """Return a confusion matrix as a table with coloured cells: right answers blue, mistakes orange."""
    head = "".join([f"<th>{escape(name)}</th>" for name in names])
    lines = []
    for row, name in enumerate(names):
        whole = max(1, int(matrix[row].sum()))
        cells = []
        for column in range(len(names)):
            count = int(matrix[row, column])
            share = count / whole
            strength = 0.75 * share if row == column else min(0.75, 0.12 + 2.5 * share) if count else 0
            colour = "right" if row == column else "wrong"
            style = f' style="background: rgba(var(--{colour}), {strength:.2f})"' if strength else ""
            cells.append(f"<td{style}>{count or ''}</td>")
        lines.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _is_share(name: str) -> bool:
    return any(name == share or name.endswith(f"_{share}") for share in _SHARES)


def _figure(name: str, value: float) -> str:
    if _is_share(name):
        return f"{value:.2%}"
    return f"{value:.1f}" if name == "seconds" and value >= 100 else f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
