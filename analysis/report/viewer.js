// Shows the frames of #molecules in #viewer: balls and sticks by 3Dmol.js, bonds as the model knows them.
"use strict";
(() => {
  const part = (name) => document.querySelector(`#viewer ${name}`);
  const [select, canvas, button, slider, output] = ["select", ".canvas", "button", "input", "output"].map(part);
  const molecules = JSON.parse(document.querySelector("#molecules").textContent);
  const sets = molecules.flatMap((molecule) => molecule.sets.map((set) => ({ ...set, molecule })))
    .filter((set) => set.frames);
  const COLOURS = { C: "#8a8f94", N: "#0072B2", O: "#D55E00", S: "#E69F00" };
  let viewer, model, set, frame = 0, shown = 0;
  let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  try {
    viewer = $3Dmol.createViewer(canvas, { backgroundAlpha: 0 });
  } catch { /* Without WebGL there is none. */ }
  if (!viewer) {
    part(".canvas").textContent = "This browser cannot show molecules: it has no WebGL.";
    return;
  }

  function load() {
    set = sets[select.value];
    const { elements, labels, bonds } = set.molecule;
    const bytes = Uint8Array.from(atob(set.data), (letter) => letter.charCodeAt(0));
    const numbers = new DataView(bytes.buffer);
    const at = (number, bead, axis) =>
      numbers.getInt16(2 * ((number * elements.length + bead) * 3 + axis), true) / 100;  // pm to Å
    const place = (number, bead) =>
      ({ x: at(number, bead, 0), y: at(number, bead, 1), z: at(number, bead, 2) });
    const near = elements.map(() => []);
    bonds.forEach(([a, b]) => { near[a].push(b); near[b].push(a); });
    viewer.removeAllModels();
    model = viewer.addModel();
    model.addAtoms(elements.map((elem, i) =>
      ({ elem, serial: i, index: i, atom: labels[i], bonds: near[i], color: COLOURS[elem], ...place(0, i) })));
    const atoms = model.selectedAtoms({});
    for (let number = 0; number < set.frames; number++)
      model.addFrame(atoms.map((atom, i) => ({ ...atom, ...place(number, i) })));
    const lengths = bonds.map(([a, b]) => Math.hypot(...[0, 1, 2].map((k) => at(0, a, k) - at(0, b, k))));
    const unit = lengths.length ? lengths.sort((a, b) => a - b)[lengths.length >> 1] : 1.5;
    model.setStyle({}, { stick: { radius: 0.1 * unit }, sphere: { radius: 0.25 * unit } });
    model.setHoverable({}, true,
      (atom) => viewer.addLabel(atom.atom, { position: atom, fontSize: 13 }), () => viewer.removeAllLabels());
    slider.max = set.frames - 1;
    go(0);
    viewer.zoomTo();
    viewer.zoom(1.3);
    viewer.render();
  }

  function go(number) {
    frame = number % set.frames;
    slider.value = frame;
    const time = set.step === null ? "" : `, ${(frame * set.step).toPrecision(3)} ps`;
    output.textContent = `${frame + 1} of ${set.frames}${time}`;
    model.setFrame(frame).then(() => viewer.render());
  }

  function play(whether) {
    playing = whether;
    button.textContent = playing ? "Pause" : "Play";
  }

  sets.forEach((set, number) => {
    const name = molecules.length > 1 ? `${set.molecule.name}: ` : "";
    select.add(new Option(`${name}${set.kind}`, number));
  });
  select.onchange = load;
  slider.oninput = () => { play(false); go(Number(slider.value)); };
  button.onclick = () => play(!playing);
  // The wheel goes on scrolling the page; with Ctrl, or two fingers, it zooms.
  canvas.addEventListener("wheel", (event) => { if (!event.ctrlKey) event.stopPropagation(); }, true);
  addEventListener("beforeprint", () => { part("img").src = viewer.pngURI(); });
  setInterval(() => {
    const pause = set.step === null ? 500 : 80;  // Samples have nothing to do with one another.
    if (!playing || Date.now() - shown < pause) return;
    shown = Date.now();
    go(frame + 1);
  }, 40);
  select.value = sets.findLastIndex((set) => set.molecule === sets[0].molecule);
  play(playing);
  load();
})();
