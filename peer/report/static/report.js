"use strict";
// Draws what is in #figure-data. Colours are words such as theme:ink; what they mean depends on light and dark.
(() => {
  const data = JSON.parse(document.getElementById("figure-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)");
  const narrow = window.matchMedia("(max-width: 560px)");
  const plots = [...document.querySelectorAll("[data-figure]")];
  const isColour = /color(scale)?$/i;
  const NO_PRINT_WIDTH = 0, PRINT_WIDTH = 660; // pixels: what fits between the margins of A4 and letter
  const PRINT_HEIGHT = 0.8; // of that on a screen, so that two curves fit a page

  function themed(value, theme, key) {
    if (typeof value === "string") {
      return isColour.test(key) && value.startsWith("theme:") ? theme[value.slice(6)] : value;
    }
    if (Array.isArray(value)) return value.map((one) => themed(one, theme, key));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, themed(one, theme, name)]));
  }

  function draw(theme, width) {
    for (const element of plots) {
      const picture = themed(data.figures[element.dataset.figure], theme, "");
      const layout = picture.layout;
      layout.height = Number(element.dataset.height) * (width ? PRINT_HEIGHT : 1);
      layout.autosize = !width;
      if (width) layout.width = width;
      if (touch.matches) layout.dragmode = false; // a finger scrolls the page
      if (narrow.matches) {
        layout.margin = { ...layout.margin, r: 6 };
        layout.font = { ...layout.font, size: 12 };
        for (const trace of picture.data) if (trace.colorbar) trace.showscale = false;
        const named = picture.data.filter((trace) => trace.name && trace.showlegend !== false).length;
        if (layout.showlegend !== false) layout.height += 18 * Math.max(0, named - 2); // one below the other
      }
      Plotly.react(element, picture.data, layout, {
        responsive: true,
        displaylogo: false,
        displayModeBar: touch.matches ? false : undefined,
        modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      });
    }
  }

  const now = () => (dark.matches ? data.themes.dark : data.themes.light);
  document.documentElement.classList.add("drawn");
  draw(now(), NO_PRINT_WIDTH);
  dark.addEventListener("change", () => draw(now(), NO_PRINT_WIDTH));
  narrow.addEventListener("change", () => draw(now(), NO_PRINT_WIDTH));
  window.addEventListener("beforeprint", () => draw(data.themes.light, PRINT_WIDTH));
  window.addEventListener("afterprint", () => draw(now(), NO_PRINT_WIDTH));
})();
