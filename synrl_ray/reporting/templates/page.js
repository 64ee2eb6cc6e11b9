"use strict";
const paper = 680; // pixels, which fit on A4 and Letter
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function look(layout) {
  const shown = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font.color": style("--text"),
    "modebar.bgcolor": "rgba(0,0,0,0)",
    "modebar.color": style("--line"),
    "modebar.activecolor": style("--text"),
    "hoverlabel.bgcolor": style("--shade"),
    "hoverlabel.bordercolor": style("--line"),
    "hoverlabel.font.color": style("--text"),
  };
  for (const axis of ["xaxis", "yaxis"]) {
    shown[axis + ".gridcolor"] = style("--line");
    shown[axis + ".zerolinecolor"] = style("--line");
    shown[axis + ".linecolor"] = style("--quiet");
  }
  (layout.shapes || []).forEach((_, i) => { shown[`shapes[${i}].line.color`] = style("--quiet"); });
  return shown;
}

const common = {
  autosize: true,
  margin: { l: 10, r: 10, t: 10, b: 10 },
  hovermode: "x unified",
  showlegend: true,
  legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, xanchor: "left" },
  font: { family: "system-ui, sans-serif", size: 13 },
};
const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };
const plots = [];
for (const figure of document.querySelectorAll(".plot figure")) {
  const place = figure.querySelector("div");
  const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
  const whole = { ...common, ...layout };
  for (const axis of ["xaxis", "yaxis"]) whole[axis] = { automargin: true, ...layout[axis] };
  if (layout.height) place.style.height = layout.height + "px";
  Plotly.newPlot(place, data, whole, config).then(() => Plotly.relayout(place, look(whole)));
  plots.push([place, whole]);
}
const redraw = (more) => plots.forEach(([place, layout]) => Plotly.relayout(place, { ...look(layout), ...more }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw({}));
matchMedia("print").addEventListener("change", (print) => redraw(print.matches ? { width: paper } : { width: null, autosize: true }));
