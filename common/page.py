"""What every page that Fedward writes shares: styles, numbers in words, and that all is escaped.

A page is one file that needs nothing else: styles are inline, there is no script, and a content
security policy keeps it from fetching anything.
"""

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from fedward.common import wording


def page_template(package: str, name: str) -> Template:
    """A template among a package's files; it may import others of them.

    It has the shared styles as ``style``, the functions ``many`` and ``membership_bound``, and the
    filters ``percent``, ``duration``, ``scientific`` and ``epsilon`` (common/wording.py).
    """

    def load(wanted: str) -> str:
        return files(package).joinpath(wanted).read_text(encoding="utf-8")

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(load),
    )
    styles = files("fedward.common").joinpath("page.css").read_text(encoding="utf-8")
    environment.globals |= {
        "style": Markup(styles),
        "many": wording.many,
        "membership_bound": wording.membership_bound,
    }
    environment.filters |= {
        "percent": wording.percent,
        "duration": wording.duration,
        "scientific": wording.scientific,
        "epsilon": wording.rounded_up,
    }
    return environment.get_template(name)
