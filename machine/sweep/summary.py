"""The summary of a sweep: one HTML file without scripts and network."""

from __future__ import annotations

import html

from machine.testing.foreach import EXPLAINED, SURVIVED, FaultReport

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto;
       max-width: 70em; padding: 0 1em; color: #222; background: #fff }
h1 { font-size: 1.4em } code, pre, td.what { font-family: ui-monospace, monospace; font-size: .9em }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .25em .6em; vertical-align: top }
th { border-bottom: 2px solid #888 } tr + tr td { border-top: 1px solid #ddd }
.bad { color: #b00020; font-weight: 600 } .good { color: #1b6e2c } pre { margin: .2em 0 0; white-space: pre-wrap }
.bar { display: flex; height: .8em; margin: 1em 0 } .bar span { display: block }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } .bad { color: #ff8080 }
.good { color: #7fd48f } tr + tr td { border-color: #333 } }
"""


def page(report: FaultReport) -> str:
    """The whole file."""
    counts = report.counts()
    title = html.escape(f"{report.command}: {report.kind}")
    whole = max(1, len(report))
    bar = "".join(
        f'<span style="width:{100 * count / whole:.2f}%;background:{"#4a9d5b" if verdict in SURVIVED else "#c62839"}" '
        f'title="{verdict}: {count}"></span>'
        for verdict, count in counts.items()
    )
    kinds = "".join(
        f"<tr><td class={_class(verdict)}>{verdict}</td><td>{count}</td><td>{EXPLAINED[verdict]}</td></tr>"
        for verdict, count in counts.items()
    )
    rows = "".join(
        f"<tr id=n{each.n}><td>{each.n}</td><td class={_class(each.verdict)}>{each.verdict}</td><td>{each.exit}</td>"
        f"<td class=what>{html.escape(each.what)}{_detail(each.detail)}</td></tr>"
        for each in sorted(report, key=lambda each: (each.survived, each.n))
    )
    left = f" of {report.total}" if report.total > len(report) else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{title}</h1><p>{len(report)} runs{left}, in each of which one thing failed; "
        f"{len(report.failures)} were not survived.</p><div class=bar>{bar}</div>"
        f"<table><tr><th>outcome</th><th>runs</th><th></th></tr>{kinds}</table><h2>Runs</h2>"
        f"<table><tr><th>n</th><th>outcome</th><th>exit</th><th>what failed</th></tr>{rows}</table></body></html>\n"
    )


def _class(verdict: str) -> str:
    return "good" if verdict in SURVIVED else "bad"


def _detail(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>" if text else ""
