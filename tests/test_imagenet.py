"""ImageNet weights: timm's and Google's files of the hybrid, and torchvision's ResNet-50."""

import json
import re

import jax
import numpy as np
import parity_rules as rules
import pytest

from maed_jax.errors import UserError
from maed_jax.models.maed import MAED, variable_shapes
from maed_jax.weights.imagenet import ANEW, convert_imagenet, google_entry, torch_encoder_entry
from maed_jax.weights.layouts import paper_model, torch_entry

# The iterative decoder has the fewest layers to draw.
TINY = MAED(
    image_size=32,
    stage_sizes=(2, 1),
    width=8,
    dim=16,
    depth=2,
    heads=2,
    feature_dim=24,
    decoder="iterative",
    decoder_width=8,
)


def shapes(golden_dir, name):
    return json.loads((golden_dir / f"{name}_shapes.json").read_text())


@pytest.fixture(scope="module")
def timm():
    """Makes a state dict like timm's for TINY: the original's names, with more blocks."""
    entries = [torch_entry(path[1:], shape) for path, shape in variable_shapes(TINY).items()]
    sizes = {
        entry.names[0].removeprefix("encoder."): entry.shape
        for entry in entries
        if not re.search("decoder|ts_attn|temp_embed", entry.names[0])
    }
    for name, shape in list(sizes.items()):
        if name.startswith("blocks.1."):
            sizes |= {name.replace(".1.", f".{i}.", 1): shape for i in (2, 3)}
    sizes |= {"head.weight": (100, 24), "head.bias": (100,)}
    return {name: rules.weight(name, shape) for name, shape in sizes.items()}


def google_of(timm, heads=TINY.heads):
    """Converts the arrays to Google's layout, by rules independent of ours."""
    google = {}
    for name, w in timm.items():
        leaf = "kernel" if w.ndim > 1 else "scale"
        leaf = leaf if name.endswith("weight") else "bias"
        if w.ndim == 4:
            w = np.moveaxis(w, (0, 1), (3, 2))  # out in h w -> h w in out
        elif leaf == "kernel":
            w = np.swapaxes(w, 0, 1)
        # In the root: numbered from one, and GroupNorm has axes for batch, height and width.
        if match := re.match(r"patch_embed\.backbone\.(.*)\.\w+$", name):
            where = match[1]
            where = re.sub(
                r"stages\.(\d)\.blocks\.(\d)\.",
                lambda m: f"block{int(m[1]) + 1}/unit{int(m[2]) + 1}/",
                where,
            )
            where = where.replace("downsample.conv", "conv_proj").replace("stem.conv", "conv_root")
            where = where.replace("downsample.norm", "gn_proj").replace("stem.norm", "gn_root")
            where = where.replace("norm", "gn")
            google[f"{where}/{leaf}"] = w if w.ndim == 4 else w[None, None, None]
        elif match := re.match(r"blocks\.(\d+)\.(.*)\.\w+$", name):
            block, part = f"Transformer/encoderblock_{match[1]}", match[2]
            attention = f"{block}/MultiHeadDotProductAttention_1"
            if part == "attn.qkv":
                for one, values in zip(("query", "key", "value"), np.split(w, 3, axis=-1)):
                    split = values.reshape(*values.shape[:-1], heads, -1)
                    google[f"{attention}/{one}/{leaf}"] = split
            elif part == "attn.proj":
                google[f"{attention}/out/{leaf}"] = (
                    w.reshape(heads, -1, w.shape[-1]) if w.ndim > 1 else w
                )
            else:
                layer = {
                    "norm1": "LayerNorm_0",
                    "norm2": "LayerNorm_2",
                    "mlp.fc1": "MlpBlock_3/Dense_0",
                    "mlp.fc2": "MlpBlock_3/Dense_1",
                }[part]
                google[f"{block}/{layer}/{leaf}"] = w
        else:
            module = {
                "cls_token": "cls",
                "pos_embed": "Transformer/posembed_input/pos_embedding",
                "patch_embed.proj": "embedding",
                "norm": "Transformer/encoder_norm",
                "pre_logits.fc": "pre_logits",
                "head": "head",
            }[name if "." not in name else name.rpartition(".")[0]]
            google[module if "." not in name else f"{module}/{leaf}"] = w
    return google


def newer_spelling(name):
    """Returns the name in later versions of Flax, which number each kind of layer separately."""
    name = name.replace("/LayerNorm_2/", "/LayerNorm_1/").replace("/MlpBlock_3/", "/MlpBlock_0/")
    return name.replace("DotProductAttention_1/", "DotProductAttention_0/")


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def from_timm(timm):
    return convert_imagenet(timm, "timm", TINY, None, jax.random.key(0))


def test_the_published_files_have_these_layouts_and_fit_the_papers_network(golden_dir):
    shape_of = shapes(golden_dir, "timm_hybrid")
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shape_of.items()}
    google = google_of(zeros, heads=12)
    assert {n: list(w.shape) for n, w in google.items()} == shapes(golden_dir, "google_npz")
    model = paper_model("ste", "parallel", "ktd")
    for state, entry_of in ((zeros, torch_encoder_entry), (google, google_entry)):
        for path, shape in variable_shapes(model).items():
            if not ANEW.fullmatch("/".join(path[1:])):
                entry = entry_of(path[1:], shape, 12)
                assert [state[name].shape for name in entry.names] == [entry.shape] * len(
                    entry.names
                )


@pytest.mark.parametrize("spelling", [str, newer_spelling])
def test_both_routes_end_in_the_same_variables(spelling, timm, from_timm):
    google = {spelling(name): w for name, w in google_of(timm).items()}
    variables, report = convert_imagenet(google, "google", TINY, None, jax.random.key(0))
    assert_same(variables, from_timm[0])
    assert report.taken == from_timm[1].taken and report.anew == from_timm[1].anew


def test_they_are_the_originals_layout_of_the_encoder(timm, from_timm):
    encoder = from_timm[0]["params"]["encoder"]
    np.testing.assert_array_equal(encoder["token"][0], timm["cls_token"])
    np.testing.assert_array_equal(encoder["space_embedding"][0], timm["pos_embed"])
    got = encoder["block1"]["attention"]["qkv"]["kernel"]
    np.testing.assert_array_equal(got, timm["blocks.1.attn.qkv.weight"].T)


def test_the_report_says_what_became_of_everything(timm, from_timm):
    variables, report = from_timm
    text = str(report)
    assert [line.strip() for line in text.split("initialised anew")[1].splitlines() if line] == [
        "decoder  (10 arrays)",
        "encoder/block0-1/attention/gate  (4 arrays)",
        "encoder/time_embedding",
        "left out",
        "blocks.2-3  (24 arrays)",
        "head  (2 arrays)",
    ]
    assert len(report.taken) + len(report.anew) == len(jax.tree.leaves(variables))
    assert len(report.taken) + len(report.left_out) == len(timm)
    time = variables["params"]["encoder"]["time_embedding"]
    assert 0.01 < time.std() < 0.03  # drawn, not zero


def test_what_is_new_depends_on_the_key(timm, from_timm):
    other, _ = convert_imagenet(timm, "timm", TINY, None, jax.random.key(1))
    same, new = (from_timm[0]["params"]["encoder"], other["params"]["encoder"])
    np.testing.assert_array_equal(same["embedding"]["kernel"], new["embedding"]["kernel"])
    assert (same["time_embedding"] != new["time_embedding"]).any()


@pytest.mark.parametrize("source", ["timm", "google"])
def test_a_file_without_pre_logits_has_them_initialised_anew(source, timm):
    state = timm if source == "timm" else google_of(timm)
    state = {name: w for name, w in state.items() if not name.startswith("pre_logits")}
    _, report = convert_imagenet(state, source, TINY, None, jax.random.key(0))
    assert "encoder/pre_logits/kernel" in report.anew


def test_attention_over_time_starts_from_the_same(timm):
    model = TINY.clone(encoder="te")
    variables, report = convert_imagenet(timm, "timm", model, None, jax.random.key(0))
    assert "encoder/time_embedding" in report.anew
    assert {"cls_token", "pos_embed"} < set(report.left_out)
    got = variables["params"]["encoder"]["block0"]["mlp"]["fc1"]["bias"]
    np.testing.assert_array_equal(got, timm["blocks.0.mlp.fc1.bias"])


def test_torchvisions_resnet_starts_the_cnn():
    model = TINY.clone(encoder="cnn")
    state = {}
    for path, shape in variable_shapes(model).items():
        if path[1] == "encoder":
            entry = torch_entry(path[1:], shape)
            name = entry.names[0].removeprefix("encoder.")
            state[name] = rules.weight(name, entry.shape)
    state["bn1.num_batches_tracked"] = np.zeros((), np.int64)
    state |= {"fc.weight": np.zeros((1000, 2048)), "fc.bias": np.zeros(1000)}
    variables, report = convert_imagenet(state, "torchvision", model, None, jax.random.key(0))
    assert report.left_out == ["fc.weight", "fc.bias"]
    assert {name.split("/")[0] for name in report.anew} == {"decoder"}
    stats = variables["batch_stats"]["encoder"]["layer2_0"]["bn3"]["var"]
    np.testing.assert_array_equal(stats, state["layer2.0.bn3.running_var"])


def test_encoders_that_cannot_start_there_are_refused(timm):
    with pytest.raises(UserError, match="encoder 'cnn' cannot start from timm's .* ste, te"):
        convert_imagenet(timm, "timm", TINY.clone(encoder="cnn"), None, jax.random.key(0))


def test_what_is_not_as_published_is_named(timm):
    state = timm | {"norm.bias": np.zeros(7, np.float32)}
    del state["blocks.1.norm1.weight"]
    with pytest.raises(UserError, match="norm.bias has shape .7,. instead of .16,.") as error:
        convert_imagenet(state, "timm", TINY, None, jax.random.key(0))
    assert "blocks.1.norm1.weight is missing" in str(error.value)
