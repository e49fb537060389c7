#!/usr/bin/env python3
"""The page of lseg_eval --html in headless Chromium, from file://: at a desktop's and a phone's size,
light and dark.

usage: eval_page_test.py LSEG_EVAL SCRATCH_FOLDER

Fails for HTML that is not valid, messages on the console, text without contrast (the charts' too), and
a page that is wider than the window.
"""
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree

import browser as chrome  # skips where there is none
import tiny_report as tiny

LESIONS = ("EX", "HE", "MA", "SE")
CHART_CONTRAST = chrome.CONTRAST.replace("'body *'", "'figure text'").replace(
    "getComputedStyle(e).color", "getComputedStyle(e).fill")


def write_set(folder):
    """Five images with squares of each lesion, whose maps are noisy; one name is not plain ASCII."""
    random.seed(3)
    for name in ("images", "labels", "masks", "maps", "other"):
        os.makedirs(os.path.join(folder, name))
    names = ["a", "b & <c>", "d\u00e9", "e", "f"]
    for stem in names:
        tiny.write_png(f"{folder}/labels/{stem}.png", 40, 30, lambda x, y: (0,), 1)
        for lesion in LESIONS:
            x0, y0 = random.randrange(30), random.randrange(20)
            inside = lambda x, y: x0 <= x < x0 + 6 and y0 <= y < y0 + 6
            tiny.write_png(f"{folder}/masks/{stem}_{lesion}.png", 40, 30,
                           lambda x, y: (255 if inside(x, y) else 0,), 1)
            for maps, noise in (("maps", 120), ("other", 200)):
                tiny.write_png(
                    f"{folder}/{maps}/{stem}.{lesion}.prob.png", 40, 30,
                    lambda x, y: (min(255, (130 if inside(x, y) else 0) + random.randrange(noise)),), 1)
    lines = "".join(f"images/{stem}.png\tlabels/{stem}.png\n" for stem in names)
    pathlib.Path(folder, "set.txt").write_text(lines, encoding="utf-8")


def check_markup(index, folder):
    """Charts are well-formed; the rest is valid (tidy takes SVG's attributes for mistakes)."""
    text = pathlib.Path(index).read_text(encoding="utf-8")
    charts = re.findall("<svg.*?</svg>", text, re.DOTALL)
    assert len(charts) == 5, len(charts)
    for chart in charts:
        xml.etree.ElementTree.fromstring(chart)
    rest = pathlib.Path(folder, "without_charts.html")
    rest.write_text(re.sub("<svg.*?</svg>", "<p>chart</p>", text, flags=re.DOTALL), encoding="utf-8")
    chrome.check_html(str(rest))


def check(page, scheme):
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme}]})
    page.open()
    ground = page.js("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 21, 21)"), ground
    page.js("document.querySelector('details').open = true")
    assert page.js(chrome.CONTRAST) == [] and page.js(CHART_CONTRAST) == []
    # Not innerWidth: phones zoom out from a page that is too wide.
    wide = page.js("const e = document.documentElement; return e.scrollWidth - e.clientWidth")
    assert wide <= 0, f"{wide} pixels wider than the window"
    # A curve a protocol, reliability, FROC: each as wide as it may be, none empty.
    assert page.js("return document.querySelectorAll('figure svg').length") == 5
    assert page.js("return [...document.querySelectorAll('figure svg')].every("
                   "(s) => s.querySelectorAll('polyline').length >= 4)")
    assert page.js("return document.querySelectorAll('#images tbody tr').length") == 20
    assert "b & <c>" in page.js("return document.querySelector('#images').textContent")
    for link in page.js("return [...document.querySelectorAll('nav a')].map((a) => a.hash)"):
        assert page.js("return document.querySelector(arguments[0]) !== null", link), link


def main():
    program, folder = sys.argv[1:]
    chrome.find()
    shutil.rmtree(folder, ignore_errors=True)
    write_set(folder)
    index = os.path.join(folder, "scores.html")
    subprocess.run([program, "--truth", f"{folder}/set.txt", "--prob", f"{folder}/maps", "--versus",
                    f"{folder}/other", "--protocol", "all", "--at", "recall=0.8", "--html", index],
                   check=True, stdout=subprocess.DEVNULL)
    check_markup(index, folder)
    for width, height, touch in ((1280, 800, False), (390, 844, True)):
        page = chrome.Page(index, width, height, touch)
        try:
            for scheme in ("light", "dark"):
                check(page, scheme)
                page.driver.save_screenshot(os.path.join(folder, f"{scheme}_{width}.png"))
            log = page.driver.get_log("browser")
            assert not log, log
        finally:
            page.driver.quit()
    print("passed")


if __name__ == "__main__":
    main()
