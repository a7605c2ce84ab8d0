# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates as a test wants them, and connections in TLS over Python's ssl.

The connections work through memory, not through ssl.SSLSocket, which can't end one direction alone.
"""

import hashlib
import os
import shutil
import socket
import ssl
import subprocess

from .connection import Connection, FIN, RESET
from .server import ServerSession

# How a connection ended that never said so in TLS.
TRUNCATED = 'TRUNCATED'

KEYS = {
    'p256': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    'rsa': ['-newkey', 'rsa:2048'],
    'weak': ['-newkey', 'rsa:1024'],
    'ed25519': ['-newkey', 'ed25519'],
}

PURPOSES = {'server': 'serverAuth', 'client': 'clientAuth', 'mail': 'emailProtection'}

CA_CONFIG = """
[ca]
default_ca=this
[this]
database={0}/index
new_certs_dir={0}
serial={0}/serial
certificate={0}/ca.pem
private_key={0}/ca.key
default_md=sha256
default_crl_days=30
policy=any
unique_subject=no
[any]
commonName=supplied
"""

EXTENSIONS = """
basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage={purpose}
subjectAltName={names}
"""


def openssl(*arguments):
    program = shutil.which('openssl')
    assert program, 'There is no openssl: install the package openssl'
    run = subprocess.run([program, *arguments], capture_output=True, check=False,
                         encoding='utf-8', errors='backslashreplace')
    assert run.returncode == 0, f'openssl {arguments}: {run.stderr}'
    return run.stdout


class Authority:
    """A CA in a folder of its own, which is there already."""

    def __init__(self, folder, name='Test CA'):
        self.folder = folder
        self.certificate = self.path('ca.pem')
        openssl('req', '-x509', *KEYS['p256'], '-noenc', '-keyout', self.path('ca.key'),
                '-out', self.certificate, '-days', '30', '-subj', '/CN=' + name)
        self.write('config', CA_CONFIG.format(folder))
        self.write('index', '')
        self.write('serial', '1000\n')

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write(text)
        return self.path(name)

    def issue(self, name, key='p256', purpose='server', names='DNS:localhost,IP:127.0.0.1',
              start=None, end=None):
        """A certificate and its key in one file NAME.pem; `start` and `end` as YYYYMMDD."""
        request, made = self.path(name + '.csr'), self.path(name + '.made')
        openssl('req', *KEYS[key], '-noenc', '-keyout', self.path(name + '.key'), '-out', request,
                '-subj', '/CN=' + name)
        extensions = self.write(name + '.ext',
                                EXTENSIONS.format(purpose=PURPOSES[purpose], names=names))
        dates = ['-days', '365']
        if end:
            dates = ['-startdate', (start or '20200101') + '000000Z', '-enddate', end + '000000Z']
        openssl('ca', '-batch', '-notext', '-config', self.path('config'), '-in', request,
                '-out', made, '-extfile', extensions, *dates)
        with open(made, encoding='ascii') as cert, open(self.path(name + '.key')) as private:
            self.write(name + '.pem', cert.read() + private.read())
        return self.path(name + '.pem')

    def issue_self_signed(self, name):
        openssl('req', '-x509', *KEYS['p256'], '-noenc', '-keyout', self.path(name + '.key'),
                '-out', self.path(name + '.made'), '-days', '30', '-subj', '/CN=' + name,
                '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1')
        with open(self.path(name + '.made')) as cert, open(self.path(name + '.key')) as private:
            return self.write(name + '.pem', cert.read() + private.read())

    def revoke(self, *certificates):
        """The list with these in it."""
        for certificate in certificates:
            openssl('ca', '-config', self.path('config'), '-revoke', certificate)
        return self.list_revoked()

    def list_revoked(self, *dates):
        openssl('ca', '-config', self.path('config'), '-gencrl', '-out', self.path('crl.pem'),
                *dates)
        return self.path('crl.pem')

    def answer_status(self, certificate):
        """An OCSP response for it, in a file."""
        openssl('ocsp', '-index', self.path('index'), '-rsigner', self.certificate, '-rkey',
                self.path('ca.key'), '-CA', self.certificate, '-issuer', self.certificate, '-cert',
                certificate, '-ndays', '7', '-respout', self.path('ocsp.der'))
        return self.path('ocsp.der')


def get_pin(certificate):
    """SHA-256 of the public key, in hexadecimal."""
    text = openssl('x509', '-in', certificate, '-noout', '-pubkey')
    der = ssl.PEM_cert_to_DER_cert(text.replace('PUBLIC KEY', 'CERTIFICATE'))
    return hashlib.sha256(der).hexdigest()


def server_context(certificate, ca=None, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers('DEFAULT:@SECLEVEL=0')  # or OpenSSL would refuse the weak ones itself
    context.load_cert_chain(certificate)
    if ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca)
    return limit(context, version)


def client_context(ca, certificate=None, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    if certificate:
        context.load_cert_chain(certificate)
    return limit(context, version)


def limit(context, version):
    """To one version of TLS."""
    if version:
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    return context


class TlsMixin:
    """Over a Connection: everything that is sent and received is in TLS. The handshake is made by
    the first of them, or by handshake()."""

    def set_context(self, context, server_side=False, name=None, session=None):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side,
                                    server_hostname=name, session=session)
        self.is_shaken = False
        return self

    def _flush(self):
        data = self.outgoing.read()
        if data:
            self.sock.sendall(data)

    def _fill(self):
        data = self.sock.recv(256 * 1024)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def handshake(self):
        if self.is_shaken:
            return self
        while not self.is_shaken:
            try:
                self.tls.do_handshake()
                self.is_shaken = True
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            finally:
                try:
                    self._flush()  # the alert too
                except OSError:
                    pass
        return self

    def send(self, data):
        self.handshake()
        for i in range(0, len(data), 16384):
            self.tls.write(data[i:i + 16384])
            self._flush()

    def _receive(self):
        if self.ended:
            return False
        self.handshake()
        while True:
            try:
                data = self.tls.read(256 * 1024)
            except ssl.SSLWantReadError:
                try:
                    self._fill()
                except socket.timeout:
                    raise AssertionError(f'timed out reading; so far: {self.unread()!r}') from None
                except (ConnectionResetError, BrokenPipeError):
                    self.ended = RESET
                    return False
                continue
            except ssl.SSLZeroReturnError:
                data = b''
            except ssl.SSLEOFError:
                self.ended = TRUNCATED
                return False
            if not data:
                self.ended = FIN
                return False
            self.received += data
            return True

    def finish(self):
        """close_notify, and then the end."""
        self.handshake()
        try:
            self.tls.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLError):
            pass
        try:
            self._flush()
        except OSError:
            pass
        Connection.finish(self)

    def truncate(self):
        """The end without a word."""
        self.handshake()
        Connection.finish(self)


class TlsConnection(TlsMixin, Connection):
    """A client's end."""

    def __init__(self, sock, context, name='localhost', session=None):
        super().__init__(sock)
        self.set_context(context, name=name, session=session)


class TlsServerSession(TlsMixin, ServerSession):
    """A FastAGI server's end."""


def server_sessions(context):
    """For PretendServer(make_session=...)."""
    return lambda sock: TlsServerSession(sock).set_context(context, server_side=True)


def client_connections(context, name='localhost'):
    """For PretendAsterisk(make_connection=...)."""
    return lambda sock: TlsConnection(sock, context, name)
