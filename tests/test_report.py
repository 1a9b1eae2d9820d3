from maed_jax.weights.report import Report, grouped


def test_numbered_modules_are_counted_together():
    names = [f"encoder/block{i}/mlp/fc1/{leaf}" for i in range(3) for leaf in ("kernel", "bias")]
    names += ["encoder/token", "decoder/fc1/bias", "decoder/joint3/bias"]
    assert grouped(names, 2) == [
        "encoder/block0-2  (6 arrays)",
        "encoder/token",
        "decoder  (2 arrays)",
    ]
    assert grouped(names[:2], 4) == ["encoder/block0/mlp/fc1  (2 arrays)"]
    assert grouped(["blocks.6.norm1.weight", "blocks.11.attn.qkv.bias", "head.bias"], 2) == [
        "blocks.6-11  (2 arrays)",
        "head",
    ]


def test_a_report_has_a_line_for_what_there_is_not():
    report = Report("somebody's weights", ["decoder/fc1/bias"], 1_000_000, [], ["head"], ["Beware"])
    assert str(report).splitlines() == [
        "somebody's weights",
        "  taken (1 arrays, 1.0 M numbers)",
        "    decoder",
        "  initialised anew: nothing",
        "  left out",
        "    head",
        "  note: Beware",
    ]
