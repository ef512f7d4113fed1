"""`python -m training`: demo, scan, train, evaluate, export, compare, transfer, architectures."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from vision.errors import SightlineError
from vision.image import silence_pillow


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a refusal is printed without a traceback and gives status 2, problems that `scan` finds 1."""
    parsed = _parser().parse_args(arguments)
    # Where no person looks on, nobody's window is too narrow for a table.
    console = Console(soft_wrap=True, markup=False, highlight=False, width=None if sys.stdout.isatty() else 160)
    silence_pillow()
    try:
        status = parsed.run(parsed, console)
    except SightlineError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return int(status or 0)


def _demo(parsed: argparse.Namespace, console: Console) -> None:
    from training.commands.demo import pretrain, run_demo

    if parsed.pretrain:
        pretrain(console)
    else:
        bundle = run_demo(parsed.out, parsed.seeds, parsed.budget, console)
        console.print(f"Saved {bundle.path}, digest {bundle.digest}.")


def _scan(parsed: argparse.Namespace, console: Console) -> int:
    from training.config import load_config
    from training.data.preparation import scan_data
    from training.data.report import print_report, write_report
    from training.options import overrides
    from training.progress import shown

    config = load_config(None, overrides(parsed))
    report = scan_data(parsed.data, config.split_rule, config.problem_files, shown(console, "reading"))
    print_report(report, console)
    write_report(report, parsed.report)
    console.print(f"Written to {parsed.report}.")
    return 1 if report["problems"] else 0


def _train(parsed: argparse.Namespace, console: Console) -> None:
    from training.commands.train import show_augmentation, train_bundle
    from training.config import ConfigError, load_config
    from training.evaluation.numbers import headline
    from training.options import overrides
    from vision.bundle.manifest import METRICS_FILE

    config = load_config(parsed.recipe, overrides(parsed))
    if parsed.show_augmentation:
        show_augmentation(parsed.data, config, parsed.show_augmentation, console)
        return
    if parsed.out is None:
        raise ConfigError("--out is missing; it names the model, e.g. --out models/flowers.")
    if parsed.cluster and parsed.workers == 1:
        raise ConfigError("--cluster is given and --workers is 1; say how many processes of the cluster train, e.g. --workers 4.")
    how = {"formats": parsed.formats, "resume": parsed.resume, "workers": parsed.workers, "cluster": parsed.cluster}
    bundle = train_bundle(parsed.data, parsed.out, config, console, **how)
    console.print(headline(bundle, json.loads(bundle.files[METRICS_FILE])["torch-f32"]))
    console.print(f"Saved {bundle.path}, digest {bundle.digest}.")


def _evaluate(parsed: argparse.Namespace, console: Console) -> None:
    from training.commands.evaluate import evaluate_bundle

    results = evaluate_bundle(parsed.bundle, parsed.data, parsed.engine, parsed.part, parsed.predictions, console)
    if parsed.json:
        parsed.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def _export(parsed: argparse.Namespace, console: Console) -> None:
    from training.commands.train import export_again

    bundle = export_again(parsed.bundle, parsed.data, parsed.formats, console)
    console.print(f"Saved {bundle.path}, digest {bundle.digest}.")


def _compare(parsed: argparse.Namespace, console: Console) -> None:
    from training.commands.compare import compare_architectures
    from training.options import overrides

    weights = dict(pair.split("=", 1) for pair in parsed.weights_of)
    compare_architectures(parsed.data, parsed.archs, weights, overrides(parsed), console)


def _transfer(parsed: argparse.Namespace, console: Console) -> None:
    from training.commands.transfer import transfer_table
    from training.config import load_config
    from training.options import overrides

    transfer_table(parsed.data, load_config(parsed.recipe, overrides(parsed)), parsed.scratch_learning_rate, parsed.seeds, console)


def _architectures(parsed: argparse.Namespace, console: Console) -> None:
    from training.commands.compare import list_architectures

    list_architectures(parsed.names, parsed.latency, console)


def _formats(text: str) -> list[str]:
    from training.export.conversion import FORMATS

    known = [name for name in FORMATS if name != "openvino"]
    chosen = [name for name in text.split(",") if name]
    for name in chosen:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is no format; choose from {', '.join(known)}, joined with commas")
    return chosen


def _weights_of(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not ARCH=WEIGHTS, e.g. mobilenet_v2=backbone.safetensors")
    return text


def _parser() -> argparse.ArgumentParser:
    from training.options import add_config_options, add_split_options

    parser = argparse.ArgumentParser(prog="python -m training", description="Labelled images in, a bundle out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="transfer a shipped backbone to handwritten digits; needs no data and no network")
    demo.add_argument("--out", type=Path, default=Path("models/digits"), help="where the bundle goes (default: models/digits)")
    demo.add_argument(
        "--seeds", type=int, choices=range(1, 21), default=5, metavar="1..20", help="for the runs with few labels (default: 5)"
    )
    demo.add_argument(
        "--budget", type=int, choices=range(1, 11), default=1, metavar="1..10", help="times the epochs of every run (default: 1)"
    )
    demo.add_argument("--pretrain", action="store_true", help="make the shipped backbone again instead")
    demo.set_defaults(run=_demo)

    scan = commands.add_parser("scan", help="look into every file before training; status 1 where there is a problem")
    scan.add_argument("data", type=Path, metavar="DATA", help="one folder of images a category, or train/ val/ test/ with those")
    scan.add_argument("--report", type=Path, default=Path("data_report.json"), help="where it is written (default: data_report.json)")
    add_split_options(scan)
    scan.set_defaults(run=_scan)

    train = commands.add_parser("train", help="train on a folder of labelled images: one folder a category")
    train.add_argument("data", type=Path, metavar="DATA", help="one folder of images a category, or train/ val/ test/ with those")
    train.add_argument("--out", type=Path, help="models/NAME; the version below it is chosen, and the run lies in runs/NAME/VERSION")
    train.add_argument("--resume", action="store_true", help="go on with the unfinished run of this name")
    train.add_argument(
        "--workers", type=int, default=1, choices=range(1, 65), metavar="1..64", help="processes, through Ray Train (default: 1)"
    )
    train.add_argument(
        "--cluster", metavar="HOST:PORT", help="of a running Ray cluster for the workers; its machines share DATA and --out (default: here)"
    )
    train.add_argument("--formats", type=_formats, default=[], help="int8,pt2,onnx: what the bundle brings beside OpenVINO's float32")
    train.add_argument("--show-augmentation", type=Path, metavar="FILE.png", help="write a sheet of augmented training images instead")
    add_config_options(train)
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="a bundle's numbers again, to the digit, or on other data")
    evaluate.add_argument("bundle", type=Path, metavar="BUNDLE", help="models/NAME/VERSION")
    evaluate.add_argument("data", type=Path, metavar="DATA", help="what it was trained on, or other images of the same categories")
    evaluate.add_argument("--engine", default="auto", help="auto, as the service takes it; all; or one by name, e.g. openvino-int8")
    evaluate.add_argument("--part", choices=("train", "val", "test"), default="test", help="of its own data (default: test)")
    evaluate.add_argument("--predictions", type=Path, metavar="FILE", help="one JSON line an image")
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="every number, by engine")
    evaluate.set_defaults(run=_evaluate)

    export = commands.add_parser(
        "export", help="the next version of a bundle, with more formats; each is written only if it passes its gate"
    )
    export.add_argument("bundle", type=Path, metavar="BUNDLE", help="models/NAME/VERSION")
    export.add_argument("data", type=Path, metavar="DATA", help="what it was trained on")
    export.add_argument("--formats", type=_formats, required=True, help="int8,pt2,onnx")
    export.set_defaults(run=_export)

    compare = commands.add_parser("compare", help="backbones side by side on features computed once; says which to take")
    compare.add_argument("data", type=Path, metavar="DATA")
    compare.add_argument("--archs", type=lambda text: text.split(","), required=True, help="names of architectures, joined with commas")
    compare.add_argument(
        "--weights", dest="weights_of", type=_weights_of, action="append", default=[], metavar="ARCH=WEIGHTS", help="else imagenet"
    )
    compare.add_argument("--image-px", dest="image_px", metavar="PX", help="side of the square that the networks see")
    add_split_options(compare)
    compare.set_defaults(run=_compare)

    transfer = commands.add_parser("transfer", help="frozen, fine-tuned and from scratch with the same budget, over several seeds")
    transfer.add_argument("data", type=Path, metavar="DATA")
    transfer.add_argument("--seeds", type=int, choices=range(1, 21), default=3, metavar="1..20", help="default: 3")
    transfer.add_argument("--scratch-learning-rate", type=float, metavar="RATE", help="what serves best from scratch; else the run's own")
    add_config_options(transfer)
    transfer.set_defaults(run=_transfer)

    architectures = commands.add_parser(
        "architectures", help="what can be trained: parameters, size, cost, published accuracy, latency here"
    )
    architectures.add_argument("names", nargs="*", metavar="NAME", help="else those that are featured")
    architectures.add_argument("--latency", action="store_true", help="measure one image through torch in float32 on this machine")
    architectures.set_defaults(run=_architectures)
    return parser


if __name__ == "__main__":
    sys.exit(main())
