"""The chat example: two real browsers talk while workers die."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from harness.server import Server

CHAT = Path(__file__).resolve().parents[2] / "examples" / "chat"
SCREENSHOTS = Path(os.environ.get("E2E_SCREENSHOTS", "/tmp"))
SWITCHES = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    database = tmp_path_factory.mktemp("chat") / "chat.sqlite"
    with Server(CHAT, env={"CHAT_DATABASE": str(database)}) as server:
        server.get("/api/health")
        yield server


@pytest.fixture(scope="module")
def browsers(tmp_path_factory):
    """Two browsers with nothing in common."""
    with sync_playwright() as playwright:
        opened = [
            playwright.chromium.launch_persistent_context(
                tmp_path_factory.mktemp("profile"), executable_path="/usr/bin/chromium", headless=True, args=SWITCHES,
                viewport={"width": 600, "height": 700},
            )
            for _ in range(2)
        ]
        yield opened
        for browser in opened:
            browser.close()


def enter(browser, chat: Server, room: str, name: str) -> Page:
    page = browser.new_page()
    enter_on(page, chat, room, name)
    return page


def enter_on(page: Page, chat: Server, room: str, name: str) -> None:
    page.goto(chat.url)
    page.get_by_label("Your name").fill(name)
    page.get_by_label("Room", exact=True).fill(room)
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("status")).to_have_text("connected")


def write(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def texts(page: Page) -> list[str]:
    return page.locator("#messages .text").all_text_contents()


def test_two_people_talk(chat, browsers):
    ada, tim = (enter(browser, chat, "talk", name) for browser, name in zip(browsers, ("Ada", "Tim")))
    for page in (ada, tim):
        expect(page.get_by_label("People here").get_by_role("listitem")).to_have_text(["Ada", "Tim"])
    write(ada, "hello from the first page")
    expect(tim.locator("#messages .text")).to_have_text(["hello from the first page"])
    tim.get_by_label("Message", exact=True).press_sequentially("goo")
    expect(ada.locator("#typing")).to_have_text("Tim is typing …")
    write(tim, "you are an idiot")
    expect(ada.locator("#messages .tone")).to_have_text("unkind")
    for name, page in (("ada", ada), ("tim", tim)):
        page.screenshot(path=SCREENSHOTS / f"chat-{name}.png")
    tim.close()
    expect(ada.get_by_label("People here").get_by_role("listitem")).to_have_text(["Ada"])
    ada.close()


def test_nothing_is_lost_or_doubled_while_workers_die(chat, browsers):
    pages = [enter(browser, chat, "storm", name) for browser, name in zip(browsers, ("Ada", "Tim"))]
    sent = []
    for number in range(40):
        text = f"message {number}"
        write(pages[number % 2], text)
        sent.append(text)
        if number in (10, 25):
            for service in ("web", "ml"):
                os.kill(chat.workers(service)[0], signal.SIGKILL)
    for page in pages:
        expect(page.locator("#messages .text")).to_have_count(len(sent), timeout=30_000)
    seen = [texts(page) for page in pages]
    assert sorted(seen[0]) == sorted(sent)
    assert seen[0] == seen[1], "both see one order"
    kept = chat.get("/api/rooms/storm/messages").json()
    assert [message["text"] for message in kept] == seen[0]
    assert [message["number"] for message in kept] == list(range(1, len(sent) + 1))
    for page in pages:
        page.close()


def test_who_comes_later_reads_what_was_said(chat, browsers):
    page = enter(browsers[0], chat, "later", "Ada")
    write(page, "the first")
    expect(page.locator("#messages .text")).to_have_text(["the first"])
    page.close()
    page = enter(browsers[1], chat, "later", "Tim")
    expect(page.locator("#messages .text")).to_have_text(["the first"])
    assert re.fullmatch("Ada", page.locator("#messages .author").inner_text())
    page.close()


def test_the_page_says_when_the_connection_is_gone_and_when_it_is_back(chat, browsers):
    page = browsers[0].new_page()
    sockets, refused = [], []

    def open_socket(route):
        if refused:
            route.close()
        else:
            route.connect_to_server()
            sockets.append(route)

    page.route_web_socket(re.compile("/rooms/cut/socket"), open_socket)
    enter_on(page, chat, "cut", "Ada")
    refused.append(True)
    sockets[0].close()
    status = page.get_by_role("status")
    expect(status).to_have_text("connection lost, connecting again …")
    write(page, "meanwhile")
    expect(status).to_have_text("connection lost, connecting again; 1 to be sent …")
    page.screenshot(path=SCREENSHOTS / "chat-lost.png")
    refused.clear()
    expect(status).to_have_text("connected")
    expect(page.locator("#messages .text")).to_have_text(["meanwhile"])
    page.close()


def test_a_message_that_overtakes_another_waits_for_it(chat, browsers):
    page = browsers[0].new_page()
    sockets = []

    def open_socket(route):
        route.on_message(lambda _: None)
        sockets.append(route)

    page.route_web_socket(re.compile("/rooms/order/socket"), open_socket)
    enter_on(page, chat, "order", "Ada")

    def hear(**event):
        sockets[0].send(json.dumps(event))

    def message(number):
        text = f"number {number}"
        hear(type="message", room="order", number=number, id=f"id-{number}", author="Tim", text=text, tone="friendly")

    message(2)
    hear(type="caught-up", oldest=0)
    message(1)
    expect(page.locator("#messages .text")).to_have_text(["number 1", "number 2"])
    hear(type="caught-up", oldest=5)
    message(5)
    expect(page.locator("#messages .text")).to_have_text(["number 1", "number 2", "number 5"])
    page.close()
