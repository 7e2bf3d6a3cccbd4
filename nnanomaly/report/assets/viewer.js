// The three-plane viewer of one case. Volumes lie in the page as base64 of gzipped NIfTI; nothing is loaded.
"use strict";

(() => {
  const HEADER_BYTES = 352;
  const RESIDUAL_HU = 150;
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const element = (id) => document.getElementById(id);
  const message = element("message");
  const decoded = new Map();
  let viewer = null;
  let current = null;

  async function inflate(base64) {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  // Image minus reconstruction, both int16 after headers of the same size: a third volume need not be stored.
  function residual(image, reconstruction) {
    const buffer = image.slice(0);
    const target = new Int16Array(buffer, HEADER_BYTES);
    const healthy = new Int16Array(reconstruction, HEADER_BYTES);
    target.forEach((value, index) => { target[index] = value - healthy[index]; });
    return buffer;
  }

  async function volumesOf(organ) {
    if (!decoded.has(organ)) {
      const buffers = {};
      for (const [name, text] of Object.entries(data.organs[organ].volumes)) buffers[name] = await inflate(text);
      buffers.residual = residual(buffers.image, buffers.reconstruction);
      decoded.set(organ, buffers);
    }
    return decoded.get(organ);
  }

  function labelColors() {
    const colors = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: [""] };
    for (const kind of data.kinds) {
      colors.R.push(kind.color[0]);
      colors.G.push(kind.color[1]);
      colors.B.push(kind.color[2]);
      colors.A.push(255);
      colors.I.push(kind.code);
      colors.labels.push(kind.word);
    }
    return colors;
  }

  async function add(buffer, name, settings) {
    const image = await niivue.NVImage.loadFromUrl({ url: `${name}.nii`, buffer, name: `${name}.nii`, ...settings });
    if (settings.labels) image.setColormapLabel(labelColors());
    viewer.addVolume(image);
  }

  const opacity = (name) => {
    const slider = element(`opacity-${name}`);
    return slider ? Number(slider.value) / 100 : 0;
  };

  function windowOf(base) {
    if (base === "residual") return [-RESIDUAL_HU, RESIDUAL_HU];
    return element("window").value.split(",").map(Number);
  }

  async function show(organ) {
    const buffers = await volumesOf(organ);
    const kept = current === organ ? viewer.scene.crosshairPos.slice() : null;
    while (viewer.volumes.length) viewer.removeVolume(viewer.volumes[0]);
    const base = element("base").value;
    const [low, high] = windowOf(base);
    const [mapLow, mapHigh] = data.organs[organ].map_range;
    await add(buffers[base], base, { colormap: "gray", cal_min: low, cal_max: high });
    await add(buffers.anomaly, "anomaly", {
      colormap: "inferno", cal_min: mapLow, cal_max: mapHigh, opacity: opacity("anomaly"),
    });
    for (const name of ["reference", "candidates"]) {
      if (buffers[name]) await add(buffers[name], name, { labels: true, opacity: opacity(name) });
    }
    current = organ;
    element("organ").value = String(organ);
    if (kept) place(kept);
  }

  function place(fraction) {
    viewer.scene.crosshairPos = fraction;
    viewer.createOnLocationChange();
    viewer.drawScene();
  }

  function jump(organ, index) {
    place(viewer.mm2frac(data.organs[organ].places[index]));
  }

  function report(location) {
    const values = location.values.map((item) => `${item.name.replace(".nii", "")} ${Number(item.value).toFixed(2)}`);
    const mm = Array.from(location.mm).slice(0, 3).map((value) => value.toFixed(1));
    element("readout").textContent = `x ${mm[0]}, y ${mm[1]}, z ${mm[2]} mm (right, anterior, superior): ${values.join(", ")}`;
    element("readout").dataset.mm = mm.join(",");
  }

  function follow(id, action) {
    element(id).addEventListener("change", action);
  }

  function listen() {
    follow("organ", () => show(Number(element("organ").value)));
    follow("base", () => show(current));
    follow("window", () => show(current));
    for (const name of ["anomaly", "candidates", "reference"]) {
      const slider = element(`opacity-${name}`);
      if (slider) slider.addEventListener("input", () => {
        const index = viewer.volumes.findIndex((volume) => volume.name === `${name}.nii`);
        if (index >= 0) viewer.setOpacity(index, opacity(name));
      });
    }
    document.addEventListener("click", async (event) => {
      const button = event.target.closest("button.jump");
      if (!button) return;
      const organ = Number(button.dataset.organ);
      if (organ !== current) await show(organ);
      jump(organ, Number(button.dataset.place));
      element("viewer").scrollIntoView({ block: "nearest" });
    });
  }

  async function start() {
    const shown = data.organs.findIndex((organ) => organ.volumes);
    if (shown < 0) return;
    if (!document.createElement("canvas").getContext("webgl2")) {
      message.textContent = "No viewer: this browser has no WebGL2. The pictures below show the same.";
      return;
    }
    element("viewer").hidden = false;
    viewer = new niivue.Niivue({
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      dragAndDropEnabled: false,
      show3Dcrosshair: false,
      isColorbar: false,
      loadingText: "",
      logLevel: "error",
      crosshairColor: [1, 1, 1, 0.8],
      crosshairWidthUnit: "mm",
      crosshairWidth: 0.6,
      crosshairGap: 6,
    });
    viewer.onLocationChange = report;
    await viewer.attachTo("canvas");
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    viewer.opts.multiplanarShowRender = niivue.SHOW_RENDER.NEVER;
    await show(shown);
    listen();
    const first = data.organs[shown].places.length;
    if (first) jump(shown, 0);
    element("viewer").dataset.ready = "true";
  }

  start().catch((error) => {
    message.textContent = `The viewer could not start: ${error.message}. The pictures below show the same.`;
    console.error(error);
  });
})();
