"""Write the page as one file: `make page`."""

import argparse
from pathlib import Path

from labutils.base.digits import load_mnist
from labutils.base.files import load_pretrained
from labutils.base.writing import write_whole
from labutils.page.data import ENGINE
from labutils.page.page import compiled, page

MOST_BYTES = 2_000_000


def main(arguments: list[str] | None = None) -> None:
    """Write the page with the network of seed 0 and digits of the test set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=Path("dist/pruning-lab.html"))
    parser.add_argument("--images", type=int, default=5_000, help="how many digits lie in it")
    parser.add_argument("--engine", action="store_true", help="compile engine.c again first")
    asked = parser.parse_args(arguments)
    if asked.engine:
        engine = compiled()
        write_whole(ENGINE, lambda file: file.write(engine))
    content = page(load_pretrained(0), load_mnist().test, asked.images).encode()
    if len(content) > MOST_BYTES:
        raise SystemExit(f"The page takes {len(content):,} bytes, more than {MOST_BYTES:,}.")
    asked.to.parent.mkdir(parents=True, exist_ok=True)
    write_whole(asked.to, lambda file: file.write(content))
    print(f"{asked.to}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
