"""The notebooks as people run them: in JupyterLab, in a browser, by "Run All"."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
TRAINING = {"epochs": 3, "samples": 8, "batch_size": 4, "image_size": 128}
SMALL = {  # in this order, because each reads what those before it wrote
    "01_data_preprocessing": {"image_size": 128},
    "02_model_training": {**TRAINING, "base_filters": 4, "balance_epochs": 1},
    "03_model_finetuning": TRAINING,
    "04_testing_inference": {"image_size": 128, "photo_limit": 2},
}
SETTINGS = {  # what is out of sight is in the page, too
    "notebook-extension/tracker": '{"windowingMode": "none"}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}
pytestmark = pytest.mark.skipif(
    not CHROMIUM
    or not shutil.which("chromedriver")
    or importlib.util.find_spec("selenium") is None
    or importlib.util.find_spec("jupyterlab") is None,
    reason="no browser to drive: install chromium, chromium-driver and pip install selenium jupyterlab",
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of the notebooks, without outputs and with small settings, in a running JupyterLab."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    for name, settings in SMALL.items():
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
            if "parameters" in cell.metadata.get("tags", []):
                cell.source += f"\noutput_folder = {str(folder / 'outputs')!r}\n"
                cell.source += "\n".join(f"{name} = {value!r}" for name, value in settings.items())
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    for name, text in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    unseen = ("INPAINT_HEADLESS", "PYTEST_CURRENT_TEST")  # with the second a kernel shows nothing of C++'s stderr
    environment = {name: value for name, value in os.environ.items() if name not in unseen}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "HOME": str(folder)}
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--IdentityProvider.token=",
        f"--notebook-dir={folder}",
    ]
    address = f"http://127.0.0.1:{port}"
    with (folder / "log.txt").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            assert server.poll() is None, (folder / "log.txt").read_text()
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).read()
                break
            except OSError:
                time.sleep(0.5)
        yield f"{address}/lab/tree/notebooks"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def driver():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1280,900"):
        options.add_argument(f"--{option}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="module", params=SMALL)
def page(lab, driver, request, tmp_path_factory):
    """The page after "Run All": the notebook's name, and a function that finds elements by a CSS selector."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    def find(selector, inside=driver):
        return inside.find_elements(By.CSS_SELECTOR, selector)

    def read_prompts():
        prompts = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"  # at once: the page redraws them
        return driver.execute_script(f"return {prompts}.map(prompt => prompt.textContent)")

    def has_run(_):
        prompts = read_prompts()
        errors = find("[data-mime-type='application/vnd.jupyter.error']")
        return errors or (prompts and all(text.strip("[]: ").isdigit() for text in prompts))

    wait = WebDriverWait(driver, 180, ignored_exceptions=[StaleElementReferenceException])
    driver.get(f"{lab}/{request.param}.ipynb?reset")  # reset: without the notebook of the test before
    wait.until(lambda _: len(read_prompts()) > 10)
    wait.until(lambda _: find(".jp-Notebook-ExecutionIndicator[data-status='idle']"))
    (menu,) = [item for item in find(".lm-MenuBar-item") if item.text == "Run"]
    menu.click()
    wait.until(lambda _: find("li[data-command='runmenu:run-all']"))[0].click()
    WebDriverWait(driver, 600, poll_frequency=2).until(has_run)
    time.sleep(2)  # the last picture
    driver.save_screenshot(str(tmp_path_factory.mktemp("screen") / f"{request.param}.png"))
    return request.param, find


def test_run_all_in_jupyterlab_ends_without_a_red_box(page):
    _, find = page
    kinds = [f"[data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("stderr", "error")]
    boxes = [box.text for box in find(", ".join(kinds))]
    assert not boxes


def test_nothing_that_is_shown_is_cut_off_at_the_side(page):
    _, find = page
    shown = find(".jp-OutputArea-output, .jp-OutputArea-output table, .jp-OutputArea-output img")
    assert shown
    for output in shown:
        assert output.size["width"] > 0
        assert output.get_property("scrollWidth") <= output.get_property("clientWidth") + 1, output.text[:200]


def test_training_shows_at_most_two_lines_an_epoch_and_one_picture(page):
    name, find = page
    if "epochs" not in SMALL[name]:
        pytest.skip("no training")
    (cell,) = [cell for cell in find(".jp-CodeCell") if "gan.fit(" in find(".jp-InputArea", cell)[0].text]
    lines = [line for line in find(".jp-OutputArea", cell)[0].text.splitlines() if line.strip()]
    assert TRAINING["epochs"] <= len(lines) <= 2 * TRAINING["epochs"], "\n".join(lines)
    (text,) = find(".jp-OutputArea pre", cell)
    height = float(text.value_of_css_property("line-height").removesuffix("px"))
    assert text.size["height"] < (len(lines) + 0.5) * height, "a line is too long and was broken"
    assert len(find(".jp-OutputArea img", cell)) == 1
