// The page: open, paint, fill, compare, download. `ort` is ONNX Runtime Web.

const PAINT = "#e5007d";
const LARGEST_PHOTO = 2048; // pixels a side

const find = (id) => document.getElementById(id);
const [photo, mask, filled] = ["photo", "mask", "filled"].map(find);
const state = { strokes: [], stroke: null, busy: false, seed: 0, generator: null, name: "photo", note: "" };

/** The bytes of a block of base64 text, of which gzip made less. */
async function unpack(id) {
  const bytes = Uint8Array.from(atob(find(id).textContent.trim()), (letter) => letter.charCodeAt(0));
  find(id).textContent = "";
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function openGenerator() {
  ort.env.wasm.numThreads = 1; // threads need a server that isolates the page
  ort.env.wasm.wasmBinary = await unpack("runtime-data");
  const session = await ort.InferenceSession.create(await unpack("generator-data"), { executionProviders: ["wasm"] });
  return async (inputs, width, height) => {
    const answers = await session.run({
      [session.inputNames[0]]: new ort.Tensor("float32", inputs, [1, height, width, 4]),
    });
    return answers[session.outputNames[0]].data;
  };
}

function say(text, isError = false) {
  find("status").textContent = text;
  find("status").classList.toggle("error", isError);
}

/** Let the browser show what has changed. */
function pause() {
  return new Promise((done) => setTimeout(done, 30));
}

async function openPhoto(file) {
  if (state.busy || !file) return;
  state.busy = true; // else the old photo could be filled meanwhile
  update();
  const picture = await createImageBitmap(file).catch(() => null);
  state.busy = false;
  update();
  if (!picture) {
    say(`“${file.name}” is no picture that this browser can open: convert it to JPEG or PNG.`, true);
    return;
  }
  const shrink = Math.max(1, Math.max(picture.width, picture.height) / LARGEST_PHOTO);
  const [width, height] = [picture.width, picture.height].map((length) => Math.max(1, Math.round(length / shrink)));
  for (const canvas of [photo, mask, filled]) [canvas.width, canvas.height] = [width, height];
  const context = photo.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  picture.close();
  state.name = file.name.replace(/\.[^.]*$/, "");
  state.note = shrink > 1 ? `Shrunk from ${Math.round(width * shrink)}×${Math.round(height * shrink)}. ` : "";
  state.strokes = [];
  find("stage").classList.remove("empty");
  showPainting();
}

function showPainting() {
  find("stage").classList.remove("compared");
  for (const id of ["result", "filled", "line", "compare"]) find(id).hidden = true;
  for (const id of ["painting", "mask"]) find(id).hidden = false;
  drawStrokes();
  showBrush();
  say(`${state.note}${photo.width}×${photo.height} pixels. Paint over what should go.`);
}

function showResult() {
  find("stage").classList.add("compared");
  for (const id of ["result", "filled", "line", "compare"]) find(id).hidden = false;
  for (const id of ["painting", "mask"]) find(id).hidden = true;
}

function brushSize() {
  return (Math.max(photo.width, photo.height, 100) * find("size").value) / 100;
}

function showBrush() {
  const scale = photo.clientWidth ? photo.clientWidth / photo.width : 1;
  find("dot").style.setProperty("--dot", `${Math.max(3, Math.min(40, brushSize() * scale))}px`);
}

function drawStrokes() {
  const context = mask.getContext("2d", { willReadFrequently: true });
  context.clearRect(0, 0, mask.width, mask.height);
  context.strokeStyle = PAINT;
  context.lineCap = context.lineJoin = "round";
  for (const { size, points } of state.strokes) {
    context.lineWidth = size;
    context.beginPath();
    context.moveTo(...points[0]);
    for (const point of points) context.lineTo(...point);
    context.stroke();
  }
  update();
}

function update() {
  for (const id of ["undo", "clear", "fill"]) find(id).disabled = state.busy || !state.strokes.length;
  for (const id of ["sample", "file", "back", "another", "onward"]) find(id).disabled = state.busy;
  if (!state.generator) find("fill").disabled = true;
}

function place(event) {
  const box = mask.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * mask.width) / box.width,
    ((event.clientY - box.top) * mask.height) / box.height,
  ];
}

/** 1 where something is painted. */
function readHole() {
  const { data } = mask.getContext("2d").getImageData(0, 0, mask.width, mask.height);
  const hole = new Uint8Array(mask.width * mask.height);
  for (let i = 0; i < hole.length; i++) hole[i] = data[4 * i + 3] > 127 ? 1 : 0;
  return hole;
}

async function fill() {
  if (state.busy || !state.generator) return;
  const hole = readHole();
  if (!hole.includes(1)) return say("Paint over something first.", true);
  if (!hole.includes(0)) return say("Everything is painted over: leave something of the photo.", true);
  const before = photo.getContext("2d").getImageData(0, 0, photo.width, photo.height);
  if (!hole.some((removed, i) => !removed && before.data[4 * i + 3])) {
    return say("All that is not painted over is transparent: leave something visible of the photo.", true);
  }
  state.busy = true;
  update();
  say("Filling…");
  await pause();
  try {
    const start = performance.now();
    const report = (share) => {
      say(`Filling… ${Math.round(100 * share)} %`);
      return pause();
    };
    const after = await fillPhoto(before, hole, state.generator, { seed: state.seed, report });
    const seconds = (performance.now() - start) / 1000;
    filled.getContext("2d").putImageData(new ImageData(after.data, after.width, after.height), 0, 0);
    const blob = await new Promise((done) => filled.toBlob(done, "image/png"));
    URL.revokeObjectURL(find("download").href);
    find("download").href = URL.createObjectURL(blob);
    find("download").download = `${state.name}_filled.png`;
    showResult();
    say(`Filled in ${seconds.toFixed(1)} s. Move the slider to compare.`);
  } catch (error) {
    say(`The photo could not be filled (${error.message ?? error}): try a smaller one.`, true);
  }
  state.busy = false;
  update();
}

mask.addEventListener("pointerdown", (event) => {
  if (state.busy || !event.isPrimary || event.button) return;
  mask.setPointerCapture(event.pointerId);
  state.stroke = { size: brushSize(), points: [place(event)] };
  state.strokes.push(state.stroke);
  drawStrokes();
});
mask.addEventListener("pointermove", (event) => {
  if (!state.stroke || !event.isPrimary) return;
  state.stroke.points.push(place(event));
  drawStrokes();
});
for (const name of ["pointerup", "pointercancel"]) mask.addEventListener(name, () => (state.stroke = null));

function undo() {
  if (state.busy || find("mask").hidden) return;
  state.strokes.pop();
  drawStrokes();
}

find("undo").onclick = undo;
find("clear").onclick = () => {
  state.strokes = [];
  drawStrokes();
};
find("fill").onclick = () => {
  state.seed = 0;
  fill();
};
find("another").onclick = () => {
  state.seed++;
  fill();
};
find("back").onclick = showPainting;
find("onward").onclick = () => {
  const context = photo.getContext("2d");
  context.clearRect(0, 0, photo.width, photo.height); // else what is half transparent would be laid over itself
  context.drawImage(filled, 0, 0);
  state.strokes = [];
  state.note = "";
  showPainting();
};
find("size").oninput = showBrush;
find("slider").oninput = () => find("stage").style.setProperty("--share", find("slider").value / 1000);
find("file").onchange = () => {
  openPhoto(find("file").files[0]);
  find("file").value = "";
};
find("sample").onclick = async () => {
  const bytes = Uint8Array.from(atob(find("sample-data").textContent.trim()), (letter) => letter.charCodeAt(0));
  openPhoto(new File([bytes], "sample.jpg", { type: "image/jpeg" }));
};
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "z") undo();
});
addEventListener("resize", showBrush);
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    find("stage").classList.toggle("over", name === "dragover");
    if (name === "drop") openPhoto(event.dataTransfer.files[0]);
  });
}

globalThis.inpainting = { fillPhoto, detectEdges, find, state }; // for tests and the console
showBrush();
try {
  state.generator = await openGenerator();
  if (find("stage").classList.contains("empty")) say("Ready.");
} catch (error) {
  say(`The generator does not run in this browser (${error.message ?? error}): use a newer one.`, true);
}
update();
