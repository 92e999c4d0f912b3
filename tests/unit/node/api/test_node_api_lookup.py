"""Who may ask, and which pod and container a request means."""

from __future__ import annotations

import pytest
from multidict import MultiDict

from pilothouse.machinery.errors import BadRequest, NotFound
from pilothouse.node.api.lookup import find_pod, log_of, running_container
from pilothouse.node.api.sessions import forward_target, ports_of, streams_of
from pilothouse.node.state import ContainerState, Phase, PodState, PodTable, SandboxState, Waiting
from pilothouse.node.streams.process import Streams


def pods() -> PodTable:
    table = PodTable()
    state = PodState("u1", "default", "p")
    state.containers["run"] = ContainerState("run", "c1", phase=Phase.RUNNING, log_path="/logs/run/1.log")
    state.containers["made"] = ContainerState("made", "c2", log_path="/logs/made/1.log")
    state.containers["over"] = ContainerState("over", "c3", phase=Phase.EXITED, log_path="/logs/over/0.log")
    state.previous["run"] = ContainerState("run", "c0", phase=Phase.EXITED, log_path="/logs/run/0.log")
    state.previous["made"] = ContainerState("made", "c4", phase=Phase.EXITED, log_path="/logs/made/0.log")
    state.waiting["pulled"] = Waiting("ImagePullBackOff")
    state.containers["pulled"] = ContainerState("pulled", "c5")
    table.add(state)
    return table


def test_pods_are_found_by_name_and_uid() -> None:
    table = pods()
    assert find_pod(table, "default", "p").uid == "u1"
    assert find_pod(table, "default", "p", "u1").uid == "u1"
    for namespace, name, uid in (("default", "q", ""), ("other", "p", "u1"), ("default", "p", "u2")):
        with pytest.raises(NotFound):
            find_pod(table, namespace, name, uid)


def test_streams_want_a_running_container() -> None:
    state = find_pod(pods(), "default", "p")
    assert running_container(state, "run").id == "c1"
    with pytest.raises(BadRequest, match="exited"):
        running_container(state, "over")
    with pytest.raises(NotFound, match="absent"):
        running_container(state, "absent")


def test_logs_are_of_the_newest_attempt_that_has_some() -> None:
    state = find_pod(pods(), "default", "p")
    assert log_of(state, "run", previous=False).id == "c1"
    assert log_of(state, "run", previous=True).id == "c0"
    assert log_of(state, "over", previous=False).id == "c3"
    assert log_of(state, "made", previous=False).id == "c4"
    with pytest.raises(BadRequest, match="ImagePullBackOff"):
        log_of(state, "pulled", previous=False)
    with pytest.raises(BadRequest, match='previous terminated container "over"'):
        log_of(state, "over", previous=True)


def test_parameters() -> None:
    assert streams_of({"input": "1", "output": "1", "tty": "1"}) == Streams(True, True, False, True)
    assert streams_of({"stdin": "true", "stderr": "true"}) == Streams(True, False, True, False)
    with pytest.raises(BadRequest):
        streams_of({"tty": "1"})
    assert ports_of(MultiDict([("ports", "80,81"), ("ports", "82")])) == [80, 81, 82]
    for wrong in ([], [("ports", "0")], [("ports", "x")], [("port", "70000")]):
        with pytest.raises(BadRequest):
            ports_of(MultiDict(wrong))


def test_forwarding_wants_a_network() -> None:
    state = find_pod(pods(), "default", "p")
    with pytest.raises(BadRequest, match="not running"):
        forward_target(state)
    state.sandbox = SandboxState("s1", netns="/run/netns/x")
    assert forward_target(state).netns == "/run/netns/x"
    state.sandbox.netns = ""
    with pytest.raises(BadRequest, match="not known"):
        forward_target(state)
