"""Operation counts of programs small enough to count by hand."""

import jax
import jax.numpy as jnp
import pytest

from maed_jax.bench.operations import Count, count


def shaped(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def test_a_product():
    found = count(jnp.matmul, shaped(3, 5), shaped(5, 7))
    assert found == Count(2 * 3 * 5 * 7, 4 * (3 * 5 + 5 * 7 + 3 * 7))
    half = shaped(3, 5, dtype=jnp.bfloat16), shaped(5, 7, dtype=jnp.bfloat16)
    assert count(jnp.matmul, *half).bytes == found.bytes // 2


def test_a_batch_of_products():
    found = count(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), shaped(4, 3, 5), shaped(4, 5, 7))
    assert found.operations == 2 * 4 * 3 * 5 * 7


def test_scaling_rows_is_no_product():
    found = count(lambda a, b: jnp.einsum("bij,bi->bij", a, b), shaped(4, 3, 5), shaped(4, 3))
    assert found == Count(0, 0)


def convolve(x, kernel, stride=1):
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, "SAME", dimension_numbers=dims)


@pytest.mark.parametrize("stride", (1, 2))
def test_a_convolution_and_its_gradients(stride):
    x, kernel = shaped(2, 8, 8, 3), shaped(3, 3, 3, 5)
    forward = 2 * 2 * (8 // stride) ** 2 * 9 * 3 * 5
    assert count(lambda x, k: convolve(x, k, stride), x, kernel).operations == forward

    def total(x, kernel):
        return convolve(x, kernel, stride).sum()

    # The gradients of the kernel and of the pixels each cost as much as the forward pass.
    for argument in (0, 1):
        with_gradient = jax.value_and_grad(total, argument)
        assert count(with_gradient, x, kernel).operations == 2 * forward


def test_what_nobody_asks_for_does_not_count():
    x = shaped(4, 4)
    assert count(lambda x: (x @ x, x)[1], x).operations == 0


def test_what_is_inside_of_other_programs_counts():
    x = shaped(4, 4)
    once = count(jnp.matmul, x, x).operations

    def looped(x):
        return jax.lax.scan(lambda carry, _: (carry @ x, None), x, length=6)[0]

    def either(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x, x)

    assert count(jax.jit(lambda x: x @ x), x).operations == once
    assert count(looped, x).operations == 6 * once
    assert count(either, x).operations == 2 * once


def test_what_is_computed_again_for_the_gradient_counts():
    def gradient(inner):
        return count(jax.value_and_grad(lambda x: inner(x).sum()), shaped(4, 4)).operations

    def inner(x):
        return jnp.sin(x @ x)

    assert gradient(jax.checkpoint(inner)) == gradient(inner) + 2 * 4**3


def test_of_branches_the_dearest_counts_and_of_devices_branches_the_one_of_all_others():
    x, kernel = jnp.zeros((3, 5)), jnp.zeros((5, 2))

    def twice(x):
        return (x @ kernel) @ kernel.T @ kernel

    def once(x):
        return x @ kernel

    assert count(lambda x, so: jax.lax.cond(so, once, twice, x), x, True) == count(twice, x)
    chosen = count(lambda x: jax.lax.platform_dependent(x, cuda=twice, cpu=twice, default=once), x)
    assert chosen == count(once, x)
