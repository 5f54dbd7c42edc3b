"""The names of models that a configuration has, against which every name in it is checked."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from plano.config.assemble import entry_of
from plano.config.problems import did_you_mean
from plano.config.reading import Section
from plano.config.settings import ProviderEntry
from plano.config.showing import shown
from plano.errors import ModelNotFound
from plano.provider import Target
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
        return self.find(name) is not None or bool(name and self._words & {name, name.partition("/")[2]})

    def find(self, name: str) -> Target | None:
        """The target of a model's name; None if no entry has it."""
        try:
            return self._index.resolve(name) if name else None
        except ModelNotFound:
            return None

    def place_of(self, name: str) -> tuple[str, str]:
        """The entry and the model that a name stands for; two names with the same place are the same."""
        target = self.find(name)
        return ("", name) if target is None else (target.entry, target.name)

    def full(self, name: str) -> str | None:
        """The `provider/model` or `provider/*` that a rule's name stands for; None if no entry has such models."""
        target = self.find(name)
        if target is not None:
            return target.name
        provider = name.removesuffix(f"/{WILDCARD}")
        if provider == name:
            return name if self.unsure or self.is_model(name) else None
        known = any(info.target.startswith(f"{provider}/") for info in self._index.listing())
        return name if known or self.unsure else None

    def means_other(self, name: str, than: str) -> bool:
        """Whether a name is that of a model, and another model than a second name is."""
        one, other = self.find(name), self.find(than)
        return one is not None and other is not None and one.name != other.name

    def unknown(self, name: str) -> str:
        """The message about a name that is not known."""
        if name.endswith(f"/{WILDCARD}") or name == WILDCARD:
            where = "`model_providers`, rules, budgets and callers' `models`"
            return f"no model is called {shown(name)}; `{WILDCARD}` stands for models in {where} only"
        full = [info.id for info in self._index.listing()]
        bare = [model.partition("/")[2] for model in full]
        return f"no model is called {shown(name)}.{did_you_mean(name, [*sorted(self._aliases), *full, *bare])}"


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
