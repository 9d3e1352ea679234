"""What addresses of a Redis say, and that a wrong one is told without the password that it may hold."""

import traceback

import pytest
from feast.infra.online_stores.redis import RedisOnlineStore

from counterfoil import redis, settings
from counterfoil.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "place", "options"),
    [
        ("redis://cache", "cache:6379", {}),
        ("redis://10.0.0.7:6555/0", "10.0.0.7:6555", {"db": 0}),
        ("redis://10.0.0.7:6555/", "10.0.0.7:6555", {}),
        ("rediss://:s%20e%3Dcret@cache/12", "cache:6379", {"ssl": True, "db": 12, "password": "s e=cret"}),
        ("redis://shop:1234@cache:1", "cache:1", {"username": "shop", "password": "1234"}),
        ("redis://shop:true@cache:1", "cache:1", {"username": "shop", "password": "true"}),
        ("redis://shop@cache:1", "cache:1", {"username": "shop"}),
        ("redis://:p%40ss%23%3F@cache:1", "cache:1", {"password": "p@ss#?"}),
        ("redis://cache:1?socket_timeout=0.5&password=1e5", "cache:1", {"socket_timeout": 0.5, "password": "1e5"}),
        ("redis://cache:1,db=3,password=x=y,ssl=true", "cache:1", {"db": 3, "password": "x=y", "ssl": True}),
        ('redis://cache:1,password="12"', "cache:1", {"password": "12"}),
    ],
)  # fmt: skip
def test_an_address_says_where_and_how_as_feast_reads_it(url: str, place: str, options: dict) -> None:
    found = redis.parse(url)
    assert (found.place, found.options) == (place, options)
    [node], read = RedisOnlineStore._parse_connection_string(found.feast())
    assert f"{node['host']}:{node['port']}" == place and read == options
    assert redis.parse(f"redis://{found.feast()}") == found, "it can be handed on in Feast's form"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("cache:6379", "does not begin with redis://"),
        ("http://cache", "does not begin with redis://"),
        ("redis://", "does not begin with"),
        ("redis://:hunter2@:6379", "names no host"),
        ("redis://:hunter2@cache:port", "port is no number"),
        ("redis://:hunter2@cache:70000", "port is no number"),
        ("redis://:hunter2@cache:0", "port is no number"),
        ("redis://:hunter2@cache/main", "not the number of a database"),
        ("redis://:hunter2@cache/²", "not the number of a database"),
        ("redis://:hunt%2Cer2@cache", "a comma in a value"),
        ("redis://:p[hunter2]x@cache", "no URL"),
        ("redis://:se：hunter2@cache", "no URL"),
        ("redis://hunter2:12,34@cache:6379/0", "behind a comma"),
        ("redis://hunter2:12,a=34@cache:6379/0", "behind a comma"),
        ("redis://hunter2:12#x@cache", "written %23"),
        ("redis://hunter2:12?x@cache", "question mark"),
        ("redis://cache:1?host=hunter2", "option's name"),
        ("redis://cache:1?a%2Cb=hunter2", "option's name"),
        ('redis://cache:1?k={"a":"hunter2","b":2}', "behind a comma"),
        ("redis://cache:1?k=%5B1%2C2%5D", "a comma in a value"),
        ("redis://a:1,b:2", "behind a comma"),
        ("redis://[::1]:6379", "no IPv6"),
    ],
)
def test_a_wrong_address_is_one_sentence_without_the_password(
    monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    monkeypatch.setenv("COUNTERFOIL_ONLINE_STORE_URL", url)
    with pytest.raises(ConfigError, match="COUNTERFOIL_ONLINE_STORE_URL is not redis://") as fault:
        settings.load()
    assert why in str(fault.value)
    assert "hunter2" not in "".join(traceback.format_exception(fault.value))


def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERFOIL_ONLINE_STORE_URL", "")
    assert settings.load().online_store_url is None
