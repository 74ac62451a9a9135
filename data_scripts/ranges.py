"""One HTTP request with our name, time-outs and checked redirects; everything that is fetched goes through here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from hsds_lib import __version__

if TYPE_CHECKING:
    import requests

USER_AGENT = f"hsds-mef/{__version__} (course on multi-exposure fusion; python-requests)"
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5


@dataclass(frozen=True)
class Patience:
    """How long to try.

    Attributes:
        attempts: transfers without progress from one mirror before the next one is tried.
        wait: seconds before the second attempt; doubled before each further one.
        timeout: seconds without a byte after which a connection is given up.
        slowest: bytes that have to come within that time.

    Example:
        >>> [Patience(wait=1.0).pause(failures) for failures in (1, 2, 3)]  # seconds
        [1.0, 2.0, 4.0]
    """

    attempts: int = 4
    wait: float = 1.0
    timeout: float = 30.0
    slowest: int = 1024

    def pause(self, failures: int) -> float:
        """How long to wait after so many failures, seconds."""
        return float(min(self.wait * 2 ** (failures - 1), 30.0))


class TransientError(RuntimeError):
    """The same request may work a little later."""


class MirrorError(RuntimeError):
    """This mirror does not have the file, or has another one."""

    unreachable = False


@contextmanager
def request(url: str, headers: Mapping[str, str], patience: Patience) -> Iterator[requests.Response]:
    """Ask for an address and give the response, its body still unread.

    Args:
        url: http or https.
        headers: in addition to our own.
        patience: whose time-out counts.

    Yields:
        A response with status 200, 206 or 416.

    Raises:
        TransientError: no connection, a time-out or a status such as 503, here or inside the block.
        MirrorError: another status, another scheme, or too many redirects.

    Example:
        >>> with request("file:///etc/passwd", {}, Patience()) as response:
        ...     pass
        Traceback (most recent call last):
        data_scripts.ranges.MirrorError: leads to file:///etc/passwd, which is neither http nor https
    """
    import requests
    import urllib3

    # Compressed on the way, lengths and ranges would mean something else.
    sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
    try:
        with requests.Session() as session:
            response = _followed(session, url, sent, patience)
            with response:
                _check_status(response)
                yield response
    except requests.exceptions.SSLError as error:
        raise MirrorError(f"its certificate is not accepted ({_short(error)})") from error
    except requests.exceptions.Timeout as error:
        raise TransientError(f"nothing came for {patience.timeout:g} s") from error
    except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise TransientError(_short(error)) from error
    except urllib3.exceptions.ReadTimeoutError as error:  # while the body is read
        raise TransientError(f"nothing came for {patience.timeout:g} s") from error
    except urllib3.exceptions.HTTPError as error:
        raise TransientError(_short(error)) from error
    except requests.RequestException as error:
        raise MirrorError(_short(error)) from error


def _followed(session: requests.Session, url: str, headers: Mapping[str, str], patience: Patience) -> requests.Response:
    for _ in range(_MOST_REDIRECTS + 1):
        if urlsplit(url).scheme not in ("http", "https"):
            raise MirrorError(f"leads to {url}, which is neither http nor https")
        response = session.get(url, headers=headers, stream=True, timeout=patience.timeout, allow_redirects=False)
        if response.status_code not in _REDIRECTS:
            return response
        url = urljoin(url, response.headers.get("Location", ""))
        response.close()
    raise MirrorError(f"redirects more than {_MOST_REDIRECTS} times")


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status in _TRANSIENT:
        raise TransientError(f"status {status}")
    if status not in (200, 206, 416):
        raise MirrorError(f"status {status}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise MirrorError("sends the file compressed, though asked not to")


def _short(error: Exception) -> str:
    """The last cause of an error, which is the one that says something."""
    reason: BaseException = error
    while reason.__cause__ or reason.__context__:
        reason = reason.__cause__ or reason.__context__ or reason
    return f"{type(reason).__name__}: {reason}"
