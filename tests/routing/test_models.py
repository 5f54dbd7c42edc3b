"""Which name means which target."""

from __future__ import annotations

import pytest

from plano.errors import ConfigError, InvalidRequest, ModelNotFound
from plano.provider import Provider
from plano.routing.models import LONGEST_NAME, Entry, ModelIndex, ModelInfo

OPENAI = Provider(name="openai", base_url="https://api.openai.com", paths={"chat": "/chat/completions"})
KNOWN = ("gpt-4o", "o3")
AZURE = Provider(name="azure", base_url="https://azure.test", paths={"chat": "/{model}/chat"})
ROUTER = Provider(name="router", base_url="https://router.test", paths={"chat": "/chat", "messages": "/messages"})


def entry(name: str, provider: Provider = OPENAI, **more: object) -> Entry:
    return Entry(provider=provider, model=name.partition("/")[2], name=str(more.pop("named", name)), **more)  # type: ignore[arg-type]


def full_reference() -> ModelIndex:
    return ModelIndex(
        [
            entry("openai/gpt-4o", default=True),
            entry("azure/gpt-4o", AZURE),
            entry("azure/mini", AZURE),
            entry("router/*", ROUTER),
        ],
        {"fast-model": "mini", "faster": "fast-model", "far": "router/some/thing", "arch.summarize.v1": "azure/gpt-4o"},
    )


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("azure/gpt-4o", "azure/gpt-4o"),
        ("gpt-4o", "openai/gpt-4o"),  # the first configured
        ("mini", "azure/mini"),
        ("router/anything", "router/anything"),
        ("router/meta/llama-3:70b", "router/meta/llama-3:70b"),
        ("fast-model", "azure/mini"),
        ("faster", "azure/mini"),
        ("far", "router/some/thing"),
        ("arch.summarize.v1", "azure/gpt-4o"),
        (None, "openai/gpt-4o"),
        ("", "openai/gpt-4o"),
    ],
)
def test_a_name_means_one_target(name: str | None, target: str) -> None:
    assert full_reference().resolve(name).name == target


@pytest.mark.parametrize(
    "name",
    [
        "foo/gpt-4o",
        "openai/gpt-5",
        "gpt-5",
        "anything",
        "router/",
        "router/*",
        "router",
        "/gpt-4o",
        "openai/",
        "OPENAI/gpt-4o",
        "router/a\nb",
        "router/" + "x" * LONGEST_NAME,
    ],
)
def test_a_name_that_nobody_has_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        full_reference().resolve(name)
    assert caught.value.status == 404
    assert caught.value.param == "model"


@pytest.mark.parametrize("name", [None, ""])
def test_no_name_without_a_default_entry_is_the_callers_fault(name: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ModelIndex([entry("openai/gpt-4o")]).resolve(name)
    assert caught.value.status == 400
    assert caught.value.param == "model"


def test_a_target_carries_the_upstreams_own_id_and_its_url() -> None:
    target = full_reference().resolve("arch.summarize.v1")
    assert target.model == "gpt-4o"
    assert target.entry == "azure/gpt-4o"
    assert {key: each.url for key, each in target.endpoints.items()} == {
        ("chat", "create"): "https://azure.test/v1/gpt-4o/chat"
    }


def test_an_id_in_a_url_cannot_leave_its_place() -> None:
    index = ModelIndex([entry("azure/*", AZURE)])
    assert (
        index.resolve("azure/../a?b#c").endpoints["chat", "create"].url == "https://azure.test/v1/..%2Fa%3Fb%23c/chat"
    )


def test_configured_names_resolve_to_the_same_object_each_time() -> None:
    index = full_reference()
    assert index.resolve("gpt-4o") is index.resolve("openai/gpt-4o")
    assert index.resolve("router/x") is index.resolve("router/x")


def test_an_entry_wins_over_a_wildcard_that_covers_it() -> None:
    index = ModelIndex([entry("openai/*", known=KNOWN), entry("openai/gpt-4o", named="mine")])
    assert index.resolve("openai/gpt-4o").entry == "mine"
    assert index.resolve("gpt-4o").entry == "mine"
    assert index.resolve("openai/o3").entry == "openai/*"


def test_a_bare_name_is_found_under_a_wildcard_where_the_catalogue_knows_it() -> None:
    index = ModelIndex([entry("openai/*", known=KNOWN)])
    assert index.resolve("o3").name == "openai/o3"
    with pytest.raises(ModelNotFound):
        index.resolve("gpt-7")


def test_an_alias_may_point_at_a_bare_name_that_only_a_wildcard_covers() -> None:
    assert ModelIndex([entry("openai/*", known=KNOWN)], {"smart-model": "o3"}).resolve("smart-model").model == "o3"


def test_an_alias_wins_over_a_model_of_the_same_name() -> None:
    index = ModelIndex([entry("openai/gpt-4o"), entry("azure/mini", AZURE)], {"gpt-4o": "azure/mini"})
    assert index.resolve("gpt-4o").name == "azure/mini"
    assert index.resolve("openai/gpt-4o").name == "openai/gpt-4o"


def test_two_servers_of_one_provider_stay_apart() -> None:
    index = ModelIndex(
        [
            entry("openai/llama", base_url="http://127.0.0.1:8001"),
            entry("openai/qwen", base_url="http://127.0.0.1:8002/v1"),
            entry("openai/llama", base_url="http://127.0.0.1:8003", named="spare"),
        ]
    )
    assert index.resolve("llama").endpoints["chat", "create"].url == "http://127.0.0.1:8001/v1/chat/completions"
    assert index.resolve("qwen").endpoints["chat", "create"].url == "http://127.0.0.1:8002/v1/chat/completions"
    assert index.resolve("spare").endpoints["chat", "create"].url == "http://127.0.0.1:8003/v1/chat/completions"


def test_two_wildcards_of_one_provider_are_told_apart_by_their_names() -> None:
    index = ModelIndex(
        [
            entry("openai/*", base_url="http://127.0.0.1:8001"),
            entry("openai/*", base_url="http://127.0.0.1:8002", named="spare"),
        ]
    )
    assert index.resolve("openai/llama").endpoints["chat", "create"].url == "http://127.0.0.1:8001/v1/chat/completions"
    spare = index.resolve("spare/llama")
    assert spare.endpoints["chat", "create"].url == "http://127.0.0.1:8002/v1/chat/completions"
    assert (spare.model, spare.name, spare.entry) == ("llama", "openai/llama", "spare")
    assert index.ambiguous() == {"openai/*": ["openai/*", "spare"]}


def test_an_id_with_a_slash_does_not_catch_what_another_wildcard_is_there_for() -> None:
    index = ModelIndex([entry("router/openai/gpt-4o", ROUTER), entry("openai/*")])
    assert index.resolve("openai/gpt-4o").name == "openai/gpt-4o"
    assert ModelIndex([entry("router/openai/gpt-4o", ROUTER)]).resolve("openai/gpt-4o").name == "router/openai/gpt-4o"


def test_an_entry_says_which_apis_its_server_speaks() -> None:
    index = ModelIndex([entry("router/a", ROUTER), entry("router/b", ROUTER, apis=("responses", "chat"))])
    assert index.resolve("a").dialects == ("chat", "messages")
    assert index.resolve("b").dialects == ("responses", "chat")
    assert index.resolve("b").endpoints["responses", "create"].url == "https://router.test/v1/responses"


def test_names_that_callers_make_up_do_not_pile_up() -> None:
    index = ModelIndex([entry("router/*", ROUTER)], cache=10)
    for number in range(1000):
        assert index.resolve(f"router/model-{number}").model == f"model-{number}"
    assert len(index._under_wildcards) == 10
    assert index.resolve("router/model-0").model == "model-0"


def test_the_listing_is_sorted_and_has_entries_aliases_and_what_wildcards_are_known_to_cover() -> None:
    index = ModelIndex(
        [entry("router/*", ROUTER), entry("openai/*", known=KNOWN), entry("azure/z", AZURE)], {"fast-model": "z"}
    )
    assert index.listing() == [
        ModelInfo("azure/z", "azure", "azure/z"),
        ModelInfo("fast-model", "azure", "azure/z"),
        ModelInfo("gpt-4o", "openai", "openai/gpt-4o"),
        ModelInfo("o3", "openai", "openai/o3"),
        ModelInfo("openai/gpt-4o", "openai", "openai/gpt-4o"),
        ModelInfo("openai/o3", "openai", "openai/o3"),
        ModelInfo("router/*", "router", "router/*"),
        ModelInfo("z", "azure", "azure/z"),
    ]
    index.resolve("router/made-up")
    assert len(index.listing()) == 8


def test_the_listing_has_entries_own_names_also_as_prefixes_and_each_name_once() -> None:
    index = ModelIndex(
        [
            entry("azure/z", AZURE, named="mine"),
            entry("openai/*", known=("o3",)),
            entry("openai/*", known=("o3",), base_url="http://127.0.0.1:8002", named="spare"),
        ],
        {"mine": "z"},
    )
    assert [info.id for info in index.listing()] == ["azure/z", "mine", "o3", "openai/o3", "spare/o3", "z"]
    assert {index.resolve(info.id).name for info in index.listing()} == {"azure/z", "openai/o3"}


def test_learnt_ids_are_found_by_their_bare_names_and_listed_until_others_replace_them() -> None:
    index = ModelIndex([entry("openai/gpt-4o"), entry("azure/*", AZURE, known=("old",)), entry("router/*", ROUTER)])
    index.learn("router/*", ["new", "gpt-4o", "meta/llama", "*", "", "a\nb", "x" * (LONGEST_NAME + 1)])
    index.learn("azure/*", ["new", "own", "old"])
    assert index.resolve("new").name == "azure/new", "the entry that is configured first wins"
    assert index.resolve("gpt-4o").name == "openai/gpt-4o", "an entry's own model wins"
    assert [info.id for info in index.listing()] == [
        *("azure/new", "azure/old", "azure/own", "gpt-4o", "new", "old", "openai/gpt-4o", "own"),
        *("router/gpt-4o", "router/meta/llama", "router/new"),
    ]
    with pytest.raises(ModelNotFound):  # it could be meant as another provider's model
        index.resolve("meta/llama")
    index.learn("azure/*", [])
    assert index.resolve("new").name == "router/new"
    assert index.resolve("old").name == "azure/old"
    with pytest.raises(ModelNotFound):
        index.resolve("own")


def test_a_server_that_may_lack_an_api_has_an_endpoint_for_chat_too() -> None:
    index = ModelIndex([entry("router/a", ROUTER, assumed=("responses", "messages"), apis=("messages",))])
    target = index.resolve("a")
    assert (target.dialects, target.assumed) == (("messages",), ("messages",))
    assert target.endpoints["chat", "create"].url == "https://router.test/v1/chat"


def test_every_listed_name_resolves() -> None:
    index = ModelIndex([entry("openai/*", known=KNOWN), entry("azure/z", AZURE)], {"fast-model": "z"})
    assert [index.resolve(info.id).name for info in index.listing()] == [info.target for info in index.listing()]


def test_names_that_several_entries_answer_to_are_known() -> None:
    index = ModelIndex([entry("openai/gpt-4o"), entry("azure/gpt-4o", AZURE), entry("openai/*", known=KNOWN)])
    assert index.ambiguous() == {"gpt-4o": ["openai/gpt-4o", "azure/gpt-4o"]}


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        ({"a": "b", "b": "c", "c": "a"}, "a -> b -> c -> a"),
        ({"a": "a"}, "a -> a"),
        ({"a": "nowhere"}, "points at `nowhere`"),
        ({"a": ""}, "points at ``"),
    ],
)
def test_an_alias_that_leads_nowhere_is_refused(aliases: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match="alias `a`") as caught:
        ModelIndex([entry("openai/gpt-4o")], aliases)
    assert said in caught.value.message


def test_two_default_entries_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than one"):
        ModelIndex([entry("openai/a", default=True), entry("openai/b", default=True)])
