"""Configurations: names, overrides, and errors."""

import subprocess
import sys

import pytest

from maed_jax.errors import UserError
from maed_jax.runs import config as configs
from maed_jax.runs import config_files


def test_every_config_loads_and_has_exactly_the_known_keys():
    known = {key for key, _ in configs.flatten(configs.defaults())}
    assert set(config_files.list_configs()) >= {"debug", "demo", "stage1", "stage2"}
    for name, listed in config_files.list_configs().items():
        assert all(listed.lines)
        keys = {key for key, _ in configs.flatten(configs.load_config(name))}
        own = ("study.", "data.augment_clips_2d.", "data.augment_images.")
        assert {key for key in keys if not key.startswith(own)} == known


def test_the_recipe():
    stages = [configs.load_config(name) for name in ("stage1", "stage2", "stage2:no_3dpw")]
    for c in stages:
        entries = (*c.data.clips, *c.data.clips_2d, *c.data.images, (c.data.val_dataset,))
        for name, *_ in entries:
            assert (config_files.PACKAGE.parent / "datasets" / name.partition("/")[0]).is_dir()
        batch = c.data.clips_per_batch + c.data.clips_2d_per_batch or c.data.images_per_batch
        assert batch == (512 if c is stages[0] else 32)
        assert (c.optimizer.learning_rate, c.optimizer.decay_at) == (1e-4, (0.6, 0.9))
    names = [[name for name, *_ in c.data.clips] for c in stages[1:]]
    assert set(names[0]) - set(names[1]) == {"threedpw/crops"}


def test_clips_and_images_have_augmentations_of_their_own():
    data = configs.load_config("stage2", ["--config.data.augment_images.hue=0.5"]).data
    assert (data.augment_images.hue, data.augment_clips_2d.hue) == (0.5, 0.0)


def test_path_and_name_are_the_same(monkeypatch, tmp_path):
    path = config_files.PACKAGE.parent / "configs" / "demo.py"
    by_path = configs.load_config(f"{path}:stage2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # a directory of that name does not interfere
    assert by_path == configs.load_config("demo:stage2")
    assert by_path.model.clip_length == 8 != configs.load_config("demo:stage1").model.clip_length


@pytest.mark.parametrize(
    "argument, key, value",
    [
        ("--config.optimizer.learning_rate=3e-4", "optimizer.learning_rate", 3e-4),
        ("--config.optimizer.learning_rate=1", "optimizer.learning_rate", 1.0),
        ("--config.steps=7", "steps", 7),
        ("--config.init_decoder=true", "init_decoder", True),
        ("--config.init_decoder", "init_decoder", True),
        ("--config.init_from=some/where", "init_from", "some/where"),
        ("--config.optimizer.decay_at=(0.5, 0.8)", "optimizer.decay_at", (0.5, 0.8)),
        ("--config.data.clips=(('a/b',1.0),('c',2.0))", "data.clips", (("a/b", 1.0), ("c", 2.0))),
    ],
)
def test_overrides(argument, key, value):
    config = configs.load_config("debug", [argument])
    assert dict(configs.flatten(config))[key] == value


def test_the_augmentation_of_one_kind_of_data_can_be_overridden():
    config = configs.load_config("debug", ["--config.data.augment_images.jitter=0.25"])
    assert config.data.augment_images.to_dict() == {"jitter": 0.25}
    with pytest.raises(UserError, match=r"augment_images.jitter must be a number, not 'much'"):
        configs.load_config("debug", ["--config.data.augment_images.jitter=much"])


def test_override_in_two_words_and_several():
    config = configs.load_config("debug", ["--config.steps", "9", "--config.seed=-3"])
    assert (config.steps, config.seed) == (9, -3)


@pytest.mark.parametrize(
    "spec, arguments, says",
    [
        ("debug", ["--config.optimizer.learning_rte=1"], "did you mean optimizer.learning_rate"),
        ("debug", ["--config.lerning_rate=1"], "did you mean optimizer.learning_rate"),
        ("debug", ["--config.optimizer.lr=1"], "did you mean optimizer.learning_rate"),
        ("debug", ["--config.xyz=1"], "runs/config.py lists them all"),
        ("debug", ["--config.data.augment_images.jiter=1"], "did you mean data.augment_images.jit"),
        ("debug", ["--config.optimizer=1"], "is a section"),
        ("debug", ["--config.steps=many"], "config.steps must be a whole number, not 'many'"),
        ("debug", ["--config.steps=1.5"], "whole number"),
        ("debug", ["--config.optimizer.l2=x"], "config.optimizer.l2 must be a number"),
        ("debug", ["--config.init_decoder=perhaps"], "true or false"),
        ("debug", ["--config.data.clips=(("], "must be a tuple"),
        ("debug", ["--config.steps"], "needs a value"),
        ("debug", ["--config.steps", "--config.seed=1"], "config.steps needs a value"),
        ("debug", ["--steps=3"], "there is no argument '--steps'"),
        ("debug", ["stray"], "there is no argument 'stray'"),
        ("dmeo:stage1", [], "did you mean demo"),
        ("demo:stage9", [], "no variant 'stage9'"),
        ("no/such/file.py", [], "there is no configuration file no/such/file.py"),
    ],
)
def test_mistakes_are_one_line(spec, arguments, says):
    with pytest.raises(UserError, match=says) as error:
        configs.load_config(spec, arguments)
    assert "\n" not in str(error.value)


def test_datasets_may_have_a_third_value_and_be_several():
    entries = "(('threedpw/crops',0.2,8),('h36m/crops',1))"
    arguments = [f"--config.data.clips={entries}", f"--config.data.clips_2d={entries}"]
    data = configs.load_config("debug", arguments).data
    assert data.clips == data.clips_2d == (("threedpw/crops", 0.2, 8), ("h36m/crops", 1))
    for wrong in ("(('a','b'),)", "('a',1.0)", "((1.0,'a'),)"):
        with pytest.raises(UserError, match="must be a tuple"):
            configs.load_config("debug", [f"--config.data.clips={wrong}"])


def test_json_round_trip_keeps_types():
    config = configs.load_config("stage2")
    again = configs.config_from_json(configs.config_to_json(config))
    assert again == config
    assert isinstance(again.model.stage_sizes, tuple) and isinstance(again.data.clips[0], tuple)
    assert isinstance(again.loss.norm, float)


def test_locked():
    with pytest.raises(AttributeError):
        configs.load_config("debug").stepz = 1


def test_same_run():
    old = configs.load_config("debug")
    changes = ["--config.keep=9", "--config.max_skipped=3", "--config.init_decoder=true"]
    configs.check_same_run(old, configs.load_config("debug", changes), "DIR")
    for change, words in (
        ("steps=4", r"steps \(2 there, 4 here\)"),
        ("eval_windows=7", "eval_windows"),  # would change the measure of the best checkpoint
        ("data.val_split=test", "data.val_split"),
    ):
        with pytest.raises(UserError, match=f"DIR .*{words}.*another --workdir .*init_from=DIR "):
            configs.check_same_run(old, configs.load_config("debug", [f"--config.{change}"]), "DIR")
    studies = [configs.load_config("ablation", [f"--config.seed={seed}"]) for seed in (0, 1)]
    with pytest.raises(UserError, match="another --workdir$"):  # a study has many runs
        configs.check_same_run(*studies, "DIR")


def test_a_body_is_kept_by_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configs.load_config("debug", ["--config.body=smpl"])
    assert config.body == str(tmp_path / "smpl")
    old = configs.ConfigDict({**config.to_dict(), "body": "smpl"})  # as once saved
    configs.check_same_run(old, config, "DIR")
    assert configs.load_config("debug").body == "mannequin"
    monkeypatch.chdir("/")
    assert configs.load_config("debug", [f"--config.body={tmp_path / 'smpl'}"]) == config


def test_a_run_from_before_a_setting_goes_on_with_its_default():
    old = configs.load_config("debug").to_dict()
    del old["model"]["encoder"]
    old = configs.ConfigDict(old)
    configs.check_same_run(old, configs.load_config("debug"), "DIR")
    with pytest.raises(UserError, match=r"model.encoder \('ste' there, 'te' here\)"):
        configs.check_same_run(
            old, configs.load_config("debug", ["--config.model.encoder=te"]), "DIR"
        )


def test_does_not_import_jax():
    code = "import sys; from maed_jax.runs import config, config_files"
    code += "; config.load_config('demo'); config_files.list_configs()"
    code += "; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "text, says",
    [
        ('{"model": [1]}', "model is not a section"),
        ('{"data": {"augment": 3}}', "augment is not a section"),
        ('{"steps": {"a": 1}}', "steps is a section"),
        ('{"model": {"depth": 1.5}}', "model.depth must be a whole number, not 1.5"),
        ('{"model": {"remat": 1}}', "model.remat must be true or false, not 1"),
        ('{"steps": true}', "steps must be a whole number, not True"),
        ('{"optimizer": {"learning_rate": true}}', "learning_rate must be a number, not True"),
    ],
)
def test_settings_of_another_kind(text, says):
    with pytest.raises(ValueError, match=says):
        configs.config_from_json(text)


def test_settings_younger_than_a_text_have_their_defaults():
    config = configs.config_from_json('{"steps": 7, "data": {"clip_length": 4}, "study": {"n": 1}}')
    assert (config.steps, config.data.clip_length, config.study.n) == (7, 4, 1)
    assert config.data.eval_interval == configs.defaults().data.eval_interval
