import jax
import jax.numpy as jnp

from maed_jax.bench.traffic import kernels

# A program as XLA prints it for a GPU, shortened.
TEXT = """HloModule jit_f, is_scheduled=true

%fused (p0: f32[4,8]) -> f32[4,8] {
  %p0 = f32[4,8]{1,0} parameter(0)
  ROOT %e = f32[4,8]{1,0} exponential(%p0)
}

ENTRY %main (x: bf16[4,8], w: bf16[8,2]) -> (f32[4,2], s32[]) {
  %x = bf16[4,8]{1,0} parameter(0), metadata={op_name="x"}
  %w = bf16[8,2]{1,0} parameter(1)
  %loop_fusion.3 = f32[4,8]{1,0} fusion(%x), kind=kLoop, calls=%fused, metadata={op_name="f/exp"}
  %both.1 = (f32[4,2]{1,0}, s8[100]{0}) custom-call(%loop_fusion.3, /*index=1*/%w), custom_call_target="__cublas$gemm"
  %get-tuple-element.1 = f32[4,2]{1,0} get-tuple-element(%both.1), index=0
  %copy.7 = f32[4,2]{0,1} copy(%get-tuple-element.1)
  ROOT %out = (f32[4,2]{0,1}, s32[]) tuple(%copy.7)
}
"""  # noqa: E501


def test_each_kernel_with_the_bytes_of_operands_and_results():
    fusion, product, copy = kernels(TEXT)
    assert fusion == ("loop_fusion", 2 * 32 + 4 * 32, "f32[4,8]{1,0}", "f/exp")
    assert (product.name, product.bytes) == ("__cublas$gemm", 4 * 32 + 2 * 16 + 4 * 8)
    assert "s8[100]" in product.result  # the library's scratch, which is not counted
    assert (copy.name, copy.bytes, copy.origin) == ("copy", 2 * 4 * 8, "")


def test_a_program_of_this_machine():
    def f(x, w):
        return jnp.exp(x) @ w

    x, w = jnp.ones((64, 32)), jnp.ones((32, 16))
    found = kernels(jax.jit(f).lower(x, w).compile().as_text())
    assert sum(kernel.bytes for kernel in found) >= x.nbytes + w.nbytes + 64 * 16 * 4
    assert any("exp" in kernel.origin for kernel in found)
