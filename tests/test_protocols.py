"""Presets are consistent with the joint tables and with their descriptions."""

import dataclasses
from pathlib import Path

import pytest

from maed_jax.body.skeleton import JOINT_SETS as NAMES
from maed_jax.body.skeleton import KEYPOINT_NAMES
from maed_jax.errors import UserError
from maed_jax.evaluation.protocol_choice import choose, family, parse_settings
from maed_jax.evaluation.protocols import CHOICES, JOINT_SETS, METRICS, PRESETS, Protocol


@pytest.mark.parametrize("name", JOINT_SETS)
def test_a_body_and_labels_give_the_same_joints(name):
    joints = JOINT_SETS[name]
    source = NAMES["h36m_regressor"] if joints.source == "h36m" else KEYPOINT_NAMES
    of_body = [source[i] for i in joints.of_body]
    if name == "mpii3d17-h36m":  # SPIN's: raw head top and head are the regressor's head and jaw
        assert dict(zip(joints.names[13:], of_body[13:])) == {
            "headtop": "Head (H36M)",
            "hip": "hip",
            "Spine (H36M)": "Spine (H36M)",
            "Head (H36M)": "Jaw (H36M)",
        }
        of_body[13], of_body[16] = joints.names[13], joints.names[16]
    assert tuple(of_body) == joints.names
    assert joints.names[:6] == ("rankle", "rknee", "rhip", "lhip", "lknee", "lankle")
    assert len(joints.pck) == 14 and "neck" == joints.names[joints.pck[12]]
    rows, labelled = joints.root("mid-hip")
    assert {source[i] for i in rows} == {KEYPOINT_NAMES[i] for i in labelled} == {"rhip", "lhip"}
    rows, labelled = joints.root("pelvis")
    assert source[rows[0]] == KEYPOINT_NAMES[labelled[0]] == "hip"


def test_presets_are_well_formed_and_told_apart_by_their_text():
    for presets in PRESETS.values():
        assert presets[0].name == "maed"
        assert len({p.describe() for p in presets}) == len(presets)
        for preset in presets:
            for name, of in CHOICES.items():
                assert getattr(preset, name) in of
            assert set(preset.metrics) <= set(METRICS)
    wham = choose("3dpw", "wham")[0].describe()
    for words in ("labelled gender", "same root", "ends dropped, m/s^2", "mirrored", "valid"):
        assert words in wham


def test_presets_are_chosen_by_dataset():
    assert [p.name for p in choose("threedpw/crops", "all")] == ["maed", "spin", "tcmr", "wham"]
    assert [p.name for p in choose("h36m", "P2, maed")] == ["p2", "maed"]
    (wham,) = choose("mannequins/demo", "3dpw/wham")
    assert wham == dataclasses.replace(choose("3dpw", "wham")[0], name="3dpw/wham")
    assert choose("3dpw", "maed,3dpw/maed,threedpw/maed") == choose("3dpw", "maed")
    assert family("3dpw/frames") == family("threedpw") == "3dpw"
    assert family("mannequins/demo") == "other"


def test_every_choice_can_be_changed_and_shows():
    words = ["--protocol.root=pelvis", "--protocol.flip", "true", "--protocol.metrics=pck,mpjpe"]
    (changed,) = choose("3dpw", "maed", parse_settings([*words, "--protocol.frame_rate=15"]))
    assert (changed.root, changed.flip, changed.frame_rate) == ("pelvis", True, 15.0)
    assert changed.metrics == ("mpjpe", "pck")
    assert changed.label == "maed, root=pelvis, flip=true, metrics=pck,mpjpe, frame_rate=15"
    same = choose("3dpw", "maed", [("root", "mid-hip"), ("accel_trim", "0")])
    assert same == [PRESETS["3dpw"][0]]
    fields = {f.name for f in dataclasses.fields(changed)} - {"name", "source", "changed"}
    values = {"flip": "true", "metrics": "pve"} | {n: list(of)[-1] for n, of in CHOICES.items()}
    for name in fields:
        value = values.get(name, "2")
        assert str(getattr(choose("3dpw", "tcmr", [(name, value)])[0], name))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((("3dpw", "mead")), "3dpw has no protocol 'mead'; did you mean maed"),
        ((("3dpw", "4dpw/maed")), "no protocols for dataset '4dpw'; did you mean 3dpw"),
        ((("h36m", "wham")), "h36m has no protocol 'wham'; choose from maed, p1, p2"),
        (
            (("garden/crops", "spin")),
            "garden/crops has only the protocol maed, .* as in 3dpw/spin",
        ),
        (("3dpw", "maed", [("rooot", "x")]), "protocols have no field 'rooot'; did you mean root"),
        (("3dpw", "maed", [("root", "pelvs")]), "cannot be 'pelvs'; did you mean pelvis"),
        (("3dpw", "maed", [("name", "x")]), "protocols have no field 'name'"),
        (("3dpw", "maed", [("metrics", "mpjp")]), "no metric 'mpjp'; did you mean mpjpe"),
        (("3dpw", "maed", [("flip", "yes")]), "protocol.flip must be true or false, not 'yes'"),
        (
            ("3dpw", "maed", [("frame_rate", "-1")]),
            "protocol.frame_rate must be a number of at least 0",
        ),
        (("3dpw", "maed", [("accel_trim", "1.5")]), "protocol.accel_trim must be a number"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        choose(*arguments)


def test_other_options_are_mistakes():
    with pytest.raises(UserError, match="there is no argument '--protcol.root'"):
        parse_settings(["--protcol.root=pelvis"])
    with pytest.raises(UserError, match="--protocol.root needs a value"):
        parse_settings(["--protocol.root"])
    with pytest.raises(UserError, match="--protocol.root needs a value") as error:
        parse_settings(["--protocol.root", "--protocol.flip=true"])
    assert "\n" not in str(error.value)


ALWAYS = ("truth", "joints", "root", "frames")


def columns(presets) -> str:
    """Presets side by side, as in the documentation: choices that differ from the defaults."""
    lines = [["", *(f"`{p.name}`" for p in presets)], ["---"] * (len(presets) + 1)]
    for field in dataclasses.fields(presets[0])[2:-1]:
        values = [getattr(p, field.name) for p in presets]
        if field.name in ALWAYS or any(value != field.default for value in values):
            lines.append([f"`{field.name}`", *map(_typed, values)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _typed(value) -> str:
    """Formats a value as one would type it."""
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def test_the_documentation_says_what_the_presets_and_choices_are():
    text = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name, presets in PRESETS.items():
        assert name == "other" or columns(presets) in text
    for field, of in CHOICES.items():
        for name, meaning in of.items():
            assert f"\n| `{field}` `{name}` | {meaning}{' |' * bool(meaning)}" in text
    for field in dataclasses.fields(Protocol)[2:-1]:
        assert f"\n| `{field.name}` " in text.partition("| choice |")[2]
    assert f"comma-separated: {', '.join(f'`{name}`' for name in METRICS)} |" in text
