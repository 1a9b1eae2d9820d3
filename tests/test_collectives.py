"""Collectives in the text of programs, both hand-written and compiled."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from maed_jax.bench.collectives import Collective, collectives, sent, totals

TEXT = """
  %all-reduce.3 = (f32[64]{0}, f32[8,128]{1,0}) all-reduce(%a, %b), channel_id=1, replica_groups=[1,8]<=[8], to_apply=%add
  ROOT %ag = bf16[4,32]{1,0} all-gather(%c), replica_groups={{0,1},{2,3},{4,5},{6,7}}, dimensions={0}
  %rs = f32[16]{0} reduce-scatter(%d), replica_groups=[2,4]<=[8], dimensions={0}, to_apply=%add
  %ags = (f32[2]{0}, f32[16]{0}) all-gather-start(%e), replica_groups={}, dimensions={0}
  %agd = f32[16]{0} all-gather-done(%ags)
  %cp = (f32[5]{0}, f32[5]{0}, u32[], u32[]) collective-permute-start(%f), source_target_pairs={{0,1}}
  %cpd = f32[5]{0} collective-permute-done(%cp)
  %ars = ((f32[7]{0}), f32[7]{0}) all-reduce-start(%g), replica_groups=mesh['data'=2,'fsdp'=4] {'fsdp'}, to_apply=%add
  %ard = f32[7]{0} all-reduce-done(%ars)
  %arp = (f32[6]{0}, f32[2]{0}) all-reduce-start(%h, %i), replica_groups=mesh['data'=2,'fsdp'=4] {'data','fsdp'}, to_apply=%add
  %fusion = f32[16]{0} fusion(%agd), calls=%all-reduce-like
"""  # noqa: E501


def test_every_kind_is_read():
    assert collectives(TEXT, 8) == [
        Collective("all-reduce", 4 * (64 + 8 * 128), 8),
        Collective("all-gather", 2 * 4 * 32, 2),
        Collective("reduce-scatter", 4 * 16 * 4, 4),
        Collective("all-gather", 4 * 16, 8),
        Collective("collective-permute", 4 * 5, 8),
        Collective("all-reduce", 4 * 7, 4),
        Collective("all-reduce", 4 * 8, 8),
    ]


def test_what_a_ring_sends():
    assert sent(Collective("all-reduce", 800, 8)) == 2 * 700
    assert sent(Collective("all-gather", 800, 8)) == sent(Collective("all-to-all", 800, 8)) == 700
    assert sent(Collective("collective-permute", 800, 8)) == 800
    assert sent(Collective("all-reduce", 800, 1)) == 0


def test_totals_leave_out_what_stays_on_a_device():
    found = [Collective("all-reduce", 8, 2), Collective("all-reduce", 16, 2)]
    alone = [Collective("all-gather", 99, 1)]
    assert totals(found + alone) == {"all-reduce": {"number": 2, "payload": 24, "sent": 24}}


@pytest.mark.parametrize("devices", (1, 2, 8))
def test_a_compiled_gradient_is_reduced_over_all_devices(devices):
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))

    def gradient(w, x):
        return jax.grad(lambda w: jnp.sum((x @ w) ** 2))(w)

    w = jax.ShapeDtypeStruct((16, 32), jnp.float32, sharding=whole)
    x = jax.ShapeDtypeStruct((64, 16), jnp.float32, sharding=split)
    text = jax.jit(gradient, out_shardings=whole).lower(w, x).compile().as_text()
    found = totals(collectives(text, devices))
    if devices == 1:
        assert found == {}
    else:
        assert found["all-reduce"]["payload"] == 4 * 16 * 32
        assert found["all-reduce"]["sent"] == 2 * 4 * 16 * 32 * (devices - 1) / devices
