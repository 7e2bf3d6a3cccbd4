"""The generated pages by file name."""

from collections.abc import Callable

from documentation.generator.commands import commands_page
from documentation.generator.formats import formats_page
from documentation.generator.plans import plans_page

PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "plans.md": plans_page,
    "formats.md": formats_page,
}
