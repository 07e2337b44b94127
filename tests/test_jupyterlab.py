"""Notebook 2 as people run it: in JupyterLab, in a browser, by "Run All"."""

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
NOTEBOOK = "02_model_training.ipynb"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SMALL = {"epochs": 3, "samples": 8, "batch_size": 4, "base_filters": 4, "image_size": 128}
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
    """The address of notebook 2, without outputs and with small settings, in a running JupyterLab."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.read(ROOT / "notebooks" / NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += f"\noutput_folder = {str(folder / 'outputs')!r}\n"
            cell.source += "\n".join(f"{name} = {value!r}" for name, value in SMALL.items())
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / NOTEBOOK)
    for name, text in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "INPAINT_HEADLESS"}
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
        yield f"{address}/lab/tree/notebooks/{NOTEBOOK}"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="module")
def page(lab, tmp_path_factory):
    """The page after "Run All": a function that finds elements by a CSS selector."""
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1280,900"):
        options.add_argument(f"--{option}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:

        def find(selector, inside=driver):
            return inside.find_elements(By.CSS_SELECTOR, selector)

        def read_prompts():
            return [prompt.get_attribute("textContent") for prompt in find(".jp-CodeCell .jp-InputPrompt")]

        def has_run(_):
            prompts = read_prompts()
            errors = find("[data-mime-type='application/vnd.jupyter.error']")
            return errors or (prompts and all(text.strip("[]: ").isdigit() for text in prompts))

        wait = WebDriverWait(driver, 180)
        driver.get(lab)
        wait.until(lambda _: len(read_prompts()) > 10)
        wait.until(lambda _: find(".jp-Notebook-ExecutionIndicator[data-status='idle']"))
        (menu,) = [item for item in find(".lm-MenuBar-item") if item.text == "Run"]
        menu.click()
        wait.until(lambda _: find("li[data-command='runmenu:run-all']"))[0].click()
        WebDriverWait(driver, 600, poll_frequency=2).until(has_run)
        time.sleep(2)  # the last picture
        driver.save_screenshot(str(tmp_path_factory.mktemp("screen") / "notebook.png"))
        yield find
    finally:
        driver.quit()


def test_run_all_in_jupyterlab_ends_without_a_red_box(page):
    kinds = [f"[data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("stderr", "error")]
    boxes = [box.text for box in page(", ".join(kinds))]
    assert not boxes


def test_training_shows_at_most_two_lines_an_epoch_and_one_picture(page):
    (cell,) = [cell for cell in page(".jp-CodeCell") if "gan.fit(" in page(".jp-InputArea", cell)[0].text]
    lines = [line for line in page(".jp-OutputArea", cell)[0].text.splitlines() if line.strip()]
    assert SMALL["epochs"] <= len(lines) <= 2 * SMALL["epochs"], "\n".join(lines)
    assert len(page(".jp-OutputArea img", cell)) == 1
