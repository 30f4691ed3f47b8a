"""Docker Engine's daemon.json: our hosts come and go, and every other byte stays."""

import json

import pytest

from private_registry.trust.formats import daemon_json
from private_registry.trust.formats.daemon_json import DaemonJsonError

HOSTS = ["team.registries.svc:5000", "10.96.12.34:5000", "[fd00::5]:5000"]

WITHOUT_THE_KEY = [
    "{}",
    " \n{\n}\n",
    '{"debug": false}',
    '{\n\t"registry-mirrors": ["https://m.example.com"],\r\n\t"log-opts": {"max-size": "10m", "a": ["]", "}"]}\n}\n\n',
    '{"data-root":"/var/lib/ \\" docker","bip":"192.0.2.1/24" , "mtu" :1500 }',
    '{"labels": ["\udcff", "insecure-registries"], "x": {"insecure-registries": ["no"]}}',
]
WITH_THE_KEY = [
    '{"insecure-registries": []}',
    '{"insecure-registries": [ ], "debug": true}',
    '{"insecure-registries": ["192.0.2.7:5000"]}',
    '{\n  "debug": true,\n  "insecure-registries": [\n    "a.example.com",\n    "192.0.2.0/24"\n  ],\n  "mtu": 9\n}\n',
    '{"insecure-registries":["a.example.com" ,\n"b.example.com"] }',
]


@pytest.mark.parametrize("before", [*WITHOUT_THE_KEY, *WITH_THE_KEY])
def test_hosts_come_and_go_without_a_trace(before: str) -> None:
    """One after the other and in any order, and the file is what it was before, byte for byte."""
    had = daemon_json.insecure_registries(before)
    added = daemon_json.add(daemon_json.add(before, HOSTS[:1]), HOSTS[1:])
    assert daemon_json.insecure_registries(added) == (*(had or ()), *HOSTS)
    left = added
    for host in (HOSTS[1], HOSTS[0], HOSTS[2]):
        left = daemon_json.remove(left, [host], drop_key=had is None)
    assert left == before
    assert daemon_json.remove(added, HOSTS, drop_key=had is None) == before


@pytest.mark.parametrize("before", [*WITHOUT_THE_KEY, *WITH_THE_KEY])
def test_everything_else_says_what_it_said(before: str) -> None:
    """Docker reads the same of all other keys."""
    after = json.loads(daemon_json.add(before, HOSTS))
    after.pop("insecure-registries")
    expected = json.loads(before)
    expected.pop("insecure-registries", None)
    assert after == expected
    assert list(after) == list(expected)


def test_what_is_there_is_not_added_again() -> None:
    """Somebody else's entry serves as well, and stays his."""
    text = '{"insecure-registries": ["team.registries.svc:5000"]}'
    assert daemon_json.add(text, HOSTS[:1]) == text


def test_what_somebody_adds_behind_ours_stays() -> None:
    """He edits the file while a host of ours is in it; both keep what is theirs."""
    text = daemon_json.add('{"debug": true}', HOSTS[:1])
    his = text.replace('"]', '", "192.0.2.7:5000"]').replace("}", ', "mtu": 1400}')
    left = daemon_json.remove(his, HOSTS, drop_key=True)
    assert left == '{"debug": true, "insecure-registries": ["192.0.2.7:5000"], "mtu": 1400}'


def test_an_empty_list_may_stay() -> None:
    """Docker forgets hosts when it reads an empty list, and not when the key has gone."""
    text = daemon_json.add("{}", HOSTS)
    assert daemon_json.remove(text, HOSTS, drop_key=False) == '{"insecure-registries": []}'


def test_a_list_of_somebody_elses_is_kept_empty() -> None:
    """It was there before, so it is there afterwards."""
    text = '{"insecure-registries": []}'
    assert daemon_json.remove(daemon_json.add(text, HOSTS), HOSTS, drop_key=False) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ('{"debug": true,}', "Illegal trailing comma|Expecting property name"),
        ('{"debug": tru}', "Expecting value"),
        ('{"debug": NaN}', "NaN is no JSON"),
        ('{"debug": 1} x', "Extra data"),
        ("[]", "it is no JSON object"),
        ('{"insecure-registries": "a.example.com"}', "insecure-registries is no list of strings"),
        ('{"insecure-registries": [1]}', "insecure-registries is no list of strings"),
        ('{"insecure-registries": null}', "insecure-registries is no list of strings"),
        ('{"debug": true, "debug": false}', "the key 'debug' is there twice"),
        ("\ufeff{}", "BOM"),
    ],
)
def test_a_file_that_dockerd_could_not_read_either_is_refused(text: str, message: str) -> None:
    """Nothing is made of it, and what is wrong is said."""
    for call in (
        lambda: daemon_json.add(text, HOSTS),
        lambda: daemon_json.remove(text, HOSTS, drop_key=True),
        lambda: daemon_json.insecure_registries(text),
    ):
        with pytest.raises(DaemonJsonError, match=message):
            call()
