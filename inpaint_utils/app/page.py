"""A page to try the generator in a browser, and its REST service: `python -m inpaint_utils.app.page`.

Needs the extra `demo` (Gradio). It serves this machine only, unless --host says otherwise.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from ..data import pictures
from ..data.masks import grow_holes
from ..data.photos import sample_photos
from ..inference.baselines import telea_fill
from .photo_files import fill_file, fill_visible

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when Gradio is loaded

REMOVE, EDGE = "#e5007d", "#00b4ff"  # the brushes, pink and blue
LARGEST_UPLOAD = "30mb"
LARGEST_PHOTO = 25  # megapixels
LONGEST_QUEUE = 64  # requests; what waits are names of files
KEEP_ANSWERS = 3600  # seconds
SAMPLES = (  # each has something that may go: a rock, a fir, stones, a palm leaf, a pier, a cloud, a flare
    *("meadow_rock_01", "mountain_ridge_01", "cliffs_meadow_01", "palm_sky_01"),
    *("fir_autumn_01", "lagoon_pier_01", "mountain_clouds_01", "sunset_hills_01"),
)
GUIDE = """# Remove something from a landscape
Upload a photo or pick a sample, paint over what should go in pink, and press **Fill**. With the blue brush you may
sketch edges that the filling shall have; they count as painted over. If some of the object is left at its border,
enlarge what is painted."""
HEIGHT = 440  # pixels of the editor and of the answer beside it: with both buttons they fit into a window of 1280×900
# On a phone: one row of samples, and an editor that leaves the button below it in sight.
CSS = """
#samples .gallery {flex-wrap: nowrap; overflow-x: auto}
#samples .gallery-item {flex: none}
@media (max-width: 640px) {#editor, #filled {height: 320px !important}}
"""


def build_page(generator, folder):
    """Build the page as `gradio.Blocks`.

    generator: from `load_generator`. folder: where answers to files are kept for an hour.
    """
    import gradio as gr

    def answer(function):
        """What is wrong with the input becomes a message on the page and in the service; anything else stays a bug."""

        def answered(*inputs):
            try:
                return function(*inputs)
            except (OSError, ValueError, MemoryError) as error:
                text = str(error).replace(f"{tempfile.gettempdir()}{os.sep}", "")
                text = text or "The photo does not fit into the memory: make it smaller."
                raise gr.Error(text, print_exception=False) from None

        return answered

    @answer
    def fill_painting(painting, detail, grow, count):
        image, mask, edges = read_painting(painting)
        mask = grow_holes(mask, grow)
        alpha = painting["background"][..., 3]
        visible = mask * (alpha > 0)[..., np.newaxis]
        answers = [
            fill_visible(generator, image, mask, edges, alpha, detail=detail, seed=seed) for seed in range(count)
        ]
        answers.append(np.where(mask == 1, image, telea_fill(image, visible)))
        answers = [np.rint(answer * 255).astype(np.uint8) for answer in answers]
        before_and_after = painting["background"][..., :3], answers[0]
        if not alpha.all():
            answers = [np.dstack([answer, alpha]) for answer in answers]
        *filled, telea = answers
        others = gr.Gallery(filled[1:], visible=count > 1)
        return filled[0], before_and_after, others, telea, np.uint8(255) * mask[..., 0].astype(np.uint8)

    @answer
    def use_answer(filled):
        if filled is None:
            raise ValueError("There is no answer yet: press Fill first.")
        return {"background": filled, "layers": [], "composite": filled}

    @answer
    def fill_upload(photo, mask, edges):
        if not photo or not mask:
            raise ValueError("A file is missing, expected a photo and a mask: give both.")
        for old in Path(folder).iterdir():
            if old.stat().st_mtime < time.time() - KEEP_ANSWERS:
                shutil.rmtree(old, ignore_errors=True)
        output = Path(folder) / uuid.uuid4().hex / f"{Path(photo).stem}_filled.png"  # as it is downloaded

        def hide_folders(text):  # the names that a visitor knows have none
            for path in (photo, mask, edges or photo):
                text = text.replace(f"{Path(path).parent}{os.sep}", "")
            return text.replace(f"{output}", "The answer, a PNG file,")

        try:
            notes = fill_file(generator, Path(photo), Path(mask), edges and Path(edges), output)
        except (OSError, ValueError) as error:
            raise ValueError(hide_folders(str(error))) from None
        for note in notes:
            gr.Warning(hide_folders(note))
        return str(output)

    with gr.Blocks(title="Landscape inpainting", delete_cache=(KEEP_ANSWERS, KEEP_ANSWERS)) as page:
        with gr.Tab("Paint"):
            gr.Markdown(GUIDE)
            look = {"format": "png", "buttons": ["download", "fullscreen"]}
            editor = gr.ImageEditor(
                label="Photo",
                type="numpy",
                image_mode="RGBA",
                format="png",
                sources=("upload", "clipboard"),
                transforms=(),
                layers=False,
                brush=gr.Brush(colors=[REMOVE, EDGE], default_color=REMOVE, color_mode="fixed"),
                placeholder="Upload a photo\nor pick a sample",
                height=HEIGHT,
                elem_id="editor",
                render=False,
            )
            chosen = [[str(path)] for path in sample_photos() if path.stem in SAMPLES]
            gr.Examples(chosen, editor, label="Sample photos", cache_examples=False, elem_id="samples")
            with gr.Row():
                with gr.Column():
                    editor.render()
                    fill = gr.Button("Fill", variant="primary", elem_id="fill")
                with gr.Column():
                    filled = gr.Image(
                        label="Filled", elem_id="filled", interactive=False, image_mode="RGBA", height=HEIGHT, **look
                    )
                    again = gr.Button("Go on with this answer as the photo", elem_id="again")
            with gr.Row():
                detail = gr.Slider(0, 1, 1, step=0.1, label="Detail from the photo (0: the generator alone)")
                grow = gr.Slider(0, 32, 0, step=1, label="Enlarge what is painted by so many pixels")
                count = gr.Radio([1, 3], value=1, label="Answers to choose from", elem_id="count")
            others = gr.Gallery(label="Other answers", elem_id="others", interactive=False, visible=False, **look)
            with gr.Row():
                compared = gr.ImageSlider(label="Before and after", elem_id="compared", interactive=False, **look)
                telea = gr.Image(label="OpenCV's Telea, to compare", elem_id="telea", interactive=False, **look)
                painted = gr.Image(label="The mask", elem_id="mask", interactive=False, image_mode="L", **look)
            # One limit for both buttons: one picture at a time fits into the memory.
            fill.click(
                fill_painting,
                [editor, detail, grow, count],
                [filled, compared, others, telea, painted],
                api_visibility="private",
                concurrency_id="generator",
            )
            again.click(use_answer, filled, editor, api_visibility="private")
        with gr.Tab("Files"):
            gr.Markdown(
                "A photo and a mask of its size, white = keep, black = remove (or what is painted on a transparent "
                "layer); 8 or 16 bits, alpha, colour profile and camera data are kept."
            )
            with gr.Row():
                photo, mask = gr.File(label="Photo"), gr.File(label="Mask")
                edges = gr.File(label="Edges, if wanted: white = edge, black = none, gray = unknown")
            upload = gr.Button("Fill", variant="primary")
            result = gr.File(label="Filled photo (PNG)")
            preview = gr.Image(label="Preview", type="filepath", interactive=False, elem_id="preview", buttons=[])
            done = upload.click(
                fill_upload, [photo, mask, edges], result, api_name="inpaint", concurrency_id="generator"
            )
            done.success(lambda path: path, result, preview, api_visibility="private")
    return page.queue(max_size=LONGEST_QUEUE, default_concurrency_limit=1)


def read_painting(painting):
    """What the page's editor holds: image (H, W, 3) float32, mask (H, W, 1), edges (H, W, 1) or None if none drawn.

    painting: dict of "background", uint8 (H, W, 4), and "layers", a list of the same. Raises ValueError without a
    photo or a painted hole.
    """
    photo = None if painting is None else painting["background"]
    if photo is None or not photo[..., 3].any():
        raise ValueError("There is no photo yet: upload one or pick a sample.")
    painted = np.zeros(photo.shape[:2], bool)
    drawn = np.zeros(photo.shape[:2], bool)
    for layer in painting["layers"]:
        if layer.shape[:2] != photo.shape[:2]:
            raise ValueError(f"The painting has size {layer.shape[:2]}, the photo {photo.shape[:2]}: paint it again.")
        here = layer[..., 3] > 127  # a canvas has an alpha of 1 where nobody painted
        painted |= here
        near = [np.abs(layer[..., :3].astype(int) - _to_rgb(colour)).sum(axis=-1) for colour in (REMOVE, EDGE)]
        drawn = np.where(here, near[1] < near[0], drawn)
    if not painted.any():
        raise ValueError("Nothing is painted over yet: paint over what shall be removed.")
    edges = np.where(drawn, 1, 0.5).astype(np.float32)[..., np.newaxis] if drawn.any() else None
    return np.float32(photo[..., :3]) / np.float32(255), (~painted).astype(np.float32)[..., np.newaxis], edges


def _to_rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def main(arguments=None):
    """Serve the page until Ctrl+C. Returns 1 with a sentence on stderr if it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m inpaint_utils.app.page", description="Serve the page.")
    parser.add_argument("--generator", type=Path, help=".keras, .onnx or .tflite file (default: the one that ships)")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=7860)
    options = parser.parse_args(arguments)
    try:
        from .. import quiet  # noqa: F401  TensorFlow's messages are not the server's
        from ..inference.export import import_extra
        from ..inference.inpaint import load_generator

        gr = import_extra("gradio", "demo", oldest=6)
        pictures.MAX_MEGAPIXELS = LARGEST_PHOTO
        Image.MAX_IMAGE_PIXELS = LARGEST_PHOTO * 500_000  # for what Gradio itself opens; Pillow refuses twice that
        generator = load_generator(options.generator)
        with tempfile.TemporaryDirectory(prefix="inpaint_") as folder:
            build_page(generator, folder).launch(
                server_name=options.host,
                server_port=options.port,
                share=False,
                max_file_size=LARGEST_UPLOAD,
                css=CSS,
                theme=gr.themes.Default(font="sans-serif", font_mono="monospace"),  # loads nothing from elsewhere
            )
    except (OSError, ValueError, ImportError) as error:
        busy = "empty port" in str(error)
        print(f"Port {options.port} is in use: choose another --port." if busy else error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
