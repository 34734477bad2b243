"""The command line: `python -m eva_helpers.predict`, also `eva-helpers predict`."""

import argparse
import os
import sys

from eva_helpers.files import command_line
from eva_helpers.predict.predictor import Predictor, load_pair, output_files


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Predict mask and depth of an object from two photos."""
    parser = argparse.ArgumentParser("python -m eva_helpers.predict", description=main.__doc__)
    add = parser.add_argument
    add("--background", required=True, help="photo of the empty scene")
    add("--image", required=True, help="photo of the same scene with the object")
    add("--out", default="prediction", help="folder for the three PNG files (default: %(default)s)")
    add("--weights", help="weights file (default: the shipped one)")
    add("--resize", action="store_true", help="stretch a background of another shape")
    add("--align", action="store_true", help="move and brighten the background to match the image")
    options = parser.parse_args(arguments)
    os.environ.setdefault("MPLBACKEND", "agg")  # a command line needs no window
    pair = load_pair(options.background, options.image, force=options.resize)
    predictor = Predictor.load(options.weights)
    output_files(options.out)  # refused before the prediction
    prediction = predictor(*pair, align=options.align)
    if prediction.check.problems:
        label = "aligned" if options.align and prediction.check.same_place else "warning"
        print(f"{label}: {prediction.check.verdict}", file=sys.stderr)
    for path in prediction.save(options.out):
        print(path)
