"""open_clip models, with weights that are never random."""

from __future__ import annotations

import difflib
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stages.contract import ConfigurationError
from stages.embedders.towers import TowerEmbedder, Towers

_LOCAL_DIR = "local-dir:"
_SCHEMES = (_LOCAL_DIR, "hf-hub:")
_LOAD_ERRORS = (RuntimeError, OSError, ValueError, KeyError, EOFError, pickle.UnpicklingError)
_WEIGHT_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth"}


class _Source(NamedTuple):
    """Where architecture, weights and preprocessing come from."""

    name: str
    tag: str | None


class OpenClipEmbedder(TowerEmbedder):
    """An open_clip model: CLIP, SigLIP, CoCa and the multilingual ones.

    Args:
        model: ``NAME/TAG``; ``NAME`` with a checkpoint; ``NAME/TAG`` with a checkpoint, for the
            file's weights and the tag's preprocessing; ``hf-hub:OWNER/NAME``;
            ``local-dir:PATH``, a folder of ``open_clip_config.json``, weights and, where the
            text tower is not CLIP's own, tokenizer files.
        checkpoint: File with weights, as safetensors or saved by torch.
        model_config_file: JSON file in open_clip's format; its stem is the ``NAME``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``; see ``TowerEmbedder``.
        compiled: Whether torch compiles the image tower.
    """

    def __init__(
        self,
        model: str,
        checkpoint: str | None = None,
        model_config_file: str | None = None,
        precision: str = "auto",
        *,
        compiled: bool = False,
    ) -> None:
        super().__init__(f"open_clip/{model}", precision, compiled=compiled)
        self._source = _parse(model)
        self._checkpoint = checkpoint
        self._config_file = model_config_file

    def check(self) -> None:
        """Find out whether name, tag and files exist; a tag's download is not tried.

        Raises:
            ConfigurationError: With the nearest known name, or what to add.
        """
        if self._checkpoint and not Path(self._checkpoint).is_file():
            raise ConfigurationError(
                f"checkpoint={self._checkpoint!r} is not a file: correct the path"
            )
        if self._source.name.startswith(_SCHEMES):
            self._check_scheme()
            return
        self._register_config()
        _check_name(self._source, has_checkpoint=self._checkpoint is not None)

    def _check_scheme(self) -> None:
        name = self._source.name
        if self._checkpoint or self._config_file:
            raise ConfigurationError(
                f"model=open_clip/{name} names its own weights and architecture: remove "
                "checkpoint and model_config_file"
            )
        if not name.startswith(_LOCAL_DIR):
            return
        folder = Path(name.removeprefix(_LOCAL_DIR))
        if not (folder / "open_clip_config.json").is_file():
            raise ConfigurationError(f"{folder} holds no open_clip_config.json: correct the path")
        if not any(path.suffix in _WEIGHT_SUFFIXES for path in folder.iterdir()):
            raise ConfigurationError(
                f"{folder} holds no weights: add open_clip_model.safetensors to it"
            )

    def _register_config(self) -> None:
        if self._config_file is None:
            return
        import open_clip

        path = Path(self._config_file)
        try:
            keys = set(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"model_config_file={self._config_file!r} cannot be read as JSON: {error}"
            ) from error
        if missing := sorted({"embed_dim", "vision_cfg", "text_cfg"} - keys):
            raise ConfigurationError(f"{path} lacks {', '.join(missing)}: see open_clip's configs")
        if path.stem != self._source.name:
            raise ConfigurationError(
                f"{path} describes the model {path.stem!r}, but model=open_clip/"
                f"{self._source.name}: make file name and model name the same"
            )
        open_clip.add_model_config(path)

    def _load_towers(self, device: str) -> Towers:
        from safetensors import SafetensorError
        from torchvision.transforms import Compose

        try:
            model, transforms = self._create(device)
        except (*_LOAD_ERRORS, SafetensorError) as error:
            weights = f" with {self._checkpoint}" if self._checkpoint else ""
            raise ConfigurationError(f"{self.name}{weights} cannot be loaded: {error}") from error
        # The last two make a tensor of the image and normalise it: that is done on the device.
        *shrinking, _, normalise = transforms
        return Towers(
            image=model.encode_image,
            text=_TextTower(self.name, self._source.name, model, device),
            shrink=Compose(shrinking),
            mean=tuple(normalise.mean),
            std=tuple(normalise.std),
        )

    def _create(self, device: str) -> tuple[Any, list[Any]]:
        import open_clip

        name, tag = self._source
        of_tag = open_clip.get_pretrained_cfg(name, tag) if tag else {}
        # open_clip takes the preprocessing of a tag by itself, but not beside a file.
        shown = of_tag if self._checkpoint else {}
        model, _, preprocess = open_clip.create_model_and_transforms(
            name,
            pretrained=self._checkpoint or tag,
            device=device,
            image_mean=shown.get("mean"),
            image_std=shown.get("std"),
            image_interpolation=shown.get("interpolation"),
            image_resize_mode=shown.get("resize_mode"),
            # Of weights trained with another activation open_clip only warns.
            force_quick_gelu=bool(of_tag.get("quick_gelu")),
            # Without it open_clip gives a model with random weights, and only a warning.
            require_pretrained=True,
        )
        return model.eval(), preprocess.transforms


class _TextTower:
    """Texts to features; the tokenizer is loaded when the first text comes."""

    def __init__(self, shown: str, source: str, model: Any, device: str) -> None:  # noqa: ANN401
        self._shown = shown
        self._source = source
        self._model = model
        self._device = device
        self._tokenizer: Callable[[list[str]], Any] | None = None

    def __call__(self, texts: list[str]) -> Any:  # noqa: ANN401 - torch is imported late
        if self._tokenizer is None:
            self._tokenizer = self._load()
        return self._model.encode_text(self._tokenizer(texts).to(self._device))

    def _load(self) -> Callable[[list[str]], Any]:
        import open_clip

        try:
            return open_clip.get_tokenizer(self._source)
        except (*_LOAD_ERRORS, ImportError, TypeError) as error:
            raise ConfigurationError(
                f"{self._shown}: its tokenizer cannot be loaded: {error}. Without a network, put "
                "the tokenizer's files into the folder of open_clip/local-dir:PATH"
            ) from error


def _parse(model: str) -> _Source:
    if model.startswith(_SCHEMES):
        return _Source(model, None)
    name, _, tag = model.partition("/")
    return _Source(name, tag or None)


def _check_name(source: _Source, *, has_checkpoint: bool) -> None:
    import open_clip

    name, tag = source
    names = open_clip.list_models()
    if name not in names:
        raise ConfigurationError(
            f"open_clip has no model {name!r}{_nearest(name, names)}; an architecture of your own "
            "needs model_config_file"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag is not None and tag not in tags:
        raise ConfigurationError(
            f"open_clip has no weights {tag!r} for {name}{_nearest(tag, tags)}; it has: "
            f"{', '.join(tags) or 'none, so set checkpoint'}"
        )
    if tag is None and not has_checkpoint:
        example = f"open_clip/{name}/{tags[0]}" if tags else "a file with its weights"
        raise ConfigurationError(
            f"model=open_clip/{name} names no weights: set checkpoint to a file"
            + (f", or a tag as in {example}" if tags else "")
        )


def _nearest(wrong: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
