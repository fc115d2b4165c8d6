"""The statistics that the page shows, asked for once: each is a function of the tables in ``bench.analysis``."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

import pandas as pd

from bench.analysis.across import mean_ranks, rank_pairs, win_rates
from bench.analysis.bayes import signed_rank
from bench.analysis.comparisons import BETTER, WORSE, comparisons
from bench.analysis.costs import accuracy_and_cost
from bench.analysis.profiles import split_label
from bench.analysis.settings import with_settings
from bench.analysis.summary import over_seeds
from bench.analysis.tables import FULL_MODEL
from bench.analysis.targets import SHARES, areas_of_ratios, cost_ratios, cost_to_target, profiles_of_ratios
from bench.figures.style import SeriesStyle, series_styles
from bench.report.page.series import Index, Series
from bench.report.source import Source


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep what is in memory now out of garbage collections: each Holm of statsmodels makes a whole one, 0.5 s long."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Numbers:
    """What is computed of a source, each table when it is first asked for.

    Args:
        source: what the report is made of.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.index = Index(source, self.cells)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The finished cells in their settings, those of full models beside every keep ratio."""
        return with_settings(self.source.cells)

    @cached_property
    def settings(self) -> list[str]:
        """The settings in order."""
        return list(dict.fromkeys(self.cells["setting"]))

    @cached_property
    def labels(self) -> list[str]:
        """The labels, without keep ratios."""
        return sorted(set(self.cells["label"]))

    @cached_property
    def accuracies(self) -> dict[int, pd.Series]:
        """The mean accuracy of each series with its interval, by the number of the series."""
        return self._by_series(over_seeds(self.source.cells))

    @cached_property
    def costs(self) -> dict[int, pd.Series]:
        """What a whole run of each series cost, by the number of the series."""
        return self._by_series(accuracy_and_cost(self.source.tables["rounds"], self.source.last))

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Each method against each other in each setting, judged as one family."""
        return comparisons(self.cells)

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """The mean rank of each label over the settings, the best first."""
        return mean_ranks(self.cells)

    @cached_property
    def wins(self) -> pd.DataFrame:
        """In which share of the settings a label is ahead of another."""
        return win_rates(self.cells)

    @cached_property
    def rank_tests(self) -> pd.DataFrame:
        """Wilcoxon's signed-rank test of each two labels over the settings, with Holm."""
        return rank_pairs(self.cells)

    @cached_property
    def chances(self) -> pd.DataFrame:
        """How probable it is that one is better than another, or as good as equal."""
        return signed_rank(self.cells)

    @cached_property
    def _to_target(self) -> pd.DataFrame:
        return with_settings(cost_to_target(self.source.tables["rounds"], last=self.source.last))

    @cache  # noqa: B019 - the numbers of a page live as long as the page
    def ratios(self, cost: str, share: float) -> pd.DataFrame:
        """Return how many times as much each label costs as the cheapest; empty where no full model sets a target."""
        return cost_ratios(self._to_target, cost, share)

    def areas(self, cost: str, share: float) -> pd.DataFrame:
        """Return the area under the performance profile of each label; empty where no full model sets a target."""
        return areas_of_ratios(self.ratios(cost, share))

    def profiles(self, cost: str, share: float) -> pd.DataFrame:
        """Return the performance profile of each label."""
        return profiles_of_ratios(self.ratios(cost, share))

    def ratios_by_share(self, cost: str) -> dict[tuple[float, str, str], Mapping[Any, Any]]:
        """Return the median cost until each share was reached, by share, setting and label."""
        return {
            (share, str(row["setting"]), str(row["label"])): row
            for share in SHARES
            for row in self.ratios(cost, share).to_dict("records")
        }

    @cached_property
    def methods(self) -> dict[str, str]:
        """The method of each label."""
        return dict(zip(self.cells["label"], self.cells["method"], strict=True))

    @cached_property
    def _looks(self) -> dict[str, SeriesStyle]:
        return series_styles(self.cells.drop_duplicates(["label", "method"]))

    def look(self, label: str, method: str) -> SeriesStyle:
        """Return how a label looks, on the page as in its figures: variants of a method differ in shade and fill."""
        name, _ = split_label(label, method)
        found = self._looks.get(label) or self._looks.get(name)
        return found or series_styles(pd.DataFrame({"label": [name], "method": [method]}))[name]

    def colour(self, label: str) -> str:
        """Return the colour of a label of the page."""
        return self.look(label, self.methods[label]).colour

    @cached_property
    def own(self) -> set[str]:
        """The user's own labels, without keep ratios."""
        return {series.name for series in self.index.all() if series.label in self.source.front}

    @cached_property
    def full_models(self) -> list[str]:
        """Labels of the plain full model: one, or none."""
        return [label for label in self.labels if label == FULL_MODEL]

    @property
    def gaps(self) -> pd.DataFrame:
        """Each method against the full model in each setting, judged as one family; empty where there is none."""
        return self.gaps_to(FULL_MODEL) if self.full_models else self.pairs.iloc[:0]

    @cache  # noqa: B019 - the numbers of a page live as long as the page
    def gaps_to(self, reference: str) -> pd.DataFrame:
        """Return each label against a reference in each setting, judged as one family.

        Raises:
            BenchError: the reference is no label, nor a method that has only one.
        """
        return comparisons(self.cells, reference)

    def beside(self, own: str) -> pd.DataFrame:
        """Return one label beside each other in each setting, judged as one family: the question of who brings it."""
        rows = comparisons(self.cells, own)
        turned = rows.assign(
            label=rows["other"],
            other=rows["label"],
            difference=-rows["difference"],
            adjusted_low=-rows["adjusted_high"],
            adjusted_high=-rows["adjusted_low"],
        )
        return turned.assign(verdict=rows["verdict"].replace({BETTER: WORSE, WORSE: BETTER}))

    @cache  # noqa: B019 - the numbers of a page live as long as the page
    def _gap_rows(self, reference: str) -> dict[tuple[str, str], dict[Any, Any]]:
        gaps = self.gaps if reference == FULL_MODEL else self.gaps_to(reference)
        return {(str(row["setting"]), str(row["label"])): row for row in gaps.to_dict("records")}

    def gap_of(self, setting: str, label: str, reference: str = FULL_MODEL) -> Mapping[Any, Any] | None:
        """Return the row of :meth:`gaps_to` of a label in a setting; of two full models that of their place."""
        place, rows = self._places.get(setting, setting), self._gap_rows(reference)
        return rows.get((setting, label)) or rows.get((place, label))

    @cached_property
    def _places(self) -> dict[str, str]:
        return dict(zip(self.cells["setting"], self.cells["place"], strict=True))

    @cached_property
    def of_setting(self) -> dict[tuple[str, str], Series]:
        """The series of each setting and label."""
        firsts = self.cells.drop_duplicates(["setting", "label"])
        return {
            (str(row["setting"]), str(row["label"])): self.index.of_cell(str(row["cell"]))
            for row in firsts[["setting", "label", "cell"]].to_dict("records")
        }

    def series_in(self, setting: str, label: str) -> Series:
        """Return the series of a label in a setting, or in a place whose full models are compared but once."""
        found = self.of_setting.get((setting, label))
        return found or next(
            series
            for (other, name), series in self.of_setting.items()
            if name == label and other.startswith((f"{setting}, keep ", f"{setting}, budget "))
        )

    def _by_series(self, table: pd.DataFrame) -> dict[int, pd.Series]:
        return {self.index.of(row.to_dict()).number: row for _, row in table.iterrows()}
