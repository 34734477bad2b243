"""The command line: `python -m eva_helpers.predict`, also `eva-helpers predict`."""

import argparse
import os
import sys

from eva_helpers.files import InputError, command_line
from eva_helpers.images import size_text
from eva_helpers.predict.predictor import Predictor, load_pair, output_files
from eva_helpers.shards import shard

SHOWN = 3  # images with problems that are named; the list has all
FOR_MANY = ("outputs", "new_background", "smooth", "shard")


@command_line
def main(arguments: list[str] | None = None) -> int:
    """Predict mask and depth of an object from two photos, or from many and one background."""
    parser = argparse.ArgumentParser("python -m eva_helpers.predict", description=main.__doc__)
    add = parser.add_argument
    add("--background", required=True, help="photo of the empty scene")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--image", help="photo of the same scene with the object")
    which.add_argument("--images", help="many: a folder, a pattern in quotes, or a video")
    add("--out", default="prediction", help="folder for what is written (default: %(default)s)")
    add("--weights", help="weights file (default: the shipped one)")
    add("--resize", action="store_true", help="stretch a background of another shape")
    add("--align", action="store_true", help="move and brighten the background to match the image")
    many = parser.add_argument_group("with --images")
    many.add_argument(
        "--outputs", nargs="+", choices=("mask", "depth", "cutout", "replaced"),
        help="what is written, a folder each (default: mask depth)",
    )  # fmt: skip
    many.add_argument("--new-background", help="photo behind the object, for replaced")
    many.add_argument("--smooth", type=float, help="moving average over time: 0 (off) to below 1")
    many.add_argument("--shard", type=shard, help="part I/N of the images, for several machines")
    options = parser.parse_args(arguments)
    os.environ.setdefault("MPLBACKEND", "agg")  # a command line needs no window
    if options.images:
        return _many(options)
    given = [f"--{name.replace('_', '-')}" for name in FOR_MANY if getattr(options, name)]
    if given:
        raise InputError(f"{', '.join(given)} needs --images: with --image there is one photo.")
    pair = load_pair(options.background, options.image, force=options.resize)
    predictor = Predictor.load(options.weights)
    output_files(options.out)  # refused before the prediction
    print(f"predicting {options.image}, {size_text(pair[1])} px ...", file=sys.stderr)
    prediction = predictor(*pair, align=options.align)
    if prediction.check.problems:
        label = "aligned" if options.align and prediction.check.same_place else "warning"
        print(f"{label}: {prediction.check.verdict}", file=sys.stderr)
    for path in prediction.save(options.out):
        print(path)
    return 0


def _many(options: argparse.Namespace) -> int:
    """Predict many images; exit status 2 if one was refused."""
    from eva_helpers.predict.many import predict_many  # slow to import

    report = predict_many(
        options.background, options.images, options.out,
        outputs=options.outputs or ("mask", "depth"), replacement=options.new_background,
        weights=options.weights, resize=options.resize, align=options.align,
        smooth=options.smooth or 0.0, shard=options.shard,
    )  # fmt: skip
    for kind, found in (("warning", report.problems), ("refused", report.refused)):
        for name, sentence in list(found.items())[:SHOWN]:
            print(f"{kind}: {name}: {sentence}", file=sys.stderr)
        if len(found) > SHOWN:
            print(f"{kind}: {len(found) - SHOWN} more, see images.csv", file=sys.stderr)
    for note in report.notes:
        print(note, file=sys.stderr)
    print(
        f"{report.predicted} images predicted, {report.known} known before, "
        f"{len(report.refused)} refused: {options.out}"
    )
    return 2 if report.refused else 0
