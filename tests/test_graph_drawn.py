"""What others make of our drawings: Graphviz, Mermaid's own parser, a browser. Generated machines with hostile names, ours, and a large one."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Never, cast

import pytest
from hypothesis import HealthCheck, given, settings
from playwright.sync_api import Browser, Page, expect

from leverframe import graph, project
from leverframe.graph import Note, Overlay
from leverframe.graph.drawing import drawing, plain
from leverframe.graph.layout import bare, strokes, svg_of
from leverframe.graph.picture import part_of, tips
from leverframe.machine import Definition, Machine
from tests import browser, drawn, repository

MACHINES = project.find(repository.ROOT).machines
pytestmark = pytest.mark.xdist_group("browser")  # one browser, and one Mermaid to install, wherever tests run side by side
SVG = "{http://www.w3.org/2000/svg}"
generated = settings(max_examples=120, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
sampled = settings(generated, max_examples=40)
Drawn = Machine[Never] | Definition


def everything() -> dict[str, Drawn]:
    return {**MACHINES, "large": drawn.large()}


# ── well formed, and whole ───────────────────────────────────────────────────────────────────────────────────────────────────


@given(drawn.definitions())
@sampled
def test_every_generated_machine_is_drawn_whole(definition: Definition) -> None:
    ET.fromstring(graph.svg(definition, drawn.overlay(definition)))
    told, picture = drawing(definition), ET.fromstring(graph.svg(definition))
    groups = [(group.get("id", ""), group.get("class", "")) for group in picture.iter(f"{SVG}g") if group.get("id")]
    assert len(groups) == len(set(groups))
    assert {id_ for id_, names in groups if "edge work" in names or "edge recedes" in names} == {
        "begin",
        *(stroke.id for stroke in strokes(told)),
        *(["exceeded"] if told.exceeded else []),
    }
    boxes = {id_: names for id_, names in groups if re.fullmatch(r"s\d+", id_)}
    assert boxes == {f"s{number}": f"node k_{box.style}" for number, box in enumerate(told.boxes)}
    assert {element.tag for element in picture.iter()} <= {
        SVG + tag for tag in ("svg", "title", "style", "rect", "g", "text", "path", "polygon", "polyline", "ellipse")
    }
    assert not [name for element in picture.iter() for name in element.attrib if "href" in name or name.startswith("on")]


@given(drawn.definitions())
@sampled
def test_a_page_holds_what_a_machine_says_as_data_and_names_the_hashes_of_its_code(definition: Definition) -> None:
    page = graph.html(definition)
    (style,), (data, script) = (
        re.findall(r"<style>(.*?)</style>", page, re.DOTALL),
        re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL),
    )
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    hashes = ["sha256-" + b64encode(sha256(text.encode()).digest()).decode() for text in (style, script)]
    wanted = f"default-src 'none'; style-src '{hashes[0]}'; script-src '{hashes[1]}'; base-uri 'none'; form-action 'none'"
    assert policy == wanted
    states = cast("dict[str, list[dict[str, str]]]", json.loads(data))["states"]
    assert [state["name"] for state in states] == [plain(box.name) for box in drawing(definition).boxes]


# ── Graphviz ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
@given(drawn.definitions())
@generated
def test_graphviz_takes_every_generated_machine(definition: Definition) -> None:
    program = shutil.which("dot")
    assert program, "Graphviz itself lays these out: apt install graphviz"
    for text in (graph.dot(definition), graph.dot(definition, drawn.overlay(definition))):
        done = subprocess.run([program, "-Tsvg"], input=text.encode(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        ids = set(re.findall(r'<g id="(s\d+)" class="node', done.stdout.decode()))
        assert ids == {f"s{number}" for number in range(len(drawing(definition).boxes))}
        assert set(re.findall(r'<g id="(s\d+)" class="node', svg_of(text))) == ids


@pytest.mark.long
def test_a_picture_is_the_same_by_either_program() -> None:
    """Other places for the words, the same words."""
    program = shutil.which("dot")
    assert program, "Graphviz itself lays these out: apt install graphviz"
    told = drawing(MACHINES["refund"])
    text = bare(told, graph.PLAIN, titled=True)
    theirs = subprocess.run([program, "-Tsvg"], input=text.encode(), capture_output=True, check=True).stdout.decode()
    ours, other = (part_of(laid_out, tips(told, graph.PLAIN)) for laid_out in (svg_of(text), theirs))
    assert other.width == pytest.approx(ours.width, rel=0.2)
    assert sorted(re.findall(r">([^<>]*\w[^<>]*)<", other.inner)) == sorted(re.findall(r">([^<>]*\w[^<>]*)<", ours.inner))
    assert sorted(re.findall(r'<g id="[^"]*" class="[^"]*">', other.inner)) == sorted(
        re.findall(r'<g id="[^"]*" class="[^"]*">', ours.inner)
    )


# ── Mermaid ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def watched(chromium: Browser) -> browser.Watched:
    """One page for many machines: what one of them does wrong is kept, and fails every test after it."""
    return browser.Watched(chromium)


@pytest.fixture(scope="module")
def mermaid(chromium: Browser, request: pytest.FixtureRequest) -> Callable[[str], dict[str, str]]:
    """Parses and draws a Mermaid text; gives the words of each state, by its id."""
    assert request.config.cache is not None
    page = chromium.new_page()
    page.set_content("<body></body>")
    page.add_script_tag(path=browser.mermaid(request.config.cache.mkdir("mermaid")))
    page.evaluate("mermaid.initialize({ startOnLoad: false, securityLevel: 'strict' })")
    count = iter(range(1_000_000))

    def draw(text: str) -> dict[str, str]:
        assert page.evaluate("async (text) => (await mermaid.parse(text)).diagramType", text) == "stateDiagram"
        found = page.evaluate(
            """async ([id, text]) => {
                const { svg } = await mermaid.render(id, text);
                const nodes = [...new DOMParser().parseFromString(svg, "text/html").querySelectorAll("g.node")];
                return nodes.map((node) => [node.id, node.textContent]);
            }""",
            [f"m{next(count)}", text],
        )
        named = [(re.search(r"state-(s\d+|limits)-\d+$", id_), words) for id_, words in cast("list[tuple[str, str]]", found)]
        return {match[1]: " ".join(words.split()) for match, words in named if match}

    return draw


@pytest.mark.long
@given(definition=drawn.definitions())
@generated
def test_mermaid_reads_every_generated_machine_and_shows_its_names(
    mermaid: Callable[[str], dict[str, str]], definition: Definition
) -> None:
    told = drawing(definition)
    wanted = {f"s{number}": " ".join(plain(box.name).split()) for number, box in enumerate(told.boxes)}
    wanted |= {"limits": "from any state"} if told.exceeded else {}
    assert mermaid(graph.mermaid(definition)) == wanted
    assert mermaid(graph.mermaid(definition, drawn.overlay(definition))) == wanted


@pytest.mark.long
@pytest.mark.parametrize("name", everything())
def test_mermaid_reads_our_machines(mermaid: Callable[[str], dict[str, str]], name: str) -> None:
    machine = everything()[name]
    assert len(mermaid(graph.mermaid(machine))) == len(drawing(machine).boxes) + 1


# ── in a browser ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
@given(definition=drawn.definitions())
@generated
def test_a_page_of_hostile_names_shows_them_and_does_nothing_else(
    watched: browser.Watched, tmp_path_factory: pytest.TempPathFactory, definition: Definition
) -> None:
    file = tmp_path_factory.getbasetemp() / "hostile.html"
    file.write_text(graph.html(definition, drawn.overlay(definition)), "utf-8")
    page = watched.open(file)
    boxes = drawing(definition).boxes
    for number, row in enumerate(page.locator("#list button").all()[:3]):
        row.click()
        assert page.locator("#details h2").text_content() == plain(boxes[number].name)
    assert page.locator("script").count() == 2
    assert page.locator("img, iframe, object, a").count() == 0
    assert watched.wrong == []


@pytest.mark.long
@given(definition=drawn.definitions())
@generated
def test_a_browser_shows_every_picture(
    watched: browser.Watched, tmp_path_factory: pytest.TempPathFactory, definition: Definition
) -> None:
    file = tmp_path_factory.getbasetemp() / "picture.svg"
    file.write_text(graph.svg(definition, drawn.overlay(definition)), "utf-8")
    page = watched.open(file)
    assert page.evaluate("document.documentElement.tagName") == "svg"
    assert page.evaluate("document.querySelectorAll('parsererror').length") == 0
    assert page.evaluate("document.querySelectorAll('.node[id^=s]:not(#start)').length") == len(drawing(definition).boxes)
    assert watched.wrong == []


BOXES = """() => {
    const box = (element) => { const { x, y, width, height } = element.getBBox(); return [x, y, x + width, y + height]; };
    const around = (boxes) => [0, 1, 2, 3].map((side) => (side < 2 ? Math.min : Math.max)(...boxes.map((box) => box[side])));
    const read = (group) => {
        const words = [...group.querySelectorAll("text")].map(box), shape = group.querySelector("polygon, path, ellipse");
        return { id: group.id, words: words.length ? around(words) : null, shape: box(shape) };
    };
    const all = (names) => [...document.querySelectorAll(names)].map(read);
    return { nodes: all("g.node[id^=s]:not(#start)"), edges: all("g.edge[id^=e]") };
}"""
Rectangle = tuple[float, float, float, float]


def overlap(one: Rectangle, other: Rectangle) -> bool:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide > 1 and high > 1


@pytest.mark.long
@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("name", everything())
def test_no_words_lie_on_others_or_leave_their_card(chromium: Browser, tmp_path: Path, name: str, busy: bool) -> None:
    machine = everything()[name]
    note = Note(None, ("12,044 · 34 %", "p50 2.25 s · p95 41.5 min", "$0.125 · 3.5 % failed"), 0.5)
    traffic = Overlay("12,044 runs since yesterday", {}, {arrow.edge: note for arrow in drawing(machine).arrows()})
    (tmp_path / "picture.svg").write_text(graph.svg(machine, traffic if busy else graph.PLAIN), "utf-8")
    page = browser.Watched(chromium).open(tmp_path / "picture.svg")
    found = page.evaluate(BOXES)
    nodes = {node["id"]: node for node in found["nodes"]}
    labels = {edge["id"]: cast("Rectangle", edge["words"]) for edge in found["edges"] if edge["words"]}
    assert labels
    for id_, node in nodes.items():
        (left, top, right, bottom), (x, y, x2, y2) = node["words"], node["shape"]
        assert x <= left, id_
        assert y <= top, id_
        assert right <= x2, id_
        assert bottom <= y2, id_
    for id_, label in labels.items():
        assert not [other for other in nodes if overlap(label, nodes[other]["shape"])], id_
        assert not [other for other in labels if other != id_ and overlap(label, labels[other])], id_
    page.close()


# ── the page at work ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def refund(chromium: Browser, tmp_path: Path) -> Iterator[Page]:
    (tmp_path / "refund.html").write_text(graph.html(MACHINES["refund"]), "utf-8")
    watched = browser.Watched(chromium)
    yield watched.open(tmp_path / "refund.html")
    assert watched.wrong == []
    watched.page.close()


@pytest.mark.long
def test_a_click_on_a_state_shows_its_prompt_replies_tools_and_code(refund: Page) -> None:
    expect(refund.locator("#details")).to_be_hidden()
    refund.get_by_role("button", name="Triage, ask").click()
    details = refund.locator("#details")
    expect(details.locator("h2")).to_have_text("Triage")
    prompt = (repository.ROOT / "prompts/refund/triage.md").read_text("utf-8")
    assert "# system" in prompt
    expect(details.locator("pre").first).to_contain_text(prompt[prompt.index("# system") :].strip()[:200])
    assert set(details.locator("summary").all_text_contents()) >= {"ask_customer", "decline", "escalate", "issue_refundkeyed"}
    expect(details).to_contain_text("Decide what the customer is owed.")
    expect(details.locator("code").last).to_have_text(re.compile(r"^states/refund\.py:\d+$"))
    details.get_by_text("ask_customer", exact=True).first.click()
    expect(details).to_contain_text('"question"')
    assert refund.locator("#canvas .chosen").count() == 1


@pytest.mark.long
def test_signs_that_nobody_sees_are_spelled_out(chromium: Browser, tmp_path: Path) -> None:
    asks = drawn.state("ask", {"error": "Done"}, "Pay \u202eevil\u202c only\u200b.", "a/b\u2066c")
    definition = drawn.definition("turned", {"Ask": asks, "Done": drawn.state("end", {})}, start="Ask")
    (tmp_path / "turned.html").write_text(graph.html(definition), "utf-8")
    watched = browser.Watched(chromium)
    page = watched.open(tmp_path / "turned.html")
    page.locator("#list button").first.click()
    expect(page.locator("#details .doc")).to_have_text("Pay ⟦U+202E⟧evil⟦U+202C⟧ only⟦U+200B⟧.")
    expect(page.locator("#details pre").first).to_contain_text("a/b⟦U+2066⟧c")
    assert watched.wrong == []
    page.close()


@pytest.mark.long
def test_search_narrows_the_list_and_enter_chooses(refund: Page) -> None:
    refund.keyboard.press("/")
    refund.keyboard.type("issue_refund keyed")
    expect(refund.locator("#list button:visible bdi")).to_have_text(["Triage", "Pay"])
    refund.keyboard.press("Enter")
    expect(refund.locator("#details h2")).to_have_text("Triage")
    refund.keyboard.press("Escape")
    expect(refund.locator("#details")).to_be_hidden()
    assert refund.locator("#list button:visible").count() == len(MACHINES["refund"].states)


@pytest.mark.long
def test_everything_can_be_done_by_keyboard(refund: Page) -> None:
    refund.locator("#canvas [aria-label^='Release']").focus()
    refund.keyboard.press("Enter")
    expect(refund.locator("#details")).to_contain_text("approve, team lead, 2 days")
    refund.get_by_role("button", name="rejected").focus()
    refund.keyboard.press("Enter")
    expect(refund.locator("#details h2")).to_have_text("Triage")
    refund.locator("#search").focus()
    refund.keyboard.press("ArrowDown")
    refund.keyboard.press("ArrowDown")
    refund.keyboard.press("Enter")
    expect(refund.locator("#details h2")).to_have_text("LookUp")


@pytest.mark.long
def test_the_picture_can_be_moved_and_zoomed(refund: Page) -> None:
    def view() -> list[float]:
        return [float(part) for part in (refund.locator("#canvas").get_attribute("viewBox") or "").split()]

    refund.get_by_role("button", name="fit").click()
    whole = view()
    refund.keyboard.press("+")
    assert view()[2] == pytest.approx(whole[2] / 1.4, rel=0.01)
    refund.mouse.move(200, 200)
    refund.mouse.wheel(0, -300)
    closer = view()
    assert closer[2] < whole[2] / 1.4
    refund.mouse.down()
    refund.mouse.move(300, 260, steps=5)
    refund.mouse.up()
    moved = view()
    assert (moved[0] < closer[0], moved[1] < closer[1], moved[2]) == (True, True, closer[2])
    refund.keyboard.press("0")
    assert view() == whole
    expect(refund.locator("#details")).to_be_hidden()


@pytest.mark.long
def test_the_policy_stops_what_was_not_written_with_the_page(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "refund.html").write_text(graph.html(MACHINES["refund"]), "utf-8")
    watched = browser.Watched(chromium)
    page, blocked = watched.open(tmp_path / "refund.html"), list[str | None]()
    page.on("requestfailed", lambda request: blocked.append(request.failure))
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<img src='http://127.0.0.1:9/x' onerror='window.ran = true'>");
        }"""
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    assert len([line for line in watched.wrong if "Content Security Policy" in line]) >= 2
    assert blocked == ["csp"]
    page.close()


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_ground_follows_the_readers_choice(chromium: Browser, tmp_path: Path, scheme: str) -> None:
    assert scheme in ("light", "dark")
    (tmp_path / "refund.svg").write_text(graph.svg(MACHINES["refund"]), "utf-8")
    page = browser.Watched(chromium, "dark" if scheme == "dark" else "light").open(tmp_path / "refund.svg")
    ground = cast("str", page.evaluate("getComputedStyle(document.querySelector('rect')).fill"))
    ink = cast("str", page.evaluate("getComputedStyle(document.querySelector('text')).fill"))
    dark, light = (sum(int(part) for part in re.findall(r"\d+", colour)) for colour in (ground, ink))
    assert (dark < light) == (scheme == "dark")
    page.close()
