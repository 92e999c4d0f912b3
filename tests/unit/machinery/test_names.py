import pytest

from pilothouse.machinery import names


def test_a_label_is_refused_with_the_message_of_upstream():
    assert names.dns1123_label("my-app") == []
    assert names.dns1123_label("My_App") == [
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    ]
    assert names.dns1123_label("a" * 64) == ["must be no more than 63 bytes"]


@pytest.mark.parametrize("good", ["app", "app.kubernetes.io/name", "A_b.c", "x" * 63])
def test_good_label_keys(good):
    assert names.label_key(good) == []


@pytest.mark.parametrize("bad", ["", "/a", "a/b/c", "-a", "UPPER.example/name", "a/", "x" * 64])
def test_bad_label_keys(bad):
    assert names.label_key(bad)


def test_other_rules():
    assert names.label_value("") == []
    assert names.label_value("a b")
    assert names.dns1035_label("1a")
    assert names.dns1123_subdomain("a.b-c.d") == []
    assert names.path_segment("system:node") == []
    assert names.path_segment("..") == ["may not be '..'"]
    assert names.path_segment("a/b%") == ["may not contain '/'", "may not contain '%'"]
    assert names.config_key("..data")
    assert names.config_key("app.conf") == []
    assert names.port_name("http-2") == []
    assert names.port_name("80") == ["must contain at least one letter (a-z)"]
    assert names.env_var_name("A=B")
    assert names.annotation_key("Example.com/Key") == []


def test_a_generated_name_fits_a_label():
    name = names.generate_name("x" * 80)
    assert len(name) == 63
    assert names.dns1123_label(name) == []
    assert set(names.generate_name("")) <= set(names.GENERATED_ALPHABET)


def test_a_suffix_that_follows_from_a_text() -> None:
    suffix = names.suffix_of("a")
    assert suffix == names.suffix_of("a") != names.suffix_of("b")
    assert len(suffix) == names.GENERATED_SUFFIX_LENGTH
    assert set(suffix) <= set(names.GENERATED_ALPHABET)
