# SPDX-License-Identifier: GPL-3.0-or-later
"""Which single values have an equivalent, and how ours are written."""

import ipaddress
import re
import unicodedata
from gettext import gettext as _

HOST_MAX = 253
NAME_MAX = 64


def judge_path(path):
    """What keeps a route's path from being written here; None: nothing."""
    if re.search(r'[\x00-\x1f\x7f]', path):
        return _('There are no control bytes in a path here')
    if '://' in path:
        return _('This is a URL, which no request matched: write its path alone, as ivr/menu')
    if '?' in path:
        return _('This has a query, which no request matched: write the path alone, as ivr/menu')
    if path != '*' and '*' in path.split('/'):
        return _("A '*' takes other requests only when it stands alone, there as here; a path "
                 'without it takes all that is below it')
    if re.search(r'%[0-9A-Fa-f]{2}', path):
        return _('Paths are compared decoded, there as here: write the character itself')
    return None


def judge_host(text):
    """(address, None), (None, None) for a name, or (None, what is wrong)."""
    if text.startswith('[') and text.endswith(']'):
        try:
            address = ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            return None, _('This is not an IPv6 address')
        if '%' in text:
            return None, _('An address with a zone has no equivalent')
        return address.ipv4_mapped or address, None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if isinstance(address, ipaddress.IPv6Address):
        return None, _('An IPv6 address needs brackets, there as here')
    if address:
        return address, None
    if ':' in text:
        return None, _('This is more than a host, which the Go program could not use; the port has '
                       'a key of its own')
    if not re.fullmatch(r'[\w.-]+', text, re.A) or not re.search('[A-Za-z_-]', text):
        return None, _('This is neither an address nor a host name')
    if len(text) > HOST_MAX:
        return None, _('The host name is too long: {max} characters at most').format(max=HOST_MAX)
    if text == 'unix':
        return None, _("unix: begins the path of a socket here: write the host's address, or UNIX, which "
                       'is the same name')
    return None, None


def collide(one, other):
    """Whether of two (address, port) only one can be listened on."""
    return (one[1] == other[1] and one[0].version == other[0].version
            and (one[0] == other[0] or one[0].is_unspecified or other[0].is_unspecified))


def print_address(address, port):
    """Of an address or a name."""
    if getattr(address, 'version', 4) == 6:
        return f'[{address}]:{port}'
    return f'{address}:{port}'


def print_time(seconds):
    for unit, length in (('d', 86400), ('h', 3600), ('min', 60)):
        if seconds % length == 0:
            return f'{seconds // length}{unit}'
    return f'{seconds}s'


def print_text(text):
    """With the escapes that a value needs."""
    text = text.replace('\\', '\\\\')
    start = len(text) - len(text.lstrip(' '))
    text = '\\s' * start + text[start:]
    end = len(text) - len(text.rstrip(' '))
    return text[:len(text) - end] + '\\s' * end


class Names:
    """Names of groups: such as may be, and each once."""

    def __init__(self):
        self.taken, self.counts = set(), {}

    def make(self, text, fallback):
        text = ''.join(c for c in unicodedata.normalize('NFKD', text) if not unicodedata.combining(c))
        text = re.sub(r'-+', '-', re.sub(r'[^\w.-]', '-', text, flags=re.A)).strip('-')
        base = name = (text or fallback)[:NAME_MAX]
        while name.lower() in self.taken:
            count = self.counts[base.lower()] = self.counts.get(base.lower(), 1) + 1
            name = f'{base[:NAME_MAX - len(str(count)) - 1]}-{count}'
        self.taken.add(name.lower())
        return name
