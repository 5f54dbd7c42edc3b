"""`model_aliases`, and the check of every name of a model in a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from plano.config.assemble import entry_of
from plano.config.document import join
from plano.config.problems import Problems, did_you_mean
from plano.config.reading import Section
from plano.config.settings import ProviderEntry
from plano.config.showing import shown, shown_key
from plano.errors import ModelNotFound
from plano.providers import CATALOGUE
from plano.providers.known import KNOWN
from plano.routing.models import WILDCARD, Entry, ModelIndex


class Names:
    """The names of models that the configuration has, also those of entries in which something else is wrong.

    So one mistake is one problem: if an entry has a misspelt key, aliases of its model are not wrong as well.

    Args:
        entries: the entries without errors.
        sections: all entries.
        aliases: the keys of `model_aliases`, also of those that are wrong.

    Attributes:
        unsure: any name may be a model's, because an entry's model cannot be read, or there are no entries.
    """

    def __init__(self, entries: Sequence[ProviderEntry], sections: Sequence[Section], aliases: set[str]) -> None:
        right = {(entry.name, f"{entry.provider}/{entry.model}") for entry in entries}
        wrong = [section for section in sections if _names_of(section) not in right]
        stand_ins = [entry for section in wrong if (entry := _stand_in(section)) is not None]
        found = [replace(entry_of(entry), default=False) for entry in entries]
        self._index = ModelIndex([*found, *stand_ins])
        self._aliases = aliases
        self._words = {word for section in wrong for word in _names_of(section) if word}
        self.unsure = not sections or any("model" in each.given and "model" not in each for each in wrong)

    def knows(self, name: str) -> bool:
        """Whether a name is a model's or an alias, or may be one."""
        return self.unsure or name in self._aliases or self.is_model(name)

    def covers(self, pattern: str) -> bool:
        """Whether `provider/*`, or an entry's name with `/*`, stands for models."""
        prefix, slash, rest = pattern.rpartition("/")
        if not slash or rest != WILDCARD or not prefix:
            return False
        known = any(info.target.startswith(f"{prefix}/") for info in self._index.listing())
        return (
            self.unsure
            or known
            or self.is_model(f"{prefix}/any")
            or any(word.startswith(f"{prefix}/") for word in self._words)
        )

    def is_model(self, name: str) -> bool:
        """Whether a name is that of a model, and not of an alias only."""
        if not name:
            return False
        try:
            self._index.resolve(name)
        except ModelNotFound:
            return bool(self._words & {name, name.partition("/")[2]})
        return True

    def means_other(self, name: str, than: str) -> bool:
        """Whether a name is that of a model, and another model than a second name is."""
        try:
            return self._index.resolve(name).name != self._index.resolve(than).name
        except ModelNotFound:
            return False

    def unknown(self, name: str) -> str:
        """The message about a name that is not known."""
        if name.endswith(f"/{WILDCARD}") or name == WILDCARD:
            where = "`model_providers` and in callers' `models`"
            return f"no model is called {shown(name)}; `{WILDCARD}` stands for models in {where} only"
        full = [info.id for info in self._index.listing()]
        bare = [model.partition("/")[2] for model in full]
        return f"no model is called {shown(name)}.{did_you_mean(name, [*sorted(self._aliases), *full, *bare])}"


def read_aliases(said: Mapping[str, Section], names: Names, problems: Problems) -> dict[str, str]:
    """The target of each alias. Reports cycles, targets that are no model, and aliases that are patterns."""
    aliases = {alias: section["target"] for alias, section in said.items() if "target" in section}
    in_cycles: set[str] = set()
    for alias, section in said.items():
        target, place = section.get("target"), join("model_aliases", alias)
        chain = _chain(alias, aliases)
        if WILDCARD in alias or not alias:
            problems.error(
                section.line,
                place,
                "must be a plain name. For every model of a provider, add `- model: provider/*` to `model_providers`; "
                "requests then name the models themselves",
            )
        elif target is None or alias in in_cycles:
            continue
        elif aliases.get(chain[-1]) == alias:
            in_cycles.update(chain)
            path = " -> ".join(shown_key(each) for each in [*chain, alias])
            problems.error(section.line_of("target"), join(place, "target"), f"leads back to itself: {path}")
        elif not names.knows(target):
            problems.error(section.line_of("target"), join(place, "target"), names.unknown(target))
        elif names.means_other(alias, chain[-1]):
            problems.warn(section.line, place, "hides the model of the same name")
    return aliases


def _chain(alias: str, aliases: Mapping[str, str]) -> list[str]:
    """The alias and the names that it leads to, up to one that is no alias, or that would lead back."""
    chain = [alias]
    while (following := aliases.get(chain[-1])) is not None and following not in chain:
        chain.append(following)
    return chain


def _names_of(section: Section) -> tuple[str | None, str | None]:
    """An entry's own name and its model, as they were written."""
    model = section.get("model")
    return section.get("name") or model, model


def _stand_in(section: Section) -> Entry | None:
    """An entry that has the names of one that is wrong; None if its model cannot be read."""
    provider, _, model = (section.get("model") or "").partition("/")
    if not provider or not model:
        return None
    row = replace(CATALOGUE["openai"], name=provider)
    known = KNOWN.models.get(provider, ()) if model == WILDCARD else ()
    return Entry(provider=row, model=model, name=section.get("name") or section["model"], known=known)
