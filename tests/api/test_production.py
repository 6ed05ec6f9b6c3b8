"""Production refuses what is well on one developer's machine, and says everything that is wrong at once."""

from __future__ import annotations

import pytest

from api.settings import from_env
from core.errors import BadInput

GOOD = {
    "OA_MONGODB_URI": "mongodb://api:Xw8-long-and-random@db.internal:27017",
    "OA_TOKEN_KEY": "given",
    "OA_PUBLIC_URL": "https://api.example.org",
    "OA_CORS_ORIGINS": "https://app.example.org",
    "OA_SERVING_URLS": "http://serving.internal:8100",
    "OA_SERVING_KEY": "0123456789abcdef0123456789abcdef",
    "OA_METRICS_KEY": "fedcba9876543210fedcba9876543210",
    "OA_TRUSTED_HOSTS": "api.example.org,*.example.net",
}
WRONG = {
    "OA_PUBLIC_URL": "http://127.0.0.1:8000",
    "OA_CORS_ORIGINS": "http://localhost:3000",
    "OA_TRUSTED_HOSTS": "*",
    "OA_MONGODB_URI": "mongodb://root:Password@db.internal:27017",
    "OA_SERVING_KEY": "changeme",
    "OA_METRICS_KEY": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "OA_RATE_LIMITS": "off",
    "OA_LOG_LEVEL": "DEBUG",
}


def test_a_good_production_starts():
    made = from_env(GOOD)
    assert not made.embedded
    assert made.trusted_hosts == ("api.example.org", "*.example.net")
    for secret in (GOOD["OA_SERVING_KEY"], GOOD["OA_METRICS_KEY"], "Xw8-long"):
        assert secret not in repr(made)


@pytest.mark.parametrize("name", WRONG)
def test_each_insecure_setting_is_refused_by_name_and_none_is_quoted_that_is_secret(name):
    with pytest.raises(BadInput, match=f"1 settings must not go into production: {name} ") as refused:
        from_env({**GOOD, name: WRONG[name]})
    assert "Password" not in refused.value.message
    assert "changeme" not in refused.value.message


def test_production_says_which_names_it_has():
    without = {name: value for name, value in GOOD.items() if name not in ("OA_PUBLIC_URL", "OA_TRUSTED_HOSTS")}
    with pytest.raises(BadInput, match="OA_TRUSTED_HOSTS is not set, nor OA_PUBLIC_URL"):
        from_env(without)
    assert from_env({**without, "OA_TRUSTED_HOSTS": "api.example.org"}).trusted_hosts == ("api.example.org",)


def test_nodes_on_other_machines_need_a_key_and_those_on_this_one_do_not():
    without = {name: value for name, value in GOOD.items() if name != "OA_SERVING_KEY"}
    with pytest.raises(BadInput, match="OA_SERVING_KEY is not set, while OA_SERVING_URLS has 'http://serving"):
        from_env(without)
    assert from_env({**without, "OA_SERVING_URLS": "http://127.0.0.1:8100"}).serving_key is None


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(BadInput, match=f"^{len(WRONG)} settings") as refused:
        from_env({**GOOD, **WRONG})
    assert all(name in refused.value.message for name in WRONG)


def test_one_developers_machine_may_have_all_of_it():
    assert from_env({**GOOD, **WRONG, "OA_MODE": "embedded"}).embedded


@pytest.mark.parametrize("host", ["https://api.example.org", "a/b", "a:80", "a b"])
def test_a_host_is_a_name_alone(host):
    with pytest.raises(BadInput, match="without scheme, port or path"):
        from_env({**GOOD, "OA_TRUSTED_HOSTS": host})


@pytest.mark.parametrize("name", ["OA_SUBSCRIPTION_SECONDS"])
def test_times_are_more_than_nothing(name):
    with pytest.raises(BadInput, match=f"{name} is 0.0; it must be more than 0"):
        from_env({**GOOD, name: "0"})
