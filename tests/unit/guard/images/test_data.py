from __future__ import annotations

import gzip
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.guard.images.data.base import Base
from pilothouse.guard.images.data.feeds import Source
from pilothouse.guard.images.data.streams import object_members, zip_members
from pilothouse.guard.images.data.update import Result, Updater
from pilothouse.guard.images.data.write import Counts
from pilothouse.guard.images.fetch import Http
from pilothouse.guard.images.model import NotReadable


def record(ident: str, package: str = "jinja", fixed: str = "2.0", **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": "PyPI", "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
    }
    return {"id": ident, "modified": "2024-01-01T00:00:00Z", "affected": [affected], **more}


def zipped(*records: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in records:
            archive.writestr(f"{entry['id']}.json", json.dumps(entry))
    return out.getvalue()


TRACKER = {
    "openssl": {
        "CVE-2024-1": {
            "description": "a flaw",
            "releases": {
                "bookworm": {
                    "status": "resolved",
                    "repositories": {"bookworm": "3.0.11-1", "bookworm-security": "3.0.13-1"},
                    "fixed_version": "3.0.13-1",
                    "urgency": "not yet assigned",
                }
            },
        },
        "CVE-2024-2": {"releases": []},
    }
}
SECDB = {
    "distroversion": "v3.19",
    "reponame": "main",
    "packages": [
        {"pkg": {"name": "openssl", "secfixes": {"3.1.4-r3": ["CVE-2023-6129 (low)"], "0": ["CVE-2023-0466"]}}}
    ],
}
KEV = {
    "catalogVersion": "1",
    "vulnerabilities": [{"cveID": "CVE-2024-1", "dateAdded": "2024-02-01", "knownRansomwareCampaignUse": "Known"}],
}
EPSS = "#model_version:v1,score_date:2024\ncve,epss,percentile\nCVE-2024-1,0.5,0.9\n"


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Base]:
    base = Base(tmp_path / "db" / "v.db")
    yield base
    base.close()


@pytest.fixture
def updater(base: Base, tmp_path: Path) -> Updater:
    return Updater(base, tmp_path / "downloads", Http(pause=lambda seconds: None))


def test_a_folder_is_taken_in_whatever_its_files_are_called(base: Base, updater: Updater, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    (folder / "loose").mkdir(parents=True)
    (folder / "osv-PyPI.zip").write_bytes(zipped(record("PYSEC-1"), record("PYSEC-2")))
    (folder / "a.json.gz").write_bytes(gzip.compress(json.dumps(TRACKER).encode()))
    (folder / "b.json").write_text(json.dumps(SECDB))
    (folder / "c.json").write_text(json.dumps(KEV))
    (folder / "d.csv").write_text(EPSS)
    (folder / "e.jsonl").write_text("\n".join(json.dumps(record(f"X-{n}", "other")) for n in range(3)))
    (folder / "loose" / "one.json").write_text(json.dumps(record("LOOSE-1", "jinja")))
    (folder / "README.md").write_text("about")
    results = {result.feed: result for result in updater.from_path(folder)}
    assert {name for name, result in results.items() if result.error} == set()
    assert set(results) == {"osv/PyPI", "debian", "alpine/b", "kev", "epss", "osv/e", "osv/loose"}
    assert {known.advisory.id for known in base.lookup("PyPI", "jinja")} == {"PYSEC-1", "PYSEC-2", "LOOSE-1"}
    (openssl,) = [known for known in base.lookup("Debian", "openssl") if known.advisory.id == "CVE-2024-1"]
    assert openssl.rule.releases["bookworm"].fixed == "3.0.13-1"
    assert {known.advisory.id for known in base.lookup("Alpine:v3.19", "openssl")} == {"CVE-2023-6129", "CVE-2023-0466"}
    risk = base.risk(["GHSA-x", "CVE-2024-1"])
    assert (risk.epss, risk.kev, risk.ransomware) == (0.5, "2024-02-01", True)


def test_single_records_do_not_make_an_ecosystem_known(base: Base, updater: Updater, tmp_path: Path) -> None:
    (tmp_path / "advisories").mkdir()
    (tmp_path / "advisories" / "x.json").write_text(json.dumps(record("X-1")))
    assert not next(iter(updater.from_path(tmp_path / "advisories"))).error
    assert base.lookup("PyPI", "jinja")
    assert not base.covers("PyPI")


def test_only_what_differs_is_written_and_told(base: Base, updater: Updater, tmp_path: Path) -> None:
    file = tmp_path / "osv-PyPI.zip"
    file.write_bytes(zipped(record("A", "a"), record("B", "b"), record("C", "c")))
    assert list(updater.from_path(file)) == [Result("osv/PyPI", Counts(added=3))]
    before = base.generation()
    assert list(updater.from_path(file)) == [Result("osv/PyPI")]
    file.write_bytes(zipped(record("A", "a"), record("B", "b", fixed="3.0"), record("D", "d")))
    assert list(updater.from_path(file)) == [Result("osv/PyPI", Counts(added=1, changed=1, removed=1, same=1))]
    assert set(base.changed_since(before)) == {("PyPI", "b"), ("PyPI", "c"), ("PyPI", "d")}
    assert base.lookup("PyPI", "c") == []


@pytest.mark.parametrize(
    "data",
    [
        zipped(record("A"), record("B"))[:-40],
        zipped(record("A"), record("B")).replace(b"PK\x01\x02", b"PK\x01\x09"),
        zipped({"id": "A", "affected": 3}, *({"id": f"B{n}", "affected": "x"} for n in range(9))),
        zipped(),
        b"hello",
        gzip.compress(json.dumps(TRACKER).encode())[:-20],
        json.dumps(TRACKER).encode()[:-2],
        b"#model_version\ncve,epss,percentile\nCVE-1,lots,0\n",
    ],
)
def test_broken_files_leave_the_last_good_data(base: Base, updater: Updater, tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "osv-PyPI.zip"
    file.write_bytes(zipped(record("GOOD")))
    assert not next(iter(updater.from_path(file))).error
    file.write_bytes(data)
    (result,) = updater.from_path(file)
    assert result.error
    assert [known.advisory.id for known in base.lookup("PyPI", "jinja")] == ["GOOD"]
    assert base.counts()["epss"] == 0


def test_a_feed_that_lost_most_of_its_records_is_taken_for_broken(base: Base, updater: Updater, tmp_path: Path) -> None:
    file = tmp_path / "osv-PyPI.zip"
    file.write_bytes(zipped(*(record(f"A{number}") for number in range(600))))
    assert not next(iter(updater.from_path(file))).error
    file.write_bytes(zipped(*(record(f"A{number}") for number in range(200))))
    (result,) = updater.from_path(file)
    assert "200 records where there were 600" in result.error
    assert base.feeds()[0].error == result.error
    assert len(base.lookup("PyPI", "jinja")) == 600


class _Server:
    """Answers as a script says; keeps what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.script: list[str] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append((request.path, dict(request.headers)))
        act = self.script.pop(0) if self.script else ""
        data = self.files.get(request.path)
        if act == "429":
            request.send_response(429)
            request.send_header("Retry-After", "7")
            request.end_headers()
            return
        if data is None:
            request.send_error(404)
            return
        etag = f'"{hash(data) & 0xFFFFFF}"'
        if request.headers.get("If-None-Match") == etag:
            request.send_response(304)
            request.end_headers()
            return
        start = 0
        wanted = request.headers.get("Range", "")
        if wanted and request.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        request.send_response(206 if start else 200)
        request.send_header("ETag", etag)
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        body = data[start:]
        if act == "cut":
            body = body[: len(body) // 2]
        elif act == "spoil":
            body = b"\0" * len(body)
        request.wfile.write(body)


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.close()


def test_a_mirror_gives_what_it_has_and_then_nothing_that_has_not_changed(
    base: Base, updater: Updater, server: _Server
) -> None:
    server.files = {"/osv/PyPI/all.zip": zipped(record("A")), "/kev/known_exploited_vulnerabilities.json": _json(KEV)}
    first = [result for result in updater.from_url(server.url) if not result.missing]
    assert [(result.feed, bool(result.counts)) for result in first] == [("osv/PyPI", True), ("kev", True)]
    second = [result for result in updater.from_url(server.url) if not result.missing]
    assert second == [Result("osv/PyPI"), Result("kev")]
    assert server.asked[-1][1]["If-None-Match"]


def _json(tree: object) -> bytes:
    return json.dumps(tree).encode()


def test_a_download_that_breaks_off_goes_on_where_it_broke(base: Base, updater: Updater, server: _Server) -> None:
    data = zipped(*(record(f"A{number}") for number in range(300)))
    server.files = {"/x.zip": data}
    server.script = ["cut", "cut"]
    (result,) = updater.from_url(server.url + "x.zip")
    assert result.counts == Counts(added=300)
    starts = [asked[1].get("Range", "bytes=0-") for asked in server.asked]
    assert (
        starts == ["bytes=0-", f"bytes={len(data) // 2}-", f"bytes={len(data) // 2 + len(data) // 4}-"]
        or len(set(starts)) == 3
    )


def test_what_was_fetched_before_a_break_is_used_by_the_next_run(base: Base, updater: Updater, server: _Server) -> None:
    server.files = {"/x.zip": zipped(*(record(f"A{number}") for number in range(300)))}
    server.script = ["cut"] * 5
    (result,) = updater.from_url(server.url + "x.zip")
    assert "connection ended" in result.error
    count = len(server.asked)
    (again,) = updater.from_url(server.url + "x.zip")
    assert again.counts == Counts(added=300)
    assert server.asked[count][1]["Range"] != "bytes=0-"


def test_a_server_that_is_busy_is_asked_again_when_it_says(base: Base, server: _Server, tmp_path: Path) -> None:
    waited: list[float] = []
    updater = Updater(base, tmp_path / "downloads", Http(pause=waited.append))
    server.files = {"/x.zip": zipped(record("A"))}
    server.script = ["429", "429"]
    (result,) = updater.from_url(server.url + "x.zip")
    assert result.counts == Counts(added=1)
    assert waited == [7.0, 7.0]


def test_what_arrives_spoiled_leaves_the_last_good_data_and_is_fetched_anew(
    base: Base, updater: Updater, server: _Server
) -> None:
    sources = [Source("osv/PyPI", server.url + "x.zip", "x.zip")]
    server.files = {"/x.zip": zipped(record("A"))}
    assert not next(iter(updater.from_defaults(sources))).error
    server.files = {"/x.zip": zipped(record("A"), record("B"))}
    server.script = ["spoil"]
    (result,) = updater.from_defaults(sources)
    assert result.error
    assert len(base.lookup("PyPI", "jinja")) == 1
    (again,) = updater.from_defaults(sources)
    assert again.counts == Counts(added=1, same=1)
    assert base.feeds()[0].error == ""


def test_plain_http_is_not_redirected_to_from_https_and_other_schemes_are_refused() -> None:
    with pytest.raises(NotReadable, match="only http and https"):
        Http().get("file:///etc/passwd")


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=6),
        st.dictionaries(
            st.text(max_size=4), st.one_of(st.text(), st.lists(st.text(max_size=3), max_size=3)), max_size=4
        ),
        max_size=5,
    ),
    st.integers(1, 40),
)
def test_members_of_a_large_object_are_those_that_json_reads(tree: dict[str, Any], size: int) -> None:
    data = json.dumps(tree).encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert [(key, json.loads(value)) for key, value in object_members(pieces)] == list(tree.items())


def test_members_of_a_zip_are_those_that_the_standard_library_reads() -> None:
    data = zipped(*(record(f"A{number}") for number in range(50)))
    found = dict(zip_members(io.BytesIO(data)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert found == {name: archive.read(name) for name in archive.namelist()}
