import pytest

from pilothouse.apiserver.rewritten import rewritten_page, rewritten_url

PREFIX = "/api/v1/namespaces/shop/pods/web/proxy"
HOSTS = frozenset({"10.0.0.7:80", "cluster.example:6443"})


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        ("/rewriteme", f"{PREFIX}/rewriteme"),
        ("/a/?q=1#top", f"{PREFIX}/a/?q=1#top"),
        ("/", f"{PREFIX}/"),
        ("http://10.0.0.7:80/a", f"{PREFIX}/a"),
        (f"{PREFIX}/a", f"{PREFIX}/a"),
        (f"{PREFIX}like", f"{PREFIX}{PREFIX}like"),
        ("a/b", "a/b"),
        ("https://elsewhere.example/a", "https://elsewhere.example/a"),
        ("//elsewhere.example/a", "//elsewhere.example/a"),
        ("mailto:a@b.example", "mailto:a@b.example"),
        ("#top", "#top"),
        ("http://[broken/", "http://[broken/"),
    ],
)
def test_only_what_leads_back_to_the_host_is_rewritten(url: str, rewritten: str) -> None:
    assert rewritten_url(url, PREFIX, HOSTS) == rewritten


def test_links_of_a_page_are_rewritten_and_all_else_stays() -> None:
    page = (
        '<!doctype html><p title="/no">/no <A class=x HREF=\'/a?b=1&amp;c=2\'>a</A> <img src=/i.png alt="/no">'
        '<form action="/send" data-action="/no"><script>if (a < b) x = "/no"</script><video poster="/p" src="v">'
    )
    assert rewritten_page(page, "/x", HOSTS) == (
        '<!doctype html><p title="/no">/no <A class=x HREF=\'/x/a?b=1&amp;c=2\'>a</A> <img src=/x/i.png alt="/no">'
        '<form action="/x/send" data-action="/no"><script>if (a < b) x = "/no"</script><video poster="/x/p" src="v">'
    )
