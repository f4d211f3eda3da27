"""Named shapes, plain-NumPy baselines and the machine's limits: what `python -m pydl bench` measures."""
