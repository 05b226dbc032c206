"""The collectives of a program, read off its text: of programs written for this, and of
one that XLA has compiled."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from meshes import four_devices

from handgrad.scale.hlo import Collective, collectives, loops

HEAD = "HloModule jit_f, is_scheduled=true, num_partitions=8\n\n"


def program(*lines: str, others: str = "") -> str:
    body = "".join(f"  {line}\n" for line in lines)
    return f"{HEAD}{others}ENTRY %main.1 (p: f32[2]) -> f32[2] {{\n{body}}}\n"


@pytest.mark.parametrize(
    ("line", "kind", "size", "devices"),
    [
        (
            "ROOT %all-reduce.7 = f32[10,4]{1,0:T(8,128)S(1)} all-reduce(%x), "
            "channel_id=1, replica_groups={{0,1},{2,3},{4,5},{6,7}}, to_apply=%add",
            *("all-reduce", 160, 2),
        ),
        (  # fused by the compiler, in the layout of a TPU
            "%all-reduce.7 = (f32[784,512]{1,0:T(8,128)}, f32[512]{0:T(512)S(1)}, "
            "bf16[2]{0}, /*index=3*/f32[]{:T(128)}) all-reduce(%a, %b), "
            "replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}, to_apply=%add",
            *("all-reduce", 4 * 784 * 512 + 4 * 512 + 4 + 4, 4),
        ),
        (
            "%all-reduce-start = f32[100]{0} all-reduce-start(%x), "
            "replica_groups=mesh['axis_0'=1,'axis_1'=8] {'axis_0','axis_1'}",
            *("all-reduce", 400, 8),
        ),
        (
            "%ars = ((f32[2,8]{1,0:T(8,128)}), f32[2,8]{1,0:T(8,128)}) "
            "all-reduce-start(%x), replica_groups=[2,2]<=[4], to_apply=%add",
            *("all-reduce", 64, 2),
        ),
        (
            "%all-gather.1 = f32[8,4]{1,0} all-gather(%x), "
            "replica_groups=[2,4]<=[8], dimensions={0}",
            *("all-gather", 128, 4),
        ),
        (
            "%ags = ((f32[2,4]{1,0}, s8[3]{0}), (f32[8,4]{1,0}, s8[12]{0})) "
            "all-gather-start(%x, %y), replica_groups=[2,4]<=[2,4]T(1,0)",
            *("all-gather", 128 + 12, 4),
        ),
        (
            "%reduce-scatter.3 = f32[2,4]{1,0} reduce-scatter(%x), "
            "replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}, to_apply=%add",
            *("reduce-scatter", 256, 8),
        ),
        (
            "%rss = ((f32[16]{0}), f32[2]{0}) reduce-scatter-start(%x), "
            "replica_groups=[1,8]<=[8], to_apply=%add",
            *("reduce-scatter", 64, 8),
        ),
        (
            "%ags = (f32[2,4]{1,0}, f32[8,4]{1,0}) all-gather-start(%x), "
            "replica_groups=[2,4]<=[8], dimensions={0}",
            *("all-gather", 128, 4),
        ),
        (
            "%rss = ((f32[16]{0}, f32[8]{0}), (f32[2]{0}, f32[1]{0}), u32[]{:S(2)}) "
            "reduce-scatter-start(%x, %y), replica_groups=[1,8]<=[8], to_apply=%add",
            *("reduce-scatter", 96, 8),
        ),
        (
            "%collective-permute-start = (f32[6]{0}, f32[6]{0}, u32[], u32[]) "
            "collective-permute-start(%x), source_target_pairs={{0,1},{1,0}}",
            *("collective-permute", 24, 8),
        ),
        (
            "%all-to-all = (f16[1,2]{1,0}, f16[1,2]{1,0}) all-to-all(%x, %y), "
            "replica_groups={{0,1}}",
            *("all-to-all", 8, 2),
        ),
        (  # half of an axis
            "%all-reduce = pred[3]{0} all-reduce(%x), "
            "replica_groups=mesh['axis_0'=8] {'axis_0':(1)4}, to_apply=%or",
            *("all-reduce", 3, 4),
        ),
        (
            "%collective-broadcast = c64[5]{0} collective-broadcast(%x), "
            "replica_groups={}",
            *("collective-broadcast", 40, 8),
        ),
    ],
)
def test_each_kind_with_its_bytes(
    line: str, kind: str, size: int, devices: int
) -> None:
    assert collectives(program(line)) == (Collective(kind, size, devices, 1),)


@pytest.mark.parametrize(
    "line",
    [
        "%all-reduce-done = f32[4]{0} all-reduce-done(%all-reduce-start)",
        "%slice = f32[4]{0} fusion(%all-reduce.7), kind=kLoop, calls=%computation",
        "%x = f32[] get-tuple-element(%all-reduce.7), index=6",
        '%c = f32[4]{0} custom-call(%x), custom_call_target="all-reduce(%y)"',
    ],
)
def test_what_only_names_a_collective_is_none(line: str) -> None:
    assert collectives(program(line)) == ()


def test_alike_ones_are_counted_and_the_largest_come_first() -> None:
    small = "%a.{} = f32[1]{{0}} all-reduce(%x), replica_groups={{{{0,1}}}}"
    large = "%b = f32[9]{0} all-reduce(%x), replica_groups={{0,1}}"
    found = collectives(program(small.format(1), small.format(2), large))
    assert found == (
        Collective("all-reduce", 36, 2, 1),
        Collective("all-reduce", 4, 2, 2),
    )


def test_one_channel_is_one_operation_however_many_fusions_it_is_spread_over() -> None:
    """As the compiler of a TPU does, to hide it behind products of matrices."""
    others = "".join(
        f"%part.{k} (p: bf16[2]) -> bf16[8] {{\n  %all-gather.{k} = bf16[8]{{0}} "
        f"all-gather(%p), channel_id={channel}, replica_groups=[1,4]<=[4]\n}}\n\n"
        for k, channel in [(1, 33), (2, 33), (3, 34)]
    )
    calls = [f"%f.{k} = bf16[8]{{0}} fusion(%x), calls=%part.{k}" for k in (1, 2, 3)]
    found = collectives(program(*calls, others=others))
    assert found == (Collective("all-gather", 16, 4, 2),)


def test_a_loop_counts_as_often_as_it_turns_and_what_is_not_called_not_at_all() -> None:
    reduced = "%r = f32[2]{0} all-reduce(%x), replica_groups={{0,1}}"
    others = "".join(
        f"%{name} (p: f32[2]) -> f32[2] {{\n  {line}\n}}\n\n"
        for name, line in [
            ("inner.1", reduced),
            ("body.2", "%f = f32[2]{0} fusion(%x), kind=kCustom, calls=%inner.1"),
            ("outer.3", _while("body.2", 5)),
            ("one", reduced.replace("f32[2]", "f32[3]")),
            ("other", reduced.replace("f32[2]", "f32[5]")),
            ("stranger", reduced.replace("f32[2]", "f32[7]")),
        ]
    )
    found = collectives(
        program(
            _while("outer.3", 3),
            "%c = f32[2]{0} conditional(%p, %x), branch_computations={%one, %other}",
            others=others,
        )
    )
    assert found == (
        Collective("all-reduce", 8, 2, 15),
        Collective("all-reduce", 20, 2, 1),
        Collective("all-reduce", 12, 2, 1),
    )


def test_a_loop_that_counts_in_steps_turns_as_often_as_it_steps() -> None:
    """From 0 by 2 to 7 are four turns; the index is the second of what it carries."""
    reduced = "%r = f32[2]{0} all-reduce(%x), replica_groups={{0,1}}"
    others = (
        "%cond.1 (p: (f32[2], u32[])) -> pred[] {\n"
        "  %seven = u32[]{:T(128)} constant(7), metadata={}\n"
        "  %i = u32[]{:T(128)} get-tuple-element(%p), index=1\n"
        "  ROOT %c = pred[] compare(%i, %seven), direction=LT, metadata={}\n}\n\n"
        "%body.1 (p: (f32[2], u32[])) -> (f32[2], u32[]) {\n"
        "  %two = u32[] constant(2)\n"
        "  %i = u32[] get-tuple-element(%p), index=1\n"
        "  %next = u32[] add(%i, %two), metadata={}\n"
        f"  {reduced}\n"
        "  ROOT %t = (f32[2]{0}, u32[]) tuple(%r, /*index=1*/%next), metadata={}\n}\n\n"
    )
    loop = "%w = (f32[2]{0}, u32[]) while(%t), condition=%cond.1, body=%body.1"
    assert loops(program(loop, others=others)) == 1
    found = collectives(program(loop, others=others))
    assert found == (Collective("all-reduce", 8, 2, 4),)
    for old, new in (
        ("direction=LT", "direction=LE"),
        ("add(%i, %two)", "add(%i, %i)"),
    ):
        (one,) = collectives(program(loop, others=others.replace(old, new)))
        assert one.times == 1  # not known


def _while(body: str, trips: int) -> str:
    return (
        f"%w = (s32[], f32[2]{{0}}) while(%t), condition=%c, body=%{body}, "
        f'backend_config={{"known_trip_count":{{"n":"{trips}"}}}}'
    )


def test_of_a_program_that_is_compiled() -> None:
    mesh = Mesh(np.array(four_devices()).reshape(2, 2), ("data", "model"))

    @partial(
        jax.shard_map, mesh=mesh, in_specs=P(("data", "model")), out_specs=P("data")
    )
    def f(x: jax.Array) -> jax.Array:  # (8, 4) of (32, 4)
        def turn(_: int, x: jax.Array) -> jax.Array:
            return jax.lax.ppermute(x, "data", [(0, 1), (1, 0)]) * 1.5

        x = jax.lax.fori_loop(0, 3, turn, x)
        x = jax.lax.psum(x, "model")
        x = jax.lax.all_gather(x, "data", tiled=True)
        return jax.lax.psum_scatter(x, "data", tiled=True)

    compiled = jax.jit(f).lower(jax.ShapeDtypeStruct((32, 4), jnp.float32)).compile()
    found = set(collectives(compiled.as_text() or ""))
    assert Collective("all-reduce", 128, 2, 1) in found
    assert Collective("all-gather", 256, 2, 1) in found
    assert Collective("reduce-scatter", 256, 2, 1) in found
    assert {row.times for row in found if row.kind == "collective-permute"} == {3}
