#!/usr/bin/env python3
"""The page of lseg_infer --report in headless Chromium, from file://, with real clicks, keys, wheel and
fingers, at a desktop's and a phone's size.

usage: report_page_test.py LSEG_INFER SCRATCH_FOLDER

Fails for any message on the console, for a control that no event has reached, for text without
contrast, controls without names, and HTML that is not valid. Leaves a screenshot where it fails.
"""
import json
import os
import pathlib
import shutil
import sys

import browser as chrome  # skips where there is none
import tiny_report as tiny
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

YELLOW, BLUE, PINK = (255, 212, 0), (45, 125, 255), (255, 106, 224)
WHITE = (244, 255, 255)


def test_grid(page):
    page.open()
    assert page.id("summary").text == "3 photographs, 1 more failed"
    assert not page.id("failure-list").is_displayed()
    page.click("failures-title")
    assert "broken.jpg" in page.id("failure-list").text
    assert page.cards() == ["eye 1", "holiday", "speckled"]
    assert "no dark ground" in page.id("cards").text
    page.wait("thumbnails", lambda: page.js(
        "return [...document.images].every((i) => i.complete && i.naturalWidth === 240)"))
    assert "EX 1" in page.id("cards").text and "MA 150" in page.id("cards").text
    page.id("sort").click()
    page.keys(Keys.ESCAPE)
    Select(page.id("sort")).select_by_value("count-2")
    assert page.cards() == ["speckled", "eye 1", "holiday"], page.cards()
    page.click("order")
    assert page.cards() == ["holiday", "eye 1", "speckled"]
    assert page.id("order").get_attribute("aria-pressed") == "true"
    page.click("find")
    page.keys("EYE")
    assert page.cards() == ["eye 1"] and page.id("found").text == "1 photograph found"
    page.keys(Keys.BACKSPACE, Keys.BACKSPACE, Keys.BACKSPACE, Keys.ESCAPE)
    assert page.id("found").text == "" and len(page.cards()) == 3
    page.keys("r")
    assert page.cards() == ["speckled", "eye 1", "holiday"]
    page.keys("s")
    assert page.id("sort").get_attribute("value") == "count-3"
    page.keys("/")
    assert page.js("return document.activeElement.id") == "find"
    page.keys(Keys.ESCAPE)
    Select(page.id("sort")).select_by_value("name")
    page.id("sort").send_keys(Keys.TAB)
    page.keys(Keys.TAB, Keys.TAB)
    assert page.js("return document.activeElement.className") == "card"
    page.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    page.wait("the view", lambda: page.id("view").is_displayed())
    page.ready()
    assert page.id("title").text == "holiday"
    page.keys(Keys.ESCAPE)
    assert page.id("grid").is_displayed()
    assert page.js("return document.activeElement.getAttribute('href')") == "#/holiday"
    page.driver.find_element(By.CSS_SELECTOR, ".card").click()
    page.ready()


def test_layers(page):
    page.open("#/eye~201")
    page.ready()
    assert page.id("title").text == "eye 1"
    page.click("style-fill")
    page.id("opacity").send_keys(Keys.END)
    assert page.id("opacity-value").text == "100 %"
    centres = {"0": ((70, 46), YELLOW), "1": ((165, 100), BLUE), "2": ((102, 112), WHITE)}
    for number, (at, colour) in centres.items():
        page.expect_colour(*at, colour, "filled layer " + number)
        page.click("show-" + number)
        found = page.colour(*at)
        assert max(abs(a - b) for a, b in zip(found, colour)) > 60, f"hidden layer {number}: {found}"
        page.click("show-" + number)
    page.click("show-3")
    page.click("show-3")
    page.expect_colour(61, 41, YELLOW, "corner of a filled lesion")
    page.click("style-outline")
    found = page.colour(70, 46)
    assert found[1] < 90, f"inside an outline the photograph shows: {found}"
    # The line lies outside, as in lseg/overlay.h: half a pixel from the edge at this zoom.
    line = page.spot(70, 40 - 0.5)
    page.settle()
    assert chrome.pixel(page.driver, line[0], line[1] - 1) == YELLOW
    page.click("style-fill")
    page.id("opacity").send_keys(Keys.HOME)
    assert page.colour(70, 46)[1] < 90, "no opacity"
    page.click("opacity")
    assert page.id("opacity-value").text == "50 %"
    page.id("opacity").send_keys(Keys.END)


def test_thresholds(page):
    # SE is sigmoid(-1) = 0.269 everywhere, which 0.26 lets through.
    for _ in range(24):
        page.id("threshold-3").send_keys(Keys.ARROW_LEFT)
    assert page.id("threshold-value-3").text == "0.26"
    page.expect_colour(120, 40, PINK, "retina above a lower threshold")
    page.expect_colour(70, 46, YELLOW, "the likelier of two")
    page.click("surest")
    page.expect_colour(70, 46, PINK, "of two lesions the later is above")
    page.click("surest")
    page.expect_colour(70, 46, YELLOW, "the likelier of two, again")
    # Its gray is 69, which is more than 0.27 of 255 and less than 0.28.
    page.id("threshold-3").send_keys(Keys.ARROW_RIGHT)
    page.expect_colour(120, 40, PINK, "0.27 is reached")
    page.id("threshold-3").send_keys(Keys.ARROW_RIGHT)
    assert page.colour(120, 40)[2] < 90, "0.28 is not reached"
    for c in range(3):  # EX is .99995 at the most, HE .999, MA .993: gray 255, 255, 253
        page.click("threshold-" + str(c))
        page.id("threshold-" + str(c)).send_keys(Keys.END)
        assert page.id("threshold-value-" + str(c)).text == "1.00"
    assert page.colour(102, 112) != WHITE, "MA ends below 1"
    page.expect_colour(70, 46, YELLOW, "EX is 1 but for rounding")
    page.click("threshold-3")
    page.click("reset")
    assert [page.id(f"threshold-value-{c}").text for c in range(4)] == ["0.50"] * 4
    page.expect_colour(102, 112, WHITE, "MA at the report's threshold")


def scores(page):
    return [row.text.split() for row in page.id("scores").find_elements(By.CSS_SELECTOR, "tbody tr")]


def test_truth(page):
    rows = lambda: scores(page)
    # Both boxes have 240 pixels and share 120.
    assert rows()[0] == ["EX", "120", "120", "120", "0.500"], rows()
    assert rows()[1] == ["HE", "0", "600", "0", "0.000"], rows()
    assert rows()[3] == ["SE", "0", "0", "0", "-"], rows()
    page.click("truth-compare")
    assert page.id("truth-legend").text.split() == ["hit", "false", "missed"]
    page.expect_colour(75, 46, WHITE, "hit")
    page.expect_colour(65, 46, YELLOW, "false")
    page.expect_colour(85, 46, BLUE, "missed")
    page.click("truth-outline")
    page.expect_colour(75, 46, YELLOW, "filled, under the dashed truth")
    assert page.colour(85, 46)[1] < 90, "inside the truth's outline"
    page.click("truth-off")
    assert page.colour(85, 46)[1] < 90


def touch_points(page, kind, points):
    page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {
        "type": kind, "touchPoints": [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]})


def test_zoom_and_pan(page):
    page.click("zoom-fit")
    fitted = page.state()
    assert (fitted["x"], fitted["y"]) == (120, 80)
    page.click("zoom-in")
    assert abs(page.state()["scale"] / fitted["scale"] - 1.5) < 1e-9
    page.click("zoom-out")
    page.click("zoom-one")
    assert page.state()["scale"] == max(1, 0.8 * fitted["scale"])
    page.click("zoom-fit")
    stage, actions = page.id("stage"), lambda: ActionChains(page.driver)
    if page.touch:
        x, y = map(round, page.spot(120, 80))
        touch_points(page, "touchStart", [(x - 40, y), (x + 40, y)])
        for span in (50, 60, 80):
            touch_points(page, "touchMove", [(x - span, y), (x + span, y)])
        touch_points(page, "touchEnd", [])
        assert abs(page.state()["scale"] / fitted["scale"] - 2) < 0.02, page.state()
        before = page.state()
        touch_points(page, "touchStart", [(x, y)])
        touch_points(page, "touchMove", [(x - 20, y)])
        touch_points(page, "touchMove", [(x - 40, y)])
        touch_points(page, "touchEnd", [])
        assert abs(page.state()["x"] - before["x"] - 40 / before["scale"]) < 0.5, page.state()
    else:
        actions().scroll_from_origin(ScrollOrigin.from_element(stage, 100, 50), 0, -400).perform()
        page.settle()
        zoomed = page.state()
        assert zoomed["scale"] > 1.5 * fitted["scale"]
        # What was under the pointer stays there.
        for axis, offset in (("x", 100), ("y", 50)):
            drift = (zoomed[axis] + offset / zoomed["scale"] - fitted[axis] - offset / fitted["scale"])
            # The middle of a stage of an odd size is half a pixel of the screen off.
            assert abs(drift) < 0.5 / fitted["scale"], drift
        actions().move_to_element(stage).click_and_hold().move_by_offset(-60, 30).release().perform()
        moved = page.state()
        assert abs(moved["x"] - zoomed["x"] - 60 / zoomed["scale"]) < 0.01
        assert abs(moved["y"] - zoomed["y"] + 30 / zoomed["scale"]) < 0.01
    page.click("zoom-fit")
    page.settle()
    x, y = page.spot(70, 46)
    middle = page.spot(120, 80)
    if page.touch:
        touch_points(page, "touchStart", [(round(x), round(y))])
        touch_points(page, "touchEnd", [])
    else:
        box = page.js("const b = lseg.byId('stage').getBoundingClientRect();"
                      "return [b.left + b.width / 2, b.top + b.height / 2]")
        actions().move_to_element_with_offset(stage, round(x - box[0]), round(y - box[1])).perform()
    page.settle()
    values = ", ".join(f"{name} {tiny.probability(name, tiny.EX):.2f}" for name in ("EX", "HE", "MA", "SE"))
    assert page.id("readout").text.endswith(values), page.id("readout").text
    assert page.id("readout").text.startswith(("x 70, y 46", "x 69, y 46", "x 70, y 45", "x 69, y 45"))
    del middle


def test_table(page):
    page.open("#/speckled")
    page.ready()
    body = lambda: page.driver.find_elements(By.CSS_SELECTOR, "#parts tbody tr")
    assert page.id("parts-title").text == "150 lesions at the report\u2019s thresholds"
    assert len(body()) == 100
    # Somebody has looked for EX only.
    page.wait("scores", lambda: len(scores(page)) == 4 and scores(page)[0][3] == "240")
    assert scores(page)[0] == ["EX", "0", "0", "240", "0.000"]
    assert scores(page)[2] == ["MA", "-", "-", "-", "no", "truth"]
    page.click("more-parts")
    assert len(body()) == 150 and not page.id("more-parts").is_displayed()
    for key in ("area", "mean", "max", "place", "id"):
        page.click("sort-" + key)
        assert page.id("sort-" + key).find_element(By.XPATH, "..").get_attribute("aria-sort")
    page.click("sort-id")
    assert body()[0].text.startswith("MA 150")
    page.click("sort-id")
    page.js("arguments[0].scrollIntoView({block: 'center'})", body()[1])
    body()[1].find_element(By.TAG_NAME, "button").click()
    state = page.state()
    # Lesions are numbered from the top, then from the left.
    assert (state["part"]["id"], state["x"], state["y"]) == (2, 64.5, 60.5), state
    assert body()[1].get_attribute("aria-current") == "true"
    page.keys("j")
    assert page.state()["part"]["id"] == 3
    page.keys("k", "k", "k")
    assert page.state()["part"]["id"] == 150
    page.click("show-2")
    assert len(body()) == 0 and page.id("parts-title").text.startswith("0 lesions")
    page.click("show-2")


def test_keys(page):
    page.open("#/eye~201")
    page.ready()
    page.id("stage").send_keys(Keys.NULL)
    fitted = page.state()
    page.keys("+", "+")
    zoomed = page.state()
    assert abs(zoomed["scale"] / fitted["scale"] - 1.25 ** 2) < 1e-9
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert page.state()["x"] > zoomed["x"] and page.state()["y"] > zoomed["y"]
    page.keys(Keys.ARROW_LEFT, Keys.ARROW_UP, "-", "-", "0")
    assert abs(page.state()["scale"] - fitted["scale"]) < 1e-9 and page.state()["x"] == 120
    page.settle()
    assert page.id("readout").text.startswith("x 120, y 80: "), page.id("readout").text
    page.keys("1", "4")
    assert page.state()["visible"] == [False, True, True, False]
    page.keys("1", "4", "f")
    assert page.state()["visible"] == [True] * 4 and page.state()["filled"]
    page.keys("f", "[", "[", "]")
    assert not page.state()["filled"] and abs(page.state()["opacity"] - 0.8) < 1e-9
    page.keys("t", "t")
    assert page.state()["truth"] == "compare" and page.id("truth-compare").is_selected()
    page.keys("t", "?")
    assert page.id("help").is_displayed()
    page.click("help-close")
    assert not page.id("help").is_displayed()
    page.click("help-open")
    assert "Zoom" in page.id("help").text
    page.keys(Keys.ESCAPE)
    assert not page.id("help").is_displayed() and page.id("view").is_displayed()
    page.keys("n")
    page.ready()
    assert page.id("title").text == "holiday" and not page.id("truth-box").is_displayed()
    page.click("next")
    page.ready()
    assert page.id("title").text == "speckled" and not page.id("next").is_enabled()
    page.click("previous")
    page.ready()
    page.keys("p")
    page.ready()
    assert page.id("title").text == "eye 1" and not page.id("previous").is_enabled()
    page.click("back")
    assert page.id("grid").is_displayed()


def test_many(page, folder):
    """3000 photographs: cards come as they are scrolled to."""
    copy = os.path.join(folder, "many")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(os.path.join(folder, "report"), copy)
    path = pathlib.Path(copy, "page", "list.js")
    data = json.loads(path.read_text(encoding="utf-8")[len("lsegList("):].rstrip().rstrip(");"))
    one = next(image for image in data["images"] if image["name"] == "speckled")
    data["images"] = [dict(one, name=f"eye {i}") for i in range(3000)]
    path.write_text(f"lsegList({json.dumps(data)});\n", encoding="utf-8")
    page.collect()
    page.driver.get(pathlib.Path(copy, "index.html").as_uri())
    assert page.id("summary").text == "3000 photographs"
    count = lambda: page.js("return document.querySelectorAll('.card').length")
    page.settle()
    first = count()
    assert 100 <= first <= 500, first
    assert page.cards()[2] == "eye 2", "names are sorted by their numbers"
    # By its key: it moves away as soon as it is scrolled to, for then more cards come by themselves.
    page.js("lseg.byId('more').focus({preventScroll: true})")
    page.keys(Keys.ENTER)
    page.wait("more cards", lambda: count() > first)
    page.keys("/", "eye 299")
    page.wait("the last ones", lambda: count() == 11)  # 299, 2990 to 2999


def test_thresholds_of_each(page, folder):
    """The view's are those of the photograph's own report, until they are moved."""
    path = pathlib.Path(folder, "report", "images", "holiday.js")
    before = path.read_text(encoding="utf-8")
    assert '"thresholds":{"EX":0.5,' in before
    path.write_text(before.replace('"thresholds":{"EX":0.5,', '"thresholds":{"EX":0.75,'), encoding="utf-8")
    value = lambda: page.id("threshold-value-0").text
    page.open("#/eye~201")
    page.ready()
    assert value() == "0.50", value()
    page.keys("n")
    page.ready()
    assert page.id("title").text == "holiday" and value() == "0.75", value()
    page.id("threshold-0").send_keys(Keys.ARROW_RIGHT)
    page.keys("p")
    page.ready()
    assert value() == "0.76", value()
    page.click("reset")
    assert value() == "0.50", value()
    path.write_text(before, encoding="utf-8")


def test_damage(page, folder):
    os.rename(os.path.join(folder, "report", "images", "holiday.js"), os.path.join(folder, "holiday.js"))
    page.open("#/holiday")
    page.wait("a message", lambda: page.id("message").is_displayed())
    assert page.id("message").text == "images/holiday.js cannot be read."
    page.driver.get_log("browser")  # the missing file, which is meant
    os.rename(os.path.join(folder, "holiday.js"), os.path.join(folder, "report", "images", "holiday.js"))


def test_every_control(page):
    page.open("#/eye~201")
    page.ready()
    page.collect()
    controls = set(page.js(
        "return [...document.querySelectorAll('button[id], input[id], select[id], summary[id], canvas[id]')]"
        ".map((e) => e.id)"))
    assert not controls - page.touched, f"no event reached {controls - page.touched}"
    assert "A.card" in page.touched and "BUTTON." in page.touched


def main():
    program, folder = sys.argv[1:]
    chrome.find()
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    index = tiny.make(program, folder)
    chrome.check_html(index)
    for width, height, touch in ((1280, 800, False), (390, 844, True)):
        page = chrome.Page(index, width, height, touch)
        try:
            for test in (test_grid, test_layers, test_thresholds, test_truth, test_zoom_and_pan,
                         test_table, test_keys):
                print(f"{width}x{height} {test.__name__}", flush=True)
                test(page)
            chrome.check_access(page, ("", "#/eye~201"))
            test_thresholds_of_each(page, folder)
            test_many(page, folder)
            test_every_control(page)
            log = page.driver.get_log("browser")
            assert not log, log
            test_damage(page, folder)
        except BaseException:
            page.driver.save_screenshot(os.path.join(folder, f"failed_{width}.png"))
            print("screenshot:", os.path.join(folder, f"failed_{width}.png"))
            raise
        finally:
            page.driver.quit()
    print("passed")


if __name__ == "__main__":
    main()
