"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const layers = JSON.parse($("data").textContent) || [];
  const view = $("view"), drawing = $("drawing"), strip = $("strip"), details = $("details"), metric = $("metric");
  const boxes = new Map(), rows = new Map(), marks = [];
  for (const g of drawing.querySelectorAll(".box[data-layer]")) boxes.set(+g.dataset.layer, g);
  for (const tr of document.querySelectorAll("tbody tr")) rows.set(+tr.dataset.layer, tr);
  const width = drawing.viewBox.baseVal.width, height = drawing.viewBox.baseVal.height;
  const body = drawing.querySelector(".body"), boxWidth = body ? body.width.baseVal.value : 0, boxHeight = body ? body.height.baseVal.value : 0;
  let chosen = -1, scale = 1;

  // Text of the model only ever becomes a text node.
  const make = (tag, text, name) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (name) e.className = name;
    return e;
  };
  const digits = (x) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
  const amount = (n, unit) => (n >= 1e9 ? digits(n / 1e9) + " G" : n >= 1e6 ? digits(n / 1e6) + " M" : n >= 1e3 ? digits(n / 1e3) + " k" : n + " ") + unit;
  const micros = (t) => (t >= 1000 ? digits(t / 1000) + " ms" : t >= 10 ? t.toFixed(0) + " µs" : t.toFixed(1) + " µs");
  const costs = () => (metric.selectedOptions[0] ? metric.selectedOptions[0].textContent : "cost");
  const percent = (s) => (s === 0 ? "" : s < 0.001 ? "<0.1 %" : s < 0.1 ? (100 * s).toFixed(1) + " %" : (100 * s).toFixed(0) + " %");

  function paint() {
    const key = metric.value || "macs";
    let total = 0, most = 0;
    for (const l of layers) { total += l[key]; most = Math.max(most, l[key]); }
    layers.forEach((l, i) => {
      l.index = i;
      l.share = total ? l[key] / total : 0;
      const heat = most ? Math.floor((9 * l[key]) / most) : 0;
      const box = boxes.get(i);
      if (box) {
        box.setAttribute("class", box.getAttribute("class").replace(/\bh\d\b/, "h" + heat));
        box.querySelector(".cost").setAttribute("width", most ? (boxWidth * l[key]) / most : 0);
        box.querySelector(".share").textContent = percent(l.share);
      }
      rows.get(i).querySelector(".share").textContent = percent(l.share);
      if (marks[i]) marks[i].className = "h" + heat + (i === chosen ? " on" : "");
    });
    if (chosen >= 0) show(chosen);
    else costliest();
  }

  // Before a layer is chosen there is the answer to the question that people come with.
  function costliest() {
    if (!layers.length) return;
    details.replaceChildren(make("h3", "Where it goes"), make("p", "The costliest layers by " + costs() + ":", "path"));
    const ol = make("ol", undefined, "top");
    for (const l of layers.slice().sort((a, b) => b.share - a.share).slice(0, 10)) {
      if (!l.share) break;
      const button = make("button", l.label);
      button.type = "button";
      button.append(make("span", percent(l.share)));
      button.onclick = () => choose(l.index, true);
      const li = make("li");
      li.append(button);
      ol.append(li);
    }
    details.append(ol, make("p", "Choose a layer to see what it is. The arrow keys go to the next one.", "hint"));
  }

  // One mark a layer; where there are more layers than pixels, the browser blends them.
  layers.forEach((l, i) => {
    const mark = make("i");
    mark.title = i + " " + l.label;
    marks.push(mark);
    strip.append(mark);
  });
  strip.addEventListener("click", (e) => {
    const r = strip.getBoundingClientRect();
    const i = Math.floor((layers.length * (e.clientY - r.top)) / r.height);
    choose(Math.max(0, Math.min(layers.length - 1, i)), true);
  });

  function zoom(to, keep) {
    const before = scale, mid = view.scrollTop + view.clientHeight / 2;
    scale = Math.max(0.1, Math.min(2.5, to));
    drawing.setAttribute("width", width * scale);
    drawing.setAttribute("height", height * scale);
    if (keep) view.scrollTop = (mid * scale) / before - view.clientHeight / 2;
  }
  const fit = () => zoom(Math.min(1, Math.max(0.25, (view.clientWidth - 4) / width)), true);
  $("in").onclick = () => zoom(scale * 1.25, true);
  $("out").onclick = () => zoom(scale / 1.25, true);
  $("fit").onclick = fit;

  function list(values) {
    const ul = make("ul", undefined, "io");
    for (const v of values.slice(0, 12)) {
      const li = make("li", v.type + " ");
      li.append(make("span", (v.const ? "constant " : "") + v.name));
      ul.append(li);
    }
    if (values.length > 12) ul.append(make("li", "and " + (values.length - 12) + " more"));
    return ul;
  }

  function show(i) {
    const l = layers[i];
    const back = make("button", "×", "close");
    back.title = "Back to the costliest layers";
    back.onclick = () => { unmark(); costliest(); };
    details.replaceChildren(back, make("h3", l.label), make("p", l.name, "path"));
    const dl = make("dl");
    const row = (what, of) => {
      if (of === "" || of === undefined || of === null) return;
      const dd = make("dd");
      dd.append(of);
      dl.append(make("dt", what), dd);
    };
    row("layer", i + " of " + layers.length + ", " + l.op);
    row("share", percent(l.share) && percent(l.share) + " of " + costs());
    row("time", l.time > 0 ? "about " + micros(l.time) : "");
    row("MACs", l.macs ? amount(l.macs, "") : "");
    row("rate", l.macs && l.time > 0 ? digits(l.macs / l.time / 1000) + " GMAC/s" : "");
    row("moved", l.moved ? amount(l.moved, "B") : "nothing, it is a view");
    row("weights", l.weights ? amount(l.weights, "B") : "");
    row("takes in", (l.fused || []).join(", "));
    row("kernel", l.kernel);
    row("attributes", l.attrs);
    row("inputs", list(l.inputs || []));
    row("outputs", list(l.outputs || []));
    details.append(dl);
  }

  function unmark() {
    boxes.get(chosen)?.classList.remove("on");
    rows.get(chosen)?.classList.remove("on");
    marks[chosen]?.classList.remove("on");
    for (const e of drawing.querySelectorAll(".edges .on")) e.classList.remove("on");
    chosen = -1;
  }

  function choose(i, scroll) {
    if (i < 0 || i >= layers.length) return;
    unmark();
    chosen = i;
    boxes.get(i)?.classList.add("on");
    rows.get(i)?.classList.add("on");
    marks[i]?.classList.add("on");
    for (const e of drawing.querySelectorAll('.edges [data-from="' + i + '"], .edges [data-to="' + i + '"]')) e.classList.add("on");
    const now = $("now");
    if (now) for (const end of ["x1", "x2"]) now.setAttribute(end, i + 1.5);
    show(i);
    if (scroll && boxes.has(i)) {
      const b = boxes.get(i).transform.baseVal[0].matrix;
      view.scrollTo({ top: (b.f + boxHeight / 2) * scale - view.clientHeight / 2, left: (b.e + boxWidth / 2) * scale - view.clientWidth / 2 });
    }
  }
  drawing.addEventListener("click", (e) => {
    const g = e.target.closest("[data-layer]");
    if (g) choose(+g.dataset.layer, false);
  });
  view.addEventListener("keydown", (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (!step) return;
    e.preventDefault();
    choose(chosen < 0 ? 0 : chosen + step, true);
  });

  const found = (l, words) => {
    const text = (l.name + " " + l.label + " " + l.op + " " + l.kernel + " " + l.shape).toLowerCase();
    return words.every((w) => text.includes(w));
  };
  $("search").addEventListener("input", () => {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let first = -1;
    layers.forEach((l, i) => {
      const hit = found(l, words);
      if (hit && first < 0) first = i;
      boxes.get(i)?.classList.toggle("dim", !hit);
      rows.get(i).classList.toggle("gone", !hit);
    });
    if (words.length && first >= 0) choose(first, true);
  });
  $("search").addEventListener("keydown", (e) => {
    if (e.key !== "Enter") return;
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (let k = 1; k <= layers.length; k++) {
      const i = (chosen + k) % layers.length;
      if (found(layers[i], words)) return choose(i, true);
    }
  });

  const tbody = document.querySelector("tbody");
  for (const th of document.querySelectorAll("th")) {
    th.addEventListener("click", () => {
      const key = th.dataset.key;
      const down = th.getAttribute("aria-sort") ? th.getAttribute("aria-sort") === "ascending" : th.classList.contains("num") && key !== "index";
      for (const other of document.querySelectorAll("th")) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = layers.slice().sort((a, b) => {
        const d = typeof a[key] === "number" ? a[key] - b[key] : String(a[key]).localeCompare(String(b[key]));
        return (down ? -d : d) || a.index - b.index;
      });
      tbody.append(...order.map((l) => rows.get(l.index)));
    });
  }
  tbody.addEventListener("click", (e) => {
    const tr = e.target.closest("tr");
    if (!tr) return;
    choose(+tr.dataset.layer, true);
    $("graph").scrollIntoView();
  });

  const block = $("block");
  document.querySelector(".map")?.addEventListener("click", (e) => {
    const title = e.target.querySelector?.("title");
    if (!title) return;
    for (const r of document.querySelectorAll(".map .on")) r.classList.remove("on");
    e.target.classList.add("on");
    block.textContent = title.textContent.replace("\n", " · ");
  });

  metric.addEventListener("change", paint);
  $("theme").onclick = () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  };
  paint();
  fit();
  document.documentElement.dataset.ready = layers.length;
})();
