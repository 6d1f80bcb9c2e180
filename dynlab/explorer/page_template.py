"""The page around the panels: one column on a telephone, three on a screen; nothing in it comes from elsewhere."""

TITLE = "dynlab: why the prediction head prevents collapse"
STYLE = """
:root { color-scheme: light; }
body { margin: 0; padding: 12px; background: #ffffff; color: #222222; font: 16px/1.45 system-ui, sans-serif; }
header, footer { max-width: 1500px; margin: 0 auto; }
h1 { font-size: 1.3rem; margin: 0 0 4px; }
h2 { font-size: 1rem; margin: 0 0 6px; }
p { margin: 0 0 8px; max-width: 75em; }
main { max-width: 1500px; margin: 8px auto; display: grid; gap: 14px; grid-template-columns: minmax(0, 1fr); }
section { min-width: 0; }
.told { border-left: 4px solid #0072B2; padding: 4px 10px; background: #f4f7f9; min-height: 3em; }
@media (min-width: 1000px) {
  main { grid-template-columns: 275px minmax(0, 1.25fr) minmax(0, 1fr);
         grid-template-rows: auto auto 1fr auto auto;
         grid-template-areas: "controls told told" "controls times portrait" "more times portrait" "more times bars"
         "repeat strips strips"; }
  .controls { grid-area: controls; } .told { grid-area: told; min-height: 0; } .times { grid-area: times; }
  .portrait { grid-area: portrait; } .bars { grid-area: bars; } .strips { grid-area: strips; } .repeat { grid-area: repeat; }
  .more { grid-area: more; }
}
@media (min-width: 600px) and (max-width: 999px) {
  main { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .told, .times, .strips, .repeat { grid-column: 1 / -1; }
}
footer { font-size: 0.85rem; color: #444444; }
"""
INSIDE = """
:host p { margin: 0 0 4px; font-size: 13px; }
:host h3 { margin: 4px 0 2px; font-size: 14px; }
:host pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; background: #f4f4f4; padding: 8px; margin: 0; }
:host .refused { color: #8a2b00; }
:host .keys { display: flex; flex-wrap: wrap; gap: 0 14px; font-size: 13px; }
:host .keys span { display: inline-flex; align-items: center; gap: 5px; }
:host .keys i { width: 14px; height: 14px; border: 1px solid #777777; background-size: 5px 5px !important; }
"""
INTRODUCTION = """Two neurons learn from two views of an input that shows a <b>strong</b> or a <b>weak</b> feature.
Without a head both neurons take the strong one: the outputs collapse. The head lets one output <b>borrow</b> the other
neuron's feature while it learns; then it gives it back. Move a slider and see."""
NOTES = """The curves are the exact population dynamics (Wen &amp; Li, NeurIPS 2022), no simulation of samples. In the
portrait and in the bars the moment of the cursor counts; arrows tell the direction alone. Tap a curve to go to a moment;
with the keyboard, Tab goes to a slider and the arrow keys move it. Nothing leaves this machine."""


def page(sections: dict[str, str], more: str = "") -> str:
    """The template of a page, which extends bokeh's own.

    sections: by class, each with its heading, "" for none; more: words below them.
    """
    places = "\n".join(_section(name, title) for name, title in sections.items())
    return f"""{{% block head %}}
{{{{ super() }}}}
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>{STYLE}</style>
{{% endblock %}}
{{% block contents %}}
<header><h1>{TITLE}</h1><p>{INTRODUCTION}</p></header>
<main>
{places}
</main>
<footer><p>{NOTES}{more}</p></footer>
{{% endblock %}}
"""


def _section(name: str, title: str) -> str:
    heading = f"<h2>{title}</h2>" if title else ""
    return f'<section class="{name}">{heading}{{{{ embed(roots.root_{name}) }}}}</section>'


TEMPLATE = page(
    {
        "controls": "Move these",
        "told": "",
        "times": "",
        "portrait": "",
        "bars": "",
        "strips": "256 random starts, on release of a slider; the framed one is shown above",
        "more": "And these",
        "repeat": "This command repeats it",
    }
)
