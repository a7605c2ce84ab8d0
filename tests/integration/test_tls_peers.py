#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS with the programs that are out there: openssl, GnuTLS's, and Perl's IO::Socket::SSL."""

import os
import re
import shutil
import subprocess
import threading

from harness import tap
from harness.asterisk import environment
from harness.case import group, route_group, server_group
from harness.tls_case import TlsTest
from harness.waiting import Recorder, TIMEOUT

PERL_SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'perl-tls-server.pl')

# Where Debian has the programs.
PACKAGES = {'openssl': 'openssl', 'gnutls-cli': 'gnutls-bin', 'gnutls-serv': 'gnutls-bin',
            'perl': 'libio-socket-ssl-perl'}


class Peer:
    """A program whose lines are waited for."""

    def __init__(self, *command):
        assert shutil.which(command[0]), \
            f'There is no {command[0]}: install the package {PACKAGES[command[0]]}'
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.lines = Recorder(command[0])
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.add(line.decode('utf-8', 'backslashreplace').rstrip('\n'))
        self.lines.end()

    def wait_for(self, pattern, start=0):
        return re.search(pattern, self.lines.items[
            self.lines.wait(re.compile(pattern).search, f'/{pattern}/', start)])

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close(self):
        try:
            self.process.stdin.close()
        except OSError:
            pass
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(TIMEOUT)
        self.reader.join(TIMEOUT)
        self.process.stdout.close()


class Peers(TlsTest):
    def setUp(self):
        super().setUp()
        self.peers = []

    def tearDown(self):
        for peer in self.peers:
            peer.close()
        super().tearDown()

    def run_peer(self, *command):
        peer = Peer(*command)
        self.peers.append(peer)
        return peer

    def start_answer(self, *listener, certificate=None):
        self.start_secure(group('Answer', 'a', 'Commands=NOOP hello'),
                          route_group('all', '*', [], 'Answer=a'), listener=listener,
                          certificate=certificate)

    # Clients

    def run_s_client(self, *options):
        return self.run_peer('openssl', 's_client', '-connect', '%s:%d' % self.address,
                             '-CAfile', self.ca.certificate, '-verify_hostname', 'localhost',
                             '-verify_return_error', '-servername', 'localhost', *options)

    def check_s_client(self, version, key):
        self.start_answer(certificate=self.ca.issue('peer-' + key, key))
        peer = self.run_s_client('-ign_eof', '-' + version)
        peer.wait_for('Verification: OK')
        peer.write(environment())
        peer.wait_for('NOOP hello')
        peer.write(b'200 result=0\n')
        self.assertEqual(peer.process.wait(TIMEOUT), 0)
        self.proxy.wait_for_log('answered, .* 1 commands')

    def test_s_client_tls12_p256(self):
        self.check_s_client('tls1_2', 'p256')

    def test_s_client_tls13_p256(self):
        self.check_s_client('tls1_3', 'p256')

    def test_s_client_tls12_rsa(self):
        self.check_s_client('tls1_2', 'rsa')

    def test_s_client_tls13_ed25519(self):
        self.check_s_client('tls1_3', 'ed25519')

    def check_s_client_resumes(self, version):
        self.start_answer()
        kept = self.make_path('session')
        for option, word in (('-sess_out', 'New, TLS'), ('-sess_in', 'Reused, TLS')):
            peer = self.run_s_client('-ign_eof', '-' + version, option, kept)
            peer.write(environment())
            peer.wait_for('NOOP hello')
            peer.write(b'200 result=0\n')
            peer.process.wait(TIMEOUT)
            peer.wait_for(word)

    def test_s_client_resumes_tls12(self):
        self.check_s_client_resumes('tls1_2')

    def test_s_client_resumes_tls13(self):
        self.check_s_client_resumes('tls1_3')

    def test_s_client_renegotiates(self):
        """Refused, and the client is told so."""
        self.start_answer()
        peer = self.run_s_client('-tls1_2')
        peer.wait_for('Verification: OK')
        peer.write(b'R\n')
        peer.wait_for('no renegotiation')
        self.proxy.wait_for_log('renegotiation, which is refused')

    def test_s_client_asks_for_a_staple(self):
        """None is there: the handshake goes on without."""
        self.start_answer()
        peer = self.run_s_client('-ign_eof', '-status')
        peer.wait_for('OCSP response: no response sent')
        peer.write(environment())
        peer.wait_for('NOOP hello')

    def check_s_client_gets_a_staple(self, version):
        self.start_answer('OCSPResponse=' + self.ca.answer_status(self.certificate))
        peer = self.run_s_client('-ign_eof', '-status', '-' + version)
        peer.wait_for('OCSP Response Status: successful')
        peer.wait_for('Cert Status: good')

    def test_s_client_gets_a_staple_tls12(self):
        self.check_s_client_gets_a_staple('tls1_2')

    def test_s_client_gets_a_staple_tls13(self):
        self.check_s_client_gets_a_staple('tls1_3')

    def run_gnutls_cli(self, *options):
        return self.run_peer('gnutls-cli', '--x509cafile', self.ca.certificate,
                             '--verify-hostname', 'localhost', '--sni-hostname', 'localhost',
                             '-p', str(self.address[1]), *options, self.address[0])

    def check_gnutls_cli(self, priority):
        self.start_answer()
        peer = self.run_gnutls_cli('--priority', 'NORMAL:-VERS-ALL:+VERS-' + priority)
        peer.wait_for('Status: The certificate is trusted')
        peer.wait_for('Handshake was completed')
        peer.write(environment())
        peer.wait_for('NOOP hello')
        peer.write(b'200 result=0\n')
        peer.wait_for('Peer has closed the GnuTLS connection')

    def test_gnutls_cli_tls12(self):
        self.check_gnutls_cli('TLS1.2')

    def test_gnutls_cli_tls13(self):
        self.check_gnutls_cli('TLS1.3')

    def test_gnutls_cli_resumes(self):
        self.start_answer()
        peer = self.run_gnutls_cli('--resume', '--priority', 'NORMAL:-VERS-ALL:+VERS-TLS1.2')
        peer.wait_for('This is a resumed session')
        peer.write(environment())
        peer.wait_for('NOOP hello')

    # Servers

    def check_server(self, peer, address, version):
        """A session through a peer that prints what it gets and sends what it is told."""
        self.start_wrapping(address)
        client = self.connect()
        client.send(environment())
        peer.wait_for('agi_threadid: ')
        peer.write(b'NOOP from-the-peer\n')
        self.assertEqual(client.read_line(), b'NOOP from-the-peer\n')
        client.send(b'200 result=77\n')
        peer.wait_for('200 result=77')
        return client

    def check_s_server(self, version, key):
        certificate = self.ca.issue('peer-' + key, key)
        peer = self.run_peer('openssl', 's_server', '-accept', '127.0.0.1:0', '-cert', certificate,
                             '-key', certificate, '-' + version)
        port = peer.wait_for(r'ACCEPT.*:(\d+)')[1]
        client = self.check_server(peer, '127.0.0.1:' + port, version)
        # Its end is close_notify, ours awaited.
        peer.write(b'Q\n')
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'FIN'))
        client.close()
        self.proxy.wait_for_log('served')
        return peer

    def test_s_server_tls12_rsa(self):
        self.check_s_server('tls1_2', 'rsa')

    def test_s_server_tls12_ed25519(self):
        self.check_s_server('tls1_2', 'ed25519')

    def test_s_server_tls13_p256(self):
        self.check_s_server('tls1_3', 'p256')

    def test_s_server_tls13_rsa(self):
        self.check_s_server('tls1_3', 'rsa')

    def check_s_server_resumes(self, version):
        peer = self.run_peer('openssl', 's_server', '-accept', '127.0.0.1:0', '-cert',
                             self.certificate, '-key', self.certificate, '-' + version)
        port = peer.wait_for(r'ACCEPT.*:(\d+)')[1]
        self.start_wrapping('127.0.0.1:' + port)
        for i in range(2):
            mark = peer.lines.mark()
            client = self.connect()
            client.send(environment())
            if i == 1:
                peer.wait_for('Reused session-id', mark)
            peer.wait_for('agi_threadid: ', mark)
            peer.write(b'NOOP one\n')
            client.read_line()
            peer.write(b'q\n')  # ends the connection, and the next one comes
            client.read_to_end()
            client.close()
            self.proxy.wait_for_log('served')

    def test_s_server_resumes_tls12(self):
        self.check_s_server_resumes('tls1_2')

    def test_s_server_resumes_tls13(self):
        self.check_s_server_resumes('tls1_3')

    def check_gnutls_serv(self, version):
        peer = self.run_peer('gnutls-serv', '--echo', '--x509certfile', self.certificate,
                             '--x509keyfile', self.certificate, '-p', str(self.free_port()),
                             '--priority', 'NORMAL:-VERS-ALL:+VERS-' + version)
        port = peer.wait_for(r'listening on IPv4 .*port (\d+)')[1]
        self.start_proxy(self.tls_server('one', '127.0.0.1:' + port),
                         route_group('all', '*', 'one', 'Relay=bytes', 'RewriteHost=no'))
        for i in range(2):
            client = self.connect()
            client.send(environment())
            self.assertEqual(client.read(len(environment())), environment())
            client.finish()
            client.read_to_end()
            client.close()
            self.wait_for_records(1)
        peer.wait_for('This is a resumed session')

    def free_port(self):
        """One that nobody had a moment ago: gnutls-serv can't choose its own."""
        sock = self.make_socket()
        port = sock.getsockname()[1]
        sock.close()
        return port

    def test_gnutls_serv_tls12_resumed(self):
        self.check_gnutls_serv('TLS1.2')

    def test_gnutls_serv_tls13_resumed(self):
        self.check_gnutls_serv('TLS1.3')

    def test_perl(self):
        """The third topology: a real FastAGI server that speaks TLS itself."""
        peer = self.run_peer('perl', PERL_SERVER, self.certificate)
        port = peer.wait_for(r'^(\d+)$')[1]
        self.start_wrapping('127.0.0.1:' + port)
        for _ in range(10):
            client = self.call('agi://h/script?x=y')
            self.assert_success(client)
            self.assertEqual(client.variables['REQUEST'], f'agi://127.0.0.1:{port}/script?x=y')
        self.assertNotIn('truncated', self.proxy.log_text())


if __name__ == '__main__':
    tap.main()
