"""What addresses of a Redis say, and that a wrong one is told without the password that it may hold."""

import pytest
from feast.infra.online_stores.redis import RedisOnlineStore

from counterfoil import redis, settings
from counterfoil.errors import ConfigError

BOUNDS = {"socket_timeout": 2, "socket_connect_timeout": 2}


@pytest.mark.parametrize(
    ("url", "place", "options"),
    [
        ("redis://cache", "cache:6379", {}),
        ("redis://10.0.0.7:6555/0", "10.0.0.7:6555", {"db": 0}),
        ("redis://10.0.0.7:6555/", "10.0.0.7:6555", {}),
        ("rediss://:s%20e%3Dcret@cache/12", "cache:6379", {"ssl": True, "db": 12, "password": "s e=cret"}),
        ("redis://shop:1234@cache:1", "cache:1", {"username": "shop", "password": "1234"}),
        ("redis://shop:true@cache:1", "cache:1", {"username": "shop", "password": "true"}),
        ("redis://cache:1?socket_timeout=0.5", "cache:1", {"socket_timeout": 0.5}),
        ("redis://cache:1,db=3,password=x,ssl=true", "cache:1", {"db": 3, "password": "x", "ssl": True}),
        ("redis://a:1,b:2,skip_full_coverage_check=true", "a:1,b:2", {"skip_full_coverage_check": True}),
    ],
)
def test_an_address_says_where_and_how_as_feast_reads_it(url: str, place: str, options: dict) -> None:
    found = redis.parse(url)
    assert (found.place, found.options) == (place, options)
    nodes, read = RedisOnlineStore._parse_connection_string(found.feast())
    assert ",".join(f"{one['host']}:{one['port']}" for one in nodes) == place and read == options


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("cache:6379", "does not begin with redis://"),
        ("http://cache", "does not begin with redis://"),
        ("redis://", "does not begin with"),
        ("redis://:secret@:6379", "names no host"),
        ("redis://:secret@cache:port", "port is no number"),
        ("redis://:secret@cache:70000", "port is no number"),
        ("redis://:secret@cache/main", "not the number of a database"),
        ("redis://:se%2Ccret@cache", "a comma"),
        ("redis://[::1]:6379", "no IPv6"),
    ],
)
def test_a_wrong_address_is_one_sentence_without_the_password(
    monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    monkeypatch.setenv("COUNTERFOIL_ONLINE_STORE_URL", url)
    with pytest.raises(ConfigError, match="COUNTERFOIL_ONLINE_STORE_URL is not redis://") as fault:
        settings.load()
    assert why in str(fault.value) and "cret" not in str(fault.value)
