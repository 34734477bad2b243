"""Networks on the Hugging Face hub, or in folders of its form: `model.safetensors`, `README.md`."""

import os
from pathlib import Path
from types import ModuleType

from eva_helpers import __version__
from eva_helpers.files import InputError, make_folder, write_whole
from eva_helpers.model import MaskDepthNet, load_weights, save_weights

FILE = "model.safetensors"
CARD = """---
library_name: eva-helpers
license: mit
pipeline_tag: image-segmentation
tags: [background-matting, depth-estimation, safetensors]
---

# Mask and depth from two photos

A background and the same scene with an object give the object's mask and the depth of the image.
Written by eva-helpers {version}.

```python
from eva_helpers.predict import Predictor

predictor = Predictor.from_pretrained("{name}")
prediction = predictor("background.jpg", "image.jpg")
```
"""


def load_pretrained(name: str | os.PathLike, revision: str | None = None) -> MaskDepthNet:
    """The network of a folder, or of a repository "owner/name" at `revision`.

    Raises:
        InputError: there is none, or it cannot be fetched.
    """
    if Path(name).is_dir():
        return load_weights(Path(name) / FILE)
    hub = _hub()
    try:
        path = hub.hf_hub_download(str(name), FILE, revision=revision)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{name} is no folder and could not be fetched from the hub ({reason}): check the "
            'name ("owner/name") and the network connection.'
        ) from None
    return load_weights(path)


def save_pretrained(net: MaskDepthNet, folder: str | os.PathLike, name: str = "") -> Path:
    """Write weights and a model card into `folder`; `name` is "owner/name" in the card.

    Raises InputError as `files.write_whole`. A card that is there is kept.
    """
    folder = make_folder(Path(folder))
    save_weights(net, folder / FILE)
    card = folder / "README.md"
    if not card.exists():
        text = CARD.format(version=__version__, name=name or folder.name)
        write_whole(card, text.encode())
    return folder


def push(net: MaskDepthNet, name: str, folder: str | os.PathLike, private: bool = False) -> str:
    """Write `folder` as `save_pretrained` and upload it to the repository `name`; its address.

    Raises:
        InputError: the hub refuses, or cannot be reached.
    """
    hub = _hub()
    made = save_pretrained(net, folder, name)
    try:
        address = hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=made, allow_patterns=[FILE, "README.md"])
    except Exception as error:  # of the hub, or of what it connects with
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{name} could not be written on the hub ({reason}): log in with `hf auth login`, and "
            "check name and connection."
        ) from None
    return str(address)


def _hub() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError:
        raise InputError("huggingface-hub is missing: pip install 'eva-helpers[photos]'.") from None
    return huggingface_hub
