// Two photos in, mask and depth out. The network and its runtime are files beside this page.
import { agreement, alpha, coloured, reds, resized, values } from "./pictures.js";

const FORMAT = 1; // of runtime/manifest.json
const LARGEST = 1600; // px of a photo's longer side: larger ones are shrunk
const DIFFERENT_SHAPE = 0.02;
const ANOTHER_PLACE = 0.6; // correlation below which the photos seem to show two places
const EVERYTHING = 0.7; // share of the frame that changed, likewise

const find = (selector) => document.querySelector(selector);
const photos = { background: null, image: null };
const sessions = new Map(); // by file: each network is loaded once
let manifest = null;
let ort = null;
const shrunk = new WeakMap(); // photo -> { model, small }
let latest = 0; // number of the newest prediction: an older one is not shown
let result = null; // { mask, depth, width, height, large }

class Problem extends Error {} // its message is for the user

function say(text) {
  find("#status").textContent = text;
}

function warn(text) {
  find("#warning").textContent = text;
  find("#warning").hidden = !text;
}

async function fetched(name) {
  const response = await fetch(`runtime/${name}`).catch(() => null);
  if (!response || !response.ok) {
    throw new Problem(`The file runtime/${name} is missing: run "make demo" and serve the folder again.`);
  }
  return response;
}

async function start() {
  manifest = await (await fetched("manifest.json")).json();
  if (manifest.format !== FORMAT) {
    throw new Problem(`The network has format ${manifest.format}, this page needs ${FORMAT}: run "make demo" again.`);
  }
  ort = await import("./runtime/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = new URL("runtime/", location.href).href;
  ort.env.wasm.numThreads = 1;
  await warmUp(manifest.models[0]);
  say("Ready: choose or take two photos.");
}

// A network's first run compiles and allocates: better while nobody waits for a result.
async function warmUp(model) {
  const network = await session(model);
  const { width, height } = model;
  const black = () => new ort.Tensor("float32", new Float32Array(3 * width * height), [1, 3, height, width]);
  await network.run({ background: black(), image: black() });
}

async function session(model) {
  if (!sessions.has(model.file)) {
    const bytes = await (await fetched(model.file)).arrayBuffer();
    if (bytes.byteLength !== model.bytes) {
      throw new Problem(`${model.file} is another version than the manifest's: run "make demo" again.`);
    }
    try {
      sessions.set(model.file, await ort.InferenceSession.create(bytes));
    } catch (error) {
      throw new Problem(`This browser cannot run the network (it needs WebAssembly with SIMD): use a newer one. [${error.message}]`);
    }
  }
  return sessions.get(model.file);
}

// The network whose proportions are nearest to the photo's.
function nearest(photo) {
  const off = (model) => Math.abs(Math.log((model.width / model.height) / (photo.width / photo.height)));
  return manifest.models.reduce((best, model) => (off(model) < off(best) ? model : best));
}

async function predict() {
  const { background, image } = photos;
  if (!background || !image || !ort) return;
  const shapes = (image.width / image.height) / (background.width / background.height);
  if (Math.abs(shapes - 1) > DIFFERENT_SHAPE) {
    throw new Problem(`The background is ${background.width}x${background.height} and the image ${image.width}x${image.height}: both must show the same frame.`);
  }
  latest += 1;
  const mine = latest;
  say("Computing ...");
  await new Promise((done) => setTimeout(done, 20)); // lets the line appear
  const begun = performance.now();
  const model = nearest(image);
  const { width, height } = model;
  const network = await session(model);
  const small = [background, image].map((photo) => shrink(photo, model));
  const tensors = small.map((photo) => new ort.Tensor("float32", values(photo), [1, 3, height, width]));
  const output = await network.run({ background: tensors[0], image: tensors[1] });
  if (mine !== latest) return;
  result = { mask: output.mask.data, depth: output.depth.data, width, height };
  result.large = enlarged(result, image);
  const { correlation, covered } = agreement(...small, result.mask);
  warn(correlation < ANOTHER_PLACE || covered > EVERYTHING
    ? "The two photos have little in common apart from the object: take both from the same place, with a steady camera."
    : "");
  show();
  say(`Done in ${((performance.now() - begun) / 1000).toFixed(1)} s.`);
}

// The photo at the network's size; the background's is needed again with every new image.
function shrink(photo, model) {
  const known = shrunk.get(photo);
  if (known?.model === model) return known.small;
  const small = resized(photo, model.width, model.height);
  shrunk.set(photo, { model, small });
  return small;
}

// The mask at the photo's size, 0 to 255.
function enlarged({ mask, width, height }, photo) {
  const [small, large] = [document.createElement("canvas"), document.createElement("canvas")];
  draw(small, coloured(mask, width, height, manifest.grey));
  large.width = photo.width;
  large.height = photo.height;
  const context = large.getContext("2d", { willReadFrequently: true });
  context.drawImage(small, 0, 0, photo.width, photo.height);
  return reds(context.getImageData(0, 0, photo.width, photo.height));
}

function draw(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function show() {
  const { mask, depth, width, height } = result;
  const most = depth.reduce((a, b) => Math.max(a, b), 1e-6);
  draw(find("#mask"), coloured(mask, width, height, manifest.grey));
  draw(find("#depth"), coloured(depth.map((value) => value / most), width, height, manifest.colours));
  find("#results").hidden = false;
  cutOut();
}

function cutOut() {
  if (!result) return;
  const { background, image } = photos;
  const threshold = Number(find("#threshold").value);
  const blur = Number(find("#blur").value);
  find("#threshold-value").textContent = threshold.toFixed(2);
  find("#blur-value").textContent = blur ? String(blur) : "off";
  const object = new ImageData(new Uint8ClampedArray(image.data), image.width, image.height);
  const shown = alpha(result.large, threshold);
  for (let i = 0; i < shown.length; i += 1) object.data[4 * i + 3] = shown[i];
  const canvas = find("#cutout");
  draw(canvas, object);
  if (!blur) return;
  const layers = [document.createElement("canvas"), document.createElement("canvas")];
  draw(layers[0], object);
  draw(layers[1], background);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  const radius = (blur * canvas.width) / 1000;
  const margin = 2 * radius; // a little larger than the frame: at its edges blur mixes in nothing
  context.filter = `blur(${radius}px)`;
  context.drawImage(layers[1], -margin, -margin, canvas.width + 2 * margin, canvas.height + 2 * margin);
  context.filter = "none";
  context.drawImage(layers[0], 0, 0);
}

async function read(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Problem(`${file.name} is not a picture that this browser can read: use JPEG or PNG.`);
  }
}

// The pixels of a picture, at most LARGEST px a side.
function pixels(picture, width, height) {
  const scale = Math.min(1, LARGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // behind transparent pixels
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

async function take(which, photo) {
  photos[which] = photo;
  const drop = find(`[data-photo=${which}]`);
  draw(drop.querySelector("canvas"), photo);
  drop.classList.add("filled");
  await predict();
}

// Runs what a control starts; whatever fails is said in a sentence.
function guarded(work) {
  return async (...given) => {
    try {
      await work(...given);
    } catch (error) {
      say(error instanceof Problem ? error.message : `Something went wrong: ${error.message}`);
    }
  };
}

const choose = guarded(async (which, file) => {
  if (!file) return;
  const picture = await read(file);
  if (Math.min(picture.width, picture.height) < 32) {
    throw new Problem(`${file.name} is ${picture.width}x${picture.height}: expected at least 32 px a side.`);
  }
  await take(which, pixels(picture, picture.width, picture.height));
});

const openCamera = guarded(async () => {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    find("video").srcObject = stream;
  } catch {
    throw new Problem("There is no camera that this page may use: allow it in the browser, or choose files.");
  }
  find("#viewfinder").hidden = false;
});

const shoot = guarded(async (which) => {
  for (let left = which === "image" ? 3 : 0; left > 0; left -= 1) {
    say(`Taking the image in ${left} s ...`);
    await new Promise((done) => setTimeout(done, 1000));
  }
  const video = find("video");
  if (!video.videoWidth) throw new Problem("The camera shows nothing yet: try again.");
  await take(which, pixels(video, video.videoWidth, video.videoHeight));
  if (!photos.image) say("Now step into the frame, and take the image.");
});

function stopCamera() {
  find("video").srcObject?.getTracks().forEach((track) => track.stop());
  find("#viewfinder").hidden = true;
}

function download() {
  find("#cutout").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "cutout.png";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

for (const drop of document.querySelectorAll(".drop")) {
  const which = drop.dataset.photo;
  const input = drop.querySelector("input");
  input.addEventListener("change", () => choose(which, input.files[0]));
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") choose(which, event.dataTransfer.files[0]);
    });
  }
}
find("#camera").addEventListener("click", openCamera);
find("#stop").addEventListener("click", stopCamera);
find("#download").addEventListener("click", download);
for (const button of document.querySelectorAll("[data-shoot]")) {
  button.addEventListener("click", () => shoot(button.dataset.shoot));
}
for (const name of ["#threshold", "#blur"]) find(name).addEventListener("input", cutOut);
guarded(start)().then(() => guarded(predict)());
if ("serviceWorker" in navigator) navigator.serviceWorker.register("offline.js").catch(() => {});
