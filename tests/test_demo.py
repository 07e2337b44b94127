"""The page and its service, driven as a visitor does: a real browser, Gradio's client and curl."""

import importlib.metadata
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import time
import types
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_command import FRESH, draw_photo, make_bomb, split, write, write_mask

from inpaint_utils.app import page as demo
from inpaint_utils.data.photos import sample_photos
from inpaint_utils.networks.models import build_generator

has_gradio = importlib.util.find_spec("gradio") and int(importlib.metadata.version("gradio").split(".")[0]) >= 6
needs_gradio = pytest.mark.skipif(not has_gradio, reason="Gradio 6 is not installed: pip install '.[demo]'")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    not CHROMIUM or not shutil.which("chromedriver") or importlib.util.find_spec("selenium") is None,
    reason="no browser to drive: install chromium, chromium-driver and pip install selenium",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A running server: its address and its temporary folder."""
    folder = tmp_path_factory.mktemp("service")
    build_generator(None, 4).save(folder / "generator.keras")
    (folder / "secret.txt").write_text("A file in the server's folder that nobody offered.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "temporary").mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "inpaint_utils.app.page", "--generator", "generator.keras", "--port", str(port)],
        cwd=folder,
        env={**FRESH, "TMPDIR": str(folder / "temporary")},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "errors.txt").open("w"),
    )
    address = f"http://127.0.0.1:{port}"
    (folder / "process.txt").write_text(str(server.pid))
    try:
        for _ in range(240):
            assert server.poll() is None, (folder / "errors.txt").read_text()
            try:
                urllib.request.urlopen(address, timeout=5).read()
                break
            except OSError:
                time.sleep(0.5)
        yield address, folder
        assert server.poll() is None, "the server died"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("photo.png", draw_photo())
    write_mask("mask.png")
    return tmp_path


def ask(address, photo="photo.png", mask="mask.png", edges=None):
    """Call the service with Gradio's client; returns the path of the answer."""
    from gradio_client import Client, handle_file

    client = Client(address, verbose=False, download_files=str(Path.cwd() / "answers"))
    return client.predict(
        handle_file(photo), handle_file(mask), None if edges is None else handle_file(edges), api_name="/inpaint"
    )


def check_answer(path, photo):
    out = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert out.dtype == photo.dtype and out.shape == photo.shape
    (kept, hole), (kept_before, hole_before) = split(out), split(photo)
    assert np.array_equal(kept, kept_before) and not np.array_equal(hole, hole_before)
    return out


def list_answers(folder):
    return sorted((folder / "temporary").glob("inpaint_*/*"))


@needs_gradio
@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (4, np.uint16)])
def test_gradios_client_gets_a_photo_filled_with_its_bits_and_alpha(service, here, channels, dtype):
    photo = draw_photo(channels=channels, dtype=dtype)
    write("photo.png", photo)
    path = ask(service[0])
    assert Path(path).name == "photo_filled.png"
    check_answer(path, photo)


@needs_gradio
def test_a_sketch_guides_the_service(service, here):
    sketch = np.full((80, 100), 128, np.uint8)
    cv2.line(sketch, (30, 20), (70, 50), 255, 3)
    write("sketch.png", sketch)
    blind, guided = (check_answer(ask(service[0], edges=edges), draw_photo()) for edges in (None, "sketch.png"))
    assert not np.array_equal(blind, guided)


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, check=True, timeout=120)
    return done.stdout


def call_by_curl(address, photo, mask):
    """The two calls that docs/USE_IT.md shows; returns the event stream."""
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in (photo, mask)]
    body = json.dumps({"data": [*files, None]})
    started = curl(f"{address}/gradio_api/call/inpaint", "-H", "Content-Type: application/json", "-d", body)
    return curl("-N", f"{address}/gradio_api/call/inpaint/{json.loads(started)['event_id']}").decode()


@needs_gradio
@needs_curl
def test_curl_gets_a_photo_filled(service, here):
    address, _ = service
    photo, mask = json.loads(curl(f"{address}/gradio_api/upload", "-F", "files=@photo.png", "-F", "files=@mask.png"))
    events = call_by_curl(address, photo, mask)
    assert "event: complete" in events
    answer = json.loads(events.split("event: complete\ndata: ")[1].splitlines()[0])[0]
    Path("out.png").write_bytes(curl(f"{address}/gradio_api/file={answer['path']}"))
    check_answer("out.png", draw_photo())


@needs_gradio
@needs_curl
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash not installed")
def test_the_script_of_the_docs_fills_a_photo_as_it_stands(service, here):
    page = (Path(__file__).parents[1] / "docs" / "USE_IT.md").read_text(encoding="utf-8")
    script = page.split("```bash\nURL=")[1].split("```")[0].replace("photo.jpg", "photo.png")
    script = f"URL={script}".replace("http://127.0.0.1:7860", service[0], 1)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and not done.stderr
    check_answer("out.png", draw_photo())


@needs_gradio
@needs_curl
@pytest.mark.parametrize("path", ["/etc/passwd", "{folder}/secret.txt", "secret.txt"])
def test_no_file_of_the_server_is_read(service, here, path):
    address, folder = service
    path = path.format(folder=folder)
    uploaded = json.loads(curl(f"{address}/gradio_api/upload", "-F", "files=@mask.png"))[0]
    assert "event: error" in call_by_curl(address, path, uploaded)
    status = curl("-o", "got", "-w", "%{http_code}", "--path-as-is", f"{address}/gradio_api/file={path}")
    assert status in (b"403", b"404")
    assert b"nobody offered" not in Path("got").read_bytes() and b"root:" not in Path("got").read_bytes()


BAD = {
    "not an image": ("text.png", "mask.png", "text.png is not a complete picture"),
    "empty file": ("empty.png", "mask.png", "empty"),
    "gray mask": ("photo.png", "gray.png", "threshold it first"),
    "mask of another size": ("photo.png", "wide.png", "resize it"),
    "mask that removes nothing": ("photo.png", "white.png", "^'?white.png removes nothing"),
    "mask of text": ("photo.png", "text.png", "The mask file text.png is not a complete picture"),
    "mask that removes everything": ("photo.png", "black.png", "removes every pixel"),
    "decompression bomb": ("bomb.png", "mask.png", "more than 25 megapixels"),
    "bomb as a mask": ("photo.png", "bomb.png", "bomb.png"),
}


@needs_gradio
@pytest.mark.parametrize("case", BAD)
def test_bad_input_to_the_service_is_a_clear_error_and_it_stays_up(service, here, case):
    address, folder = service
    Path("text.png").write_text("This is not a picture.")
    Path("empty.png").touch()
    Path("bomb.png").write_bytes(make_bomb(30_000, 30_000))
    write("gray.png", np.full((80, 100), 100, np.uint8))
    write("black.png", np.zeros((80, 100), np.uint8))
    write("white.png", np.full((80, 100), 255, np.uint8))
    write_mask("wide.png", width=101)
    before = list_answers(folder)
    photo, mask, words = BAD[case]
    with pytest.raises(Exception, match=words) as caught:
        ask(address, photo, mask)
    assert str(folder) not in str(caught.value) and "Traceback" not in str(caught.value)
    assert list_answers(folder) == before
    check_answer(ask(address), draw_photo())


def send(address, path, body):
    request = urllib.request.Request(f"{address}/gradio_api/{path}", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    return json.load(urllib.request.urlopen(request, timeout=60))


def call_service(address, data, _):
    """The answer of the REST service to one request: its last event and what belongs to it."""
    event = send(address, "call/inpaint", {"data": data})["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/inpaint/{event}", timeout=500) as stream:
        text = stream.read().decode()
    return "event: complete" in text, text


def press_button(address, data, button, leave=False):
    """The same by a button of the page, as a browser presses it; with `leave` the browser is closed at once."""
    session = uuid.uuid4().hex
    send(address, "queue/join", {"data": data, "fn_index": button, "session_hash": session})
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=500) as stream:
        for line in stream:
            message = json.loads(line.removeprefix(b"data:")) if line.startswith(b"data:") else {}
            if leave:
                return None, "left"
            if message.get("msg") == "process_completed":
                return message["success"], json.dumps(message["output"])
    return None, "the stream ended"


def read_memory(folder, name):
    status = Path("/proc", (folder / "process.txt").read_text(), "status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) / 1024


@needs_gradio
@needs_curl
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read as Linux tells it")
def test_fifty_requests_at_once_are_answered_each(service, here):
    address, folder = service
    Path("text.png").write_text("This is not a picture.")
    layer = np.zeros((80, 100, 4), np.uint8)
    write("nothing.png", layer)
    layer[20:40, 30:60] = (125, 0, 229, 255)  # in OpenCV's order
    write("painting.png", layer)
    names = ("photo", "mask", "text", "nothing", "painting")
    uploaded = json.loads(curl(f"{address}/gradio_api/upload", *(f"-Ffiles=@{name}.png" for name in names)))
    meta = {"meta": {"_type": "gradio.FileData"}}
    photo, mask, text, nothing, painting = ({"path": path, **meta} for path in uploaded)
    config = json.load(urllib.request.urlopen(f"{address}/config", timeout=60))["dependencies"]
    files = next(button["id"] for button in config if button["api_name"] == "inpaint")
    paint = next(b["id"] for b in config if (len(b["inputs"]), len(b["outputs"])) == (4, 5))

    def draw(on, layers):
        return [{"background": on, "layers": layers, "composite": on}, 1, 0, 1]  # all detail, not grown, one answer

    kinds = [  # how it is asked, what, by which button, and the words of the error
        (call_service, [photo, mask, None], None, ""),
        (press_button, [photo, mask, None], files, ""),
        (press_button, draw(photo, [painting]), paint, ""),
        (call_service, [text, mask, None], None, "text.png is not a complete picture"),
        (press_button, draw(photo, [nothing]), paint, "Nothing is painted over yet"),
        (press_button, [photo, None, None], files, "A file is missing"),
        (press_button, draw(photo, [painting]), paint, ""),
    ]
    assert kinds[0][0](address, *kinds[0][1:3])[0]
    before, began = read_memory(folder, "VmRSS"), time.monotonic()
    with ThreadPoolExecutor(51) as pool:
        left = pool.submit(press_button, address, [photo, mask, None], files, leave=True)
        asked = [(kinds[i % len(kinds)][3], pool.submit(kinds[i % len(kinds)][0], address, *kinds[i % len(kinds)][1:3]))
                 for i in range(50)]  # fmt: skip
        answers = [(words, *answer.result()) for words, answer in asked]
        assert left.result() == (None, "left")
    print(f"{time.monotonic() - began:.0f} s, {before:.0f} MB before, {read_memory(folder, 'VmHWM'):.0f} MB at most")
    for words, done, said in answers:
        assert done == (not words) and words in said and "Traceback" not in said, said
    assert read_memory(folder, "VmHWM") < before + 300
    check_answer(ask(address), draw_photo())


@needs_gradio
def test_white_paint_on_a_transparent_layer_is_a_mask_for_the_service(service, here):
    drawn = cv2.imread("mask.png", cv2.IMREAD_GRAYSCALE)
    write("layer.png", np.dstack([np.full((80, 100, 3), 255, np.uint8), 255 - drawn]))
    assert np.array_equal(check_answer(ask(service[0], mask="layer.png"), draw_photo()), cv2.imread(ask(service[0])))


@needs_gradio
def test_wrong_input_leaves_no_traceback_in_the_server_s_log(service, here):
    write("black.png", np.zeros((80, 100), np.uint8))
    log = service[1] / "errors.txt"
    before = len(log.read_text())
    with pytest.raises(Exception, match="removes every pixel"):
        ask(service[0], mask="black.png")
    assert "Traceback" not in log.read_text()[before:]


@needs_gradio
def test_a_port_in_use_is_named_with_the_option_that_changes_it(service, here):
    port = service[0].rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-m", "inpaint_utils.app.page", "--port", port],
        cwd=service[1],
        env=FRESH,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr.endswith(f"Port {port} is in use: choose another --port.\n")


@needs_gradio
def test_both_buttons_share_one_limit(tmp_path):
    page = demo.build_page(build_generator(None, 4), tmp_path)
    assert [page.fns[i].concurrency_id for i in page.fns].count("generator") == 2


@needs_gradio
@needs_curl
def test_an_upload_over_the_limit_is_refused(service, here):
    Path("large.png").write_bytes(bytes(33_000_000))
    status = curl("-o", "got", "-w", "%{http_code}", f"{service[0]}/gradio_api/upload", "-F", "files=@large.png")
    assert status == b"413"


@needs_gradio
def test_only_this_machine_is_served(service):
    port = int(service[0].rsplit(":", 1)[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks which address the machine would send from
        except OSError:
            pytest.skip("this machine has no network")
        outside = probe.getsockname()[0]
    with pytest.raises(OSError):
        socket.create_connection((outside, port), timeout=5)


@needs_gradio
@needs_browser
def test_in_a_browser_a_painted_hole_is_filled_and_the_rest_identical(service, tmp_path):
    from selenium import webdriver
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1600",
                     "--use-angle=swiftshader", "--enable-unsafe-swiftshader"):  # fmt: skip
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        find = lambda selector: driver.find_elements(By.CSS_SELECTOR, selector)  # noqa: E731
        wait = WebDriverWait(driver, 120)
        driver.get(service[0])
        wait.until(lambda _: find("#fill") and find("#editor canvas") and find("button.gallery-item"))

        find("#fill")[0].click()
        wait.until(lambda _: "There is no photo yet" in driver.find_element(By.TAG_NAME, "body").text)

        find("button.gallery-item")[0].click()
        wait.until(lambda _: find("#editor button[aria-label='Brush']"))
        time.sleep(3)  # the canvas says nowhere that it has drawn the photo
        canvas = find("#editor canvas")[0]
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        stroke = ActionChains(driver).move_to_element(canvas).click_and_hold()
        stroke.move_by_offset(60, 20).move_by_offset(-30, 40).release().perform()
        time.sleep(1)
        find("#count input")[1].click()  # three answers
        find("#fill")[0].click()
        shown = ("filled", "telea", "mask", "others")
        wait.until(lambda _: all(find(f"#{name} img") for name in shown) and len(find("#compared img")) == 2)
        pictures = []
        for name in shown:
            data = urllib.request.urlopen(find(f"#{name} img")[0].get_attribute("src"), timeout=30).read()
            pictures.append(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
        others = {image.get_attribute("src") for image in find("#others button img")}
        driver.save_screenshot(str(tmp_path / "page.png"))
        find("#again")[0].click()  # the answer becomes the photo, and nothing is painted on it
        time.sleep(3)
        find("#fill")[0].click()
        wait.until(lambda _: "Nothing is painted over yet" in driver.find_element(By.TAG_NAME, "body").text)
    finally:
        driver.quit()
    photo = cv2.imread(str(next(path for path in sample_photos() if path.stem in demo.SAMPLES)))
    rows, columns = np.nonzero((pictures[0] != photo).any(axis=-1))
    height, width = photo.shape[:2]
    # The stroke goes from the middle down and to the right, and its brush is a few dozen pixels thick.
    assert rows.min() > 0.3 * height and rows.max() < 0.9 * height
    assert columns.min() > 0.35 * width and columns.max() < 0.8 * width
    assert 0.01 < rows.size / (height * width) < 0.15
    assert not any(np.array_equal(pictures[0], other) for other in pictures[1:])
    assert (pictures[2][rows, columns] == 0).all() and pictures[2].max() == 255, "the mask to download"
    assert len(others) == 2 and not np.array_equal(pictures[3], photo)
    changed = (pictures[1] != photo).any(axis=-1)
    outside = ~cv2.dilate((pictures[0] != photo).any(axis=-1).astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert not changed[outside].any(), "Telea and the generator were given different holes"


@needs_gradio
@needs_browser
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_buttons_are_in_sight_of_the_photo(service, width, height):
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    metrics = {"width": width, "height": height, "pixelRatio": 1.0}
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(service[0])
        find = lambda selector: driver.find_element(By.CSS_SELECTOR, selector).rect  # noqa: E731
        WebDriverWait(driver, 120).until(lambda _: driver.find_elements(By.CSS_SELECTOR, "button.gallery-item"))
        time.sleep(2)
        editor, fill, filled = find("#editor"), find("#fill"), find("#filled")
        assert fill["y"] + fill["height"] < height, "before anything is scrolled"
        assert fill["y"] - editor["y"] - editor["height"] < 40, "right below the photo"
        assert filled["y"] < height or filled["y"] - fill["y"] < 80, "the answer beside it, or right below the button"
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        driver.quit()


def draw_painting(pink=None, blue=None, size=(40, 60)):
    """What the editor hands over: a gray photo and one layer with boxes in the brushes' colours."""
    layer = np.zeros((*size, 4), np.uint8)
    for box, colour in ((pink, (229, 0, 125)), (blue, (0, 180, 255))):
        if box is not None:
            layer[box] = (*colour, 255)
    return {"background": np.full((*size, 4), (100, 150, 200, 255), np.uint8), "layers": [layer]}


def test_pink_removes_and_blue_removes_and_draws_an_edge():
    pink, blue = (slice(5, 20), slice(5, 30)), (slice(10, 12), slice(5, 40))
    image, mask, edges = demo.read_painting(draw_painting(pink, blue))
    expected = np.ones((40, 60, 1), np.float32)
    expected[pink] = expected[blue] = 0
    assert np.array_equal(mask, expected)
    assert (edges[blue] == 1).all() and (edges == 1).sum() == 2 * 35 and (edges[15:20] == 0.5).all()
    assert image.dtype == np.float32 and np.allclose(image, np.float32([100, 150, 200]) / 255)
    assert demo.read_painting(draw_painting(pink))[2] is None


def test_what_nobody_painted_is_kept_however_faint_the_layer_is():
    box = (slice(5, 20), slice(5, 30))
    painting = draw_painting(box)
    painting["layers"][0][..., 3] = np.maximum(painting["layers"][0][..., 3], 1)
    expected = np.ones((40, 60, 1), np.float32)
    expected[box] = 0
    assert np.array_equal(demo.read_painting(painting)[1], expected)
    painting["layers"][0][..., 3] = 1
    with pytest.raises(ValueError, match="Nothing is painted"):
        demo.read_painting(painting)


@pytest.mark.parametrize(
    ("painting", "words"),
    [
        (None, "no photo yet"),
        ({"background": None, "layers": []}, "no photo yet"),
        (draw_painting(), "Nothing is painted"),
        ({**draw_painting(), "layers": [np.zeros((9, 9, 4), np.uint8)]}, "paint it again"),
    ],
)
def test_an_unfinished_painting_gets_a_hint(painting, words):
    with pytest.raises(ValueError, match=words):
        demo.read_painting(painting)


def test_without_gradio_one_sentence_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert demo.main(["--port", "1"]) == 1
    assert "run pip install '.[demo]'" in capsys.readouterr().err


def test_a_gradio_too_old_is_named_with_the_version_that_fits(monkeypatch, capsys):
    """Kaggle has Gradio 5.50."""
    monkeypatch.setitem(sys.modules, "gradio", types.SimpleNamespace(__version__="5.50.0"))
    assert demo.main([]) == 1
    told = capsys.readouterr().err
    assert (
        told
        == "gradio 5.50.0 is installed, expected 6 or newer: run pip install '.[demo]' in a clone of the project.\n"
    )
