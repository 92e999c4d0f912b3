from pilothouse.launch.service import Failures

REASON = "node (pid {}) ended: the range 10.0.0.0/16 overlaps 10.0.0.0/8; starting it again{}"


def test_a_reason_is_said_once_and_soon_taken_for_hopeless() -> None:
    failures = Failures()
    said = []
    for pid, delay in ((1, ""), (2, ""), (3, ""), (4, " in 2 s"), (5, " in 3 s")):
        assert not failures.hopeless
        said += [line for line in (REASON.format(pid, delay), "ready: the API answers") if failures.is_new(line)]
    assert said.count("ready: the API answers") == 5
    assert [line for line in said if line.startswith("node")] == [REASON.format(1, "")]
    assert failures.hopeless == "node ended: the range 10.0.0.0/16 overlaps 10.0.0.0/8"


def test_other_reasons_each_are_given_time() -> None:
    failures = Failures()
    lines = [f"control (pid {number}) was ended by SIGKILL; starting it again" for number in range(4)]
    lines += [f"node (pid {number}) ended: no such address; starting it again" for number in range(4)]
    assert [failures.is_new(line) for line in lines].count(True) == 2
    assert not failures.hopeless
