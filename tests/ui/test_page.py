"""The page in a real browser, in front of a gateway on a real socket."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from plano import Plano
from plano.testing import Failure, FakeProvider, Reply, Usage, serve, text, thinking
from tests.ui.browser import Browser, Page, wait_until

KEY = "sk-caller-0123456789abcdef"
TABS = ("live", "requests", "models", "playground")
LONG = "openai/a-model-with-a-name-that-is-much-longer-than-any-phone-is-wide-and-has-nowhere-to-break"


def config(**more: Any) -> dict[str, Any]:
    entries = [{"model": name, "access_key": "k"} for name in ("openai/gpt-4o", "anthropic/claude", LONG)]
    prices = {"models": {"openai/gpt-4o": {"input": 2.5, "output": 10.0}}}
    aliases = {"fast": {"target": "openai/gpt-4o"}}
    return {"model_providers": entries, "model_aliases": aliases, "prices": prices, "ui": True, **more}


@contextmanager
def gateway(**more: Any) -> Iterator[tuple[str, FakeProvider]]:
    provider = FakeProvider()
    with serve(Plano(config(**more), transport=provider)) as url:
        yield url, provider


def post(url: str, model: str = "fast", dialect: str = "chat", *, stream: bool = False, key: str = "any") -> int:
    path = {"chat": "chat/completions", "messages": "messages", "responses": "responses"}[dialect]
    body: dict[str, Any] = {"model": model, "stream": stream}
    if dialect == "responses":
        body["input"] = "Hello"
    else:
        body |= {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}
    answer = httpx.post(f"{url}/v1/{path}", json=body, headers={"authorization": f"Bearer {key}"}, timeout=20)
    return answer.status_code


def opened(page: Page, url: str, tab: str = "live") -> None:
    page.go(f"{url}/ui#{tab}")
    page.wait("document.querySelector('#state-text').textContent === 'live'")


def totals(page: Page) -> dict[str, list[str]]:
    lines = page.js(
        "[...document.querySelectorAll('#totals tbody tr')].map(r => [...r.cells].map(c => c.innerText.trim()))"
    )
    return {line[0]: line[1:] for line in lines}


def drawn(page: Page, chart: str) -> dict[str, float]:
    """How much each series of a chart draws: pixels of its bars together, or points of its line.

    Where they are says nothing: they move with the time, and bars that follow each other closely may stand apart.
    """
    paths = page.js(f"[...document.querySelectorAll('#{chart} path')].map(p => [p.dataset.name, p.getAttribute('d')])")
    amounts = {
        name: sum(map(float, re.findall(r"v([\d.]+)", path))) or len(re.findall("[ML]", path)) for name, path in paths
    }
    return {name: amount for name, amount in amounts.items() if amount}


def counted(page: Page, model: str, requests: int) -> None:
    """Wait until the table has that many requests of a model; the charts are drawn with it."""
    wait_until(lambda: totals(page).get(model, ["", ""])[1] == str(requests), lambda: str(totals(page)))


def test_it_loads_without_a_complaint_and_from_nowhere_else(page: Page) -> None:
    with gateway() as (url, _):
        opened(page, url)
        for tab in TABS:
            page.click(f"#tab-{tab}")
        assert page.complaints() == []
        assert page.hosts() == {url.removeprefix("http://")}
        assert page.text("#totals-empty") == "No requests in this time yet."


def test_it_draws_what_goes_through_as_it_goes_through(page: Page) -> None:
    with gateway() as (url, provider):
        opened(page, url)
        provider.script(Reply("Hello", usage=Usage(input_tokens=1000, output_tokens=100)))
        assert [post(url, dialect=dialect) for dialect in ("chat", "messages", "responses")] == [200, 200, 200]
        counted(page, "openai/gpt-4o", 3)
        assert totals(page)["openai/gpt-4o"][:3] == ["openai", "3", "0"]
        assert totals(page)["openai/gpt-4o"][-3:] == ["3,000", "300", "$0.0105"]
        for chart in ("chart-rate", "chart-latency", "chart-tokens", "chart-cost"):
            assert set(drawn(page, chart)) == {"openai/gpt-4o"}, chart
        assert drawn(page, "chart-errors") == {}
        provider.script(Failure(500))
        assert post(url, "claude", "messages", stream=True) == 500
        provider.script(Reply("Hello there"))
        assert post(url, "claude", "chat", stream=True) == 200
        counted(page, "anthropic/claude", 2)
        assert totals(page)["anthropic/claude"][:3] == ["anthropic", "2", "1"]
        assert set(drawn(page, "chart-errors")) == set(drawn(page, "chart-first")) == {"anthropic/claude"}
        rate = drawn(page, "chart-rate")
        assert rate["openai/gpt-4o"] / rate["anthropic/claude"] == pytest.approx(3 / 2, rel=0.05)
        assert "5 in all" in page.text("#chart-rate")
        assert page.js("document.querySelector('#chart-rate svg').getAttribute('aria-label')").startswith(
            "Requests per second: 5"
        )


def test_charts_can_be_looked_at_by_provider_and_more_closely(page: Page) -> None:
    with gateway() as (url, _):
        opened(page, url)
        for model in ("gpt-4o", "claude", LONG):
            post(url, model)
        page.wait("document.querySelectorAll('#totals tbody tr').length === 3")
        page.click("#pause")  # or what the pointer looks for moves away from it
        page.js("document.querySelector('#group input[value=provider]').click()")
        assert set(drawn(page, "chart-rate")) == {"openai", "anthropic"}
        page.js("document.querySelector('#span input[value=\"60\"]').click()")
        assert page.text("#chart-rate").count("−1 min") == 1
        box = page.js("document.querySelector('#chart-rate svg').getBoundingClientRect().toJSON()")
        tips = ""
        for share in range(20, 100):
            x, y = box["x"] + box["width"] * share / 100, box["y"] + box["height"] / 2
            page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
            tips += page.text("#chart-rate .tip")
        assert "openai" in tips
        assert "anthropic" in tips


def test_pausing_stops_asking(page: Page) -> None:
    with gateway() as (url, _):
        opened(page, url)
        page.click("#pause")
        assert page.text("#state-text") == "paused"
        post(url)
        asked = len(page.asked())
        page.js("new Promise(done => setTimeout(done, 1500))")
        assert len(page.asked()) == asked
        page.click("#pause")
        page.wait("document.querySelectorAll('#totals tbody tr').length === 1")


def test_the_last_requests_are_listed_and_can_be_searched(page: Page) -> None:
    with gateway() as (url, provider):
        opened(page, url, "requests")
        assert "None yet" in page.text("#rows-empty")
        post(url)
        post(url, "claude", "responses", stream=True)
        provider.script(Failure(429))
        post(url)
        page.wait("document.querySelectorAll('#rows tbody tr').length === 3")
        lines = page.js("[...document.querySelectorAll('#rows tbody tr')].map(r => r.innerText.replace(/\\s+/g, ' '))")
        assert "fast → openai/gpt-4o chat 429 rate_limit" in lines[0]
        assert "claude → anthropic/claude responses → messages, stream 200" in lines[1]
        page.click("#only-errors")
        assert page.js("document.querySelectorAll('#rows tbody tr').length") == 1
        page.click("#only-errors")
        page.fill("#filter", "anthropic")
        assert page.js("document.querySelectorAll('#rows tbody tr').length") == 1
        page.fill("#filter", "nobody")
        assert "None of the last" in page.text("#rows-empty")


def test_models_and_aliases_are_listed(page: Page) -> None:
    with gateway() as (url, _):
        opened(page, url, "models")
        lines = page.js(
            "[...document.querySelectorAll('#names tbody tr')].map(r => r.innerText.replace(/\\s+/g, ' ').trim())"
        )
        assert "fast alias of openai/gpt-4o openai chat, responses" in lines
        assert "anthropic/claude model anthropic messages" in lines


def rows_of(page: Page, table: str) -> list[str]:
    return list(
        page.js(
            f"[...document.querySelectorAll('#{table} tbody tr')].map(r => r.innerText.replace(/\\s+/g, ' ').trim())"
        )
    )


def failing_over() -> dict[str, Any]:
    aliases = {"fast": {"target": "openai/gpt-4o", "fallbacks": ["anthropic/claude"]}}
    return {"model_aliases": aliases, "resilience": {"max_attempts": 3}}


def test_operators_see_which_targets_are_out_and_why(page: Page) -> None:
    with gateway(**failing_over()) as (url, provider):
        opened(page, url, "models")
        page.wait("!document.querySelector('#targets-empty').hidden")
        provider.script(Failure(429, headers={"retry-after": "3000"}), Reply("Hello"))
        assert post(url) == 200
        page.wait("document.querySelectorAll('#targets tbody tr').length === 2")
        first, second = rows_of(page, "targets")
        assert re.fullmatch(r"gpt-4o openai/gpt-4o resting rate_limit in (3000|29\d\d) s 0", first)
        assert second == "claude anthropic/claude in – – 0"
        for scheme in ("light", "dark"):
            page.scheme(scheme)
            for badge in ("#targets .badge.bad", "#targets .badge.good"):
                assert contrast(page, badge) >= 4.5, scheme
        assert page.complaints() == []


def test_callers_who_are_no_operators_do_not_see_targets(page: Page) -> None:
    keys = {"auth": {"keys": [{"name": "alice", "key": KEY}]}}
    with gateway(**failing_over(), **keys) as (url, _):
        page.go(f"{url}/ui#models")
        sign_in(page, KEY)
        assert post(url, key=KEY) == 200
        page.wait("document.querySelectorAll('#names tbody tr').length > 0")
        assert page.js("document.querySelector('#targets-card').hidden")


@pytest.mark.parametrize("width", [320, 1280])
def test_a_request_tells_all_its_attempts(page: Page, width: int) -> None:
    page.size(width, 900, mobile=width < 700)
    with gateway(**failing_over()) as (url, provider):
        opened(page, url, "requests")
        provider.script(Failure(500, "a private message"), Reply("Hello"))
        assert post(url, stream=True) == 200
        page.wait("document.querySelectorAll('#rows tbody tr').length === 1")
        assert "2 attempts" in page.js("document.querySelector('#rows').textContent")
        page.js("document.querySelector('#rows button').click()")
        said = re.sub(r"\s+", " ", page.text("#details-facts"))
        assert re.search(
            r"Attempt 1 server openai/gpt-4o 500, [\d.]+ m?s Attempt 2 answered anthropic/claude 200, [\d.]+ m?s", said
        )
        assert said.endswith("Fell back after server")
        assert "private" not in page.js("document.body.textContent")
        assert page.js("document.querySelector('#details').getBoundingClientRect().right") <= width


def ask_in(page: Page, api: str = "chat", model: str = "fast", *, stream: bool = True) -> None:
    page.fill("#api", api)
    page.fill("#model", model)
    page.fill("#prompt", "How are you?")
    page.js(f"document.querySelector('#stream').checked = {json.dumps(stream)}")
    page.click("#send")


BUSY = "document.querySelector('#answer').getAttribute('aria-busy')"
WATCH = f"""
  window.seen = [];
  const answer = document.querySelector('#answer');
  new MutationObserver(() => seen.push([answer.textContent, {BUSY}])).observe(answer, {{childList: true}});
"""
"""Keeps what the answer was at each change of it, and whether more was to come."""


@pytest.mark.parametrize("model", ["fast", "claude"])
@pytest.mark.parametrize("api", ["chat", "messages", "responses"])
def test_the_playground_shows_a_stream_as_it_comes(page: Page, api: str, model: str) -> None:
    with gateway() as (url, provider):
        usage = Usage(input_tokens=12, output_tokens=34)
        words = [f"word{number} " for number in range(12)]
        provider.reply(thinking("Let me think."), text("".join(words)), usage=usage, pause=0.05)
        opened(page, url, "playground")
        page.js(WATCH)  # from here it could come too late to see anything half-way
        ask_in(page, api, model)
        page.wait("document.querySelector('#answer').innerText.includes('word11')")
        page.wait(f"{BUSY} === 'false'")
        assert any("word1" in shown and "word11" not in shown and busy == "true" for shown, busy in page.js("seen"))
        assert page.text("#answer").strip() == "".join(words).strip()
        facts = page.text("#facts")
        assert "200" in facts
        assert "12 in, 34 out" in facts
        assert page.js("document.querySelector('#thinking').textContent") == "Let me think."
        assert page.js("document.querySelector('#raw').textContent").count("data:") > 5
        recorded = provider.last.conversation
        assert recorded.messages[-1].parts[0].text == "How are you?"  # type: ignore[union-attr]
        assert page.text("#answer-error") == ""
        assert page.complaints() == []


@pytest.mark.parametrize("api", ["chat", "messages", "responses"])
def test_the_playground_works_without_streaming(page: Page, api: str) -> None:
    with gateway() as (url, provider):
        provider.reply("All at once.", usage=Usage(input_tokens=5, output_tokens=6))
        opened(page, url, "playground")
        page.fill("#system", "Be brief.")
        ask_in(page, api, stream=False)
        page.wait("document.querySelector('#answer').innerText === 'All at once.'")
        page.wait(f"{BUSY} === 'false'")
        assert "5 in, 6 out" in page.text("#facts")
        assert not provider.last.json.get("stream")
        assert provider.last.conversation.system[0].text == "Be brief."  # type: ignore[union-attr]


def test_the_playground_says_what_went_wrong(page: Page) -> None:
    with gateway() as (url, provider):
        opened(page, url, "playground")
        provider.fail(429, "Slow down, please.")
        ask_in(page)
        page.wait("document.querySelector('#answer-error').innerText.includes('Slow down, please.')")
        ask_in(page, "messages", "nope")
        page.wait("document.querySelector('#answer-error').innerText.includes('nope')")
        provider.breaks_after(3)
        for api in ("chat", "messages", "responses"):
            ask_in(page, api)
            page.wait(f"{BUSY} === 'false' && document.querySelector('#answer-error').innerText.length > 10")
            assert "nope" not in page.text("#answer-error")


def test_an_answer_can_be_stopped_and_the_upstream_is_told(page: Page) -> None:
    with gateway() as (url, provider):
        provider.reply("one " + "more " * 200, pause=0.2)
        opened(page, url, "playground")
        ask_in(page)
        page.wait("document.querySelector('#answer').innerText.includes('one')")
        page.click("#stop")
        page.wait("document.querySelector('#answer-error').innerText === 'Stopped.'")
        wait_until(lambda: provider.last.outcome == "left")


def test_nothing_that_anybody_says_becomes_markup(page: Page) -> None:
    evil = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
    with gateway(auth={"keys": [{"name": evil, "key": KEY, "operator": True}]}) as (url, provider):
        page.go(f"{url}/ui")
        sign_in(page, KEY)
        page.wait("document.querySelector('#state-text').textContent === 'live'")
        provider.reply(evil)
        page.click("#tab-playground")
        ask_in(page)
        page.wait(f"{BUSY} === 'false' && document.querySelector('#answer').innerText.includes('<script>')")
        post(url, evil, key=KEY)
        page.click("#tab-requests")
        page.wait("document.querySelectorAll('#rows tbody tr').length === 2")
        assert page.text("#rows").count(evil) == 3, "the model's name once, the caller's twice"
        assert page.js("document.querySelectorAll('main img, main script').length") == 0
        assert page.js("document.title") == "plano"


def sign_in(page: Page, key: str) -> None:
    page.wait("!document.querySelector('#signin').hidden")
    page.fill("#key", key)
    page.click("#signin button")


def test_where_keys_are_configured_it_asks_for_one(page: Page) -> None:
    with gateway(auth={"keys": [{"name": "alice", "key": KEY}]}) as (url, provider):
        page.go(f"{url}/ui")
        page.wait("!document.querySelector('#signin').hidden")
        assert page.js("[...document.querySelectorAll('[role=tabpanel]')].every(panel => panel.hidden)")
        sign_in(page, "sk-wrong")
        page.wait("document.querySelector('#signin-error').innerText.includes('not valid')")
        sign_in(page, KEY)
        page.wait("document.querySelector('#state-text').textContent === 'live'")
        assert page.js("document.querySelector('#signin').hidden")
        assert KEY not in page.js("document.body.innerText")
        assert KEY not in page.js("location.href")
        provider.reply("Hello, Alice.")
        page.click("#tab-playground")
        ask_in(page)
        page.wait("document.querySelector('#answer').innerText === 'Hello, Alice.'")
        page.click("#tab-requests")
        page.wait("document.querySelectorAll('#rows tbody tr').length === 1")
        assert "alice" in page.text("#rows")
        assert "alice's tenant" in page.text("#whose")
        page.click("#leave")
        page.wait("document.querySelector('#signin')?.hidden === false")


def test_it_says_when_the_gateway_is_gone(page: Page) -> None:
    with gateway() as (url, _):
        opened(page, url)
    page.wait("document.querySelector('#state-text').textContent.includes('does not answer')")


@pytest.mark.parametrize("width", [320, 375, 760, 1024])
def test_no_width_scrolls_sideways(page: Page, width: int) -> None:
    page.size(width, 800, mobile=width < 700)
    with gateway() as (url, provider):
        opened(page, url)
        for model in ("fast", "claude", LONG, "x" * 300):
            post(url, model, "messages")
        provider.reply("w" * 500)
        page.wait("document.querySelectorAll('#totals tbody tr').length === 4")
        for tab in TABS:
            page.click(f"#tab-{tab}")
            if tab == "playground":
                ask_in(page)
                page.wait("document.querySelector('#answer').innerText.length === 500")
            page.wait(f"!document.querySelector('#{tab}').hidden")
            assert page.js("document.documentElement.scrollWidth") <= width, tab
            wide = page.js(
                "[...document.querySelectorAll('main :not(thead *)')]"
                ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120))"
            )
            assert wide == [], tab


def contrast(page: Page, selector: str) -> float:
    """Between a text and what is behind it, as WCAG 2 reckons."""
    return float(
        page.js(
            """(selector => {
              const linear = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
              const light = (r, g, b) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
              const colour = text => text.match(/[\\d.]+/g).map(Number);
              const node = document.querySelector(selector);
              let behind = node;
              while (colour(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
              const style = getComputedStyle(node);
              const fore = colour(node instanceof SVGElement ? style.fill : style.color);
              const [one, other] = [fore, colour(getComputedStyle(behind).backgroundColor)]
                .map(([r, g, b]) => light(r, g, b)).sort((a, b) => b - a);
              return (one + 0.05) / (other + 0.05);
            })"""
            + f"({json.dumps(selector)})"
        )
    )


READ = {
    "live": (
        "h1, .tiles dt, .tiles dd, #charts text, #totals th, #totals td, #totals .badge, #span input:checked + span, "
        "#group input:not(:checked) + span, [role=tab], #state-text"
    ),
    "requests": "#rows .sub, #rows .badge.good, #rows .badge.bad, #filter",
    "playground": "#send, #ask label, summary, #prompt",
}
"""Texts on each tab whose colours are looked at."""


def test_both_colour_schemes_can_be_read(page: Page) -> None:
    backs = {}
    with gateway() as (url, provider):
        opened(page, url)
        post(url)
        provider.script(Failure(500))
        post(url)
        page.wait("document.querySelectorAll('#totals tbody tr').length === 1")
        page.click("#tab-requests")
        page.wait("document.querySelectorAll('#rows tbody tr').length === 2")
        for scheme in ("light", "dark"):
            page.scheme(scheme)
            backs[scheme] = page.js("getComputedStyle(document.body).backgroundColor")
            for tab, selectors in READ.items():
                page.click(f"#tab-{tab}")
                poor = {
                    selector: ratio for selector in selectors.split(", ") if (ratio := contrast(page, selector)) < 4.5
                }
                assert poor == {}, f"{scheme} {tab}"
    assert backs["light"] != backs["dark"]


def test_everything_that_can_be_used_has_a_name(page: Page) -> None:
    roles = {"button", "textbox", "searchbox", "checkbox", "radio", "combobox", "spinbutton", "tab", "table", "image"}
    with gateway() as (url, _):
        opened(page, url)
        post(url)
        page.wait("document.querySelectorAll('#totals tbody tr').length === 1")
        found: set[str] = set()
        for tab in TABS:
            page.click(f"#tab-{tab}")
            for node in page.call("Accessibility.getFullAXTree")["nodes"]:
                role = node.get("role", {}).get("value")
                if node.get("ignored") or role not in roles - {"table"}:
                    continue
                found.add(role)
                assert node.get("name", {}).get("value"), f"{tab}: a {role} without a name: {node}"
        assert {"button", "textbox", "checkbox", "radio", "combobox", "tab", "image"} <= found


def test_tabs_can_be_reached_by_keys_and_kept_in_a_link(page: Page) -> None:
    with gateway() as (url, _):
        opened(page, url)
        page.js("document.querySelector('#tab-live').focus()")
        for name in ("ArrowRight", "ArrowLeft", "ArrowLeft"):
            page.call("Input.dispatchKeyEvent", type="keyDown", key=name)
            page.call("Input.dispatchKeyEvent", type="keyUp", key=name)
        assert page.js("document.activeElement.id") == "tab-playground"
        assert page.js("location.hash") == "#playground"
        opened(page, url, "models")
        assert page.js("document.querySelector('#tab-models').getAttribute('aria-selected')") == "true"


def test_what_several_processes_saw_is_put_together(page: Page) -> None:
    """As with `plano up --workers 2`: each question reaches one of them, and none knows of the other."""
    workers = [Plano(config(), transport=FakeProvider()) for _ in range(2)]
    turns = itertools.cycle(workers)

    async def either(scope: Any, receive: Any, send: Any) -> None:
        await next(turns)(scope, receive, send)

    with serve(either) as url:
        opened(page, url)
        for worker in workers:
            with serve(worker) as own:
                for _ in range(3):
                    post(own)
        page.wait("document.querySelector('#totals tbody td:nth-child(3)')?.innerText === '6'")
        assert "6 in all" in page.text("#chart-rate")
        page.click("#tab-requests")
        page.wait("document.querySelectorAll('#rows tbody tr').length === 6")
        assert page.complaints() == []


@pytest.mark.parametrize("path", ["/deep/llm/ui", "/deep/llm/ui/"])
def test_it_works_where_it_is_mounted(browser: Browser, path: str) -> None:
    provider = FakeProvider()
    provider.reply("From below.")
    page = browser.page()
    with serve(Starlette(routes=[Mount("/deep/llm", app=Plano(config(), transport=provider))])) as url:
        page.go(url + path)
        page.wait("document.querySelector('#state-text').textContent === 'live'")
        page.click("#tab-playground")
        ask_in(page)
        page.wait("document.querySelector('#answer').innerText === 'From below.'")
        assert page.complaints() == []
    page.close()


def test_few_requests_are_counted_and_not_spread_over_the_time(page: Page) -> None:
    with gateway() as (url, _):
        opened(page, url)
        post(url)
        post(url)
        counted(page, "openai/gpt-4o", 2)
        assert page.text("#tiles div:first-child").split() == ["Requests", "2", "in", "5", "min"]
        assert "2 in all" in page.text("#chart-rate")


def test_one_request_can_be_seen_in_every_chart(page: Page) -> None:
    with gateway() as (url, provider):
        opened(page, url)
        provider.script(Reply("Hello", usage=Usage(input_tokens=10, output_tokens=10)))
        post(url, stream=True)
        counted(page, "openai/gpt-4o", 1)
        page.click("#pause")
        for chart in ("chart-latency", "chart-first"):
            (size,) = page.js(
                f"[...document.querySelectorAll('#{chart} circle')].map(c => c.getBoundingClientRect().width)"
            )
            assert size >= 6, chart
        box = page.js("document.querySelector('#chart-rate .bar').getBoundingClientRect().toJSON()")
        assert (box["width"] >= 2, box["height"] >= 20) == (True, True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_errors_are_red_of_whichever_model_they_are(page: Page, scheme: str) -> None:
    with gateway() as (url, provider):
        page.scheme(scheme)
        opened(page, url)
        for model in ("gpt-4o", "claude", LONG):
            provider.script(Failure(500))
            post(url, model)
        page.wait("document.querySelectorAll('#chart-errors .bar').length === 3")
        fills = page.js("[...document.querySelectorAll('#chart-errors .bar')].map(b => getComputedStyle(b).fill)")
        assert len(set(fills)) == 1
        red, green, blue = map(int, re.findall(r"\d+", fills[0])[:3])
        assert red > 1.5 * max(green, blue)


def test_a_row_opens_what_is_known_of_its_request_with_the_pointer_and_with_keys(page: Page) -> None:
    with gateway() as (url, provider):
        opened(page, url, "requests")
        provider.script(Failure(429))
        post(url, "claude", "responses")
        page.wait("document.querySelectorAll('#rows tbody tr').length === 1")
        page.js("document.querySelector('#rows tbody td:nth-child(3)').click()")
        assert page.js("document.querySelector('#details').open")
        said = page.text("#details-facts").splitlines()
        facts = dict(zip(said[::2], said[1::2], strict=True))
        assert facts["Status"] == "429"
        assert facts["Error"] == "rate_limit"
        assert (facts["Model asked for"], facts["Answered by"]) == ("claude", "anthropic/claude")
        assert (facts["Client's API"], facts["Upstream's API"], facts["Streamed"]) == ("responses", "messages", "no")
        assert len(facts["Request id"]) > 10
        page.click("#details-close")
        assert not page.js("document.querySelector('#details').open")
        page.js("document.querySelector('#rows button').focus()")
        page.js("new Promise(done => setTimeout(done, 1500))")  # the table is drawn anew every second
        for kind in ("keyDown", "keyUp"):
            page.call(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
            )
        page.wait("document.querySelector('#details').open")
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="Escape", code="Escape", windowsVirtualKeyCode=27)
        page.wait("!document.querySelector('#details').open")
        assert page.complaints() == []


@pytest.mark.parametrize("width", [320, 375])
def test_two_hundred_requests_are_no_long_way_on_a_phone(page: Page, width: int) -> None:
    page.size(width, 700, mobile=True)
    with gateway() as (url, _):
        opened(page, url, "requests")
        body = json.dumps({"model": "fast", "messages": [{"role": "user", "content": "Hello"}]})
        page.js(
            f"Promise.all(Array.from({{length: 200}}, () => fetch('{url}/v1/chat/completions', "
            f"{{method: 'POST', body: {json.dumps(body)}}}).then(answer => answer.text())))"
        )
        page.wait("document.querySelectorAll('#rows tbody tr').length === 200")
        assert page.js("document.documentElement.scrollHeight") < 1400
        assert page.js("document.querySelector('#rows').scrollHeight") < 200 * 75
        assert page.js("document.documentElement.scrollWidth") <= width
        page.js("document.querySelector('#rows tbody tr:last-child button').click()")
        assert page.js("document.querySelector('#details').getBoundingClientRect().right") <= width
