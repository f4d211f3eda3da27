"""Hardware for deep learning: which limit of the machine binds each layer, and where an accelerator spends its energy.

A layer takes as long as its operations at the machine's peak or its bytes at the memory's bandwidth, whichever is
longer: the roofline. `cost.roofline` measures both limits and each layer. Moving data costs energy, too, far more than
computing: `cost.energy` is the survey's model of an accelerator (not a measurement, and not of this CPU), for numbers
of any width. Look at which layers lie under the slope, and at what fewer bits save.
"""

import argparse
import os

from pydl import cost, models, plot


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="pydl-examples", metavar="FOLDER", help="where the pictures go")
    parser.add_argument("--model", default="mobilenet_v2", choices=sorted(models.MODELS), help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="images at a time (%(default)s)")
    options = parser.parse_args(argv)
    os.makedirs(options.out, exist_ok=True)

    shape, classes = models.MADE_FOR.get(options.model, ((1, 28, 28), 10))
    model = models.build(options.model, shape, classes)
    measured = cost.roofline(model, (options.batch, *shape))
    pictures = [plot.save(plot.layers_roofline(measured), os.path.join(options.out, "hardware-roofline.png"))]
    bound = sum(row.forward.ms for row in measured.rows if row.forward.bound == "memory")
    every = sum(row.forward.ms for row in measured.rows)
    print(f"{options.model}, {options.batch} images: {bound / every:.0%} of the time in layers that memory bounds")

    energy = cost.energy(model, (options.batch, *shape))
    for number, total in energy.totals.items():
        print(f"{number:8s} {total / energy.totals['float32']:.0%} of the energy of float32, in the model")
    pictures.append(plot.save(plot.layers_energy(energy), os.path.join(options.out, "hardware-energy.png")))
    print(f"pictures: {', '.join(pictures)}")
    return {"energy": energy.totals, "bound": bound / every, "rows": len(measured.rows)}


if __name__ == "__main__":
    main()
