"""A page that goes through a computational graph step by step: the values forward, then the gradients back."""

from __future__ import annotations

import json
from html import escape

from pydl.plot.expression import Expression

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>TITLE</title>
<style>
:root { color-scheme: light dark; --back: #f3f4f6; --front: #fff; --text: #22262b; --soft: #6b7280; --mark: #1f5fa8; }
@media (prefers-color-scheme: dark) {
  :root { --back: #0c0f13; --front: #14181e; --text: #e8eaed; --soft: #9aa3af; --mark: #7db7f5; } }
body { margin: 0; padding: 1.5rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 "Helvetica Neue", Helvetica, Arial, sans-serif; }
main { max-width: 80rem; margin: 0 auto; }
h1 { font-size: 1.25rem; margin: 0 0 1rem; }
figure { margin: 0; background: var(--front); border-radius: 10px; padding: .5rem; overflow: auto; }
figure svg { display: block; margin: 0 auto; max-width: 100%; height: auto; min-width: min(100%, 40rem); }
nav { display: flex; gap: .5rem; align-items: center; margin: 1rem 0 .5rem; flex-wrap: wrap; }
button { font: inherit; padding: .35rem .9rem; border-radius: 8px; border: 1px solid var(--soft);
  background: var(--front); color: var(--text); cursor: pointer; }
button:disabled { opacity: .4; cursor: default; }
button:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
#count { color: var(--soft); margin-left: .5rem; }
#told { min-height: 3em; font-size: 1.05rem; margin: .5rem 0; }
#keys { color: var(--soft); font-size: .85rem; }
[data-at] { transition: opacity .25s; }
[data-at].later { opacity: 0; }
[data-at].fresh { font-weight: bold; }
.now .box { stroke: var(--mark) !important; stroke-width: 3 !important; }
</style>
</head>
<body>
<main>
<h1>TITLE</h1>
<figure>
SVG
</figure>
<nav aria-label="Steps">
<button id="first">First</button><button id="back">Previous</button><button id="next">Next</button>
<button id="last">Last</button><span id="count"></span>
</nav>
<p id="told" aria-live="polite"></p>
<p id="keys">Keys: right and left arrow, Home, End.</p>
</main>
<script>
const steps = STEPS, turn = TURN;
const find = name => document.getElementById(name);
let step = 0;
function show(wanted) {
  step = Math.max(0, Math.min(steps.length - 1, wanted));
  for (const mark of document.querySelectorAll("[data-at]")) {
    const at = Number(mark.dataset.at);
    mark.classList.toggle("later", at > step);
    mark.classList.toggle("fresh", at === step);
  }
  for (const item of document.querySelectorAll("[data-passed]")) {
    const at = step < turn ? item.dataset.forward : item.dataset.passed;
    item.classList.toggle("now", Number(at) === step);
  }
  find("told").textContent = steps[step];
  find("count").textContent = `step ${step + 1} of ${steps.length}, ${step < turn ? "forward" : "back"}`;
  find("first").disabled = find("back").disabled = step === 0;
  find("last").disabled = find("next").disabled = step === steps.length - 1;
}
const moves = { first: () => 0, back: () => step - 1, next: () => step + 1, last: () => steps.length - 1 };
for (const name in moves) find(name).onclick = () => show(moves[name]());
const keys = { ArrowRight: "next", ArrowLeft: "back", Home: "first", End: "last" };
addEventListener("keydown", event => {
  if (!(event.key in keys) || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  show(moves[keys[event.key]]());
});
show(0);
</script>
</body>
</html>
"""


def page(graph: Expression, svg: str) -> str:
    """Return the page as text; it loads nothing.

    Args:
        graph: What it goes through.
        svg: The picture of it.
    """
    steps = json.dumps([step.replace("-", "\u2212") for step in graph.steps]).replace("</", "<\\/")
    title = f"Backpropagation through {escape(graph.items[-1].text)}, step by step"
    parts = {"TITLE": title, "STEPS": steps, "TURN": str(graph.turn), "SVG": svg}
    text = _PAGE
    for word, part in parts.items():
        text = text.replace(word, part)
    return text
