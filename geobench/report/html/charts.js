// Charts are drawn by Bokeh when they come near the viewport, or when the browser is idle.

const drawn = new Map(); // element -> figure
const waiting = new Map(); // element -> functions to call with its figure

function block(name) {
  return document.getElementById(`block-${name}`).textContent;
}

// The figure of a chart's element, drawn if it has not been yet.
async function draw(element) {
  if (!waiting.has(element)) {
    waiting.set(element, (async () => {
      const manager = await Bokeh.embed.embed_item(JSON.parse(block(element.dataset.block)), element);
      const figure = [...manager.roots][0].model;
      paint(figure);
      drawn.set(element, figure);
      return figure;
    })());
  }
  return waiting.get(element);
}

function drawWhenNear(elements) {
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        near.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "300px" });
  for (const element of elements) near.observe(element);
}

// Only what is drawn can be printed, so charts are drawn even if nobody scrolls to them.
function drawWhenIdle(elements) {
  const later = globalThis.requestIdleCallback ?? setTimeout;
  later(() => elements.filter((element) => element.offsetParent !== null).forEach(draw));
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Give a figure the colours of the page, light or dark.
function paint(figure) {
  const [ink, line] = [colour("ink"), colour("line")];
  figure.setv({ background_fill_color: null, border_fill_color: null, outline_line_color: null });
  for (const axis of [...figure.below, ...figure.left]) {
    axis.setv({
      axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: ink, major_tick_line_color: ink,
      minor_tick_line_color: null, axis_label_text_font: "system-ui", major_label_text_font: "system-ui",
      axis_label_text_font_size: "13px", major_label_text_font_size: "12px",
    });
  }
  for (const part of figure.center) {
    if (part.grid_line_color !== undefined) part.grid_line_color = line;
    if (part.name === "paint-grid") part.line_color = line;
  }
  if (figure.name === "map") for (const renderer of figure.renderers) paintRenderer(renderer, ink);
}

function paintRenderer(renderer, ink) {
  const { name, glyph } = renderer;
  const plain = { "paint-sea": "sea", "paint-land": "land" }[name];
  if (plain) glyph.fill_color = colour(plain);
  if (name === "paint-coast") glyph.line_color = colour("coast");
  if (name === "paint-lines" || name === "paint-hover") glyph.line_color = ink;
  if (["truth", "prediction"].includes(name)) glyph.line_color = colour("rim");
  if (name === "chosen") glyph.line_color = colour("paper");
}

function repaint() {
  for (const figure of drawn.values()) paint(figure);
}
