"""Requests that are sent to a real Pushgateway and to the exporter, and must be answered alike.

Each case is a list of requests; after the last one the two scrapes are compared as well.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass, field

import cramjam

from exporter.protobuf import new_family, write_delimited

PROTO = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


@dataclass(frozen=True)
class Send:
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def put(path: str, body: bytes, **headers: str) -> Send:
    return Send("PUT", path, body, {k.replace("_", "-"): v for k, v in headers.items()})


def post(path: str, body: bytes, **headers: str) -> Send:
    return Send("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})


J = "/metrics/job/j"
GOOD = b"# HELP m help\n# TYPE m gauge\nm 1\n"
HISTOGRAM = b'# TYPE h histogram\nh_bucket{le="1"} 3\nh_bucket{le="+Inf"} 4\nh_sum 3.5\nh_count 4\n'
SUMMARY = b'# TYPE s summary\ns{quantile="0.5"} 1.5\ns_sum 3\ns_count 2\n'


def b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def proto(kind: int | None, name: str = "p", *labels: tuple[str, str], value: float = 2.5) -> bytes:
    family = new_family()
    family.name = name
    if kind is not None:
        family.type = kind
    metric = family.metric.add()
    for k, v in labels:
        metric.label.add(name=k, value=v)
    which = {None: "counter", 0: "counter", 1: "gauge", 3: "untyped"}.get(kind)
    if which:
        getattr(metric, which).value = value
    elif kind == 2:
        metric.summary.sample_count = 2
        metric.summary.sample_sum = 3.5
        metric.summary.quantile.add(quantile=0.5, value=1.5)
    else:
        metric.histogram.sample_count = 4
        metric.histogram.sample_sum = 3.5
        metric.histogram.bucket.add(upper_bound=1, cumulative_count=3)
    return write_delimited([family])


TEXTS: dict[str, bytes] = {
    "gauge": GOOD,
    "histogram": HISTOGRAM,
    "histogram without inf": b'# TYPE h histogram\nh_bucket{le="1"} 3\nh_sum 3.5\nh_count 4\n',
    "summary": SUMMARY,
    "summary without count": b'# TYPE s summary\ns{quantile="0.9"} 1.5\n',
    "untyped": b"m 1\n",
    "type without space": b"#TYPE m counter\nm 1\n",
    "eof comment": b"m 1\n# EOF\n",
    "infinity": b"m infinity\nn -Inf\no NaN\np +inf\n",
    "numbers": b"a 1e6\nb .5\nc 5.\nd +3\ne -0\nf 1E-3\ng 007\nh 1.7976931348623157e308\n",
    "trailing comma": b'm{a="b",} 1\n',
    "value next to brace": b'm{a="b"}2\n',
    "blanks everywhere": b'  m  {  a  =  "b"  ,  c = "d" }   1\n',
    "interleaved": b'a{x="1"} 1\nb 2\na{x="2"} 3\n',
    "interleaved with types": b"# TYPE a gauge\n# TYPE b gauge\na 1\nb 2\n",
    "escapes": b'# HELP m a\\\\b\\nc "q"\nm{a="x\\\\y\\"z\\nw"} 1\n',
    "utf8 value": 'm{a="héé 日本"} 1\n'.encode(),
    "comments": b"# a comment\n#\n# HELP m\n# TYPE m\n\n   \nm 1\n",
    "upper case type": b"# TYPE m GAUGE\nm 1\n",
    "no final LF": b"m 1",
    "CRLF": b"m 1\r\n",
    "CRLF type": b"# TYPE m gauge\r\nm 1\r\n",
    "trailing blank": b"m 1 \n",
    "hex": b"m 0x1p-2\n",
    "underscore": b"m 1_000\n",
    "overflow": b"m 1e999\n",
    "no value": b"m\n",
    "no value after labels": b'm{a="b"}\n',
    "timestamp": b"m 1 1700000000000\n",
    "timestamp zero": b"m 1 0\n",
    "timestamp text": b"m 1 abc\n",
    "timestamp beyond 64 bits": b"m 1 9223372036854775808\n",
    "timestamp beyond Python's digits": b"m 1 " + b"1" * 4301 + b"\n",
    "timestamp behind zeros": b"m 1 -" + b"0" * 4301 + b"9223372036854775808\n",
    "timestamp and more": b"m 1 1 2\n",
    "timestamp and a backslash": b"m 1 1 a\\b\\\\\n",
    "backslash in a type": b"# TYPE m \\gau\\\\ge\\\nm 1\n",
    "backslash in an unknown type": b"# TYPE m gau\\g\nm 1\n",
    "second type": b"# TYPE m gauge\n# TYPE m gauge\nm 1\n",
    "second help": b"# HELP m a\n# HELP m b\nm 1\n",
    "type after samples": b"m 1\n# TYPE m gauge\n",
    "unknown type": b"# TYPE m thing\nm 1\n",
    "info type": b"# TYPE m info\nm 1\n",
    "duplicate label": b'm{a="1",a="2"} 1\n',
    "reserved label": b'm{__name__="x"} 1\n',
    "no quote": b"m{a=b} 1\n",
    "unclosed quote": b'm{a="b} 1\n',
    "unclosed brace": b'm{a="b" 1\n',
    "bad escape": b'm{a="\\x"} 1\n',
    "bad help escape": b"# HELP m \\x\nm 1\n",
    "bad utf8": b'm{a="\xff"} 1\n',
    "bad name": b"1m 1\n",
    "bad name dash": b"a-b 1\n",
    "no name": b'{a="b"} 1\n',
    "exemplar": b'm_total 1 # {a="b"} 1\n',
    "quantile text": b'# TYPE s summary\ns{quantile="x"} 1\n',
    "le text": b'# TYPE h histogram\nh_bucket{le="x"} 1\n',
    "control characters in a number": b"m 1\a\b\f\v\x00\x1b\x7f\n",
    "control character behind a label name": b"m{a\v} 1\n",
    "letter behind a label name": 'm{aé="b"} 1\n'.encode(),
    "letter for a quote": "m{a=€} 1\n".encode(),
    "letter behind a backslash": 'm{a="\\€"} 1\n'.encode(),
    "control character in le": b'# TYPE h histogram\nh_bucket{le="1\v"} 1\n',
    "duplicate series": b'm{a="1"} 1\nm{a="1"} 2\n',
    "duplicate after grouping": b'm{job="a"} 1\nm{job="b"} 2\n',
    "grouping key wins": b'm{job="other",instance="i"} 1\n',
    "counts with fractions": b"# TYPE s summary\ns_sum 1\ns_count 2.7\n",
    "h against h_count": b"# TYPE h histogram\nh_count 1\nh_sum 1\n# TYPE g gauge\ng 1\n",
    "count before type": b"h_count 1\n# TYPE h histogram\nh_sum 1\n",
    "summary against its sum": b"s_sum 1\n# TYPE s summary\ns_count 1\n",
    "empty": b"",
    "only a comment": b"# nothing\n",
    "metric called labels": b'labels{labels="x"} 1\n',
    "its own type wrong": b"# TYPE process_cpu_seconds_total gauge\nprocess_cpu_seconds_total 1\n",
}

PATHS: dict[str, tuple[str, str]] = {
    "two labels": ("PUT", "/metrics/job/j/a/b/c/d"),
    "last wins": ("PUT", "/metrics/job/j/a/1/a/2"),
    "job again": ("PUT", "/metrics/job/j/job/x"),
    "base64 job": ("PUT", f"/metrics/job@base64/{b64('a/b')}"),
    "base64 label": ("PUT", f"/metrics/job/j/dir@base64/{b64('/var/data')}"),
    "base64 without padding": ("PUT", f"/metrics/job/j/dir@base64/{b64('/var/data').rstrip('=')}"),
    "empty value": ("PUT", "/metrics/job/j/a@base64/="),
    "empty job": ("PUT", "/metrics/job@base64/="),
    "bad base64": ("PUT", "/metrics/job/j/a@base64/!!!"),
    "bad base64 job": ("PUT", "/metrics/job@base64/!!!"),
    "odd": ("PUT", "/metrics/job/j/a"),
    "encoded slash": ("PUT", "/metrics/job/j/a/x%2Fy"),
    "plus": ("PUT", "/metrics/job/j/a/x+y"),
    "percent": ("PUT", "/metrics/job/j/a/x%20y%25"),
    "utf8": ("PUT", "/metrics/job/j/a/h%C3%A9"),
    "reserved": ("PUT", "/metrics/job/j/__x/1"),
    "dash": ("PUT", "/metrics/job/j/a-b/1"),
    "digit": ("PUT", "/metrics/job/j/1a/1"),
    "colon": ("PUT", "/metrics/job/j/a:b/1"),
    "trailing slash": ("PUT", "/metrics/job/j/"),
    "double slash": ("PUT", "/metrics/job//a/b"),
    "double slash value": ("PUT", "/metrics/job/j//b"),
    "no job": ("PUT", "/metrics/job"),
    "no job slash": ("PUT", "/metrics/job/"),
    "jobs": ("PUT", "/metrics/jobs/x"),
    "put metrics": ("PUT", "/metrics"),
    "delete metrics": ("DELETE", "/metrics"),
    "get push": ("GET", "/metrics/job/j"),
    "head push": ("HEAD", "/metrics/job/j"),
    "options push": ("OPTIONS", "/metrics/job/j"),
    "patch push": ("PATCH", "/metrics/job/j"),
    "head metrics": ("HEAD", "/metrics"),
    "healthy": ("GET", "/-/healthy"),
    "ready": ("GET", "/-/ready"),
    "post healthy": ("POST", "/-/healthy"),
    "get quit": ("GET", "/-/quit"),
    "get wipe": ("GET", "/api/v1/admin/wipe"),
    "post wipe": ("POST", "/api/v1/admin/wipe"),
    "api options": ("OPTIONS", "/api/v1/metrics"),
    "api post": ("POST", "/api/v1/metrics"),
    "api nothing": ("GET", "/api/v1/nothing"),
    "nothing": ("GET", "/nothing"),
    "instance in path": ("PUT", "/metrics/job/j/instance/i"),
    "empty job, double slash": ("PUT", "/metrics/job//"),
    "empty job, double slash, delete": ("DELETE", "/metrics/job//"),
    "empty base64 job": ("PUT", "/metrics/job@base64/"),
    "empty base64 job, double slash": ("PUT", "/metrics/job@base64//"),
    "double slash at the end": ("PUT", "/metrics/job/a/b/c//"),
    "double slash at the start": ("PUT", "//metrics/job/a"),
    "double slash in between": ("PUT", "/metrics//job/a"),
    "double slash, base64": ("PUT", "//metrics/job@base64/YQ"),
    "double slash, metrics": ("GET", "//metrics"),
    "double slash, nothing else": ("GET", "//"),
    "double slash, nothing there": ("PUT", "/x//y"),
    "double slash, api": ("GET", "/api//v1/status"),
    "dots": ("PUT", "/metrics/job/a/./b"),
    "dots up": ("PUT", "/metrics/job/a/.."),
    "bad escape": ("PUT", "/metrics/job/%zz"),
    "bad escape, delete": ("DELETE", "/metrics/job/%zz"),
    "bad escape, cut off": ("PUT", "/metrics/job/a%"),
    "bad escape, one digit": ("PUT", "/metrics/job/%2"),
    "bad escape in a label": ("PUT", "/metrics/job/a/b/%z1"),
    "bad escape, metrics": ("GET", "/metrics%zz"),
    "bad escape in the query": ("PUT", "/metrics/job/a?x=%zz"),
    "options front": ("OPTIONS", "/"),
    "options quit": ("OPTIONS", "/-/quit"),
    "options metrics": ("OPTIONS", "/metrics"),
    "options no job": ("OPTIONS", "/metrics/job"),
    "patch quit": ("PATCH", "/-/quit"),
    "patch ready": ("PATCH", "/-/ready"),
    "unknown method, front": ("FOO", "/"),
    "unknown method, push": ("FOO", "/metrics/job/j"),
    "unknown method, metrics": ("FOO", "/metrics"),
    "unknown method, ready": ("FOO", "/-/ready"),
    "unknown method, api": ("FOO", "/api/v1/status"),
    "unknown method, wipe": ("FOO", "/api/v1/admin/wipe"),
    "unknown method, no job": ("FOO", "/metrics/job"),
    "unknown method, nothing": ("FOO", "/nothing"),
    "options no job slash": ("OPTIONS", "/metrics/job/"),
    "get no job slash": ("GET", "/metrics/job/"),
    "delete no job slash": ("DELETE", "/metrics/job/"),
    "trailing slash, metrics": ("GET", "/metrics/"),
    "trailing slash, metrics, put": ("PUT", "/metrics/"),
    "trailing slash, metrics, with a query": ("GET", "/metrics/?x=1"),
    "trailing slash, healthy": ("GET", "/-/healthy/"),
    "trailing slash, healthy, head": ("HEAD", "/-/healthy/"),
    "trailing slash, ready": ("GET", "/-/ready/"),
    "trailing slash, quit": ("PUT", "/-/quit/"),
    "trailing slash, quit, get": ("GET", "/-/quit/"),
    "trailing slash, quit, delete": ("DELETE", "/-/quit/"),
    "trailing slash, api status": ("GET", "/api/v1/status/"),
    "trailing slash, api metrics": ("GET", "/api/v1/metrics/"),
    "trailing slash, wipe": ("PUT", "/api/v1/admin/wipe/"),
    "trailing slash, status": ("GET", "/status/"),
    "no trailing slash, api": ("GET", "/api/v1"),
    "capitals, metrics": ("GET", "/METRICS"),
    "capitals, push": ("PUT", "/METRICS/JOB/A/B/C"),
    "capitals, delete": ("DELETE", "/Metrics/job/a"),
    "capitals, push, get": ("GET", "/metrics/JOB/a"),
    "capitals, base64": ("PUT", "/metrics/job@BASE64/YQ"),
    "capitals, healthy": ("GET", "/-/HEALTHY"),
    "capitals, api": ("GET", "/api/v1/STATUS"),
    "capitals, quit": ("POST", "/-/Quit/"),
    "escaped slashes": ("PUT", "/metrics%2Fjob%2Fa"),
    "escaped slash behind job": ("DELETE", "/metrics/job%2Fa"),
    "escaped letter": ("PUT", "/metrics/%6Aob/a"),
    "escaped slash behind job, get": ("GET", "/metrics/job%2Fa"),
    "escaped slash behind metrics": ("GET", "/metrics%2F"),
    "line feed in base64": ("PUT", "/metrics/job/j/a@base64/YQ%0AYQ"),
    "bare # in a job": ("PUT", "/metrics/job/a#b"),
    "small method": ("get", "/metrics"),
    "unknown method, unclean": ("FOO", "/metrics//job/a"),
    "unknown method, bad escape": ("FOO", "/metrics/job/%zz"),
    "unknown method, no job slash": ("FOO", "/metrics/job/"),
    "job with blank": ("PUT", "/metrics/job/a%20b"),
}

CASES: dict[str, list[Send]] = {
    **{f"text: {name}": [put(J, body)] for name, body in TEXTS.items()},
    **{
        f"path: {name}": [Send(method, path, GOOD if method in ("PUT", "POST") else b"")]
        for name, (method, path) in PATHS.items()
    },
    "post merges": [put(J, b"a 1\nb 2\n"), post(J, b"b 3\nc 4\n")],
    "put replaces": [put(J, b"a 1\nb 2\n"), put(J, b"c 4\n")],
    "put empty clears": [put(J, b"a 1\n"), put(J, b"")],
    "post empty touches": [put(J, b"a 1\n"), post(J, b"")],
    "post empty makes a group": [post(J, b"")],
    "delete": [put(J, b"a 1\n"), Send("DELETE", J)],
    "delete needs the exact key": [put(J + "/a/b", b"a 1\n"), Send("DELETE", J)],
    "delete with a body": [put(J, b"a 1\n"), Send("DELETE", J, b"rubbish")],
    "delete nothing": [Send("DELETE", "/metrics/job/none")],
    "delete with an odd path": [Send("DELETE", "/metrics/job/j/a")],
    "type change in one group": [put(J, b"# TYPE m gauge\nm 1\n"), put(J, b"# TYPE m counter\nm 1\n")],
    "type change by post": [put(J, b"# TYPE m gauge\nm 1\nx 1\n"), post(J, b"# TYPE m counter\nm 1\n")],
    "type conflict across groups": [
        put(J, b"# TYPE m gauge\nm 1\n"),
        put("/metrics/job/k", b"# TYPE m counter\nm 1\n"),
    ],
    "conflict keeps the old metrics": [
        put(J, b"# TYPE m gauge\nm 1\n"),
        put("/metrics/job/k", b"x 1\n"),
        put("/metrics/job/k", b"# TYPE m counter\nm 1\n"),
    ],
    "duplicate across groups": [
        put(J, b'm{instance="i"} 1\n'),
        put(J + "/instance/i", b"m 2\n"),
    ],
    "histogram against count across groups": [put(J, b"h_count 1\n"), put("/metrics/job/k", HISTOGRAM)],
    "count against histogram across groups": [put(J, HISTOGRAM), put("/metrics/job/k", b"h_count 1\n")],
    "count against summary across groups": [put(J, SUMMARY), put("/metrics/job/k", b"s_count 1\n")],
    "bucket beside summary is fine": [put(J, SUMMARY), put("/metrics/job/k", b"s_bucket 1\n")],
    "parse error leaves no trace": [put(J, b"m\n")],
    "parse error keeps the group": [put(J, b"m 1\n"), put(J, b"m\n")],
    "help conflict": [put(J, b"# HELP m a\nm 1\n"), put("/metrics/job/k", b"# HELP m a\nm 1\n")],
    "timestamp keeps the group": [put(J, b"m 1\n"), put(J, b"m 2 5\n")],
    "success after failure": [put(J, b"m 2 5\n"), put(J, b"m 1\n")],
    "delete resets the failure": [put(J, b"m 2 5\n"), Send("DELETE", J), put(J, b"m 1\n")],
    "gzip": [put(J, gzip.compress(GOOD), Content_Encoding="gzip")],
    "gzip empty": [put(J, b"", Content_Encoding="gzip")],
    "gzip of nothing": [put(J, gzip.compress(b""), Content_Encoding="gzip")],
    "gzip not gzip": [put(J, GOOD, Content_Encoding="gzip")],
    "gzip twice": [put(J, gzip.compress(b"a 1\n") + gzip.compress(b"b 2\n"), Content_Encoding="gzip")],
    "unknown encoding": [put(J, GOOD, Content_Encoding="br")],
    "content type json": [put(J, GOOD, Content_Type="application/json")],
    "content type openmetrics": [put(J, GOOD + b"# EOF\n", Content_Type="application/openmetrics-text")],
    "protobuf without parameters": [put(J, GOOD, Content_Type="application/vnd.google.protobuf")],
    "protobuf in capitals": [
        put(J, proto(1), Content_Type='Application/Vnd.Google.Protobuf; ENCODING=delimited; '
            'Proto="io.prometheus.client.MetricFamily"')
    ],
    **{
        f"protobuf type {kind}": [put(J, proto(kind), Content_Type=PROTO)] for kind in (None, 0, 1, 2, 3, 4)
    },
    "protobuf labels": [put(J, proto(1, "p", ("a", "x"), ("job", "y")), Content_Type=PROTO)],
    "protobuf last wins": [put(J, proto(1, value=1) + proto(1, value=2), Content_Type=PROTO)],
    "protobuf truncated": [put(J, proto(1)[:-2], Content_Type=PROTO)],
    "protobuf rubbish": [put(J, b"\x05abc", Content_Type=PROTO)],
    "protobuf empty": [put(J, b"", Content_Type=PROTO)],
    "protobuf duplicate label": [put(J, proto(1, "p", ("a", "x"), ("a", "y")), Content_Type=PROTO)],
    "post protobuf after text": [put(J, GOOD), post(J, proto(1), Content_Type=PROTO)],
}  # fmt: skip

M = 'm{instance="",job="j"} 1.0'

NEWER: dict[str, tuple[Send, int, str, list[str]]] = {
    # Answered so by 1.11.3, not by Debian's 1.5.1: request, status, body, samples afterwards.
    "gzip in capitals": (put(J, gzip.compress(GOOD), Content_Encoding="GZIP"), 200, "", [M]),
    "snappy": (put(J, bytes(cramjam.snappy.compress(GOOD)), Content_Encoding="snappy"), 200, "", [M]),
    "snappy in capitals": (
        put(J, bytes(cramjam.snappy.compress(GOOD)), Content_Encoding="Snappy"),
        200,
        "",
        [M],
    ),
    "snappy of nothing": (put(J, b"", Content_Encoding="snappy"), 200, "", []),
    "snappy not snappy": (put(J, GOOD, Content_Encoding="snappy"), 400, "snappy: corrupt input\n", []),
    "gzip truncated": (
        put(J, gzip.compress(GOOD)[:-6], Content_Encoding="gzip"),
        400,
        "unexpected EOF\n",
        [],
    ),
    "escaped slash for a job": (put("/metrics/job/%2F", GOOD), 400, "job name is required\n", []),
    "escaped slashes for a value": (
        put("/metrics/job/a/b%2F%2Fc", GOOD),
        400,
        'odd number of components in label string "/b//c"\n',
        [],
    ),
    "escaped dots for a job": (
        put("/metrics/job/%2E%2E", GOOD),
        200,
        "",
        ['m{instance="",job=".."} 1.0'],
    ),
    "escaped dot for a value": (
        put("/metrics/job/j/b/%2E", GOOD),
        200,
        "",
        ['m{b=".",instance="",job="j"} 1.0'],
    ),
}
