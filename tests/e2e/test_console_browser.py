"""The console in a real browser: accessible by axe in light and dark, usable by keyboard and on a phone, calm in the console.

`make test-browser` runs it: it needs Debian's `chromium` and `chromium-driver`, and axe-core from the npm registry for the audit.
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from counterfoil.console.door import COOKIE
from counterfoil.types import Dataset, Decision
from tests.console_shop import Console, answer, console_of
from tests.unit.test_processes import free_port

pytestmark = pytest.mark.browser
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
AXE = Path(__file__).resolve().parents[2] / ".axe" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = os.environ.get("COUNTERFOIL_SHOTS")  # a folder: every page is left there as a picture
SIZES = {"desktop": (1280, 900), "phone": (375, 800)}


class Browser:
    """One window of one size in one colour scheme, logged in."""

    def __init__(self, url: str, size: str, dark: bool) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        self.url, self.width, self.height = url, *SIZES[size]
        options = webdriver.ChromeOptions()
        options.binary_location = str(BROWSER)
        for flag in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        calm = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, calm]})
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": self.width, "height": self.height, "deviceScaleFactor": 1, "mobile": size == "phone"},
        )

    def log_in(self, cookie: str) -> None:
        self.driver.get(f"{self.url}/login")
        self.driver.add_cookie({"name": COOKIE, "value": cookie, "path": "/"})

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def until(self, script: str, seconds: float = 10.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.run(script)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}; at {self.driver.current_url}")

    def faults(self) -> list[Any]:
        """Return what axe finds that is more than a matter of taste."""
        self.run(AXE.read_text())
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run().then(r => done(r.violations.map("
            "v => [v.id, v.impact, v.nodes.map(n => n.html.slice(0, 200)).slice(0, 3)])))"
        )
        return [fault for fault in found if fault[1] in ("serious", "critical", "moderate")]

    def picture(self, name: str) -> None:
        if SHOTS:
            height = min(4000, self.run("return document.documentElement.scrollHeight"))
            clip = {"x": 0, "y": 0, "width": self.width, "height": height, "scale": 1}
            taken = self.driver.execute_cdp_cmd(
                "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip}
            )
            import base64

            (Path(SHOTS) / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))

    def said(self) -> list[str]:
        """Return what the browser complained of since it was asked last: a policy that was broken, a script that failed."""
        return [
            line["message"] for line in self.driver.get_log("browser") if "status of 4" not in line["message"]
        ]


@pytest.fixture(scope="module")
def console(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    if BROWSER is None or DRIVER is None:
        pytest.fail(
            "no browser is here: install Debian's chromium and chromium-driver, then `make test-browser`"
        )
    made = console_of(turned, tmp_path_factory.mktemp("browser"))
    answer(made.place, count=3)
    yield made
    made.place.catalog.engine.dispose()


@pytest.fixture(scope="module")
def url(console: Console) -> Iterator[str]:
    """The console, served over a real socket."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(console.app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def paths(console: Console) -> dict[str, str]:
    """Return every page by a name for its picture."""
    catalog = console.place.catalog
    dataset, decision = catalog.find(Dataset)[0].id, catalog.find(Decision)[0].id
    [id] = answer(console.place)
    return {
        "login": "/login", "now": "/now", "contenders": "/contenders", "answers": "/answers", "answer": f"/answers/{id}",
        "next": f"/answers/{id}/next", "starts": "/lineage", "lineage": f"/lineage/{dataset}", "decision": f"/lineage/{decision}",
        "kin": f"/lineage/{dataset}?side=parents&kind=verdict", "stub": f"/lineage/{id}", "data": "/data?month=2024-01",
        "day": "/data/2024-01-05", "time": "/time", "ledger": "/ledger", "entry": "/ledger/1/proof", "verify": "/ledger/verify",
        "people": "/people", "reports": "/reports/", "missing": "/answers/receipt-x",
    }  # fmt: skip


@pytest.fixture
def browser(request: pytest.FixtureRequest, console: Console, url: str) -> Iterator[Browser]:
    size, dark = getattr(request, "param", ("desktop", False))
    opened = Browser(url, size, dark)
    opened.log_in(console.desk.sessions.begin(console.desk.accounts.all()["approver"]))
    yield opened
    opened.driver.quit()


@pytest.mark.parametrize("browser", [(s, d) for s in SIZES for d in (False, True)], indirect=True, ids=str)
def test_every_page_is_accessible_fits_and_breaks_no_policy(
    browser: Browser, console: Console, request: pytest.FixtureRequest
) -> None:
    if not AXE.is_file():
        pytest.fail("axe-core is not here: `make test-browser` fetches it by npm")
    wrong = []
    shade = "dark" if "True" in request.node.name else "light"
    for name, path in paths(console).items():
        browser.open(path)
        time.sleep(0.2)  # what htmx loads
        browser.picture(f"{name}-{shade}-{browser.width}")
        wide = browser.run("return document.documentElement.scrollWidth")
        if wide > browser.width:
            wrong.append(f"{path}: {wide} px wide on a screen of {browser.width}")
        wrong += [f"{path}: {fault}" for fault in browser.faults()]
        wrong += [f"{path}: {line}" for line in browser.said()]
    assert not wrong, "\n".join(wrong)


def test_a_person_logs_in_reads_and_leaves_by_keyboard_alone(browser: Browser, console: Console) -> None:
    from selenium.webdriver.common.keys import Keys

    console.desk.accounts.add_person("ada", "approver", "correct horse battery")
    browser.driver.delete_all_cookies()
    browser.open("/now")
    browser.until("return location.pathname == '/login'")
    browser.run("document.querySelector('input[name=name]').focus()")
    browser.press("ada", Keys.TAB, "correct horse battery", Keys.ENTER)
    browser.until("return location.pathname == '/now'")
    browser.press(Keys.TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    seen = browser.run(
        "const s = getComputedStyle(document.activeElement); return [s.outlineStyle, parseFloat(s.outlineWidth)]"
    )
    assert seen[0] == "solid" and seen[1] >= 2
    browser.press(Keys.ENTER)
    assert browser.run("return document.activeElement.id") == "main"
    browser.run("document.querySelector('form.who button').focus()")
    browser.press(Keys.ENTER)
    browser.until("return location.pathname == '/login'")
    browser.open("/now")
    browser.until("return location.pathname == '/login'")
    console.desk.accounts.remove("ada")


def test_the_walk_goes_on_by_keyboard_without_loading_the_page_anew(
    browser: Browser, console: Console
) -> None:
    from selenium.webdriver.common.keys import Keys

    release = console.desk.place.catalog.releases()[0]["id"]
    browser.open(f"/lineage/{release}")
    browser.run("window.same = true; document.querySelector('.walk.wide a.decision').focus()")
    browser.press(Keys.ENTER)
    browser.until("return location.pathname.startsWith('/lineage/decision-')")
    browser.until("return document.querySelector('.walk.wide a.release')")
    assert browser.run("return window.same") is True
    assert browser.until("return document.activeElement.id == 'main'")
    browser.run("document.querySelector('.walk.wide a.release').focus()")
    browser.press(Keys.ENTER)
    browser.until(f"return location.pathname == '/lineage/{release}'")
    browser.driver.back()
    browser.until("return location.pathname.startsWith('/lineage/decision-')")
    assert not browser.said()


def test_the_slider_goes_through_time_and_the_proof_comes_when_asked_for(browser: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open("/time")
    assert "and still does" in browser.run("return document.getElementById('served').textContent")
    browser.run("document.getElementById('step').focus()")
    browser.press(Keys.HOME)
    browser.until("return document.getElementById('served').textContent.includes('Nothing served then')")
    browser.open("/ledger/1")
    browser.run("document.querySelector('#proof a').focus()")
    browser.press(Keys.ENTER)
    browser.until("return document.querySelector('#proof pre')")
    assert browser.run("return location.pathname") == "/ledger/1"
    assert not browser.said()


def test_verifying_is_begun_on_a_page_and_its_end_is_shown_without_a_reload(browser: Browser) -> None:
    browser.open("/ledger")
    browser.run("document.querySelector('form.inline button').click()")
    browser.until("return location.pathname == '/ledger/verify'")
    browser.until("return document.getElementById('proving').textContent.includes('nothing was altered')", 60)
    assert not browser.said()


def test_an_id_is_copied_whole(browser: Browser, console: Console) -> None:
    [id] = answer(console.place)
    browser.driver.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": browser.url},
    )
    browser.open(f"/answers/{id}")
    browser.run("document.querySelector('button[data-copy]').click()")
    browser.until("return document.querySelector('button[data-copy]').textContent == 'copied'")
    read = "const done = arguments[0]; navigator.clipboard.readText().then(done, e => done(String(e)))"
    assert browser.driver.execute_async_script(read) == id


def test_every_page_works_without_scripts(console: Console, url: str) -> None:
    opened = Browser(url, "desktop", False)
    try:
        opened.log_in(console.desk.sessions.begin(console.desk.accounts.all()["approver"]))
        opened.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        opened.open("/time?step=0")
        assert "Nothing served then" in opened.driver.page_source
        opened.open("/lineage/" + console.desk.place.catalog.releases()[0]["id"])
        from selenium.webdriver.common.by import By

        opened.driver.find_element(By.CSS_SELECTOR, ".walk.wide a.decision").click()
        assert "/lineage/decision-" in opened.driver.current_url
        opened.open("/ledger/1")
        opened.driver.find_element(By.CSS_SELECTOR, "#proof a").click()
        assert opened.driver.current_url.endswith("/ledger/1/proof")
        assert "The signed head" in opened.driver.page_source
    finally:
        opened.driver.quit()


def test_nothing_but_this_host_is_asked(browser: Browser, console: Console) -> None:
    """What the browser loaded, by its own account."""
    asked = set()
    for path in paths(console).values():
        browser.open(path)
        asked |= set(
            browser.run("return performance.getEntriesByType('resource').map(e => new URL(e.name).origin)")
        )
    assert asked == {browser.url}, json.dumps(sorted(asked))
