"""The command `eva-helpers`, also `python -m eva_helpers`: see COMMANDS."""

import importlib
import sys

COMMANDS = {
    "predict": ("eva_helpers.predict.cli", "mask and depth from two photos, or many"),
    "export": ("eva_helpers.export", "write the network for other runtimes"),
    "dataset": ("eva_helpers.storage.cli", "write composites as files, pack or summarise them"),
    "photos": ("eva_helpers.catalogue.cli", "build a catalogue from real photographs"),
    "worlds": ("eva_helpers.worlds.files", "render rooms, yards, streets and gardens"),
    "train": ("eva_helpers.training.command", "train a network as notebook 04 does"),
    "finetune": ("eva_helpers.training.cli", "train a network further on your own photos"),
    "evaluate": ("eva_helpers.evaluation.cli", "score a network on the test split"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one of COMMANDS; exit status 2 for an unknown one."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in COMMANDS:
        module, _ = COMMANDS[given[0]]
        return importlib.import_module(module).main(given[1:])
    print("usage: eva-helpers COMMAND [--help]\n")
    for name, (_, purpose) in COMMANDS.items():
        print(f"  {name:<10}{purpose}")
    return 0 if given in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main())
