"""What the widgets have in common: a page below controls, a still picture, work in the pauses."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from html import escape

import ipywidgets


class Controls(ipywidgets.VBox):
    """Controls above a `page`; `steps` is the work that is left, None if there is none."""

    what = "Controls"  # in words, where no widget can be shown

    def __init__(self, css_class: str) -> None:
        self.page = ipywidgets.HTML()
        self.page.add_class(css_class)
        self.steps: Iterator[object] | None = None
        self.task: asyncio.Task | None = None
        super().__init__()

    def _repr_mimebundle_(self, **options: object) -> dict[str, object]:
        """Give Jupyter the widget and, for print and viewers without widgets, a picture of it."""
        bundle = super()._repr_mimebundle_(**options)
        bundle["text/html"] = f"{self.still()}<p><em>Run this cell to get the controls.</em></p>"
        bundle["text/plain"] = f"{self.what}: run this cell to get them."
        return bundle

    def still(self) -> str:
        """Return the page for print."""
        return self.page.value

    def work_through(self, steps: Iterator[object]) -> None:
        """Take steps in the kernel's pauses, so that every move of a control comes first."""
        self.cancel()
        self.steps = steps
        with contextlib.suppress(RuntimeError):  # outside a notebook: `finish` does it
            loop = asyncio.get_running_loop()
            self.task = loop.create_task(self._work(steps))

    async def _work(self, steps: Iterator[object]) -> None:
        try:
            for _ in steps:
                await asyncio.sleep(0.001)
        except Exception as error:  # there is no cell any more to raise it in
            self.fail(error)

    def finish(self) -> None:
        """Do what is left to do in the background, now."""
        steps = self.steps or ()
        self.cancel()
        for _ in steps:
            pass

    def cancel(self) -> None:
        """Drop what is left to do."""
        if self.task is not None:
            self.task.cancel()
        self.task = self.steps = None

    def fail(self, error: Exception) -> None:
        """Show an error where the reader looks."""
        self.page.value = problem(error)

    @contextlib.contextmanager
    def errors_shown(self) -> Iterator[None]:
        """Show an error where the reader looks, and raise it for the tests."""
        try:
            yield
        except Exception as error:
            self.fail(error)
            raise


def control(
    kind: type[ipywidgets.Widget], name: str, width: int = 560, **options: object
) -> object:
    """Return a control under its name, at most so many pixels wide; names stand in line."""
    style, layout = {"description_width": "90px"}, {"width": f"min(100%, {width}px)"}
    return kind(description=name, style=style, layout=layout, **options)


def problem(error: BaseException) -> str:
    """Return the page for an error: nothing else, so that no old figure looks like new."""
    return (
        '<div role="alert" style="border: 2px solid #D55E00; padding: 8px">'
        f"<b>{escape(type(error).__name__)}:</b> {escape(str(error))}</div>"
    )


def html_table(titles: Iterable[str], rows: Iterable[Sequence[str]], kind: str = "row") -> str:
    """Return a table of cells that are HTML; ``data-kind`` of each row holds its number."""
    head, *body = (
        "".join(f'<{tag} style="text-align: right; padding: 0 10px">{cell}</{tag}>' for cell in row)
        for tag, row in (("th", titles), *(("td", row) for row in rows))
    )
    body = "".join(f'<tr data-{kind}="{i}">{cells}</tr>' for i, cells in enumerate(body))
    return (
        '<table style="border-collapse: collapse; line-height: 1.6">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
