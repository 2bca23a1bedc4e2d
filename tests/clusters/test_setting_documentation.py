"""The documentation of settings as plain text: Apache Kafka's is HTML."""

from __future__ import annotations

import pytest

from clusters.admin.documentation import plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (None, None),
        ("", ""),
        ("Plain words,\n  as logd has them.", "Plain words,\n  as logd has them."),
        (
            'the <i>minimum</i> with <code>acks</code> of "all" &amp; more',
            'the minimum with acks of "all" & more',
        ),
        ("condition is met.<br> When used<p>Note <a href='#x'>this</a>.</p>",
         "condition is met.\nWhen used\nNote this."),
        ("Either:<ul><li>one</li>\n <li><code>two</code></li></ul>end",
         "Either:\n- one\n- two\nend"),
        ("a < b, List&lt;String&gt; and <listener>.name", "a < b, List<String> and <listener>.name"),
        ("ends with <co", "ends with <co"),
    ],
)  # fmt: skip
def test_words_are_kept_and_markup_is_not(html: str | None, text: str | None) -> None:
    assert plain_text(html) == text
