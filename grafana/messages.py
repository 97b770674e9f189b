"""The text of the message about a signal, as templates that Grafana fills in.

`$values.B.Value` is the number of query B of the rule; grafana/rules.py has the queries.
"""

from operators.metrics import METRICS


def known(ref: str, text: str) -> str:
    """The text, if the query has a number. NULL becomes NaN, which does not equal itself."""
    return f"{{{{ if eq $values.{ref}.Value $values.{ref}.Value }}}}{text}{{{{ end }}}}"


def evaluated(text: str) -> str:
    """The text, if the rule has values. It has none without data and without an answer of the database."""
    return "{{ if $values.A }}" + text + "{{ end }}"


Y, X = '{{ reReplaceAll "-.*" "" $labels.subject }}', '{{ reReplaceAll ".*-" "" $labels.subject }}'
IS_PAIR = 'if match ".-." $labels.subject'
VALUE = known("B", ' {{ printf "%.6g" $values.B.Value }}')
DIRECTION = (
    f"{{{{ if gt $values.B.Value 0.0 }}}}Sell {Y}, buy {X}{{{{ else }}}}Buy {Y}, sell {X}{{{{ end }}}}"
    " for a return to the mean. "
)
DIRECTED = " ".join(f'"{metric.name}"' for metric in METRICS.values() if metric.says_which_leg)
WHICH_WAY = f"{{{{ if eq $labels.metric {DIRECTED} }}}}" + known("B", DIRECTION) + "{{ end }}"
HOW_FAR = f"{{{{ $labels.metric }}}}{VALUE}" + known(
    "D",
    ' (opens {{ $labels.side }} {{ if eq $labels.side "outside" }}±{{ end }}'
    '{{ printf "%g" $values.D.Value }})',
)
SINCE = known("H", ", since {{ $values.H.Value | humanizeTimestamp }}") + ". "
PASSED = (
    "of its last tests passed" + known("E", ', the newest with p {{ printf "%.2g" $values.E.Value }}') + ". "
)
COINTEGRATED = (
    f"{{{{ {IS_PAIR} }}}}{{{{ if eq $values.I.Value $values.I.Value }}}}"
    "{{ if lt $values.I.Value 0.5 }}Not cointegrated{{ else }}Cointegrated{{ end }}: "
    "{{ $values.I.Value | humanizePercentage }} "
    + PASSED
    + "{{ else }}Not tested for cointegration yet. {{ end }}{{ end }}"
)
LEFT = known(
    "G",
    '{{ if gt $values.G.Value 0.0 }}{{ printf "%.1f" $values.G.Value }} bp are left after costs'
    '{{ else }}Nothing is left after costs ({{ printf "%.1f" $values.G.Value }} bp){{ end }}. ',
)
COMPLETE = known(
    "F",
    "{{ if or (eq $values.F.Value 0.0) (eq $values.F.Value 2.0) }}Its windows miss trades. {{ end }}"
    "{{ if gt $values.F.Value 1.5 }}A price in it is old: there are no new trades. {{ end }}",
)
OPEN = WHICH_WAY + HOW_FAR + SINCE + COINTEGRATED + LEFT + COMPLETE
LINK = (
    f"{{{{ externalURL }}}}d/{{{{ {IS_PAIR} }}}}pairflow-pair?var-pair="
    "{{ else }}pairflow-market?var-symbol={{ end }}{{ $labels.subject }}"
    "&var-timeframe={{ $labels.timeframe }}{{ if $labels.method }}&var-method={{ $labels.method }}{{ end }}"
)
SIGNAL = {
    "summary": "{{ $labels.rule }}: {{ $labels.subject }} {{ $labels.timeframe }}, {{ $labels.metric }}"
    + evaluated(VALUE),
    "description": evaluated(
        f"{{{{ if gt $values.J.Value 0.5 }}}}{OPEN}{{{{ else }}}}Over: {HOW_FAR}{SINCE}{{{{ end }}}}"
    ),
    "link": evaluated(LINK + known("H", '&time={{ printf "%.0f" $values.H.Value }}000&time.window=3600000')),
}
