"""Headless Chromium with what the test of a report's page needs besides selenium: pixels of what is
drawn, which controls got a real event, and what can be said of any page's HTML and access."""
import base64
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import time
import zlib


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(0)


try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
except ImportError:
    # The python3 on the path may be another than the one that Debian's packages are for.
    SYSTEM = "/usr/bin/python3"
    if os.path.exists(SYSTEM) and os.path.realpath(sys.executable) != os.path.realpath(SYSTEM):
        os.execv(SYSTEM, [SYSTEM] + sys.argv)
    skip("no selenium (Debian: python3-selenium)")

RECORD = """
window.touched = new Set();
for (const name of ['click', 'input', 'change']) {
  document.addEventListener(name, (event) => {
    if (!event.isTrusted) return;
    const control = event.target.closest('button, input, select, summary, a, canvas');
    if (control) window.touched.add(control.id || control.tagName + '.' + control.className);
  }, true);
}
"""


def find():
    """Chromium and its driver; skips the test where one is missing."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                    None)
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        skip("no Chromium with its driver (Debian: chromium, chromium-driver)")
    return chromium, driver


def start(width, height, touch):
    """A browser whose window's inside has this size."""
    chromium, driver = find()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 f"--window-size={width},{height}", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if touch:
        options.add_experimental_option("mobileEmulation", {
            "deviceMetrics": {"width": width, "height": height, "pixelRatio": 1, "touch": True}})
    browser = webdriver.Chrome(service=Service(driver), options=options)
    if not touch:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": RECORD})
    return browser


def pixel(browser, x, y):
    """R, G, B at a point of the window (device scale factor 1)."""
    left, top = browser.execute_script("return [visualViewport.pageLeft, visualViewport.pageTop]")
    clip = {"x": int(x) + left, "y": int(y) + top, "width": 1, "height": 1, "scale": 1}
    data = base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip})["data"])
    assert struct.unpack(">IIBB", data[16:26]) in ((1, 1, 8, 2), (1, 1, 8, 6)), "no pixel in 8 bit RGB"
    position, packed = 8, b""
    while position < len(data):
        length, name = struct.unpack(">I4s", data[position:position + 8])
        if name == b"IDAT":
            packed += data[position + 8:position + 8 + length]
        position += 12 + length
    return tuple(zlib.decompress(packed)[1:4])  # whatever the filter, there is nothing before it


class Page:
    """The page at one size of window."""

    def __init__(self, index, width, height, touch):
        self.driver = start(width, height, touch)
        self.url, self.touch = pathlib.Path(index).as_uri(), touch
        self.touched = set()

    def open(self, fragment=""):
        self.collect()
        self.driver.get("about:blank")
        self.driver.get(self.url + fragment)

    def collect(self):
        self.touched |= set(self.js("return window.touched ? [...window.touched] : []"))

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def id(self, name):
        return self.driver.find_element(By.ID, name)

    def click(self, name):
        self.js("arguments[0].scrollIntoView({block: 'center'})", self.id(name))
        self.id(name).click()

    def keys(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def state(self):
        return self.js("return lseg.view.state()")

    def wait(self, what, condition):
        for _ in range(200):
            if condition():
                return
            time.sleep(0.05)
        raise AssertionError("waited in vain: " + what)

    def ready(self):
        self.wait("a photograph", lambda: self.js("return lseg.view.ready()"))
        self.settle()

    def settle(self):
        """Lets all that is due be drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; setTimeout(() => requestAnimationFrame(() => "
            "requestAnimationFrame(done)), 90)")

    def spot(self, x, y):
        """Where a pixel of the photograph is in the window."""
        box, state = self.js("const b = lseg.byId('stage').getBoundingClientRect();"
                             "return [b.left, b.top, b.width, b.height]"), self.state()
        ratio = self.js("return lseg.byId('stage').width") / box[2]
        return (box[0] + box[2] / 2 + (x + 0.5 - state["x"]) * state["scale"] / ratio,
                box[1] + box[3] / 2 + (y + 0.5 - state["y"]) * state["scale"] / ratio)

    def colour(self, x, y):
        self.settle()
        return pixel(self.driver, *self.spot(x, y))

    def expect_colour(self, x, y, colour, what):
        # Drawn over the photograph at full opacity: exact but for a level of rounding.
        found = self.colour(x, y)
        assert max(abs(a - b) for a, b in zip(found, colour)) <= 1, f"{what}: {found}"

    def cards(self):
        return self.js("return [...document.querySelectorAll('#cards .name')].map((n) => n.textContent)")


CONTRAST = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const ground = (e) => {
  for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0.5) return c;
  }
  return [0, 0, 0];
};
const bad = [];
for (const e of document.querySelectorAll('body *')) {
  if (!e.checkVisibility() || e.disabled || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
  const a = light(parse(getComputedStyle(e).color)), b = light(ground(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) bad.push(e.tagName + ' ' + e.textContent.slice(0, 30) + ' ' + ratio.toFixed(2));
}
return bad;
"""


def check_access(page, fragments):
    """Names of controls, contrast of text, nothing wider than the window."""
    roles = {"button", "checkbox", "radio", "slider", "combobox", "searchbox", "textbox", "link",
             "application", "spinbutton"}
    for fragment in fragments:
        page.open(fragment)
        if fragment:
            page.ready()
        controls = lambda: [
            node for node in page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
            if node.get("role", {}).get("value") in roles and not node["ignored"]]
        page.wait("the tree of what is accessible", lambda: len(controls()) > 6)
        nameless = [node for node in controls() if not node.get("name", {}).get("value")]
        assert not nameless, nameless
        assert page.js(CONTRAST) == []
        # Not innerWidth: phones zoom out from a page that is too wide.
        wide = page.js("const e = document.documentElement; return e.scrollWidth - e.clientWidth")
        assert wide <= 0, f"{wide} pixels wider than the window"


def check_html(index):
    try:
        import html5lib
        html5lib.HTMLParser(strict=True).parse(pathlib.Path(index).read_text(encoding="utf-8"))
    except ImportError:
        print("left out: no html5lib (Debian: python3-html5lib)")
    if not shutil.which("tidy"):
        print("left out: no tidy")
        return
    done = subprocess.run(["tidy", "-quiet", "-errors", index], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
