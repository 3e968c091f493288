"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { points, slider } = data;
  const at = (id) => document.getElementById(id);
  const model = (name) => Bokeh.documents.map((one) => one.get_model_by_name(name)).find((one) => one);

  // Text goes to the page as text, never as HTML: it may be a user's.
  function add(parent, tag, text, kind) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    parent.appendChild(made);
    return made;
  }

  function table(parent, header, rows) {
    const made = add(parent, "table");
    const line = (tag, cells) => {
      const one = add(made, "tr");
      cells.forEach((cell) => add(one, tag, cell));
    };
    if (header.length) line("th", header);
    rows.forEach((row) => line("td", row));
  }

  function picture(parent, source, caption) {
    const made = add(parent, "figure");
    const image = add(made, "img");
    image.src = source;
    image.alt = caption;
    add(made, "figcaption", caption);
  }

  function fill(select, names, chosen, onchange) {
    names.forEach((name, number) => {
      add(select, "option", name).value = number;
    });
    select.value = chosen;
    select.onchange = onchange;
  }

  window.showRow = (number) => {
    const card = at("card");
    card.replaceChildren();
    if (points.images.length && points.images[0][number]) {
      const both = add(card, "div", undefined, "images");
      picture(both, points.images[0][number], "row");
      picture(both, points.images[1][number], "reconstruction");
    }
    table(card, [], points.heads[number]);
    if (points.cells.length) {
      const [own, mean] = points.cells;
      table(card, ["", "row", "reconstruction"], points.columns.map((name, k) => [name, own[number][k], mean[number][k]]));
    }
  };

  const axes = Object.keys(points.axes);
  function move() {
    const source = model("points");
    const chart = model("latent");
    const [x, y] = [axes[at("across").value], axes[at("up").value]];
    const number = (value) => (value === null ? NaN : value);
    source.data = { ...source.data, x: points.axes[x].map(number), y: points.axes[y].map(number) };
    chart.below[0].axis_label = x;
    chart.left[0].axis_label = y;
  }

  function colour() {
    const chosen = points.colourings[at("colour").value];
    const palette = chosen.levels ? points.levels : points.scale;
    const shade = (code) => (code < 0 ? "#9a9a9a" : palette[code % palette.length]);
    const source = model("points");
    source.data = { ...source.data, colour: chosen.codes.map(shade) };
    const legend = at("legend");
    legend.replaceChildren();
    if (chosen.levels) {
      const there = new Set(chosen.codes);
      chosen.levels.forEach((level, code) => there.has(code) && key(legend, level, shade(code)));
    } else {
      add(legend, "span", chosen.low);
      add(legend, "span", undefined, "scale").style.background = `linear-gradient(to right, ${points.scale.join(",")})`;
      add(legend, "span", chosen.high);
    }
    if (chosen.codes.some((code) => code < 0)) key(legend, "none", "#9a9a9a");
  }

  function key(legend, text, shade) {
    const made = add(legend, "span");
    add(made, "i").style.background = shade;
    made.appendChild(document.createTextNode(text));
  }

  function decode() {
    const dim = slider.dims[at("dimension").value];
    const step = Number(at("step").value);
    at("place").textContent = dim.places[step] + (step === dim.own ? " (nearest to the row)" : "");
    const place = at("decoded");
    place.replaceChildren();
    if (dim.images.length) picture(place, dim.images[step], "E[x | z]");
    else table(place, ["", "E[x | z]"], slider.columns.map((name, k) => [name, dim.cells[step][k]]));
  }

  function dimension() {
    const dim = slider.dims[at("dimension").value];
    at("step").max = dim.places.length - 1;
    at("step").value = dim.own;
    decode();
  }

  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function theme() {
    const text = dark.matches ? "#e6e7ea" : "#1c1e21";
    const line = dark.matches ? "#a3a9b4" : "#5c6370";
    for (const one of Bokeh.documents) {
      for (const chart of one.roots()) {
        for (const axis of [...chart.below, ...chart.left]) {
          axis.axis_label_text_color = axis.major_label_text_color = text;
          axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = line;
        }
        if (chart.title) chart.title.text_color = text;
        for (const above of chart.above) {
          if (above.type === "Legend") above.label_text_color = text;
        }
      }
    }
    model("latent").renderers[0].selection_glyph.line_color = { value: text };
  }

  if (slider.dims.length) {
    fill(at("dimension"), slider.dims.map((dim) => dim.name), 0, dimension);
    at("step").oninput = decode;
    dimension();
  }
  const charts = [[data.latent, "latent"], ...data.curves.map((curve, k) => [curve, `curve-${k}`])];
  Promise.all(charts.map(([chart, id]) => Bokeh.embed.embed_item(chart, id))).then(() => {
    fill(at("across"), axes, 0, move);
    fill(at("up"), axes, Math.min(1, axes.length - 1), move);
    fill(at("colour"), points.colourings.map((one) => one.name), points.first, colour);
    colour();
    theme();
    dark.addEventListener("change", theme);
    window.showRow(0);
    document.documentElement.dataset.ready = "yes";
  });
})();
