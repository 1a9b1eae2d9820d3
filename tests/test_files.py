import pickle

import jax
import numpy as np
import parity_rules
import pytest

from maed_jax.body import files, smpl
from maed_jax.errors import UserError


@pytest.fixture(scope="module")
def arrays():
    return parity_rules.smpl_files()


@pytest.fixture(scope="module")
def model(arrays):
    """Only the contents of SMPL's own file."""
    return {key: arrays[key] for key in files.MODEL_KEYS}


@pytest.fixture(scope="module")
def body(arrays):
    return files.load_body(arrays)


@pytest.fixture(scope="module")
def small_model(model):
    """An SMPL body with 40 vertices: quick to write and easy to break."""
    verts, faces = 40, np.arange(39).reshape(13, 3)
    cut = {key: np.asarray(model[key])[:verts] for key in
           ("v_template", "shapedirs", "posedirs", "weights")}  # fmt: skip
    regressor = model["J_regressor"].toarray()[:, :verts]
    return cut | {"J_regressor": regressor, "f": faces, "kintree_table": model["kintree_table"]}


def same(a, b) -> bool:
    equal = jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), a, b)
    return jax.tree.structure(a) == jax.tree.structure(b) and jax.tree.all(equal)


def write(directory, arrays, kind):
    path = directory / f"SMPL_NEUTRAL.{kind}"
    if kind == "pkl":
        path.write_bytes(pickle.dumps(arrays, 2))
    else:
        dense = {key: value.toarray() if hasattr(value, "toarray") else value
                 for key, value in arrays.items()}  # fmt: skip
        np.savez(path, **dense)
    return path


def write_companions(directory, arrays):
    np.save(directory / "J_regressor_extra.npy", arrays["J_regressor_extra"])
    np.save(directory / "J_regressor_h36m.npy", arrays["J_regressor_h36m"])
    np.savez(directory / "smpl_mean_params.npz", **arrays["mean_params"])


def test_rest_joints_are_the_regressed_ones(body, arrays):
    regressor = arrays["J_regressor"].toarray()
    np.testing.assert_allclose(body.rest_joints, regressor @ arrays["v_template"], atol=1e-6)
    betas = np.random.default_rng(0).standard_normal(10)
    shaped = regressor @ (arrays["v_template"] + arrays["shapedirs"] @ betas)
    found = np.asarray(body.rest_joints) + np.asarray(body.rest_joint_dirs) @ betas
    np.testing.assert_allclose(found, shaped, atol=1e-6)


def test_a_body_is_itself(body):
    assert files.load_body(body) is body


def test_the_mannequin_by_name():
    mannequin = files.load_body("mannequin")
    assert mannequin.name == "mannequin" and mannequin.landmark_regressor is not None


@pytest.mark.parametrize("kind", ["pkl", "npz"])
def test_every_way_to_give_smpl_is_the_same(tmp_path, body, model, arrays, kind):
    path = write(tmp_path, model, kind)
    write_companions(tmp_path, arrays)
    assert same(files.load_body(path), body)
    assert same(files.load_body(str(tmp_path)), body)


def test_the_mistake_of_a_kept_path_says_whose_it_is():
    assert files.load_saved_body("mannequin", "").name == "mannequin"
    with pytest.raises(UserError, match="^the body of DIR: /nowhere does not exist"):
        files.load_saved_body("/nowhere", "the body of DIR")


def test_spins_layout(tmp_path, small_model, arrays):
    (tmp_path / "smpl").mkdir()
    write(tmp_path / "smpl", small_model, "pkl")
    np.savez(tmp_path / "smpl_mean_params.npz", **arrays["mean_params"])
    assert files.load_body(tmp_path).mean_camera is not None


def test_a_mapping_with_dense_regressor_and_more_betas(arrays, body):
    more = np.concatenate([arrays["shapedirs"], np.ones((6890, 3, 290))], axis=-1)
    given = arrays | {"shapedirs": more, "J_regressor": arrays["J_regressor"].toarray()}
    assert same(files.load_body(given), body)


def test_smpl_alone_loads_and_says_what_is_missing_when_it_is_needed(model):
    bare = files.load_body(model)
    posed = jax.eval_shape(smpl.pose_body, bare, np.zeros((24, 3, 3)), np.zeros(10))
    assert posed.verts.shape == (6890, 3)
    with pytest.raises(UserError, match="J_regressor_extra.npy"):
        smpl.keypoint_body(bare)


def test_another_mesh_has_no_known_landmarks(small_model):
    body = files.load_body(small_model | {"J_regressor_extra": np.ones((9, 40))})
    assert body.landmark_regressor is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("v_template", np.zeros((40, 2)), "v_template has shape (40, 2), expected (vertices, 3)"),
        ("shapedirs", np.zeros((40, 3, 9)), "shapedirs has shape (40, 3, 9), expected (40, 3, 10"),
        ("posedirs", np.zeros((207, 120)), "posedirs has shape (207, 120), expected (40, 3, 207)"),
        ("weights", np.zeros((40, 23)), "weights has shape (40, 23), expected (40, 24)"),
        ("J_regressor", np.zeros((24, 41)), "J_regressor has shape (24, 41), expected (24, 40)"),
        ("f", np.full((5, 3), 40), "f refers to vertices that the body does not have"),
        ("f", np.full((5, 3), -1), "f refers to vertices that the body does not have"),
        ("kintree_table", np.zeros((2, 52)), "52 joints where SMPL has 24"),
        ("kintree_table", np.zeros((2, 24)), "kintree_table does not contain the parents"),
        ("weights", np.full((40, 24), np.nan), "weights has values that are not finite"),
        ("weights", np.array([{}]), "weights contains Python objects or text"),
        ("weights", "text", "weights contains Python objects or text"),
        ("J_regressor_extra", np.zeros((8, 40)), "J_regressor_extra has shape (8, 40)"),
        ("J_regressor_h36m", np.zeros((17, 4)), "J_regressor_h36m has shape (17, 4)"),
        ("mean_params", {"pose": np.zeros(72)}, "mean_params: pose has shape (72,), expected (144"),
        ("mean_params", np.zeros(3), "mean_params is not a mapping"),
    ],
)
def test_what_does_not_fit_is_named(small_model, key, value, message):
    with pytest.raises(UserError) as caught:
        files.load_body(small_model | {key: value})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_missing_arrays_are_named(small_model):
    del (few := dict(small_model))["posedirs"]
    with pytest.raises(UserError, match="it lacks posedirs$"):
        files.load_body(few)


def test_a_huge_sparse_claim_is_not_made_dense(small_model):
    import scipy.sparse

    huge = scipy.sparse.coo_matrix(([1.0], ([0], [0])), shape=(10**9, 10**9))
    with pytest.raises(UserError, match="J_regressor has shape"):
        files.load_body(small_model | {"J_regressor": huge})


def test_objects_in_npz_are_refused_where_they_are_needed(tmp_path, small_model):
    junk = np.array([{"a": 1}], object)
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **small_model, junk=junk)
    assert files.load_body(tmp_path).template.shape == (40, 3)
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **small_model | {"weights": junk})
    with pytest.raises(UserError, match="weights contains Python objects"):
        files.load_body(tmp_path)


def test_files_that_are_no_bodies(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        files.load_body(tmp_path / "none.npz")
    with pytest.raises(UserError, match="has no body"):
        files.load_body(tmp_path)
    (tmp_path / "body.txt").write_text("body")
    with pytest.raises(UserError, match="must end in .pkl or .npz"):
        files.load_body(tmp_path / "body.txt")
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match="contains a list"):
        files.load_body(tmp_path / "list.pkl")
    (tmp_path / "text.npz").write_text("body")
    with pytest.raises(UserError, match="cannot be read as a .npz"):
        files.load_body(tmp_path / "text.npz")


@pytest.mark.parametrize("kept", [10, 2000, -30])
def test_half_a_file(tmp_path, small_model, kept):
    path = write(tmp_path, small_model, "npz")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match="cannot be read as a .npz"):
        files.load_body(path)
    np.save(tmp_path / "J_regressor_h36m.npy", np.zeros((17, 40)))
    path = write(tmp_path, small_model, "npz")
    regressor = tmp_path / "J_regressor_h36m.npy"
    regressor.write_bytes(regressor.read_bytes()[:kept])
    with pytest.raises(UserError, match="J_regressor_h36m.npy cannot be read as an array"):
        files.load_body(path)


def test_bodies_of_one_gender_lie_beside_the_neutral_one(tmp_path, small_model):
    np.savez(tmp_path / "SMPL_NEUTRAL.npz", **small_model)
    bigger = small_model | {"v_template": 2 * np.asarray(small_model["v_template"])}
    (tmp_path / "smpl").mkdir()
    np.savez(tmp_path / "smpl" / "SMPL_FEMALE.npz", **bigger)
    neutral = files.load_body(tmp_path)
    for source in (tmp_path, tmp_path / "SMPL_NEUTRAL.npz"):
        female = files.load_body(source, "female")
        np.testing.assert_allclose(female.template, 2 * neutral.template, rtol=1e-6)
        with pytest.raises(UserError, match="SMPL_MALE.npz is missing"):
            files.load_body(source, "male")
    for other in ("mannequin", small_model, neutral):
        with pytest.raises(UserError, match="the male body is needed but this body has none"):
            files.load_body(other, "male")


def test_an_unknown_gender_is_named(small_model):
    for source in (small_model, "mannequin", "nowhere"):
        with pytest.raises(UserError, match="no body of gender 'unknown'; choose from neutral, "):
            files.load_body(source, "unknown")
