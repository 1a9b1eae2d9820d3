import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from fake_dataset import UNCHANGED, write_fake_dataset

from maed_jax.data.batches import TrainingBatches
from maed_jax.data.pipeline import dataset_to_evaluate, endless, mix, training_batches
from maed_jax.data.records import Records, dataset_directory
from maed_jax.data.samples import Clips, Images, Loader
from maed_jax.errors import UserError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    write_fake_dataset(path, [40, 3, 21])

    def relabel(index, record):
        record["shape"][:] = 7

    write_fake_dataset(path, [10], name="other", edit=relabel, seed=1)
    return path


@pytest.fixture
def config(data_dir):
    return {
        "data_dir": str(data_dir),
        "clips": (("fake/crops", 1.0),),
        "images": (("fake/crops", 3.0), ("other", 1.0)),
        "clip_length": 4,
        "interval": 3,
        "clips_per_batch": 2,
        "images_per_batch": 4,
        "train_split": "train",
        "workers": 0,
        "augment": {"rotation": 20},
    }


def samples(kind, data_dir, *options, name="fake", seed=0):
    """Returns endless samples of unaugmented 8 x 8 images; kind: Clips or Images, with options."""
    source = kind(Records(dataset_directory(data_dir, name), "train"), *options)
    return endless(Loader(source, 8, UNCHANGED), seed)


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def assert_equal(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_batches_have_the_promised_arrays(config):
    batch = next(training_batches(config, 0, 16))
    assert set(batch) == {"clips", "images"}
    for part, b, t in (("clips", 2, 4), ("images", 4, 1)):
        shapes = {name: value.shape for name, value in batch[part].items()}
        assert shapes == {
            "image": (b, t, 16, 16, 3),
            "keypoints_2d": (b, t, 49, 3),
            "keypoints_3d": (b, t, 49, 4),
            "pose": (b, t, 72),
            "shape": (b, t, 10),
            "has_smpl": (b, t),
            "has_3d": (b,),
        }
        assert batch[part]["image"].dtype == np.uint8
        assert all(v.dtype == np.float32 for n, v in batch[part].items() if n != "image")


@pytest.mark.parametrize("part", ["clips", "images"])
def test_either_part_may_be_absent(config, part):
    config[f"{part}_per_batch"] = 0
    config[part] = ()
    assert set(next(training_batches(config, 0, 16))) == {"clips", "images"} - {part}


def test_the_same_seed_gives_the_same_and_another_not(config):
    first = take(training_batches(config, 3, 16), 4)
    assert_equal(first, take(training_batches(config, 3, 16), 4))
    other = next(training_batches(config, 4, 16))
    assert not np.array_equal(first[0]["clips"]["image"], other["clips"]["image"])


def test_a_restored_state_goes_on_exactly(config):
    iterator = training_batches(config, 0, 16)
    take(iterator, 5)
    state = iterator.get_state()
    expected = take(iterator, 20)  # beyond the end of an epoch
    iterator.set_state(state)
    assert_equal(take(iterator, 20), expected)
    fresh = training_batches(config, 0, 16)
    fresh.set_state(state)
    assert_equal(take(fresh, 20), expected)
    assert fresh.get_state() == iterator.get_state()


def test_hosts_share_each_batch(config):
    whole = take(training_batches(config, 0, 16), 3)
    hosts = [take(training_batches(config, 0, 16, shard=(i, 2)), 3) for i in range(2)]
    for step, batch in enumerate(whole):
        for part, labels in batch.items():
            for name, value in labels.items():
                given = [hosts[host][step][part][name] for host in range(2)]
                assert len(given[0]) == len(given[1])
                np.testing.assert_array_equal(np.concatenate(given), value, err_msg=name)


def run_program(folder, text, config, *arguments):
    """Runs a program in which CONFIG stands for `config`."""
    program = folder / "program.py"
    program.write_text(text.replace("CONFIG", repr(config)))
    return subprocess.run(
        [sys.executable, program, *arguments],
        capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip


DYING = """
import logging, multiprocessing, os, signal, sys, threading, time
import numpy as np
from maed_jax.cli import run
from maed_jax.data.pipeline import training_batches

def terminate_at_birth():
    while not (born := multiprocessing.active_children()):
        time.sleep(0.001)
    os.kill(born[0].pid, signal.SIGTERM)

def main(argv):
    threading.Thread(target=terminate_at_birth).start()
    batches = training_batches(CONFIG, 0, 8, shard=(0, 1))
    batches.set_state({"batches": 1, "replaced": 0})
    found = [next(batches), next(batches)]  # one from each worker, so that both have started
    one, other = multiprocessing.active_children()
    os.kill(one.pid, signal.SIGINT)  # as Ctrl-C in a terminal does to all
    os.kill(one.pid, signal.SIGTERM)  # as schedulers do
    one.join(1)
    assert one.exitcode is None
    os.kill(other.pid, signal.SIGKILL)
    found += [next(batches) for _ in range(24)]  # more than what was made before the death
    np.save(argv[0], np.stack([batch["images"]["image"] for batch in found]))
    os.kill(os.getpid(), signal.SIGKILL)  # its workers, with its output in their hands, go as well

if __name__ == "__main__":
    run(main)
"""


def test_worker_processes_change_nothing_even_if_one_dies(config, tmp_path):
    """In a separate program that, like most, parses no absl flags."""
    config |= {"workers": 2, "clips_per_batch": 0, "images_per_batch": 2}
    out = tmp_path / "images.npy"
    done = run_program(tmp_path, DYING, config, out)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stderr.count("Restarting all workers") == 1 and "Keyboard" not in done.stderr
    expected = take(training_batches(config | {"workers": 0}, 0, 8), 27)[1:]
    np.testing.assert_array_equal(np.load(out), [batch["images"]["image"] for batch in expected])


LEFT_OPEN = """
from maed_jax.data.pipeline import training_batches

if __name__ == "__main__":
    batches = training_batches(CONFIG, 0, 8, shard=(0, 1))
    next(batches)
"""


def test_batches_that_nobody_closed_end_with_the_program(config, tmp_path):
    done = run_program(tmp_path, LEFT_OPEN, config | {"workers": 2})
    assert (done.returncode, done.stderr) == (0, "")


def test_workers_that_keep_dying_are_an_error(config, monkeypatch):
    batches = training_batches(config | {"workers": 1}, 0, 8)
    started = []

    class Dead:
        def __next__(self):
            raise RuntimeError("Worker process was terminated unexpectedly with exit code -9.")

        def close(self):
            pass

    def start():
        started.append(0)
        batches._iterators["clips"] = Dead()

    monkeypatch.setattr(batches, "_start", start)
    with pytest.raises(UserError, match="died repeatedly.*config.data.workers=1"):
        next(batches)
    assert len(started) == 3 and batches.get_state() == {"batches": 0, "replaced": 0}


UNGUARDED = """
from maed_jax.data.pipeline import training_batches
from maed_jax.errors import UserError

try:
    next(training_batches(CONFIG, 0, 8, shard=(0, 1)))
except UserError as error:
    print(error)
"""


def test_scripts_that_workers_cannot_import_are_reported(config, tmp_path):
    done = run_program(tmp_path, UNGUARDED, config | {"workers": 1})
    assert 'must be under `if __name__ == "__main__":`' in done.stdout


@pytest.mark.parametrize("threads", [1, 5])
def test_threads_change_nothing(config, threads):
    dataset = samples(Images, config["data_dir"], 1)
    parts = {"images": (dataset, 3)}
    ours = take(TrainingBatches(parts, threads=threads), 8)
    assert_equal(ours, take(TrainingBatches(parts, threads=2), 8))


def test_every_window_and_frame_is_seen_once_an_epoch(data_dir):
    images = samples(Images, data_dir, 1)
    for epoch in range(2):
        poses = [images[i]["pose"].tobytes() for i in range(64 * epoch, 64 * epoch + 64)]
        assert len(set(poses)) == 64
    orders = [[images[e * 64 + i]["pose"][0, 0] for i in range(64)] for e in range(2)]
    assert orders[0] != orders[1]
    clips = samples(Clips, data_dir, 2, 1, 2)
    firsts = {clips[i]["pose"][0].tobytes() for i in range(20 + 2 + 11)}
    assert len(firsts) == 20 + 2 + 11


def test_every_nth_frame_on_demand(data_dir):
    images = samples(Images, data_dir, 8)
    assert len({images[i]["pose"].tobytes() for i in range(64)}) == 8


def test_a_configuration_may_name_a_dataset_as_everyone_does(config, tmp_path):
    write_fake_dataset(tmp_path, [3], name="threedpw")
    config |= {"data_dir": str(tmp_path), "images": (("3dpw/crops", 1.0),), "clips_per_batch": 0}
    assert "images" in next(training_batches(config, 0, 8))


def test_datasets_are_mixed_by_their_weights(data_dir):
    parts = [
        samples(Images, data_dir, 1, name=name, seed=i) for i, name in enumerate(("fake", "other"))
    ]
    mixed = mix(parts, [3, 1])
    from_other = [(mixed[i]["shape"] == 7).all() for i in range(40)]
    assert sum(from_other) == 10
    assert mix(parts[:1], [0.2]) is parts[0]


def test_weights_may_count_windows_and_images(config):
    config |= {"mix_by_size": True, "clips_per_batch": 0}
    config |= {"images": (("fake", 1.0), ("other", 1.0)), "images_per_batch": 37}
    shapes = next(training_batches(config, 0, 8))["images"]["shape"]
    assert (shapes == 7).all((1, 2)).sum() == 5  # 10 frames of 74
    config["images"] = (("fake", 1.0, 2), ("other", 1.0))
    shapes = next(training_batches(config, 0, 8))["images"]["shape"]
    assert 8 <= (shapes == 7).all((1, 2)).sum() <= 9  # of 42


def test_clips_with_2d_labels_come_first(config):
    """Each part is as it would be alone, and all clips form one batch."""
    alone = [next(training_batches(config, 0, 16)) for _ in range(2)]
    config |= {"clips_2d": (("other", 1.0),), "clips_2d_per_batch": 4}
    config["augment_clips_2d"] = {"flip": 0.0}
    both = next(training_batches(config, 0, 16))
    assert_equal(both["images"], alone[0]["images"])
    assert_equal({n: v[4:] for n, v in both["clips"].items()}, alone[0]["clips"])
    assert (both["clips"]["shape"][:4] == 7).all() and len(both["clips"]["has_3d"]) == 6
    hosts = [next(training_batches(config, 0, 16, shard=(i, 2))) for i in range(2)]
    for name, value in both["clips"].items():
        given = [hosts[host]["clips"][name] for host in range(2)]  # the first has no others
        np.testing.assert_array_equal(np.concatenate(given), value, err_msg=name)
        assert len(given[0]) == len(given[1]) == 3
    config["clips_per_batch"] = 0
    assert len(next(training_batches(config, 0, 16))["clips"]["has_3d"]) == 4


def test_a_part_may_be_changed_otherwise(config):
    still = {"crop_probability": 0.0, "rotation": 0.0, "flip": 0.0, "jitter": 0.0,
             "hue": 0.0, "erase": 0.0}  # fmt: skip
    plain = next(training_batches(config | {"augment": still}, 0, 16))
    own = next(training_batches(config | {"augment_images": still}, 0, 16))
    assert_equal(own["images"], plain["images"])
    assert not np.array_equal(own["clips"]["image"], plain["clips"]["image"])


def test_short_tracks_give_whole_clips(data_dir):
    clips = samples(Clips, data_dir, 16, 8, name="other")
    assert clips[0]["image"].shape == (16, 8, 8, 3)


def test_unreadable_samples_are_counted(config, tmp_path):
    def spoil(index, record):
        if index % 2:
            record["image"] = record["image"][:100]

    write_fake_dataset(tmp_path, [12], edit=spoil)
    config |= {"data_dir": str(tmp_path), "images": (("fake", 1.0),), "clips_per_batch": 0}
    iterator = training_batches(config, 0, 8)
    take(iterator, 6)
    assert iterator.replaced == iterator.get_state()["replaced"] >= 12
    again = training_batches(config, 0, 8)
    take(again, 6)
    assert again.replaced == iterator.replaced


def test_labels_of_another_body_do_not_count(config):
    iterator = training_batches(config | {"body": "smpl"}, 0, 8)
    assert not next(iterator)["clips"]["has_smpl"].any()


def test_a_third_entry_is_the_stride_or_every_nth(config):
    config |= {"clips": (("fake", 1.0, 1),), "images": (("fake", 1.0, 64),)}
    batches = take(training_batches(config, 0, 8), 3)
    pose = np.concatenate([batch["images"]["shape"] for batch in batches])
    assert (pose == pose[0]).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"clips_per_batch": 0, "images_per_batch": 0}, "are all 0"),
        ({"clips": ()}, "config.data.clips is"),
        ({"images": (("absent/crops", 1.0),)}, "no prepared dataset in .*/absent/crops: "),
        ({"train_split": "trian"}, "no split 'trian'"),
        ({"augment": {"flop": 1}}, "no 'flop'"),
        ({"augment_images": {"flop": 1}}, "no 'flop'"),
        ({"images": (("fake",),)}, "an entry is .dataset, weight. or .dataset, weight, every."),
        ({"clips": (("fake", 0.0),)}, "clips has .'fake', 0.0.: .*a weight above 0"),
        ({"clips": (("fake", 1.0, 0.5),)}, "stride a whole number"),
        ({"clips_2d_per_batch": 2}, "config.data.clips_2d is"),
    ],
)
def test_mistakes_are_named(config, change, message):
    with pytest.raises(UserError, match=message):
        training_batches(config | change, 0, 8)


@pytest.mark.parametrize(
    "change, first",
    [
        ({}, "fake/crops"),
        ({"clips_per_batch": 0, "images": (("other", 1.0),)}, "other"),
        ({"clips": (), "clips_per_batch": 0, "images": (("other", 1.0),)}, "other"),
        (
            {"clips_per_batch": 0, "images_per_batch": 0, "clips_2d_per_batch": 2}
            | {"clips_2d": (("third", 1.0, 8), ("other", 1.0))},
            "third",
        ),
    ],
)
def test_the_dataset_to_evaluate_is_the_one_named_or_one_that_is_trained_on(config, change, first):
    assert dataset_to_evaluate(config | change) == first
    assert dataset_to_evaluate(config | change | {"val_dataset": "other"}) == "other"
    with pytest.raises(UserError, match="no part of config.data has both"):
        dataset_to_evaluate(config | {"clips_per_batch": 0, "images_per_batch": 0})


def test_batches_that_hosts_cannot_share_are_named(config):
    with pytest.raises(UserError, match=r"multiple of the number of hosts \(3\)"):
        training_batches(config, 0, 8, shard=(0, 3))
