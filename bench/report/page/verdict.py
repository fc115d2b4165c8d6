"""The verdict in sentences: what the numbers say, and on which scale each of them says it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.analysis.bayes import ROPE
from bench.analysis.comparisons import ALIKE, BETTER, UNKNOWN, WORSE
from bench.analysis.power import LEVEL
from bench.analysis.tables import FULL_MODEL
from bench.errors import several
from bench.report.page.compute import Numbers
from bench.report.page.limits import MOST_NAMES, Sentence, limits
from bench.report.page.series import seeds_of
from bench.report.page.standing import level_with_best, places
from bench.report.page.words import (
    interval,
    joined,
    judged_among,
    p_value,
    percent,
    plain,
    points,
    probability,
    shortened,
)
from bench.report.source import Source

FEW = 2  # settings from which there is something to add up
ENOUGH = 6  # settings from which probabilities and intervals over settings say something, see docs/statistics.md
NEXT = 4  # methods that the leading one is compared with in sentences


def first_sentences(numbers: Numbers) -> list[Sentence]:
    """Return the verdict on all of it: over settings, beside the full model, and what cannot be said."""
    own = [sentence for label in sorted(numbers.own) for sentence in of_own(numbers, label)]
    return [*own, *over_settings(numbers), *against_full(numbers), *limits(numbers)]


def of_own(numbers: Numbers, label: str) -> list[Sentence]:
    """Return how a method of the user's own stands beside all others, judged by these comparisons alone."""
    rows = numbers.beside(label)
    if rows.empty:
        return []
    return [_summed_up(rows, "other", f"of {label} with {'others' if len(rows) > 1 else 'another'}")]


def over_settings(numbers: Numbers) -> list[Sentence]:
    """Return what the settings add up to: whether ranks differ, and the leading method beside those next to it.

    The leading method is the user's own where there is one, else the one of the best mean rank.
    """
    ranks = [row for row in numbers.ranks.to_dict("records") if row["compared"] and not math.isnan(row["rank"])]
    settings = int(ranks[0]["settings"]) if ranks else 0
    if settings < FEW or len(ranks) < 2:
        return []
    scale = _scale_of_ranks(numbers, ranks)
    lead = next((str(row["label"]) for row in ranks if row["label"] in numbers.own), str(ranks[0]["label"]))
    rank = next(row for row in ranks if row["label"] == lead)
    of = f"{lead} has mean rank {plain(rank['rank'])} [{plain(rank['low'], 1)}, {plain(rank['high'], 1)}]"
    over = f"Over {several(settings, 'setting')} of {several(int(rank['tasks']), 'task')}"
    words = f"{over}, {of}, {_place(lead, ranks)} of {len(ranks)}"
    found = [Sentence(f"{words}. {_friedman(ranks[0], len(ranks))}", f"{scale} {_independence(ranks[0])}".strip())]
    others = sorted((row for row in ranks if row["label"] != lead), key=lambda row: abs(row["rank"] - rank["rank"]))
    least = float(numbers.rank_tests["p_least"].min())
    if least > LEVEL:
        words = f"{several(settings, 'setting')} cannot tell two methods apart by their ranks alone"
        found.append(Sentence(f"{words}: the least p-value of Wilcoxon's test is {p_value(least)}.", is_limit=True))
    found += [_beside(numbers, lead, str(row["label"])) for row in others[:NEXT]]
    if len(others) > NEXT:
        found[-1] = replace(found[-1], scale=f"{found[-1].scale} The other {len(others) - NEXT} stand below.")
    return found


def _place(lead: str, ranks: Sequence[Mapping[Any, Any]]) -> str:
    """Return the place of a label by its mean rank, with those that share it."""
    found = places({str(row["label"]): -float(row["rank"]) for row in ranks})
    first, last = found[lead]
    level = sorted(label for label, place in found.items() if place == found[lead] and label != lead)
    return f"places {first} to {last}, level with {shortened(level, MOST_NAMES)}," if level else f"place {first}"


def _friedman(row: Mapping[Any, Any], methods: int) -> str:
    p, over = float(row["p_friedman"]), several(int(row["blocks"]), "place" if _averaged(row) else "setting")
    if math.isnan(p):
        return f"Whether the ranks of {methods} methods over {over} differ cannot be tested."
    exact = float(row["p_iman_davenport"])
    chance = f"Friedman's test over {over}: p {_is(p, p_value)}, in its F-version {_is(exact, p_value)}"
    if p <= LEVEL:
        return f"The ranks of the {methods} methods differ by more than chance ({chance})."
    return f"That all {methods} methods are alike is not ruled out by their ranks ({chance})."


def _averaged(row: Mapping[Any, Any]) -> bool:
    return bool(row["blocks"] < row["settings"])


def _independence(row: Mapping[Any, Any]) -> str:
    """Return what the tests over settings count as independent, and what they do not."""
    words = []
    if _averaged(row):
        words.append(
            "A full model is the same run at every keep ratio of its place, so that Friedman's test has one row for "
            "each place, the ranks of its settings averaged."
        )
    if row["blocks"] > row["tasks"]:
        what = "places" if _averaged(row) else "settings"
        words.append(f"Its {what} of one task count as independent, which they are not: its p-value is too small.")
    return " ".join(words)


def _beside(numbers: Numbers, lead: str, other: str) -> Sentence:
    """Return how the leading method stands beside another over the settings in which they meet."""
    row = next(one for one in numbers.wins[numbers.wins["label"] == lead].to_dict("records") if one["other"] == other)
    pair, turned = _pair(numbers.chances, lead, other)
    test, _ = _pair(numbers.rank_tests, lead, other)
    better, worse = (pair["worse"], pair["better"]) if turned else (pair["better"], pair["worse"])
    difference = -pair["difference"] if turned else pair["difference"]
    level = f" and level in {row['ties']}" if row["ties"] else ""
    text = f"Over {several(row['settings'], 'setting')}, {lead} is more accurate than {other} in {row['wins']}{level}"
    if not math.isnan(difference):
        text += f" ({points(difference)} points on average)"
    if not math.isnan(better) and row["settings"] >= ENOUGH:
        rope = f"{100 * ROPE:g} points"
        text += (
            f": P(better by more than {rope}) {_is(better)}, P(within {rope}) {_is(pair['equivalent'])}, "
            f"P(worse) {_is(worse)}"
        )
    here = numbers.pairs[
        ((numbers.pairs["label"] == lead) & (numbers.pairs["other"] == other))
        | ((numbers.pairs["label"] == other) & (numbers.pairs["other"] == lead))
    ]
    p = test.get("p_holm", math.nan)
    by_ranks = f" Wilcoxon's test over settings, with Holm: p {_is(p, p_value)}." if not math.isnan(p) else ""
    return Sentence(f"{text}.", f"{_rate(row)} {_in_settings(here, lead)}{by_ranks}")


def _rate(row: Mapping[Any, Any]) -> str:
    """Return a win rate with its interval."""
    words = f"Win rate {percent(row['rate'], 0)} %"
    if math.isnan(row["low"]) or row["settings"] < ENOUGH:
        return f"{words}."
    return f"{words}, 95 % bootstrap interval {percent(row['low'], 0)} to {percent(row['high'], 0)} %."


def _in_settings(rows: pd.DataFrame, lead: str) -> str:
    """Return in how many settings the leading method is told apart, and what the others could have shown."""
    ahead = ((rows["label"] == lead) & (rows["verdict"] == BETTER)) | (
        (rows["other"] == lead) & (rows["verdict"] == WORSE)
    )
    told = rows["verdict"].isin([BETTER, WORSE])
    words = (
        f"By its seeds it is told to be better in {int(ahead.sum())} and worse in {int((told & ~ahead).sum())} of "
        f"{several(len(rows), 'setting')}."
    )
    rest = rows[rows["verdict"] == ALIKE].dropna(subset=["detectable"]).sort_values("detectable")
    if rest.empty:
        return words
    first = rest.iloc[0]
    if first["detectable"] > 1:
        return f"{words} Elsewhere no difference could have been seen with so few seeds among so many pairs."
    where = f" ({first['setting']})" if len(rest) == 1 else f", and that only in {first['setting']}"
    least = f"{percent(first['detectable'])} points"
    return f"{words} Elsewhere no difference below {least} had good odds (0.8) of being seen{where}."


def _is(value: float, write: Callable[[float], str] = probability) -> str:
    words = write(value)
    return words if words.startswith(("<", ">")) else f"= {words}"


def _pair(table: pd.DataFrame, one: str, other: str) -> tuple[dict[Any, Any], bool]:
    """Return the row of a pair, and whether it stands there the other way round."""
    for turned, (first, second) in enumerate(((one, other), (other, one))):
        found = table[(table["label"] == first) & (table["other"] == second)]
        if len(found):
            return found.iloc[0].to_dict(), bool(turned)
    return {"better": math.nan, "worse": math.nan, "equivalent": math.nan, "difference": math.nan}, False


def _scale_of_ranks(numbers: Numbers, ranks: Sequence[Mapping[Any, Any]]) -> str:
    left = [str(label) for label in numbers.ranks.loc[~numbers.ranks["compared"].astype(bool), "label"]]
    words = scale_of(numbers.source, numbers.source.cells)
    return (
        f"{words}. Left out of the ranks, for they lack settings: {shortened(left, MOST_NAMES)}."
        if left
        else f"{words}."
    )


def against_full(numbers: Numbers) -> list[Sentence]:
    """Return what is known of the methods beside the full model."""
    gaps = numbers.gaps
    if gaps.empty:
        return [
            Sentence(
                f"There is no full model ({FULL_MODEL}) beside the others: no distance to it is known.", is_limit=True
            )
        ]
    return [_summed_up(gaps, "label", "with the full model")]


def _summed_up(gaps: pd.DataFrame, name: str, what: str) -> Sentence:
    """Return how many of some comparisons are told apart, with the largest differences by the name in a column."""
    told = gaps[gaps["verdict"].isin([BETTER, WORSE])]
    one = len(gaps) == 1
    total = f"{'the one comparison' if one else several(len(gaps), 'comparison')} {what}, paired by seed"
    if told.empty:
        words = f"T{total[1:]}, tells nothing apart." if one else f"None of {total}, is told apart."
        return Sentence(words, _reach(gaps))
    parts = []
    for verdict in (BETTER, WORSE):
        names = [
            f"{row[name]} ({row['setting']}: {points(row['difference'])} "
            f"{interval(row['adjusted_low'], row['adjusted_high'], signed=True)})"
            for row in told[told["verdict"] == verdict]
            .sort_values("difference", key=abs, ascending=False)
            .to_dict("records")
        ]
        if names:
            parts.append(f"{verdict} in {len(names)}: {shortened(names, 4)}")
    rest = len(gaps) - len(told)
    words = f"Of {total}: {'; '.join(parts)}" + (f"; {rest} not told apart or without a verdict." if rest else ".")
    return Sentence(words, _reach(gaps))


def of_setting(numbers: Numbers, setting: str) -> list[Sentence]:
    """Return what is known of one setting: who is the most accurate, and from whom it is told apart."""
    rows = numbers.cells[numbers.cells["setting"] == setting]
    means = {
        label: numbers.accuracies[numbers.of_setting[setting, label].number] for label in dict.fromkeys(rows["label"])
    }
    known = {label: float(row["mean"]) for label, row in means.items() if not math.isnan(row["mean"])}
    if not known:
        return [Sentence("Every run of this setting diverged: nothing can be compared.", is_limit=True)]
    best, *level = level_with_best(known)
    row = means[best]
    accuracy = f"{percent(row['mean'])} % {interval(row['low'], row['high'])}".strip()
    beside = f", level with {shortened(level, MOST_NAMES)}" if level else ""
    found = [Sentence(f"Most accurate is {best} with {accuracy}{beside}.", scale_of(numbers.source, rows))]
    place = rows["place"].iloc[0]
    here = numbers.pairs[
        numbers.pairs["setting"].isin([setting, place])
        & ((numbers.pairs["label"] == best) | (numbers.pairs["other"] == best))
    ]
    here = here[
        ((here["label"] == best) & here["other"].isin(means)) | ((here["other"] == best) & here["label"].isin(means))
    ]
    if here.empty:
        return found
    of_verdict = {
        verdict: [
            str(one["other"] if one["label"] == best else one["label"])
            for one in here[here["verdict"].isin(words)].to_dict("records")
        ]
        for verdict, words in ((BETTER, [BETTER, WORSE]), (ALIKE, [ALIKE]), (UNKNOWN, [UNKNOWN]))
    }
    parts = []
    if of_verdict[BETTER]:
        parts.append(f"It is told apart from {shortened(of_verdict[BETTER], MOST_NAMES)}")
    if of_verdict[ALIKE]:
        parts.append(f"{'it' if parts else 'It'} is not told apart from {shortened(of_verdict[ALIKE], MOST_NAMES)}")
    if of_verdict[UNKNOWN]:
        start = "nothing" if parts else "Nothing"
        parts.append(f"{start} can be said of it beside {shortened(of_verdict[UNKNOWN], MOST_NAMES)}")
    return [*found, Sentence(f"{'; '.join(parts)}.", _reach(here), is_limit=not of_verdict[BETTER])]


def _reach(rows: pd.DataFrame) -> str:
    """Return what difference some comparisons could have shown, in words."""
    seeds = sorted({int(one) for one in rows["pairs"]})
    family = int(rows["family"].max())
    among = f"{judged_among(family)}, {_seeds(seeds)} in each pair"
    alike = rows.loc[rows["verdict"] == ALIKE, "detectable"].dropna()
    if alike.empty:
        return f"{among[:1].upper()}{among[1:]}."
    low, high = float(alike.min()), float(alike.max())
    if low > 1:
        return f"No difference at all could have been seen between those not told apart; {among}."
    span = (
        percent(low)
        if percent(low) == percent(high)
        else f"{percent(low)} (at best) to {percent(high) if high <= 1 else 'over 100'}"
    )
    return f"Between those not told apart no difference below {span} points had good odds (0.8) of being seen; {among}."


def _seeds(seeds: Sequence[int]) -> str:
    return several(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {several(seeds[-1], 'seed')}"


def scale_of(source: Source, rows: pd.DataFrame) -> str:
    """Return the scale of some cells: data, rounds, seeds."""
    rounds = sorted({int(one) for one in rows["rounds"].dropna()})
    words: list[Any] = [
        joined(sorted(set(rows["data_title"].astype(str)))),
        several(rounds[0], "round") if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]} rounds" if rounds else "",
        several(len(seeds_of(rows)), "seed"),
    ]
    return ", ".join(word for word in words if word)


def by_setting(numbers: Numbers) -> Iterable[tuple[str, list[Sentence]]]:
    """Yield each setting with what is known of it."""
    for setting in numbers.settings:
        yield setting, of_setting(numbers, setting)
