"""The embed stage: one unit vector an item, or a reason why not."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.contract import ConfigurationError, Output, Reason
from stages.embed import EmbedderSettings, EmbedSettings, EmbedStage
from stages.embedders.builtin import BuiltinEmbedder
from stages.schemas import EMBED, ITEMS
from stages.storage import Storage


def picture(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return Image.fromarray(values).resize((160, 120), Image.Resampling.BICUBIC)


def items(folder: Path, count: int, broken: Sequence[int] = ()) -> pa.Table:
    rows = []
    for index in range(count):
        buffer = io.BytesIO()
        picture(index).save(buffer, "JPEG")
        data = buffer.getvalue()[: 200 if index in broken else None]
        uri = folder / f"{index}.jpg"
        uri.write_bytes(data)
        rows.append({"item_id": index, "uri": str(uri), "key": str(index), "length": len(data)})
    return pa.Table.from_pylist(rows, schema=ITEMS)


def vectors(output: Output) -> NDArray[np.float16]:
    return np.array(output.rows["vector"].to_pylist(), dtype=np.float16)


def test_one_unit_vector_an_item_and_broken_ones_quarantined(tmp_path: Path) -> None:
    output = EmbedStage(EmbedSettings(), Storage()).process(items(tmp_path, 6, broken=[2, 5]))
    assert output.rows.schema == EMBED
    assert output.rows["item_id"].to_pylist() == [0, 1, 3, 4]
    assert [item.item_id for item in output.quarantined] == [2, 5]
    found = vectors(output)
    assert found.shape == (4, 256)
    assert np.allclose(np.linalg.norm(found.astype(np.float32), axis=1), 1, atol=1e-3)


def test_rows_do_not_depend_on_threads_batches_or_partitions(tmp_path: Path) -> None:
    table = items(tmp_path, 80)
    first = EmbedStage(EmbedSettings(), Storage()).process(table)
    other = EmbedStage(EmbedSettings(threads=4, batch_size=7), Storage())
    parts = [other.process(table.slice(0, 23)).rows, other.process(table.slice(23)).rows]
    assert first.rows.equals(pa.concat_tables(parts).combine_chunks())
    figures = {"images_per_s", "wait_share", "wait_s", "encode_s", "prepare_s"}
    assert set(first.metrics) == figures
    assert 0 <= first.metrics["wait_share"] <= 1
    assert first.metrics["images_per_s"] > 0


@pytest.mark.parametrize("broken", [[], [0, 1]])
def test_a_partition_without_good_items_gives_an_empty_table(
    tmp_path: Path, broken: list[int]
) -> None:
    output = EmbedStage(EmbedSettings(), Storage()).process(items(tmp_path, len(broken), broken))
    assert output.rows.equals(EMBED.empty_table())
    assert len(output.quarantined) == len(broken)


def test_a_vector_that_is_not_finite_takes_out_its_item_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = BuiltinEmbedder.encode

    def overflowing(self: BuiltinEmbedder, prepared: Any) -> NDArray[np.float32]:
        found = sound(self, prepared)
        found[1] = np.nan
        return found

    monkeypatch.setattr(BuiltinEmbedder, "encode", overflowing)
    output = EmbedStage(EmbedSettings(), Storage()).process(items(tmp_path, 4))
    assert output.rows["item_id"].to_pylist() == [0, 2, 3]
    assert output.quarantined[0].item_id == 1
    assert output.quarantined[0].reason == Reason.STAGE_ERROR
    assert "not finite" in output.quarantined[0].detail


def test_open_clip_from_a_file_equals_a_plain_loop(tmp_path: Path) -> None:
    import open_clip
    import torch

    tower = {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 512, "width": 32, "heads": 2, "layers": 1}
    config = tmp_path / "winnow-stage.json"
    config.write_text(json.dumps({"embed_dim": 32, "vision_cfg": tower, "text_cfg": text}))
    open_clip.add_model_config(config)
    torch.manual_seed(1)
    model = open_clip.create_model("winnow-stage").eval()
    torch.save(model.state_dict(), tmp_path / "weights.pt")

    table = items(tmp_path, 20)
    settings = EmbedSettings(
        model="open_clip/winnow-stage",
        checkpoint=str(tmp_path / "weights.pt"),
        model_config_file=str(config),
        batch_size=8,
        device="cpu",
    )
    stage = EmbedStage(settings, Storage())
    stage.check()
    stage.setup()
    found = vectors(stage.process(table)).astype(np.float32)

    preprocess = open_clip.image_transform(64, is_train=False)
    with torch.no_grad():
        batch = torch.stack([preprocess(Image.open(uri)) for uri in table["uri"].to_pylist()])
        expected = torch.nn.functional.normalize(model.encode_image(batch), dim=-1).numpy()
    assert np.abs(found - expected).max() < 1e-3


def test_weights_count_by_content_in_the_fingerprint(tmp_path: Path) -> None:
    def fingerprint(name: str, content: bytes) -> dict[str, Any]:
        (tmp_path / name).write_bytes(content)
        settings = EmbedSettings(model="open_clip/ViT-B-32", checkpoint=str(tmp_path / name))
        return settings.fingerprint_fields()

    assert fingerprint("a.pt", b"one") == fingerprint("b.pt", b"one")
    assert fingerprint("a.pt", b"other") != fingerprint("b.pt", b"one")
    fast = EmbedSettings(batch_size=1, threads=9, device="cpu", compile=False)
    assert fast.fingerprint_fields() == EmbedSettings().fingerprint_fields()


def test_a_folder_counts_by_its_files_in_the_fingerprint(tmp_path: Path) -> None:
    def fingerprint(name: str, content: bytes) -> dict[str, Any]:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "model.safetensors").write_bytes(content)
        model = f"open_clip/local-dir:{tmp_path / name}"
        return EmbedSettings(model=model, device="cpu").fingerprint_fields()

    assert fingerprint("a", b"one") == fingerprint("b", b"one")
    assert fingerprint("a", b"other") != fingerprint("b", b"one")


def test_further_embedders_are_stages_of_their_own(tmp_path: Path) -> None:
    one = EmbedderSettings(precision="bf16", threads=2)
    settings = EmbedSettings(more={"tall": one, "b_2": EmbedderSettings()})
    assert settings.tables() == {
        "embed": settings,
        "embed_tall": one,
        "embed_b_2": settings.more["b_2"],
    }
    stages = EmbedStage.configured(settings)
    assert [stage.name for stage in stages] == ["embed", "embed_b_2", "embed_tall"]
    assert [stage.table() for stage in stages] == [stage.name for stage in stages]
    assert EmbedStage.configured(settings) == stages
    # Naming another embedder leaves the vectors of this one as they are.
    assert settings.fingerprint_fields() == EmbedSettings().fingerprint_fields()
    assert one.fingerprint_fields() != EmbedderSettings().fingerprint_fields()
    tall = stages[2](one, Storage())
    assert tall.resources.cpus == 2
    output = tall.process(items(tmp_path, 3))
    assert output.rows.schema == tall.schema() == EMBED
    assert output.rows.num_rows == 3


def test_a_wrong_further_embedder_is_named() -> None:
    wrong = EmbedderSettings(model="open_clip/ViT-B-23/openai")
    (_, stage) = EmbedStage.configured(EmbedSettings(more={"clip": wrong}))
    with pytest.raises(ConfigurationError, match=r"^embed\.more\.clip: open_clip has no model"):
        stage(wrong, Storage()).check()


@pytest.mark.parametrize("name", ["Clip", "2nd", "a-b", "", "_x", "ä", "a.b", "clip\n"])
def test_names_that_cannot_stand_in_file_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be lower-case letters, digits and _"):
        EmbedSettings(more={name: EmbedderSettings()})


def test_resources_ask_for_a_gpu_only_where_cuda_is_meant() -> None:
    assert EmbedStage(EmbedSettings(threads=3), Storage()).resources.cpus == 3
    assert EmbedStage(EmbedSettings(device="cuda"), Storage()).resources.gpus == 0
    on_gpu = EmbedSettings(model="open_clip/ViT-B-32/openai", device="cuda")
    assert EmbedStage(on_gpu, Storage()).resources.gpus == 1


def test_check_fails_early() -> None:
    settings = EmbedSettings(model="open_clip/ViT-B-32", checkpoint="/nowhere/weights.pt")
    with pytest.raises(ConfigurationError, match="is not a file"):
        EmbedStage(settings, Storage()).check()


def test_automatic_precision_counts_by_what_it_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")

    def fields(cuda: bool, precision: str) -> object:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        settings = EmbedSettings(model="open_clip/ViT-B-32/openai", precision=precision)
        return settings.fingerprint_fields()

    assert fields(False, "auto") != fields(True, "auto")
    assert fields(False, "auto") == fields(False, "fp32")
    assert fields(False, "bf16") == fields(True, "bf16")
