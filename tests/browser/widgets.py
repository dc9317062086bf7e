"""An anywidget's script alone in a page, with a model made of plain values: fast, and no server."""

import base64
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "labkit" / "lab"
ADDRESS = "https://lab.test/"  # a secure page, as microphones need one
MODEL = """async ([source, state]) => {
    const handlers = {};
    window.changed = {};
    window.state = state;
    window.sent = [];
    const fire = (name) => (handlers[`change:${name}`] ?? []).forEach((act) => act());
    const model = {
        get: (name) => state[name],
        set: (name, value) => { state[name] = value; window.changed[name] = true; },
        save_changes: () => { const names = Object.keys(window.changed); window.changed = {}; names.forEach(fire); },
        on: (names, act) => names.split(' ').forEach((name) => (handlers[name] ??= []).push(act)),
        send: (content, _callbacks, buffers) => window.sent.push({
            content, buffers: (buffers ?? []).map((one) => btoa(new Uint8Array(one).reduce((text, byte) => text + String.fromCharCode(byte), ''))),
        }),
    };
    const module = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
    module.default.render({ model, el: document.body });
}"""


def show(page, script, **state):
    """Render `labkit/lab/SCRIPT` in an empty page; returns the list that page errors go to."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    body = "<!doctype html><body style='font-family:sans-serif'></body>"
    page.route(ADDRESS + "**", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto(ADDRESS)
    page.evaluate(MODEL, [(SCRIPTS / script).read_text(encoding="utf-8"), state])
    return errors


def messages(page):
    """What the widget has sent: (content, buffers) pairs."""
    sent = page.evaluate("window.sent")
    return [(one["content"], [base64.b64decode(text) for text in one["buffers"]]) for one in sent]
