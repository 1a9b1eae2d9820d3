"""Checkpoints: exact resume, what is kept, damage, and error messages."""

import gc
import itertools
import os
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from faults import closed, full_disk
from test_step import equal, run

from maed_jax.errors import UserError
from maed_jax.runs import checkpoints
from maed_jax.runs.config import load_config
from maed_jax.training import sharding


def abstract(state, mesh=None):
    mesh = mesh or sharding.make_mesh(1, 1)
    layout = sharding.state_shardings(mesh, state)
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, layout
    )


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory):
    """A work directory with checkpoints 1 and 2, their states, and the training step."""
    directory = tmp_path_factory.mktemp("work")
    state, step = tiny.trainer()
    step, states = jax.jit(step), []
    with checkpoints.Checkpoints(directory) as saved:
        for i in range(2):
            state, _ = run(step, state, [tiny.batch(i)])
            saved.save(state, {"place": i + 1})
            states.append(state)
    return directory, states, step


@pytest.fixture
def two_steps(saved_once, tmp_path):
    """A copy of `saved_once` for one test."""
    directory, states, step = saved_once
    return shutil.copytree(directory, tmp_path, dirs_exist_ok=True), states, step


def test_resumed_run_is_bit_identical(tmp_path):
    """Four steps equal two steps, a stop, and two more, with donation and saving in between."""
    state, step = tiny.trainer()
    step = jax.jit(step, donate_argnames="state")
    straight, _ = run(step, jax.tree.map(np.array, state), [next_batch(i) for i in range(4)])

    source = tiny.Batches()
    with checkpoints.Checkpoints(tmp_path) as saved:
        assert saved.restore(abstract(state)) is None
        for _ in range(2):
            state, _ = run(step, state, [next(source)])
        saved.save(state, source.get_state())
        for _ in range(2):  # continue while the save is being written
            state, _ = run(step, state, [next(source)])

    fresh, source = tiny.trainer()[0], tiny.Batches()
    with checkpoints.Checkpoints(tmp_path) as saved:
        resumed, position = saved.restore(abstract(fresh))
    source.set_state(position)
    assert int(resumed.step) == 2
    resumed, _ = run(step, resumed, [next(source) for _ in range(2)])
    assert equal(resumed, straight) and equal(state, straight)


def next_batch(i):
    return tiny.batch(i + 1)  # numbered as in tiny.Batches


def test_restores_on_another_mesh(two_steps):
    directory, states, _ = two_steps
    with checkpoints.Checkpoints(directory) as saved:
        state, _ = saved.restore(abstract(states[-1], sharding.make_mesh(2, 4)))
    assert equal(state, states[-1])
    kernel = state.params["encoder"]["embedding"]["kernel"]
    assert kernel.addressable_shards[0].data.size == kernel.size // 4


def test_batch_norms_running_values_are_saved(tmp_path, capsys):
    state, step = tiny.trainer(model=tiny.TinyModel(batch_norm=True))
    fresh, step, states = state, jax.jit(step), []
    with checkpoints.Checkpoints(tmp_path) as saved:
        for i in range(2):
            state, _ = run(step, state, [tiny.batch(i)])
            saved.save(state, {"place": i + 1})
            states.append(state)
    with checkpoints.Checkpoints(tmp_path) as saved:
        restored, _ = saved.restore(abstract(fresh))
    assert restored.batch_stats and equal(restored, states[-1])
    variables, _ = checkpoints.read_variables(tmp_path)
    assert set(variables) == {"params", "batch_stats"} and equal(variables, restored.variables)

    shutil.rmtree(tmp_path / "checkpoints" / "2" / "batch_stats")
    variables, number = checkpoints.read_variables(tmp_path)
    assert number == 1 and equal(variables, states[0].variables)
    assert "batch_stats is missing" in capsys.readouterr().err
    with checkpoints.Checkpoints(tmp_path) as saved:
        assert equal(saved.restore(abstract(fresh))[0], states[0])


def test_the_moving_average_is_saved_and_is_what_others_read(tmp_path, capsys):
    c = tiny.config()
    c.ema = 0.9
    state, step = tiny.trainer(c)
    step, states = jax.jit(step), []
    with checkpoints.Checkpoints(tmp_path) as saved:
        for i in range(2):
            state, _ = run(step, state, [tiny.batch(i)])
            saved.save(state, {})
            states.append(state)
    with checkpoints.Checkpoints(tmp_path) as saved:
        assert equal(saved.restore(abstract(state))[0], state)
    assert equal(checkpoints.read_variables(tmp_path)[0], {"params": state.ema})
    shutil.rmtree(tmp_path / "checkpoints" / "2" / "ema")  # the parameters must not be used instead
    assert equal(checkpoints.read_variables(tmp_path)[0], {"params": states[0].ema})
    assert "ema is missing" in capsys.readouterr().err


def test_keeps_the_latest_and_the_best(tmp_path):
    state, _ = tiny.trainer()
    with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
        for step in range(1, 7):
            metrics = {"pa_mpjpe": abs(step - 2.0), "mpjpe": 1.0} if step % 2 == 0 else None
            saved.save(state.replace(step=jnp.int32(step)), {}, metrics)
    with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
        assert saved.steps == [2, 5, 6]
        saved.save(state.replace(step=jnp.int32(6)), {})  # already saved: nothing happens
    assert checkpoints.read_variables(tmp_path, "best")[1] == 2
    assert checkpoints.read_variables(tmp_path)[1] == 6


def test_there_is_no_best_without_a_validation(tmp_path):
    state, _ = tiny.trainer()
    with checkpoints.Checkpoints(tmp_path) as saved:
        saved.save(state.replace(step=jnp.int32(1)), {})
        saved.save(state.replace(step=jnp.int32(2)), {}, {"pa_mpjpe": np.nan})
    with pytest.raises(UserError, match="was validated, .*: omit --step"):
        checkpoints.read_variables(tmp_path, "best")
    with pytest.raises(UserError, match="there is no work directory"):
        checkpoints.read_variables(tmp_path / "absent", "best")


@pytest.mark.parametrize("text", ['{"pa_m', "\xff", "[1.0]", '{"mpjpe": 1.0}', '{"pa_mpjpe": []}'])
def test_a_damaged_validation_is_named_and_can_be_deleted(tmp_path, text):
    state, _ = tiny.trainer()
    with checkpoints.Checkpoints(tmp_path) as saved:
        for step in (1, 2):
            saved.save(state.replace(step=jnp.int32(step)), {}, {"pa_mpjpe": float(step)})
    metrics = tmp_path / "checkpoints" / "1" / "metrics"
    (metrics / "metrics").write_text(text, encoding="latin-1")
    for use in (checkpoints.Checkpoints, lambda path: checkpoints.read_variables(path, "best")):
        with pytest.raises(UserError, match=f"{metrics} is damaged .* delete it; checkpoint 1"):
            use(tmp_path)
    assert checkpoints.read_variables(tmp_path, 1)[1] == 1
    shutil.rmtree(metrics)
    assert checkpoints.read_variables(tmp_path, "best")[1] == 2
    with checkpoints.Checkpoints(tmp_path) as saved:
        assert saved.steps == [1, 2] and not saved.is_best({"pa_mpjpe": 3.0})


def test_what_beats_the_best_is_known_at_once_and_after_a_stop(tmp_path):
    state, _ = tiny.trainer()
    with checkpoints.Checkpoints(tmp_path, keep=1) as saved:
        assert saved.is_best({"pa_mpjpe": 9.0}) and not saved.is_best({"pa_mpjpe": np.nan})
        for step, metrics in ((1, {"pa_mpjpe": 5.0}), (2, None), (3, {"pa_mpjpe": 6.0})):
            saved.save(state.replace(step=jnp.int32(step)), {}, metrics)
        assert not saved.is_best({"pa_mpjpe": 5.0}) and saved.is_best({"pa_mpjpe": 4.9})
    with checkpoints.Checkpoints(tmp_path, keep=1) as saved:
        assert saved.steps == [1, 3]
        assert not saved.is_best({"pa_mpjpe": 5.0}) and saved.is_best({"pa_mpjpe": 4.9})


def event_loops():
    """The number of them in this process: each holds a thread and three open files."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.path.lexists(f) and "eventpoll" in os.readlink(f) for f in links)


def test_saves_give_back_their_threads_and_files(tmp_path):
    state, _ = tiny.trainer()
    before = event_loops()
    with checkpoints.Checkpoints(tmp_path) as saved:
        for step in range(1, 5):
            saved.save(state.replace(step=jnp.int32(step)), {})
    assert event_loops() <= before


def cut_short(step):
    for file in (step / "params").rglob("*"):
        if file.is_file():
            with open(file, "r+b") as f:
                f.truncate(10)


def flip_bits(step):
    for file in (step / "params" / "ocdbt.process_0").rglob("*"):
        if file.is_file():
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 255
            file.write_bytes(content)


def empty(step):
    shutil.rmtree(step)
    step.mkdir()


DAMAGE = [cut_short, flip_bits, empty, lambda step: shutil.rmtree(step / "facts")]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_newest_falls_back(two_steps, damage, capsys):
    directory, states, step = two_steps
    damage(directory / "checkpoints" / "2")
    variables, number = checkpoints.read_variables(directory)
    assert number == 1 and equal(variables, {"params": states[0].params})
    assert "checkpoint 2" in capsys.readouterr().err
    with checkpoints.Checkpoints(directory) as saved:
        state, position = saved.restore(abstract(states[0]))
        assert equal(state, states[0]) and position == {"place": 1}
        assert "checkpoint 2 is damaged" in capsys.readouterr().err
        state, _ = run(step, state, [tiny.batch(1)])
        saved.save(state, {"place": 2})  # the step is free again
    assert (directory / "damaged" / "2").is_dir()
    variables, number = checkpoints.read_variables(directory)
    assert number == 2 and equal(variables, states[1].variables)


def test_all_damaged_moves_nothing(two_steps):
    directory, states, _ = two_steps
    for step in (1, 2):
        empty(directory / "checkpoints" / str(step))
    with checkpoints.Checkpoints(directory) as saved:
        with pytest.raises(UserError, match=r"none of the checkpoints \[1, 2\]"):
            saved.restore(abstract(states[0]))
    with pytest.raises(UserError, match="no checkpoint in .* can be read"):
        checkpoints.read_variables(directory)
    with pytest.raises(UserError, match="checkpoint 1 in .* cannot be read; .* another step: 2"):
        checkpoints.read_variables(directory, 1)
    assert not (directory / "damaged").exists()


def test_read_one_step(two_steps):
    directory, states, _ = two_steps
    variables, number = checkpoints.read_variables(directory, 1)
    assert number == 1 and equal(variables, states[0].variables)
    assert not any(leaf.committed for leaf in jax.tree.leaves(variables))
    with pytest.raises(UserError, match=r"no checkpoint of step 5, only of 1, 2$"):
        checkpoints.read_variables(directory, 5)


def test_reading_again_leaves_nothing_behind(two_steps):
    def objects_after_reading(times):
        for _ in range(times):
            checkpoints.read_variables(two_steps[0])
        gc.collect()
        return len(gc.get_objects())

    before = objects_after_reading(2)
    # Twenty are TensorStore counters requested by Orbax; each described array would add twenty.
    assert objects_after_reading(5) < before + 5 * 50


def test_what_is_given_for_a_work_directory(two_steps):
    directory = two_steps[0]
    inside, weights = directory / "checkpoints", directory / "model_best.pth.tar"
    weights.touch()
    for given, says in (
        (weights, f"convert weights first with `maed convert {weights} --out DIR`"),
        (inside, f"give {directory}$"),
        (inside / "2", f"give {directory}, and step 2$"),
        (inside / "2" / "params", f"give {directory}, and step 2$"),
    ):
        with pytest.raises(UserError, match=says):
            checkpoints.read_variables(given)


def test_a_folder_of_work_directories_is_not_one(two_steps, tmp_path):
    stage = tmp_path / "runs" / "stage2"
    shutil.copytree(two_steps[0] / "checkpoints" / "2", stage / "checkpoints" / "2")
    with pytest.raises(UserError, match=f"runs has no checkpoint but contains .*: give {stage}$"):
        checkpoints.read_variables(tmp_path / "runs")


def test_a_work_directory_may_lie_in_a_folder_of_any_name(two_steps, tmp_path):
    inside = tmp_path / "checkpoints" / "mine"
    shutil.copytree(two_steps[0] / "checkpoints" / "2", inside / "checkpoints" / "2")
    assert checkpoints.read_variables(inside)[1] == 2
    with pytest.raises(UserError, match="there is no work directory .*/checkpoints/none"):
        checkpoints.read_variables(tmp_path / "apart" / "checkpoints" / "none")


def test_a_work_directory_that_vanishes(tmp_path):
    state, _ = tiny.trainer()
    work = tmp_path / "work"
    saved = checkpoints.Checkpoints(work)
    shutil.rmtree(work)
    work.write_text("a file is in the way")
    with pytest.raises(UserError, match="could not save step 0 in .*work"):
        saved.save(state, {})


def test_a_full_disk(two_steps, monkeypatch):
    directory, states, _ = two_steps
    usage = shutil.disk_usage(directory)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with checkpoints.Checkpoints(directory) as saved:
        with pytest.raises(UserError, match="could not save step 3 .*0 MB are free"):
            saved.save(states[-1].replace(step=jnp.int32(3)), {})
    assert equal(checkpoints.read_variables(directory)[0], states[-1].variables)


def wait_until_settled(directory):
    """Until nothing changes below a directory, where threads of a failed save may still write."""
    before, now = None, []
    while before != now:
        time.sleep(0.2)
        before, now = now, sorted(os.walk(directory))


def fails_and_goes_on(directory, states, fault):
    """A failing save is reported in one line and loses nothing; the next one succeeds."""
    third = states[-1].replace(step=jnp.int32(3))
    with pytest.raises(UserError, match="could not (save|open)") as error:
        with fault, checkpoints.Checkpoints(directory) as saved:
            saved.save(third, {})
    assert "\n" not in str(error.value)
    wait_until_settled(directory)  # a training that fails ends, and its writers with it
    assert checkpoints.saved_steps(directory) == [1, 2]
    assert equal(checkpoints.read_variables(directory)[0], states[-1].variables)
    with checkpoints.Checkpoints(directory) as saved:
        assert equal(saved.restore(abstract(third))[0], states[-1])
        saved.save(third, {})
    names = sorted(path.name for path in (directory / "checkpoints").iterdir())
    assert names == ["1", "2", "3"]  # half-written files of the failed save are gone


def test_a_disk_that_fills_up_while_it_is_written(two_steps):
    directory, states, _ = two_steps
    fails_and_goes_on(directory, states, full_disk(10_000))


def test_permission_that_is_lost(two_steps):
    directory, states, _ = two_steps
    fails_and_goes_on(directory, states, closed(directory / "checkpoints"))


def test_an_interrupt_waits_until_a_save_has_begun(two_steps, monkeypatch):
    """Orbax would leave coroutines behind that are never awaited, and Python warn of them."""
    directory, states, _ = two_steps
    with pytest.raises(KeyboardInterrupt), checkpoints.Checkpoints(directory) as saved:
        begin = saved._orbax.save_checkpointables_async

        def interrupted(*given, **named):
            signal.raise_signal(signal.SIGINT)
            return begin(*given, **named)

        monkeypatch.setattr(saved._orbax, "save_checkpointables_async", interrupted)
        saved.save(states[-1].replace(step=jnp.int32(3)), {})
    assert checkpoints.saved_steps(directory) == [1, 2, 3]


def test_a_clock_that_jumps_back(tmp_path, monkeypatch):
    """The latest checkpoint is the one with the highest step, whenever it was written."""
    state, _ = tiny.trainer()
    clock = itertools.count(2e9, -100_000.0)  # each reading is a day earlier
    monkeypatch.setattr(time, "time", lambda: next(clock))
    monkeypatch.setattr(time, "time_ns", lambda: int(next(clock) * 1e9))
    with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
        for step in range(1, 5):
            saved.save(state.replace(step=jnp.int32(step)), {"place": step})
    for step in checkpoints.saved_steps(tmp_path):
        os.utime(tmp_path / "checkpoints" / str(step), (1e9 - step, 1e9 - step))
    with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
        assert saved.steps == [3, 4]
        assert saved.restore(abstract(state))[1] == {"place": 4}
    assert checkpoints.read_variables(tmp_path)[1] == 4


def test_config_file(tmp_path):
    assert checkpoints.read_config(tmp_path) is None
    config = load_config("debug")
    checkpoints.write_config(tmp_path, config)
    assert checkpoints.read_config(tmp_path) == config
    (tmp_path / "config.json").write_text('{"steps": ')
    with pytest.raises(UserError, match="cannot be read"):
        checkpoints.read_config(tmp_path)
