"""Methods of lists, tuples and dicts. They stay Python in the emitted source."""

from __future__ import annotations

from qllm_jax.tfcaf import code as c
from qllm_jax.tfcaf.interpreter.builtin_functions import sorted_items
from qllm_jax.tfcaf.interpreter.expressions import check_items, plain, static_key
from qllm_jax.tfcaf.interpreter.forms import check_weight, emittable, item_of, named
from qllm_jax.tfcaf.interpreter.state import Run
from qllm_jax.tfcaf.values import Mapping, Sequence, Static, Value, describe, static


def _unknown(run: Run, owner: Value, name: str) -> Exception:
    return run.refuse(
        "unknown-operation",
        f"`.{name}` of {describe(owner)} is not known.",
        "Lists have append, extend, insert, pop, sort, index and count; dicts keys, values, items "
        "and get.",
    )


def call_list_method(
    run: Run, owner: Sequence, name: str, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    """`list.append` and its like; the emitted list is changed as the author's is."""
    if kwargs and name != "sort":
        raise _unknown(run, owner, name)
    match name, args:
        case "sort", []:
            replace_items(run, owner, sorted_items(run, [owner], kwargs))
        case "append", [item]:
            _change(run, owner, name, item)
            owner.items.append(_owned(owner, len(owner.items), item))
        case "extend", [Sequence() as other]:
            _change(run, owner, name, other)
            for index in range(len(other.items)):
                item = item_of(other, index)
                owner.items.append(_owned(owner, len(owner.items), item))
        case "insert", [Static(value=int() as index) as at, item]:
            _change(run, owner, name, at, item)
            owner.items.insert(index, item)
            _renumber(owner)
        case "pop", ([] | [Static(value=int())]):
            _require_changeable(run, owner, name)
            place = plain(run, args[0]) if args else -1
            if not owner.items or not -len(owner.items) <= place < len(owner.items):
                raise run.refuse("index-range", "An empty list is popped.", "Check its length.")
            target = run.fresh("popped")
            run.emit(f"{target} = {c.method(owner.code, name, list(args), {}).text}")
            item = owner.items.pop(place)
            _renumber(owner)
            return named(item, c.Code(target))
        case "reverse", []:
            _change(run, owner, name)
            owner.items.reverse()
            _renumber(owner)
        case "copy", []:
            return Sequence(list(owner.items), owner.kind, c.call("list", [owner.code]))
        case "index", [item]:
            wanted = [plain(run, i) for i in owner.items]
            if plain(run, item) not in wanted:
                raise run.refuse("index-range", "The list does not hold that.", "Check the item.")
            return static(wanted.index(plain(run, item)))
        case "count", [item]:
            return static([plain(run, i) for i in owner.items].count(plain(run, item)))
        case "numel", []:
            total = 1
            for item in owner.items:
                total *= plain(run, item)
            return static(total)
        case _:
            raise _unknown(run, owner, name)
    check_items(run, len(owner.items))
    check_weight(owner, run.line)
    return static(None)


def replace_items(run: Run, owner: Sequence, new: Sequence) -> None:
    """`owner[:] = new`: the list stays the same one under all its names."""
    if _is_emitted(run, owner, "[:]", new):
        run.emit(f"{owner.code.text}[:] = {new.code.text}")
    owner.items[:] = [item_of(new, index) for index in range(len(new.items))]
    _renumber(owner)
    check_items(run, len(owner.items))
    check_weight(owner, run.line)


def refuse_global_change(run: Run, owner: Sequence | Mapping) -> None:
    """Refuse to change what stands outside of the function: it would grow with every call."""
    if not run.frames:
        return
    held = owner.items if isinstance(owner, Sequence) else owner.entries
    for name, value in run.module_scope().values.items():
        its = value.items if isinstance(value, Sequence) else getattr(value, "entries", None)
        if its is held:
            raise run.refuse(
                "global",
                f"The function changes `{name}`, which outlives the call.",
                "Make the list or dict inside the function.",
            )


def _require_changeable(run: Run, owner: Sequence, name: str) -> None:
    """Refuse what is not a list of the function's own."""
    refuse_global_change(run, owner)
    if owner.kind != "list" or owner.of_batch:
        raise _unknown(run, owner, name)


def _change(run: Run, owner: Sequence, name: str, *args: Value) -> None:
    """Emit a change of a list."""
    if _is_emitted(run, owner, name, *args):
        run.emit(c.method(owner.code, name, list(args), {}).text)


def _is_emitted(run: Run, owner: Sequence, name: str, *args: Value) -> bool:
    """Whether a change of a list is written out; a list of functions is known here alone."""
    _require_changeable(run, owner, name)
    if not all(map(emittable, args)):
        if all(map(emittable, owner.items)) and owner.items:
            raise run.refuse("type", "A list mixes arrays and functions.", "Use two lists.")
        return False
    if not owner.code.is_name and "[" not in owner.code.text:
        raise run.refuse("type", "A list without a name is changed.", "Assign it first.")
    return True


def _owned(owner: Sequence, index: int, item: Value) -> Value:
    """An item as the list's own: called by its place in it."""
    return named(item, c.subscript(owner.code, str(index))) if emittable(item) else item


def _renumber(owner: Sequence) -> None:
    for index, item in enumerate(owner.items):
        owner.items[index] = _owned(owner, index, item)


def call_dict_method(
    run: Run, owner: Mapping, name: str, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    """`dict.items` and its like."""
    if kwargs:
        raise _unknown(run, owner, name)
    code = c.method(owner.code, name, list(args), {})
    entries = [(_key(key), _entry(owner, key)) for key in owner.entries]
    match name, args:
        case "keys", []:
            return Sequence([key for key, _ in entries], "keys", code)
        case "values", []:
            return Sequence([value for _, value in entries], "values", code)
        case "items", []:
            pairs: list[Value] = [
                Sequence([k, v], "tuple", c.display([k.code, v.code], True)) for k, v in entries
            ]
            return Sequence(pairs, "items", code)
        case "get", [key, *default]:
            found = static_key(run, key)
            if found in owner.entries:
                return _entry(owner, found)
            return default[0] if default else static(None)
        case "update", [Mapping() as other]:
            refuse_global_change(run, owner)
            run.emit(code.text)
            for key, value in other.entries.items():
                place = c.subscript(owner.code, _key(key).code.text)
                owner.entries[key] = named(value, place)
            return static(None)
        case _:
            raise _unknown(run, owner, name)


def _key(key: object) -> Value:
    if isinstance(key, tuple):
        items = [_key(part) for part in key]
        return Sequence(items, "tuple", c.display([item.code for item in items], True))
    return static(key)


def _entry(owner: Mapping, key: object) -> Value:
    value = owner.entries[key]
    if owner.code.text[0] == "{" or not emittable(value):
        return value
    return named(value, c.subscript(owner.code, _key(key).code.text))
