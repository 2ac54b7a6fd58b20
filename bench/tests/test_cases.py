from harness.cases import Row, compare, in_turn


def test_every_subject_is_measured_once_a_round_and_the_first_place_goes_round() -> None:
    measured: list[str] = []

    def measure(subject: str) -> dict[str, float]:
        measured.append(subject)
        return {"cost": float(len(measured))}

    values = in_turn("case", {"peer": "p", "ours": "o"}, 3, measure)

    assert "".join(measured) == "pooppo"
    assert values == {"peer": {"cost": [1.0, 4.0, 5.0]}, "ours": {"cost": [2.0, 3.0, 6.0]}}


def test_ours_stands_beside_every_peer() -> None:
    values = {name: {"cost": [value]} for name, value in {"a": 3.0, "b": 4.0, "ours": 1.0}.items()}

    rows = compare([Row("cost", "what it costs", "us", "lower")], values)

    assert [(row.case, row.peer_name, row.ahead()) for row in rows] == [
        ("what it costs", "a", 3.0),
        ("what it costs", "b", 4.0),
    ]
